package group

import (
	"strings"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

// long is the metadata that makes an offset take as much as one may.
var long = strings.Repeat("x", 4096)

// committedLong returns a desk at which a group has committed offsets of this many partitions of topics "a" and "b", with long
// metadata.
func committedLong(t *testing.T, a, b int) *desk {
	d := newDesk(t)
	d.unfolded = true
	d.view = clusterOf(map[string]int{"a": a, "b": b})
	for name, partitions := range map[string]int{"a": a, "b": b} {
		for p := range int32(partitions) {
			d.wantCommitted(committing(wire.OffsetCommit{Topic: name, Partition: p, Offset: wire.Offset(p), Metadata: long}), wire.None)
		}
	}
	return d
}

func TestAllOffsetsAreToldOnceAndInOrderOverSeveralAnswers(t *testing.T) {
	d := committedLong(t, 1500, 1000)
	var last wire.TopicNamePartition
	told, answers := 0, 0
	for more := true; more; answers++ {
		page := ask[*wire.FetchedOffsets](d, &wire.FetchOffsets{Group: "g", MemberEpoch: -1, All: true, After: last})
		if page.Err != nil || len(page.Offsets) == 0 {
			t.Fatalf("answer %d: %v, with %d offsets", answers, page.Err, len(page.Offsets))
		}
		bytes := 0
		for _, o := range page.Offsets {
			at := wire.TopicNamePartition{Topic: o.Topic, Partition: o.Partition}
			if at.Topic < last.Topic || at.Topic == last.Topic && at.Partition <= last.Partition || o.Offset != wire.Offset(o.Partition) {
				t.Fatalf("%+v comes behind %+v with offset %d", at, last, o.Offset)
			}
			last = at
			bytes += len(o.Metadata)
		}
		if bytes > maxPageBytes {
			t.Errorf("an answer has %d bytes", bytes)
		}
		told += len(page.Offsets)
		more = page.More
	}
	if told != 2500 || answers != 3 {
		t.Errorf("%d offsets of 2500 in %d answers", told, answers)
	}
}

func TestOffsetsBehindTheLastAreNone(t *testing.T) {
	d := committedLong(t, 2, 1)
	page := ask[*wire.FetchedOffsets](d, &wire.FetchOffsets{
		Group: "g", MemberEpoch: -1, All: true, After: wire.TopicNamePartition{Topic: "b"},
	})
	if page.Err != nil || len(page.Offsets) != 0 || page.More {
		t.Errorf("%+v", page)
	}
}

func TestAnOffsetThatIsAskedForAgainAndAgainIsRefused(t *testing.T) {
	d := committedLong(t, 1, 1)
	for times, want := range map[int]wire.ErrorCode{8000: wire.None, 8100: wire.MessageTooLarge} {
		reply := ask[*wire.FetchedOffsets](d, &wire.FetchOffsets{
			Group: "g", MemberEpoch: -1, Topics: []wire.NamedPartitions{{Topic: "a", Partitions: make([]int32, times)}},
		})
		wantError(t, reply.Err, want)
		if got := len(reply.Offsets); got != times && want == wire.None || got != 0 && want != wire.None {
			t.Errorf("%d offsets for %d questions", got, times)
		}
	}
}
