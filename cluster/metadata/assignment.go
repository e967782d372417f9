package metadata

import (
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// A reassignment takes a partition from some replicas to others without ever having fewer in sync:
//
//	replicas       adding  removing
//	1 2 3                             before
//	4 5 3 1 2      4 5     1 2        on its way: the target first, then what goes
//	4 5 3                             once 4 and 5 are in the ISR
//
// A replica is both where a second reassignment begins before the first is done and does not want
// what that one added: whether it completes or is cancelled, that replica goes.

// reassign makes the target the partition's replicas, once those who are new to it have caught up.
func (img *Image) reassign(p *partition, target []wire.BrokerID) {
	original := p.brokers(p.all() &^ p.adding)
	union := slices.Clone(target)
	for _, id := range p.replicas {
		if !slices.Contains(union, id) {
			union = append(union, id)
		}
	}
	img.assign(p, union)
	p.adding, p.removing = 0, 0
	for i, id := range union {
		if !slices.Contains(original, id) {
			p.adding |= 1 << i
		}
		if !slices.Contains(target, id) {
			p.removing |= 1 << i
		}
	}
}

// assign gives the partition other replicas: the sets follow, and a leader that is not among them is
// none any more.
func (img *Image) assign(p *partition, replicas []wire.BrokerID) {
	old := *p
	p.replicas, p.dirs, p.assigned = replicas, make([]directory, len(replicas)), true
	sets := []struct {
		from ReplicaSet
		to   *ReplicaSet
	}{
		{old.isr, &p.isr},
		{old.elr, &p.elr},
		{old.lastKnownELR, &p.lastKnownELR},
		{old.adding, &p.adding},
		{old.removing, &p.removing},
	}
	for _, set := range sets {
		*set.to = 0
	}
	p.leader = noLeader
	for i, id := range replicas {
		j := slices.Index(old.replicas, id)
		if j < 0 {
			p.dirs[i] = img.broker(id).nextDirectory(int(p.topic) + int(p.number))
			continue
		}
		p.dirs[i] = old.dirs[j]
		for _, set := range sets {
			if set.from.has(j) {
				*set.to |= 1 << i
			}
		}
		if int(old.leader) == j {
			p.leader = int8(i)
		}
	}
}

// nextDirectory returns one of the broker's directories that work, in turn; 0 if there is none.
func (r *Registration) nextDirectory(turn int) directory {
	working := r.working()
	if len(working) == 0 {
		return 0
	}
	return working[turn%len(working)]
}

// takeOff takes replicas off the assignment. That raises the leader epoch, even where the leader
// stays: what the old one still has under way cannot count any more.
func (img *Image) takeOff(p *partition, off ReplicaSet) {
	img.assign(p, slices.Clone(p.brokers(p.all()&^off)))
	p.adding, p.removing = 0, 0
	p.unclean = false
	p.leaderEpoch++
}

// arrived completes a reassignment, and says whether it did: all that is added is in sync, and
// somebody is who stays.
func (img *Image) arrived(p *partition) bool {
	waiting := p.adding &^ p.removing &^ p.isr
	if p.adding|p.removing == 0 || waiting != 0 || p.isr&^p.removing == 0 {
		return false
	}
	if p.removing != 0 {
		img.takeOff(p, p.removing)
	} else {
		p.adding, p.assigned = 0, true
	}
	return true
}
