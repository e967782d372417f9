package clients

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"
)

func TestEveryClientReadsWhatEveryOtherWrote(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var all []*written
	t.Run("write", func(t *testing.T) {
		eachClient(t, nil, func(t *testing.T, k kind) {
			w := write(t, k, k.open(t, bootstrap))
			verifyCodecs(t, w)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, w)
		})
	})
	t.Run("read", func(t *testing.T) {
		eachClient(t, needs{consumes}, func(t *testing.T, k kind) {
			reader := k.open(t, bootstrap)
			for _, w := range all {
				t.Run("from/"+w.by.name, func(t *testing.T) {
					for partition, want := range w.records {
						got, err := reader.do(t.Context(), request{
							Op: "consume", Topic: w.topic, Partition: int32(partition), From: "beginning", Count: len(want),
						})
						if err != nil {
							t.Fatalf("%s: %v", codecs[partition], err)
						}
						compare(t, codecs[partition], w, k, want, got.Records)
					}
				})
			}
		})
	})
}

func TestEveryClientProducesWithEveryAcks(t *testing.T) {
	t.Parallel()
	eachClient(t, nil, func(t *testing.T, k kind) {
		c := k.open(t, bootstrap)
		for _, acks := range []string{"0", "1", "all"} {
			topic := newTopic(t, 1)
			want := someRecords(k, 0, 20)
			for i := range want {
				want[i].Offset = int64(i)
			}
			w := &written{by: k, since: time.Now()}
			produce(t, c, request{Topic: topic, Codec: "none", Acks: acks, Records: want})
			got, err := franz{bootstrap}.do(t.Context(), request{Op: "consume", Topic: topic, From: "beginning", Count: len(want)})
			if err != nil {
				t.Fatalf("acks=%s: %v", acks, err)
			}
			compare(t, "acks="+acks, w, kinds[0], want, got.Records)
		}
	})
}

func TestEveryClientSpreadsRecordsOverManyPartitions(t *testing.T) {
	t.Parallel()
	const partitions = 16
	eachClient(t, nil, func(t *testing.T, k kind) {
		c := k.open(t, bootstrap)
		topic := newTopic(t, partitions)
		w := &written{by: k, since: time.Now()}
		var all []record
		for partition := range int32(partitions) {
			some := someRecords(k, partition, 5)
			for i := range some {
				some[i].Offset = int64(i)
			}
			all = append(all, some...)
		}
		produce(t, c, request{Topic: topic, Codec: "none", Acks: "all", Records: all})
		for partition := range partitions {
			got, err := franz{bootstrap}.do(t.Context(), request{Op: "consume", Topic: topic, Partition: int32(partition), From: "beginning", Count: 5})
			if err != nil {
				t.Fatalf("partition %d: %v", partition, err)
			}
			compare(t, fmt.Sprint("partition ", partition), w, kinds[0], all[5*partition:5*partition+5], got.Records)
		}
	})
}

func TestEveryClientFindsItsPlaceInAPartition(t *testing.T) {
	t.Parallel()
	const n = 60
	writer := kinds[0]
	topic := newTopic(t, 1)
	w := &written{by: writer}
	want := someRecords(writer, 0, n)
	for i := range want {
		want[i].Offset = int64(i)
		produce(t, franz{bootstrap}, request{Topic: topic, Codec: codecs[i%len(codecs)], Acks: "all", Idempotent: true, Records: want[i : i+1]})
	}
	eachClient(t, needs{consumes}, func(t *testing.T, k kind) {
		c := k.open(t, bootstrap)
		for _, from := range []struct {
			name  string
			at    int64
			first int
		}{
			{"beginning", 0, 0},
			{"offset", 0, 0},
			{"offset", 17, 17},
			{"offset", n - 1, n - 1},
			{"timestamp", firstTimestamp + 20_000, 20},
			{"timestamp", firstTimestamp + 20_001, 21},
			{"timestamp", firstTimestamp - 5000, 0},
		} {
			if from.name == "timestamp" && !k.can(seeksTime) {
				continue
			}
			got, err := c.do(t.Context(), request{Op: "consume", Topic: topic, From: from.name, At: from.at, Count: min(5, n-from.first)})
			if err != nil {
				t.Fatalf("from %s %d: %v", from.name, from.at, err)
			}
			compare(t, fmt.Sprintf("from %s %d", from.name, from.at), w, k, want[from.first:from.first+len(got.Records)], got.Records)
		}
	})
}

