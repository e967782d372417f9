package actors

import (
	"testing"
	"testing/synctest"

	"github.com/troupe-mq/troupe/wire"
)

// Two of three voters are enough, also right after they have become voters: each remembers that it is one.
func TestVotersThatRestartWithoutTheFounderElect(t *testing.T) {
	for _, power := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := &havoc{cluster: startCluster(t, 3), rng: newRand(1)}
			defer h.end()
			h.awaitReady()
			h.await("all of them vote", func() bool {
				for _, b := range h.members {
					if len(b.Quorum().Voters) != 3 {
						return false
					}
				}
				return true
			})
			for id := range wire.BrokerID(3) {
				h.crash(id+1, power)
			}
			h.startAll(2, 3)
			h.await("one of them leads", func() bool {
				id := h.members[2].View().Controller()
				return id == 2 || id == 3
			})
		})
	}
}
