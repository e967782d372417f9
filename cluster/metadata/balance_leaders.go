package metadata

import (
	"iter"

	"github.com/troupe-mq/troupe/wire"
)

// BalanceLeaders gives leaderships back to the preferred leaders, some at a time. The controller asks
// for it now and then, and says which brokers have been well for a while: moving leaders to one that
// comes and goes would make it worse. The reply is the number of leaderships moved.
type BalanceLeaders struct {
	To    []wire.BrokerID
	Limit int32 // 0 for BalanceBatch
}

// BalanceBatch is how many leaderships one BalanceLeaders moves: each costs its clients a retry.
const BalanceBatch = 500

// Decide implements Command.
func (c BalanceLeaders) Decide(img *Image, _ Env) Decision {
	limit := int(c.Limit)
	if limit <= 0 || limit > MaxPartitionsPerRequest {
		limit = BalanceBatch
	}
	to := make(map[wire.BrokerID]bool, len(c.To))
	for _, id := range c.To {
		to[id] = img.usable(id) && !img.broker(id).Draining
	}
	var changes []PartitionChange
	for t, p := range img.strayed() {
		if !to[p.replicas[0]] {
			continue
		}
		if r := img.rulesOf(t, img.standing); r.prefer(&p) {
			changes = append(changes, p.change())
		}
		if len(changes) == limit {
			break
		}
	}
	return Decision{Records: changed(changes), Reply: len(changes)}
}

// strayed walks the partitions that another than the preferred leader leads. It looks at all there are,
// so it looks at little of each.
func (img *Image) strayed() iter.Seq2[*topic, partition] {
	return func(yield func(*topic, partition) bool) {
		for t := range img.topics.all() {
			for i, c := range t.chunks {
				for j := range c.states {
					if c.states[j].leader > 0 && !yield(t, c.partition(t, int32(i*chunkPartitions+j))) {
						return
					}
				}
			}
		}
	}
}