func TestEveryClientThatBeginsAtTheEndReadsOnlyWhatComesAfter(t *testing.T) {
	t.Parallel()
	eachClient(t, needs{consumes}, func(t *testing.T, k kind) {
		c := k.open(t, bootstrap)
		topic := newTopic(t, 1)
		produce(t, franz{bootstrap}, request{Topic: topic, Codec: "none", Acks: "all", Records: someRecords(k, 0, 10)})
		done := make(chan error, 1)
		var got answer
		go func() {
			var err error
			got, err = c.do(t.Context(), request{Op: "consume", Topic: topic, From: "end", Count: 1})
			done <- err
		}()
		// Nobody can see when the client has found the end, so new records come until it reads one.
		late := []byte("late")
		var err error
		for reading := true; reading; {
			produce(t, franz{bootstrap}, request{Topic: topic, Codec: "none", Acks: "all", Records: []record{{Timestamp: firstTimestamp, Value: &late}}})
			select {
			case err = <-done:
				reading = false
			case <-time.After(50 * time.Millisecond):
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Records) != 1 || !sameBytes(got.Records[0].Value, &late) || got.Records[0].Offset < 10 {
			t.Fatalf("read %s", show(got.Records[0]))
		}
	})
}

func TestEveryAdministratorCreatesDescribesAltersGrowsAndDeletesATopic(t *testing.T) {
	t.Parallel()
	eachClient(t, needs{administers}, func(t *testing.T, k kind) {
		c := k.open(t, bootstrap)
		do := func(r request) answer {
			t.Helper()
			a, err := c.do(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		topic := topicName(t)
		do(request{Op: "create", Topic: topic, Partitions: 3, Configs: map[string]string{"retention.ms": "3600000", "cleanup.policy": "delete"}})
		if _, err := c.do(t.Context(), request{Op: "create", Topic: topic, Partitions: 3}); err == nil {
			t.Error("a topic was created twice")
		}
		if a := do(request{Op: "describe", Topic: topic}); a.Partitions != 3 || a.Configs["retention.ms"] != "3600000" {
			t.Fatalf("created with 3 partitions and retention.ms=3600000, described with %d and %s", a.Partitions, a.Configs["retention.ms"])
		}
		do(request{Op: "alter", Topic: topic, Configs: map[string]string{"retention.ms": "7200000"}})
		if a := do(request{Op: "describe", Topic: topic}); a.Configs["retention.ms"] != "7200000" {
			t.Fatalf("altered to retention.ms=7200000, described with %s", a.Configs["retention.ms"])
		}
		if k.can(grows) {
			do(request{Op: "grow", Topic: topic, Partitions: 5})
			if a := do(request{Op: "describe", Topic: topic}); a.Partitions != 5 {
				t.Fatalf("grown to 5 partitions, described with %d", a.Partitions)
			}
		}
		if _, err := c.do(t.Context(), request{Op: "create", Topic: "no/such name", Partitions: 1}); err == nil {
			t.Error("a topic with a bad name was created")
		}
		if _, err := c.do(t.Context(), request{Op: "create", Topic: topicName(t), Partitions: 1, Configs: map[string]string{"no.such.config": "1"}}); err == nil {
			t.Error("a topic with an unknown config was created")
		}
		do(request{Op: "delete", Topic: topic})
		if a, err := (franz{bootstrap}).do(t.Context(), request{Op: "describe", Topic: topic}); err == nil {
			t.Fatalf("deleted, described with %d partitions", a.Partitions)
		}
	})
}

func TestARecordOfAlmostTheLargestSizePassesThroughEveryClient(t *testing.T) {
	t.Parallel()
	large := bytes.Repeat([]byte("0123456789abcdef"), 900_000/16)
	key := []byte("large")
	eachClient(t, nil, func(t *testing.T, k kind) {
		c := k.open(t, bootstrap)
		topic := newTopic(t, 1)
		w := &written{by: k, since: time.Now()}
		want := []record{{Timestamp: firstTimestamp, Key: &key, Value: &large}}
		produce(t, c, request{Topic: topic, Codec: "none", Acks: "all", Records: want})
		reader, by := c, k
		if !k.can(consumes) {
			reader, by = franz{bootstrap}, kinds[0]
		}
		got, err := reader.do(t.Context(), request{Op: "consume", Topic: topic, From: "beginning", Count: 1})
		if err != nil {
			t.Fatal(err)
		}
		compare(t, "large", w, by, want, got.Records)
	})
}
