package actors

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/cluster/group"
	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/wire"
)

func TestGroupsThatCannotBeFoldedDoNotEndTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		c.topic("orders", 1)
		c.commits("billing", "orders", 5)
		healthy := c.groups.config.Load()
		c.groups.config.Store(&group.Config{}) // the rules panic
		c.root.Stop(c.shard("billing").pid)
		time.Sleep(time.Minute)
		if _, err := c.AskGroup(t.Context(), fetchOf("billing", "orders")); !wire.Code(err).Retriable() {
			t.Errorf("a fetch meanwhile: %v", err)
		}
		c.groups.config.Store(healthy)
		if got := c.committed("billing", "orders"); got != 5 {
			t.Errorf("offset %d, want 5", got)
		}
	})
}
