package actors

import (
	"testing"
	"time"

	"github.com/troupe-mq/troupe/cluster/group"
	"github.com/troupe-mq/troupe/wire"
)

func TestGroupsThatCannotBeFoldedDoNotEndTheBroker(t *testing.T) {
	withOrders(t, func(t *testing.T, c *company) {
		c.commits("billing", "orders", 5)
		healthy := c.groups.config.Load()
		c.groups.config.Store(&group.Config{}) // the rules panic
		c.root.Stop(c.shard("billing").pid)
		time.Sleep(time.Minute)
		if _, err := c.AskGroup(t.Context(), fetchOf("billing", "orders")); !wire.Code(err).Retriable() {
			t.Errorf("a fetch meanwhile: %v", err)
		}
		c.groups.config.Store(healthy)
		c.expectCommitted("billing", "orders", 5)
	})
}
