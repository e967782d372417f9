package metadata

import "github.com/troupe-mq/troupe/wire"

// rules decides the next state of partitions of one topic.
type rules struct {
	img     *Image
	usable  func(wire.BrokerID) bool // after the change that is being decided
	minISR  int
	unclean bool // whether a replica may lead that may lack what was committed
}

func (img *Image) rulesOf(t *topic, usable func(wire.BrokerID) bool) rules {
	return rules{img: img, usable: usable, minISR: img.minISR(t), unclean: img.uncleanElection(t)}
}

// next completes the next state of a partition whose sets were changed: it elects where the leader
// cannot go on. Every state gets a new partition epoch, even one that is the same otherwise:
// proposals made before it are void, and their leader learns that.
func (r *rules) next(p *partition) PartitionChange {
	if p.isr.size() >= r.enough(p) {
		p.elr, p.lastKnownELR = 0, 0 // the ISR commits without them
	}
	if p.leader == noLeader || !p.isr.has(int(p.leader)) || !r.usable(p.leaderID()) {
		r.elect(p)
	}
	return p.change()
}

// enough is the number of ISR members that can commit.
func (r *rules) enough(p *partition) int { return min(r.minISR, len(p.replicas)) }

// elect looks for a leader, in a new leader epoch: the first usable member of the ISR; if the ISR is
// empty, one of the ELR, which alone is the ISR then; failing that the last known leader, if no one
// can say more, or anyone where the topic allows that, marked unclean.
func (r *rules) elect(p *partition) {
	p.leaderEpoch++
	p.unclean = false
	candidates := p.isr
	switch {
	case p.isr != 0:
	case p.elr != 0:
		candidates = p.elr
	default:
		candidates = p.lastKnownELR
		p.unclean = true
	}
	p.leader = r.firstUsable(p, candidates)
	if p.leader == noLeader && r.unclean {
		p.leader = r.firstUsable(p, p.all())
		p.unclean = true
	}
	if p.leader == noLeader {
		p.unclean = false
		return
	}
	leader := ReplicaSet(1) << p.leader
	if p.isr&leader == 0 {
		p.isr = leader
	}
	p.elr &^= leader
	p.lastKnownELR = 0
	if p.unclean {
		p.isr, p.elr = leader, 0
	}
}

func (r *rules) firstUsable(p *partition, candidates ReplicaSet) int8 {
	for i, id := range p.replicas {
		if candidates.has(i) && r.usable(id) {
			return int8(i)
		}
	}
	return noLeader
}

// leave takes replicas out of the ISR. Where it is then too small to commit, they stay eligible:
// from then on nothing is committed that they have not.
func (r *rules) leave(p *partition, leaving ReplicaSet) {
	leaving &= p.isr
	if leaving == 0 {
		return
	}
	p.isr &^= leaving
	if p.isr.size() < r.enough(p) {
		p.elr |= leaving
	}
}

// forget takes replicas out of the ISR and the ELR: they may have lost what they had. When nobody
// is left, the last leader is remembered.
func (r *rules) forget(p *partition, lost ReplicaSet) {
	had := p.isr | p.elr
	last := had & lost
	if p.leader != noLeader && last.has(int(p.leader)) {
		last = 1 << p.leader
	}
	p.isr &^= lost
	p.elr &^= lost
	if had != 0 && p.isr|p.elr == 0 {
		p.lastKnownELR = last
	}
}

// ReplicaRestarted tells that a broker began a replica anew within its own lifetime: after a panic,
// or after a log directory came back. It asks for a new leader epoch where the replica led. The
// reply is an error or nil.
type ReplicaRestarted struct {
	Topic       wire.TopicID
	Partition   int32
	Broker      wire.BrokerID
	Incarnation wire.Incarnation
	LeaderEpoch wire.LeaderEpoch // the one that the replica led in
}

// Decide implements Command.
func (c ReplicaRestarted) Decide(img *Image, _ Env) Decision {
	b := img.broker(c.Broker)
	if b == nil {
		return refused(brokerUnknown(c.Broker))
	}
	if b.Incarnation != c.Incarnation {
		return refused(wire.Errorf(wire.StaleBrokerEpoch, "broker %d has begun anew since", c.Broker))
	}
	t := img.topicByID(c.Topic)
	if t == nil {
		return refused(wire.Errorf(wire.UnknownTopicID, "no topic has id %s", c.Topic))
	}
	p, ok := t.partition(c.Partition)
	member := p.member(c.Broker)
	if !ok || member == 0 {
		return refused(wire.Errorf(wire.UnknownTopicOrPartition, "%s-%d is not on broker %d", t.name, c.Partition, c.Broker))
	}
	if p.leaderID() != c.Broker || p.leaderEpoch != c.LeaderEpoch {
		return refused(wire.Errorf(wire.FencedLeaderEpoch, "%s-%d is led by broker %d in leader epoch %d",
			t.name, c.Partition, p.leaderID(), p.leaderEpoch))
	}
	r := img.rulesOf(t, img.usable)
	r.leave(&p, member)
	p.leader = noLeader
	return Decision{Records: []Record{&PartitionsChanged{Changes: []PartitionChange{r.next(&p)}}}, Reply: error(nil)}
}
