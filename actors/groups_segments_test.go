package actors

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/wire"
)

// What a coordinator emits is never divided and never reverted: a log that refused it would be the end of all its groups.
func TestWhatAGroupEmitsMayBeLargerThanASegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		c.topic("orders", 1)
		c.commits("billing", "orders", 1)
		smallest := "1048576"
		for _, err := range c.AlterConfigs(t.Context(), []wire.AlterConfigs{{
			Resource: wire.ConfigResource{Type: wire.ConfigTopic, Name: wire.OffsetsTopic},
			Changes:  []wire.ConfigChange{{Name: "segment.bytes", Value: &smallest}},
		}}, false) {
			if err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		shard := c.shard("billing")
		large := commitOf("billing", "orders", 2)
		for range 5_000 {
			large.Offsets = append(large.Offsets, wire.OffsetCommit{Topic: "orders", Offset: 2, LeaderEpoch: wire.NoEpoch, Metadata: strings.Repeat("m", 400)})
		}
		if reply, err := c.AskGroup(t.Context(), large); err != nil || reply.Failure() != nil {
			t.Errorf("a commit of 2 MB: %v", err)
		}
		if c.shard("billing") != shard {
			t.Error("the groups were loaded anew")
		}
		c.root.Stop(shard.pid)
		if got := c.committed("billing", "orders"); got != 2 {
			t.Errorf("offset %d, want 2", got)
		}
	})
}
