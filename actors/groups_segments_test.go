package actors

import (
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

// What a coordinator emits is never divided and never reverted: a log that refused it would be the end of all its groups.
func TestWhatAGroupEmitsMayBeLargerThanASegment(t *testing.T) {
	withOrders(t, func(t *testing.T, c *company) {
		c.commits("billing", "orders", 1)
		c.alter(wire.ConfigResource{Type: wire.ConfigTopic, Name: wire.OffsetsTopic}, "segment.bytes=1048576")
		shard := c.shard("billing")
		if reply, err := c.AskGroup(t.Context(), largeCommitOf("billing", "orders", 2, 5_000)); err != nil || reply.Failure() != nil {
			t.Errorf("a commit of 2 MB: %v", err)
		}
		if c.shard("billing") != shard {
			t.Error("the groups were loaded anew")
		}
		c.root.Stop(shard.pid)
		c.expectCommitted("billing", "orders", 2)
	})
}
