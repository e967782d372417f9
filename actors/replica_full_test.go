package actors

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/storage/faultfs"
	"github.com/troupe-mq/troupe/wire"
)

// busiest is where brokers log when a test wants to know how often a warning or an error comes within a
// second.
type busiest struct {
	mu   sync.Mutex
	last map[string][]time.Time
	most map[string]int
}

func (b *busiest) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (b *busiest) WithAttrs([]slog.Attr) slog.Handler           { return b }
func (b *busiest) WithGroup(string) slog.Handler                { return b }

func (b *busiest) Handle(_ context.Context, r slog.Record) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	recent := []time.Time{time.Now()}
	for _, at := range b.last[r.Message] {
		if time.Since(at) < time.Second {
			recent = append(recent, at)
		}
	}
	b.last[r.Message] = recent
	b.most[r.Message] = max(b.most[r.Message], len(recent))
	return nil
}

func TestAFollowerWithAFullDiskIsQuietAndCatchesUpWhenThereIsRoom(t *testing.T) {
	for name, fill := range map[string]func(*faultfs.FS){
		"no space": func(disk *faultfs.FS) { disk.SetFree(0) },
		"failing writes": func(disk *faultfs.FS) {
			disk.Fail(faultfs.Rule{
				Kind: faultfs.Write, Times: -1, Err: syscall.ENOSPC,
				Match: func(name string) bool { return strings.Contains(name, "/orders-0/") && strings.HasSuffix(name, ".log") },
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			logged, before := &busiest{last: make(map[string][]time.Time), most: make(map[string]int)}, clusterLog
			clusterLog = slog.New(logged)
			t.Cleanup(func() { clusterLog = before })
			synctest.Test(t, func(t *testing.T) {
				cl := startCluster(t, 3)
				defer cl.end()
				cl.awaitVoters(1, 2, 3)
				topic := cl.smallTopic(3)
				cl.fours(topic, 1)
				full := cl.members[cl.afterLeader(topic)]
				fill(full.disk)
				var r replies
				for slot := range 1500 {
					cl.leader(topic, 0).produce(&r, slot, topic, wire.AcksLeader, recordsOf(4, wire.NoProducer, 0))
					time.Sleep(20 * time.Millisecond)
				}
				end := cl.leader(topic, 0).routes.find(topic, 0).current().EndOffset()
				if got := full.routes.find(topic, 0).current().EndOffset(); got != 4 || end != 6004 {
					t.Errorf("the follower ends at %d, the leader at %d", got, end)
				}
				logged.mu.Lock()
				if logged.most["batches of the leader cannot be appended"] == 0 {
					t.Error("nothing was said of it")
				}
				for message, n := range logged.most {
					if n > 1 {
						t.Errorf("%q was logged %d times within a second", message, n)
					}
				}
				logged.mu.Unlock()
				full.disk.Heal()
				full.disk.SetFree(1 << 40)
				cl.inSync(topic, 1, 3)
				cl.reaches(topic, 3, 0, end)
			})
		})
	}
}
