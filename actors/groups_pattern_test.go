package actors

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/wire"
)

func TestAPatternIsMatchedAgainstTheTopicsOfABrokerAndThoseThatComeLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		c.topic("orders-eu", 1)
		c.topic("returns", 1)
		pattern := "orders-.*"
		q := &wire.ConsumerHeartbeat{
			Group: "billing", Member: "m", MemberEpoch: wire.MemberJoins, RebalanceTimeout: time.Minute,
			Subscribed: true, Pattern: &pattern, OwnedTold: true,
		}
		for _, step := range []struct {
			topic string
			want  int
		}{{"shipments", 1}, {"orders-us", 2}} {
			c.topic(step.topic, 1)
			time.Sleep(time.Second) // virtual
			reply, err := c.asks(q)
			if err != nil || reply.Failure() != nil {
				t.Fatal(err, reply)
			}
			beat := reply.(*wire.ConsumerHeartbeatReply)
			if len(beat.Assignment) != step.want {
				t.Errorf("with topic %s the assignment is %+v", step.topic, beat.Assignment)
			}
			q = &wire.ConsumerHeartbeat{Group: "billing", Member: "m", MemberEpoch: beat.MemberEpoch, OwnedTold: true, Owned: beat.Assignment}
		}
	})
}
