package metadata

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

// million returns an image of 1,000,000 partitions with three replicas each, on 1,000 brokers.
func million(t testing.TB) *Image {
	const brokers, topics, partitions = 1000, 10_000, 100
	img := NewImage()
	apply := func(records ...Record) {
		next, _, err := img.Apply(img.Index()+1, records)
		if err != nil {
			t.Fatal(err)
		}
		img = next
	}
	apply(&ClusterCreated{ClusterID: "scale"})
	for id := range brokers {
		r := registration(wire.BrokerID(id+1), 1)
		apply(&BrokerRegistered{Broker: r.ID, Incarnation: 1, Directories: r.Directories, Host: r.Host, Port: r.Port})
	}
	for n := range topics {
		rec := &TopicCreated{Topic: TopicNumber(n + 1), Name: fmt.Sprintf("topic-%05d", n)}
		rec.ID[0], rec.ID[1], rec.ID[15] = byte(n), byte(n>>8), 1
		for p := range partitions {
			first := wire.BrokerID((n*7 + p*13) % brokers)
			rec.Partitions = append(rec.Partitions, NewPartition{
				Replicas: []wire.BrokerID{first + 1, (first+17)%brokers + 1, (first+400)%brokers + 1},
				Leader:   first + 1, ISR: 0b111,
			})
		}
		apply(rec)
	}
	return img
}

func heapBytes() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestAMillionPartitionsFitIn64MB(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	before := heapBytes()
	img := million(t)
	used := heapBytes() - before
	per := float64(used) / float64(img.PartitionCount())
	t.Logf("%d partitions of %d topics: %.1f MB, %.1f bytes each", img.PartitionCount(), img.TopicCount(), float64(used)/1e6, per)
	if per > 64 {
		t.Errorf("a partition takes %.1f bytes, of at most 64", per)
	}
	runtime.KeepAlive(img)
}

func BenchmarkApplyOneChangeOfAMillion(b *testing.B) {
	img := million(b)
	t := img.topic(5000)
	p, _ := t.partition(50)
	p.leaderEpoch++
	records := []Record{&PartitionsChanged{Changes: []PartitionChange{p.change()}}}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := img.Apply(img.Index()+1, records); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFenceOneOfAThousandBrokers(b *testing.B) {
	img := million(b)
	epoch := img.broker(500).Epoch
	b.ReportAllocs()
	for b.Loop() {
		d := ChangeBrokers{Brokers: []BrokerState{{ID: 500, Epoch: epoch, Fenced: true}}}.Decide(img, Env{})
		entry := EncodeRecords(d.Records)
		if _, _, err := img.Apply(img.Index()+1, d.Records); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(entry)), "entry-bytes")
	}
}

func BenchmarkSnapshotOfAMillion(b *testing.B) {
	img := million(b)
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			b.ReportMetric(float64(len(img.EncodeSnapshot())), "snapshot-bytes")
		}
	})
	snapshot := img.EncodeSnapshot()
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			if _, err := DecodeSnapshot(snapshot); err != nil {
				b.Fatal(err)
			}
		}
	})
}
