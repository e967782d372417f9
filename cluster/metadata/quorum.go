package metadata

import (
	"cmp"
	"slices"
	"time"
)

// Quorum chooses the voters of the metadata log: 1, 3 or 5 by the number of registered brokers, so
// that a failure never lowers it, and up to two learners more that stand by with a warm log.
//
//	registered  1-2   3-6   7-
//	voters       1     3     5
//
// The number changes by two at once, in one joint change: a group of two would be less available than
// one of one. The very first growth waits for nothing but the learners' logs, since until then the
// death of the founder stops the metadata. A voter that is dead for a while, or whose raft id belongs
// to no broker any more, is replaced in one change, and never removed without replacement, unless its
// broker was. A leader whose broker is being removed hands over even before its vote can go to another:
// the removal waits for that. A raft id is all that raft knows: the registrations say whose it is.
//
// It is soft state: a new controller begins with an empty one. One goroutine uses it.
type Quorum struct {
	MaxVoters int // 0 for 5

	healthy map[uint64]time.Time // since when a learner has kept up
}

// The times and distances of Quorum.
const (
	standbys     = 2
	stableAfter  = 10 * time.Second // a learner that has kept up for so long may vote
	deadAfter    = 30 * time.Second // a voter that was not heard for so long is replaced
	recently     = time.Second      // a member that was heard within is alive
	caughtUpWith = 250              // entries behind the commit index count as caught up
)

// RaftMember is one voter or learner as the leader of the metadata log sees it.
type RaftMember struct {
	ID      uint64
	Learner bool
	Match   uint64        // index up to which its log is known to be the leader's
	Silent  time.Duration // since it was last heard; 0 for the leader itself
}

// RaftState is what the leader of the metadata log knows about its group.
type RaftState struct {
	Self     uint64 // the leader
	Commit   uint64
	Changing bool // a change of the group is under way, or it is in a joint configuration
	Members  []RaftMember
}

// VoterChange is what the leader of the metadata log is to do next: either hand over to another
// voter, or change the group, all in one change. Whoever is added as a voter is a learner before; who
// is removed leaves the group altogether.
type VoterChange struct {
	TransferTo     uint64 // 0: no
	AddVoters      []uint64
	RemoveVoters   []uint64
	AddLearners    []uint64
	RemoveLearners []uint64
}

// Next returns the next change, or nil if all is as it should be or has to wait.
func (q *Quorum) Next(img *Image, s RaftState, live *Liveness, now time.Time) *VoterChange {
	g := group{img: img, state: s, live: live, now: now, target: q.target(len(img.brokers))}
	for _, m := range s.Members {
		if m.Learner {
			g.learners = append(g.learners, m)
		} else {
			g.voters = append(g.voters, m)
		}
	}
	q.watch(&g)
	if s.Changing {
		return nil
	}
	for _, next := range []func(*group) *VoterChange{q.yield, q.resize, q.replace, q.standby} {
		if change := next(&g); change != nil {
			return change
		}
	}
	return nil
}

func (q *Quorum) target(brokers int) int {
	n := 5
	switch {
	case brokers < 3:
		n = 1
	case brokers < 7:
		n = 3
	}
	return min(n, cmp.Or(q.MaxVoters, 5))
}

// watch notes since when each learner has kept up.
func (q *Quorum) watch(g *group) {
	healthy := make(map[uint64]time.Time, len(g.learners))
	for _, m := range g.learners {
		since, before := q.healthy[m.ID]
		if !before {
			since = g.now
		}
		if g.keepsUp(m) {
			healthy[m.ID] = since
		}
	}
	q.healthy = healthy
}

// group is what one decision is made on.
type group struct {
	img    *Image
	state  RaftState
	live   *Liveness
	now    time.Time
	target int

	voters, learners []RaftMember
}

// owner returns the broker that a raft id belongs to, or nil.
func (g *group) owner(id uint64) *broker {
	if id == 0 {
		return nil
	}
	i := slices.IndexFunc(g.img.brokers, func(b *broker) bool { return b.RaftID == id })
	if i < 0 {
		return nil
	}
	return g.img.brokers[i]
}

// fit says that a member may become a voter or stand by: its broker takes part.
func (g *group) fit(id uint64) bool {
	b := g.owner(id)
	return b != nil && !b.Fenced && !b.ShuttingDown && !b.Draining
}

func (g *group) keepsUp(m RaftMember) bool {
	return g.alive(m) && m.Match+caughtUpWith >= g.state.Commit && g.fit(m.ID)
}

func (g *group) alive(m RaftMember) bool { return m.ID == g.state.Self || m.Silent < recently }

// dead says that a member is to be replaced: it will not come back, or not soon.
func (g *group) dead(m RaftMember) bool {
	b := g.owner(m.ID)
	if b == nil || b.Draining {
		return true
	}
	return m.ID != g.state.Self && m.Silent >= deadAfter && g.live.FencedFor(b.ID, g.now) >= deadAfter
}

// candidates returns the learners that may become voters, the best first: those that bring a rack
// that the other voters are not in, then those whose brokers have less to do.
func (q *Quorum) candidates(g *group, wait time.Duration, voters []RaftMember) []uint64 {
	var ids []uint64
	for _, m := range g.learners {
		if since, ok := q.healthy[m.ID]; ok && g.now.Sub(since) >= wait {
			ids = append(ids, m.ID)
		}
	}
	return g.spread(ids, voters)
}

