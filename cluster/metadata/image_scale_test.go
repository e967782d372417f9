package metadata

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

// scaled returns an image of topics of 100 partitions with three replicas each, on 1,000 brokers.
func scaled(t testing.TB, topics int) *Image {
	const brokers, partitions = 1000, 100
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

// A fifth of it is measured, which is to the disadvantage of the figure: the brokers weigh more.
func TestAMillionPartitionsFitIn64MB(t *testing.T) {
	before := heapBytes()
	img := scaled(t, 2000)
	used := heapBytes() - before
	per := float64(used) / float64(img.PartitionCount())
	t.Logf("%d partitions of %d topics: %.1f MB, %.1f bytes each", img.PartitionCount(), img.TopicCount(), float64(used)/1e6, per)
	if per > 64 {
		t.Errorf("a partition takes %.1f bytes, of at most 64", per)
	}
	runtime.KeepAlive(img)
}

// Kafka's brokers are told of each partition; here 3,000 of them fit a packet or two.
func TestFencingABrokerIsOneSmallEntry(t *testing.T) {
	img := scaled(t, 2000)
	b := img.broker(500)
	d := ChangeBrokers{Brokers: []BrokerState{{ID: 500, Epoch: b.Epoch, Fenced: true}}}.Decide(img, Env{})
	changes := len(d.Records[1].(*PartitionsChanged).Changes)
	if per := len(EncodeRecords(d.Records)) / changes; changes < 500 || per > 30 {
		t.Errorf("%d bytes for each of %d partitions, of at most 30", per, changes)
	}
}

func TestOneChangeCopiesLittle(t *testing.T) {
	img := scaled(t, 2000)
	p, _ := img.topic(1000).partition(50)
	p.leaderEpoch++
	records := []Record{&PartitionsChanged{Changes: []PartitionChange{p.change()}}}
	var next *Image
	const runs = 100
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		next, _, _ = img.Apply(img.Index()+1, records)
	}
	runtime.ReadMemStats(&after)
	if perRun := (after.TotalAlloc - before.TotalAlloc) / runs; perRun > 16<<10 {
		t.Errorf("one change among %d partitions allocates %d bytes", img.PartitionCount(), perRun)
	}
	if &next.topics.leaves[0][0] != &img.topics.leaves[0][0] || next.topic(1000).chunks[1] != img.topic(1000).chunks[1] {
		t.Error("what did not change was copied")
	}
}

func BenchmarkApplyOneChangeOfAMillion(b *testing.B) {
	img := scaled(b, 10_000)
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
	img := scaled(b, 10_000)
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
	img := scaled(b, 10_000)
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

// The controller asks for it every few seconds, in the actor that has to stay fast.
func BenchmarkBalanceLeadersOfAMillion(b *testing.B) {
	img := scaled(b, 10_000)
	to := make([]wire.BrokerID, len(img.brokers))
	for i, broker := range img.brokers {
		to[i] = broker.ID
	}
	b.ReportAllocs()
	for b.Loop() {
		if d := (BalanceLeaders{To: to}).Decide(img, Env{}); d.Records != nil {
			b.Fatal("there was something to do")
		}
	}
}
