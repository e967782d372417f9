package group

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// committedRecords is the log of a group that committed so many offsets, each of another partition of a few wide topics.
func committedRecords(group wire.GroupID, n int) []Record {
	log := make([]Record, 0, n)
	for i := range n {
		topic := fmt.Sprintf("topic-%d", i%100)
		log = append(log, newOffsetRecord(group, topic, int32(i/100), offsetValue{
			offset: int64(i), leaderEpoch: 3, committed: 1_700_000_000_000, expires: -1, topic: topicID(topic),
		}))
	}
	return log
}

// BenchmarkReplay answers: how long does a coordinator take to fold an offset?
func BenchmarkReplay(b *testing.B) {
	config := Default()
	config.NewMemberID = func(name string) wire.MemberID { return wire.MemberID(name) }
	for _, groups := range []int{1, 1000} {
		b.Run(fmt.Sprintf("groups=%d", groups), func(b *testing.B) {
			var log []Record
			for g := range groups {
				log = append(log, committedRecords(wire.GroupID(fmt.Sprintf("group-%d", g)), 1_000_000/groups)...)
			}
			b.ReportAllocs()
			for b.Loop() {
				loaded := map[wire.GroupID]*Group{}
				before := heapBytes()
				for _, r := range log {
					id, _ := GroupOf(r.Key)
					g := loaded[id]
					if g == nil {
						g = New(id, config)
						loaded[id] = g
					}
					if err := g.Replay(r); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(heapBytes()-before)/float64(len(log)), "heap-B/offset")
				runtime.KeepAlive(loaded)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(log)), "ns/offset")
		})
	}
}

// BenchmarkIdleGroup answers: how much memory does a group take that nobody asks, with three members and ten offsets?
func BenchmarkIdleGroup(b *testing.B) {
	d := newDesk(&testing.T{})
	d.form(3)
	for p := range int32(6) {
		d.call(&wire.CommitOffsets{Group: "g", Member: d.g.classic.leader, Generation: 1, Offsets: []wire.OffsetCommit{{Topic: "orders", Partition: p, Offset: 7}}})
	}
	log := compacted(d.log)
	const groups = 10_000
	now := time.UnixMilli(1_700_000_000_000)
	for b.Loop() {
		before := heapBytes()
		loaded := make([]*Group, groups)
		for i := range loaded {
			loaded[i] = New("g", d.config)
			for _, r := range log {
				if err := loaded[i].Replay(r); err != nil {
					b.Fatal(err)
				}
			}
			loaded[i].Loaded(d.view, now)
		}
		b.ReportMetric(float64(heapBytes()-before)/groups, "heap-B/group")
		runtime.KeepAlive(loaded)
	}
}

func heapBytes() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
