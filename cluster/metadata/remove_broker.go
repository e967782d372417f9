package metadata

import (
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// RemoveBroker takes a broker out of the cluster for good. It is asked again and again until it is
// done: each time another batch of what the broker has begins its way to others; once it has
// nothing, it is removed, and its directories never come back. The reply is a RemovedBroker.
type RemoveBroker struct {
	Broker wire.BrokerID
	Cancel bool // it stays; what is on its way goes on
}

// RemovedBroker tells how far it is.
type RemovedBroker struct {
	Err    error
	Left   int // partitions that it still has replicas of
	Moving int // those of them that are on their way
	Done   bool
}

// removalBatch bounds how many partitions of a broker are on their way at once: each is copied over
// the network.
const removalBatch = 100

// Decide implements Command.
func (c RemoveBroker) Decide(img *Image, env Env) Decision {
	b := img.broker(c.Broker)
	if b == nil {
		return Decision{Reply: RemovedBroker{Err: brokerUnknown(c.Broker)}}
	}
	state := BrokerChanged{Broker: b.ID, Epoch: b.Epoch, Fenced: b.Fenced, ShuttingDown: b.ShuttingDown, Draining: !c.Cancel}
	var records []Record
	if b.Draining != state.Draining {
		records = append(records, &state)
	}
	if c.Cancel {
		return Decision{Records: records, Reply: RemovedBroker{}}
	}
	others := img.without(b.ID)
	if err := img.checkRemoval(b, others); err != nil {
		return Decision{Reply: RemovedBroker{Err: err}}
	}
	if b.topics.len() == 0 {
		if !b.Draining || env.Self == b.ID {
			// Its vote goes to another first, and with it the controller.
			return Decision{Records: records, Reply: RemovedBroker{}}
		}
		return Decision{
			Records: []Record{&BrokerRemoved{Broker: b.ID, Epoch: b.Epoch}},
			Reply:   RemovedBroker{Done: true},
		}
	}
	var reply RemovedBroker
	var moves []partition
	for _, p := range img.hosted(b.ID) {
		reply.Left++
		switch {
		case p.removing&p.member(b.ID) != 0:
			reply.Moving++
		case len(moves) < removalBatch && len(p.replicas)-p.removing.size() <= len(others):
			moves = append(moves, p)
		}
	}
	moves = moves[:min(len(moves), max(0, removalBatch-reply.Moving))]
	reply.Moving += len(moves)
	changes, err := img.moveAway(b.ID, others, moves)
	if err != nil {
		return Decision{Reply: RemovedBroker{Err: err, Left: reply.Left}}
	}
	return Decision{Records: append(records, changed(changes)...), Reply: reply}
}

// without returns the brokers that could take over from one: registered, and not on their way out.
func (img *Image) without(id wire.BrokerID) []*broker {
	return slices.DeleteFunc(slices.Clone(img.brokers), func(b *broker) bool { return b.ID == id || b.Draining })
}

// checkRemoval says why a broker cannot go: the rest could not hold as many replicas as there are.
func (img *Image) checkRemoval(b *broker, others []*broker) error {
	if len(others) == 0 {
		return wire.Errorf(wire.InvalidRequest, "broker %d is the last one", b.ID)
	}
	for t, p := range img.hosted(b.ID) {
		if factor := len(p.target()); factor > len(others) {
			return wire.Errorf(wire.InvalidReplicationFactor,
				"%s-%d has %d replicas, and without broker %d there are %d brokers", t.name, p.number, factor, b.ID, len(others))
		}
	}
	return nil
}

// target returns the replicas that a partition will have.
func (p *partition) target() []wire.BrokerID { return p.brokers(p.all() &^ p.removing) }

// moveAway gives each partition another replica in the place of that broker's: on the broker that is
// in a rack of its own, and otherwise on the one with the least to do.
func (img *Image) moveAway(from wire.BrokerID, others []*broker, moves []partition) ([]PartitionChange, error) {
	if len(moves) == 0 {
		return nil, nil
	}
	load := img.replicaLoad()
	changes := make([]PartitionChange, 0, len(moves))
	for _, p := range moves {
		target := slices.Clone(p.target())
		at := slices.Index(target, from)
		to := img.least(others, load, slices.Delete(slices.Clone(target), at, at+1))
		if to == nil {
			return nil, wire.Errorf(wire.InvalidReplicaAssignment,
				"%s-%d has nowhere to go: the other brokers are fenced or have it already", img.topic(p.topic).name, p.number)
		}
		load[to.ID]++
		target[at] = to.ID
		img.reassign(&p, target)
		if len(p.replicas) > MaxReplicas {
			continue // it has to finish something else first
		}
		r := img.rulesOf(img.topic(p.topic), img.standing)
		img.arrived(&p)
		changes = append(changes, r.next(&p))
	}
	return changes, nil
}

// replicaLoad counts the replicas of each broker.
func (img *Image) replicaLoad() map[wire.BrokerID]int {
	load := make(map[wire.BrokerID]int, len(img.brokers))
	for t := range img.topics.all() {
		for _, c := range t.chunks {
			for _, id := range c.replicas {
				load[id]++
			}
		}
	}
	return load
}

// least returns the usable broker that a replica beside those others goes to, or nil.
func (img *Image) least(brokers []*broker, load map[wire.BrokerID]int, beside []wire.BrokerID) (best *broker) {
	racks := make(map[string]bool, len(beside))
	for _, id := range beside {
		racks[img.broker(id).Rack] = true
	}
	for _, b := range brokers {
		if !b.Usable() || slices.Contains(beside, b.ID) {
			continue
		}
		if best == nil || !racks[b.Rack] && racks[best.Rack] || racks[b.Rack] == racks[best.Rack] && load[b.ID] < load[best.ID] {
			best = b
		}
	}
	return best
}
