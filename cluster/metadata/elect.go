package metadata

// rules decides the next state of partitions of one topic.
type rules struct {
	standing standings // after the change that is being decided
	minISR   int
	unclean  bool // whether a replica may lead that may lack what was committed
	asks     bool // whether it is asked first how far the replicas are
	reports  func(p *partition, replica int) (ReplicaReport, bool)
	haste    haste
}

// haste is which replicas are waited for where a partition waits for reports.
type haste int8

const (
	allReplicas    haste = iota
	usableReplicas       // those that could lead now: the others have had their time
	noReplicas           // an operator has decided
)

// standing is what a replica may do.
type standing int8

// standings tells the standing of a partition's replica.
type standings func(p *partition, replica int) standing

const (
	shutOut standing = iota // lost, or on a broker that is fenced: nothing
	going                   // shutting down: goes on leading what nobody else can
	usable                  // leads and joins
)

func (img *Image) rulesOf(t *topic, standing standings) rules {
	return rules{
		standing: standing, minISR: img.minISR(t), unclean: img.uncleanElection(t),
		asks: img.featureLevel(MetadataVersion) >= versionReports, reports: img.reportOf,
	}
}

func (img *Image) standing(p *partition, replica int) standing {
	if img.lost(p, replica) {
		return shutOut
	}
	b := img.broker(p.replicas[replica])
	return standingOf(b.Fenced, b.ShuttingDown)
}

func (img *Image) leaderStanding(p *partition) standing { return img.standing(p, int(p.leader)) }

// lost says that a replica is of no use whatever its broker does: its directory does not work, or the
// broker cannot open its log.
func (img *Image) lost(p *partition, replica int) bool {
	b := img.broker(p.replicas[replica])
	return b == nil || b.offline(p.dirs[replica]) || b.hasFailed(p.ref())
}

func standingOf(fenced, shuttingDown bool) standing {
	switch {
	case fenced:
		return shutOut
	case shuttingDown:
		return going
	}
	return usable
}

// next completes the next state of a partition whose sets were changed: it elects where the leader
// cannot go on. Every state gets a new partition epoch, even one that is the same otherwise:
// proposals made before it are void, and their leader learns that.
func (r *rules) next(p *partition) PartitionChange {
	switch {
	case p.leader == noLeader || !p.isr.has(int(p.leader)) || r.leaderStanding(p) == shutOut:
		r.elect(p)
	case r.leaderStanding(p) == going && r.firstUsable(p, p.isr) != noLeader:
		r.leave(p, 1<<p.leader) // it waited for somebody to take over
		r.elect(p)
	}
	if p.isr.size() >= r.enough(p) {
		p.elr, p.lastKnownELR = 0, 0 // the ISR commits without them, a leader out of the ELR too
	}
	return p.change()
}

func (r *rules) leaderStanding(p *partition) standing {
	return r.standing(p, int(p.leader))
}

// enough is the number of ISR members that can commit. Replicas on their way in do not count: a
// partition with one replica would accept nothing until the second has caught up.
func (r *rules) enough(p *partition) int { return p.enough(r.minISR) }

func (p *partition) enough(minISR int) int {
	return min(minISR, len(p.replicas)-p.adding.size())
}

// elect looks for a leader, in a new leader epoch: the first usable member of the ISR; if the ISR is
// empty, one of the ELR, which alone is the ISR then; failing that the last known leader, if no one
// can say more, or where the topic allows that the one that has most, marked unclean.
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
	if r.unclean && r.asks && p.leader == noLeader {
		p.awaiting = true
	}
	switch {
	case p.leader != noLeader:
	case p.awaiting:
		p.leader = r.mostComplete(p)
		p.unclean = true
	case r.unclean:
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
	p.lastKnownELR, p.awaiting = 0, false
	if p.unclean {
		p.isr, p.elr = leader, 0
	}
}

func (r *rules) firstUsable(p *partition, candidates ReplicaSet) int8 {
	for i := range p.replicas {
		if candidates.has(i) && r.standing(p, i) == usable {
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

// doubt takes a replica out of the ISR and the ELR: it may lack the last of what it had. When
// nobody is left, it may still lead as the last one that is known to have led.
func (p *partition) doubt(member ReplicaSet) {
	had := p.isr | p.elr
	p.forget(member)
	if had&member != 0 && p.isr|p.elr == 0 {
		p.lastKnownELR = member
	}
}

// forget takes a replica out of everything: it has lost all that it had.
func (p *partition) forget(member ReplicaSet) {
	p.isr &^= member
	p.elr &^= member
	p.lastKnownELR &^= member
}
