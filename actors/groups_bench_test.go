package actors

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
)

// startOnDisk begins a lone broker on a real disk, outside of any bubble.
func startOnDisk(b *testing.B, path string) (broker *Broker, stop func()) {
	b.Helper()
	lives++
	cfg := DefaultConfig()
	cfg.ID, cfg.Incarnation, cfg.ClusterID = 1, lives, "cluster"
	cfg.Static = map[string]string{"offsets.topic.num.partitions": "1"}
	dc := storage.DefaultDirConfig()
	dc.Now, dc.BootID, dc.ReserveBytes = time.Now, "boot", 0
	logger := slog.New(slog.DiscardHandler)
	dir, err := storage.OpenDir(storage.OSFS{}, path, dc, logger)
	if err != nil {
		b.Fatal(err)
	}
	cfg.Registration = metadata.RegisterBroker{
		ID: 1, Incarnation: lives, Host: "localhost", Port: 9092,
		Directories: []metadata.DirectoryID{metadata.DirectoryID(dir.Identity().DirectoryID)},
	}
	broker, err = Start(b.Context(), cfg, Dependencies{Dirs: []*storage.Dir{dir}, FS: storage.OSFS{}, RaftID: 1, Now: time.Now, Logger: logger})
	if err != nil {
		b.Fatal(err)
	}
	return broker, func() {
		if err := broker.Stop(b.Context()); err != nil {
			b.Error(err)
		}
		if err := dir.Close(); err != nil {
			b.Error(err)
		}
	}
}

// awaitGroup waits until a group is coordinated.
func awaitGroup(b *testing.B, broker *Broker, id wire.GroupID) {
	b.Helper()
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(time.Millisecond) {
		if _, err := broker.AskGroup(b.Context(), &wire.GroupHistory{Group: id}); err == nil {
			return
		}
	}
	b.Fatal("there is no coordinator")
}

// How many OffsetCommit requests does one partition of the offsets topic take, each of them fsynced?
func BenchmarkOffsetCommits(b *testing.B) {
	for _, groups := range []int{1, 100} {
		for _, callers := range []int{16, 256} {
			b.Run(fmt.Sprintf("groups=%d/callers=%d", groups, callers), func(b *testing.B) {
				broker, stop := startOnDisk(b, b.TempDir())
				defer stop()
				created := broker.CreateTopics(b.Context(), []wire.NewTopic{{Name: "orders", Partitions: 1, ReplicationFactor: 1}}, false)
				if created[0].Err != nil {
					b.Fatal(created[0].Err)
				}
				awaitGroup(b, broker, "g-0")
				b.ReportAllocs()
				b.ResetTimer()
				var done atomic.Int64
				var all sync.WaitGroup
				for n := range callers {
					q := commitOf(wire.GroupID(fmt.Sprint("g-", n%groups)), "orders", 1)
					all.Go(func() {
						for done.Add(1) <= int64(b.N) {
							if reply, err := broker.AskGroup(b.Context(), q); err != nil || reply.Failure() != nil {
								b.Error(err, reply)
								return
							}
						}
					})
				}
				all.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
			})
		}
	}
}

// How long does a coordinator take to load a million offsets?
func BenchmarkLoadAMillionOffsets(b *testing.B) {
	for _, groups := range []int{100, 100_000} {
		b.Run(fmt.Sprintf("groups=%d", groups), func(b *testing.B) {
			const offsets = 1_000_000
			path := b.TempDir()
			broker, stop := startOnDisk(b, path)
			defer stop()
			created := broker.CreateTopics(b.Context(), []wire.NewTopic{{Name: "orders", Partitions: 10_000, ReplicationFactor: 1}}, false)
			if created[0].Err != nil {
				b.Fatal(created[0].Err)
			}
			awaitGroup(b, broker, "g-0")
			each := offsets / groups
			var all sync.WaitGroup
			var next atomic.Int64
			for range 64 {
				all.Go(func() {
					for {
						n := next.Add(1) - 1
						if n >= int64(groups) {
							return
						}
						q := &wire.CommitOffsets{Group: wire.GroupID(fmt.Sprint("g-", n)), Generation: wire.NoGeneration}
						for p := range each {
							q.Offsets = append(q.Offsets, wire.OffsetCommit{Topic: "orders", Partition: int32(p), Offset: 1, LeaderEpoch: wire.NoEpoch})
						}
						for {
							reply, err := broker.AskGroup(b.Context(), q)
							if errors.Is(err, wire.CoordinatorNotAvailable) {
								continue // too much at once
							}
							if err != nil || reply.Failure() != nil {
								b.Error(err, reply)
								return
							}
							break
						}
					}
				})
			}
			all.Wait()
			b.ReportAllocs()
			for b.Loop() {
				shard, err := broker.groups.shardOf("g-0")
				if err != nil {
					b.Fatal(err)
				}
				broker.root.Stop(shard.pid)
				<-shard.gone
				awaitGroup(b, broker, "g-0")
			}
			b.ReportMetric(offsets*float64(b.N)/b.Elapsed().Seconds(), "offsets/s")
		})
	}
}
