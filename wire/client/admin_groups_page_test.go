package client_test

import (
	"testing"

	"github.com/troupe-mq/troupe/wire/client"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
)

func TestAllOffsetsOfALargeGroupAreFetched(t *testing.T) {
	const partitions = 250 // the coordinator tells 100 at a time
	b := nativetest.New()
	b.CreateTopic("a", partitions)
	b.CreateTopic("b", 1)
	c := connect(t, serve(t, b))
	set := []client.GroupOffset{{Topic: "b", Offset: 7}}
	for p := range int32(partitions) {
		set = append(set, client.GroupOffset{Topic: "a", Partition: p, Offset: client.Offset(p)})
	}
	if err := c.CommitOffsets(t.Context(), "g", set...); err != nil {
		t.Fatal(err)
	}
	offsets, err := c.FetchOffsets(t.Context(), "g")
	if err != nil || len(offsets) != partitions+1 {
		t.Fatalf("%d offsets, %v", len(offsets), err)
	}
	for i, o := range offsets[:partitions] {
		if o.Topic != "a" || o.Partition != int32(i) || o.Offset != client.Offset(i) {
			t.Errorf("offset %d is %+v", i, o)
		}
	}
	if last := offsets[partitions]; last.Topic != "b" || last.Offset != 7 {
		t.Errorf("the last is %+v", last)
	}
}