// spread orders raft ids so that each brings a rack that is rarest among those before it.
func (g *group) spread(ids []uint64, beside []RaftMember) []uint64 {
	racks := make(map[string]int)
	for _, m := range beside {
		if b := g.owner(m.ID); b != nil {
			racks[b.Rack]++
		}
	}
	ordered := make([]uint64, 0, len(ids))
	for rest := slices.Clone(ids); len(rest) > 0; {
		best := slices.MinFunc(rest, func(x, y uint64) int {
			a, b := g.owner(x), g.owner(y)
			return cmp.Or(cmp.Compare(racks[a.Rack], racks[b.Rack]), cmp.Compare(a.topics.len(), b.topics.len()), cmp.Compare(a.ID, b.ID))
		})
		racks[g.owner(best).Rack]++
		ordered = append(ordered, best)
		rest = slices.DeleteFunc(rest, func(id uint64) bool { return id == best })
	}
	return ordered
}

// yield hands over when the leader's own broker is on its way out. Nothing else has to be possible: the
// broker is not removed before it leads no more, and the group does not shrink before it is removed.
func (q *Quorum) yield(g *group) *VoterChange {
	if b := g.owner(g.state.Self); b != nil && !b.Draining {
		return nil
	}
	return g.handOver(nil)
}

// resize brings the number of voters nearer to what it should be.
func (q *Quorum) resize(g *group) *VoterChange {
	n := len(g.voters)
	switch {
	case n < g.target:
		wait := stableAfter
		if n == 1 {
			wait = 0
		}
		more := 2 - (n+1)%2 // from an odd number to the next
		candidates := q.candidates(g, wait, g.voters)
		if len(candidates) < more {
			return nil
		}
		change := &VoterChange{AddVoters: candidates[:more]}
		if !g.safe(change) {
			return nil
		}
		return change
	case n > g.target: // brokers were removed
		surplus := slices.Clone(g.voters)
		slices.SortStableFunc(surplus, func(a, b RaftMember) int {
			return cmp.Or(first(g.dead(a), g.dead(b)), first(!g.fit(a.ID), !g.fit(b.ID)),
				first(a.ID != g.state.Self, b.ID != g.state.Self), cmp.Compare(b.Silent, a.Silent))
		})
		change := &VoterChange{}
		for _, m := range surplus[:min(2-(n+1)%2, n-g.target)] {
			change.RemoveVoters = append(change.RemoveVoters, m.ID)
		}
		return g.handedOver(change)
	}
	return nil
}

// first orders those for whom something is so before the others.
func first(a, b bool) int {
	switch {
	case a && !b:
		return -1
	case b && !a:
		return 1
	}
	return 0
}

// replace puts a learner in the place of a voter that is dead, one at a time.
func (q *Quorum) replace(g *group) *VoterChange {
	i := slices.IndexFunc(g.voters, g.dead)
	if i < 0 || len(g.voters) > g.target {
		return nil
	}
	others := slices.Delete(slices.Clone(g.voters), i, i+1)
	candidates := q.candidates(g, stableAfter, others)
	if len(candidates) == 0 {
		return nil
	}
	return g.handedOver(&VoterChange{AddVoters: candidates[:1], RemoveVoters: []uint64{g.voters[i].ID}})
}

// handedOver returns the change, if it can be made; where it would remove the leader, that one hands
// over first.
func (g *group) handedOver(change *VoterChange) *VoterChange {
	if !g.safe(change) {
		return nil
	}
	if !slices.Contains(change.RemoveVoters, g.state.Self) {
		return change
	}
	if len(g.voters) == 1 {
		return change // there is nobody yet; the leader steps down once it is out
	}
	return g.handOver(change.RemoveVoters)
}

// handOver lets another voter lead that keeps up and is not one of those that go; nil if there is none.
func (g *group) handOver(going []uint64) *VoterChange {
	for _, m := range g.voters {
		if m.ID != g.state.Self && !slices.Contains(going, m.ID) && g.keepsUp(m) {
			return &VoterChange{TransferTo: m.ID}
		}
	}
	return nil
}

// safe says that those who live are a majority of the voters before and of those after.
func (g *group) safe(change *VoterChange) bool {
	alive, before := 0, len(g.voters)
	removed, removedAlive := 0, 0
	for _, m := range g.voters {
		lives, leaves := g.alive(m), slices.Contains(change.RemoveVoters, m.ID)
		if lives {
			alive++
		}
		if leaves {
			removed++
		}
		if lives && leaves {
			removedAlive++
		}
	}
	after := before - removed + len(change.AddVoters)
	return alive > before/2 && alive-removedAlive+len(change.AddVoters) > after/2
}

// standby keeps as many learners as are needed to grow, and some more in case a voter dies.
func (q *Quorum) standby(g *group) *VoterChange {
	wanted := standbys + max(0, g.target-len(g.voters))
	change := &VoterChange{}
	var kept []RaftMember
	var newcomers []uint64
	for _, b := range g.img.brokers {
		if b.RaftID != 0 && g.fit(b.RaftID) && !slices.ContainsFunc(g.state.Members, func(m RaftMember) bool { return m.ID == b.RaftID }) {
			newcomers = append(newcomers, b.RaftID)
		}
	}
	newcomers = g.spread(newcomers, g.state.Members)
	for _, m := range g.learners {
		switch {
		case g.owner(m.ID) == nil, g.owner(m.ID).Draining, g.dead(m) && len(newcomers) > 0:
			change.RemoveLearners = append(change.RemoveLearners, m.ID)
		default:
			kept = append(kept, m)
		}
	}
	for len(kept) > wanted {
		last := slices.IndexFunc(kept, func(m RaftMember) bool { return !g.keepsUp(m) })
		if last < 0 {
			last = len(kept) - 1
		}
		change.RemoveLearners = append(change.RemoveLearners, kept[last].ID)
		kept = slices.Delete(kept, last, last+1)
	}
	change.AddLearners = newcomers[:min(len(newcomers), wanted-len(kept))]
	if len(change.AddLearners) == 0 && len(change.RemoveLearners) == 0 {
		return nil
	}
	return change
}
