package actors

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// ledBy counts the partitions of a topic that a broker leads, as one that runs knows them.
func (cl *cluster) ledBy(id wire.BrokerID, topic wire.TopicID, partitions int32) (led int) {
	for n := range partitions {
		if p, _ := cl.any().View().Partition(topic, n); p.Leader == id {
			led++
		}
	}
	return led
}

func TestLeadersReturnToABrokerWithinAMinuteOfItsComingBack(t *testing.T) {
	for id := range wire.BrokerID(3) { // the first one is the controller
		synctest.Test(t, func(t *testing.T) {
			cl := startCluster(t, 3)
			defer cl.end()
			cl.awaitVoters(1, 2, 3)
			const partitions = 6
			topic := cl.topic("orders", partitions)
			victim := id + 1
			if led := cl.ledBy(victim, topic, partitions); led != 2 {
				t.Fatalf("broker %d leads %d of %d partitions", victim, led, partitions)
			}
			cl.kill(victim)
			cl.await("others lead", func() bool { return cl.ledBy(victim, topic, partitions) == 0 })
			cl.start(victim)
			cl.awaitAtMost(time.Minute, "it leads again what it is the preferred leader of", func() bool {
				for n := range int32(partitions) {
					for _, b := range cl.members {
						if p, _ := b.View().Partition(topic, n); p.Leader != p.Replicas[0] {
							return false
						}
					}
				}
				return true
			})
		})
	}
}
