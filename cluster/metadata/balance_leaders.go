package metadata

import "github.com/troupe-mq/troupe/wire"

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
	var changes []PartitionChange
	seen := make(map[wire.BrokerID]bool, len(c.To))
	for _, id := range c.To {
		if !seen[id] {
			changes = img.giveBack(id, changes, limit)
		}
		seen[id] = true
	}
	return Decision{Records: changed(changes), Reply: len(changes)}
}

// giveBack adds what makes a broker the leader where it is preferred.
func (img *Image) giveBack(id wire.BrokerID, changes []PartitionChange, limit int) []PartitionChange {
	if !img.usable(id) || img.broker(id).Draining {
		return changes
	}
	for t, p := range img.hosted(id) {
		if len(changes) >= limit {
			break
		}
		if p.replicas[0] != id || p.leader <= 0 { // a partition without a leader has nobody in sync
			continue
		}
		if r := img.rulesOf(t, img.standing); r.prefer(&p) {
			changes = append(changes, p.change())
		}
	}
	return changes
}
