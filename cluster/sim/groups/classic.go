package groups

import (
	"errors"
	"slices"
	"time"

	"github.com/troupe-mq/troupe/cluster/sim/play"
	"github.com/troupe-mq/troupe/wire"
)

// The ways of classic members to share partitions out.
const (
	eager       = "range"
	cooperative = "cooperative-sticky"
)

// classicMember is a client that speaks the protocol of JoinGroup and SyncGroup.
//
//	joining ──> syncing ──> stable ──> joining ...
//
// An eager one gives all up before it joins again; a cooperative one goes on with what it has, and gives up afterwards
// what it is to have no longer.
type classicMember struct {
	*client
	protocols  []string
	member     wire.MemberID
	generation wire.GenerationID
	doing      doing
	rejoin     bool            // as soon as it polls
	attempt    int             // joins and syncs of before are void
	seen       int             // the image that the leader assigned by; 0: it does not lead
	late       bool            // it leads without having assigned, and the topics may be others by now
	missed     bool            // a generation: the leader was told that it has what it has no longer
	watched    map[string]bool // the topics that any member of the generation wants
	chosen     string
	stuck      bool // its application polls no more, for the time being
}

// doing is where a classic member stands.
type doing int

const (
	idle doing = iota
	joining
	syncing
	stable
	rebalancing // callbacks run, on the way to joining again
)

func (m *classicMember) identity() (wire.MemberID, wire.GenerationID) { return m.member, m.generation }
func (m *classicMember) modern() bool                                 { return false }

// cooperative says that the member keeps what it has while it joins: as long as it may have to do otherwise it does not.
func (m *classicMember) cooperative() bool {
	return len(m.protocols) == 1 && m.protocols[0] == cooperative
}

func (m *classicMember) begin() {
	m.generation = wire.NoGeneration
	m.join()
	m.beat()
	m.poll()
}

// poll is what an application does again and again. It may not, for long, while heartbeats go on.
func (m *classicMember) poll() {
	w := m.w
	every := w.Between(5*time.Millisecond, 150*time.Millisecond)
	if w.faulty(w.profile.SlowPolls, 1) {
		every = w.Between(time.Second, 2*w.profile.RebalanceTimeout)
		w.stats.SlowPolls++
	}
	w.At(every, m.run, func() {
		if m.doing == stable && m.grown() {
			m.rejoin = true
		}
		if m.doing == stable && m.rejoin && !m.stuck {
			m.prepare()
		}
		m.poll()
	})
}

// grown says that the leader's topics are not those any more that it assigned.
func (m *classicMember) grown() bool {
	now := m.w.image
	if m.seen == 0 || m.seen == now.version {
		return false
	}
	before := m.w.images[m.seen]
	m.seen = now.version
	watched := func(topic string) bool { return m.watched[topic] }
	return !slices.Equal(before.places(watched), now.places(watched))
}

// prepare leads to joining again: an eager member commits and gives all up.
func (m *classicMember) prepare() {
	m.doing, m.rejoin = rebalancing, false
	if m.cooperative() {
		m.join()
		return
	}
	m.commitSome(m.places(), func() {
		m.w.At(m.callback(), m.run, func() {
			if m.doing == rebalancing {
				m.give(m.places())
				m.join()
			}
		})
	})
}

// callback is how long an application takes to hear that its partitions change.
func (c *client) callback() time.Duration {
	w := c.w
	if w.faulty(w.profile.SlowCallbacks, 4) {
		w.stats.SlowCallbacks++
		return w.Between(100*time.Millisecond, 3*w.profile.RebalanceTimeout/2)
	}
	return w.Between(0, 40*time.Millisecond)
}

func (m *classicMember) join() {
	w := m.w
	m.doing = joining
	m.attempt++
	attempt := m.attempt
	q := &wire.JoinGroup{
		Group: m.group, Member: m.member, Instance: m.instance, ClientID: m.name, ClientHost: "/10.0.0.1",
		SessionTimeout: w.profile.Session, RebalanceTimeout: w.profile.RebalanceTimeout, ProtocolType: "consumer",
		MustKnowID: m.instance == "" && w.profile.KnownIDs, MaySkipAssignment: m.instance != "",
	}
	for _, p := range m.protocols {
		s := subscription{topics: m.topics, owned: m.places(), generation: m.generation}
		if p == eager {
			s.owned = nil
		}
		q.Protocols = append(q.Protocols, wire.GroupProtocol{Name: p, Metadata: s.encode()})
	}
	m.ask(q, w.profile.RebalanceTimeout+5*time.Second, func(reply wire.GroupReply, err error) {
		if m.attempt != attempt {
			return
		}
		joined, _ := reply.(*wire.JoinedGroup)
		if err == nil {
			err = joined.Err
		}
		switch {
		case err == nil:
			if m.generation >= 0 && joined.Generation > m.generation+1 && joined.Leader != "" {
				// What it kept may have been another member's in the generation that it missed. Kafka: its consumers commit
				// it once more, and no coordinator of the classic protocol can tell.
				m.lose()
				m.missed = true
			}
			m.member, m.generation, m.chosen = joined.Member, joined.Generation, joined.Protocol
			m.life = w.truth(m.group).lives
			m.note("is %s in generation %d, led by %s", m.member, m.generation, joined.Leader)
			m.sync(joined)
		case errors.Is(err, wire.MemberIDRequired):
			m.member = joined.Member
			m.join()
		default:
			m.fails(err)
		}
	})
}

func (m *classicMember) sync(joined *wire.JoinedGroup) {
	w := m.w
	m.doing = syncing
	attempt := m.attempt
	q := &wire.SyncGroup{
		Group: m.group, Generation: m.generation, Member: m.member, Instance: m.instance, ProtocolType: "consumer", Protocol: m.chosen,
	}
	m.seen, m.late = 0, false
	if joined.Leader == m.member {
		m.seen = w.image.version
		assignments := m.assign(joined)
		if joined.SkipAssignment {
			m.late = m.seen > foundingVersion // its predecessor may have gone before the topics changed
		} else {
			q.Assignments = assignments
			w.truth(m.group).assigned(joined, q.Assignments)
		}
	}
	late := w.Between(0, 10*time.Millisecond)
	if w.faulty(w.profile.SlowPolls, 2) {
		late = w.Between(0, 3*w.profile.RebalanceTimeout/2) // it may never come, and the group must not wait for ever
	}
	w.At(late, m.run, func() {
		if m.attempt != attempt {
			return
		}
		m.ask(q, w.profile.RebalanceTimeout+5*time.Second, func(reply wire.GroupReply, err error) {
			if m.attempt != attempt {
				return
			}
			if err == nil {
				err = reply.Failure()
			}
			if err != nil {
				m.fails(err)
				return
			}
			m.adopt(reply.(*wire.SyncedGroup))
		})
	})
}

// adopt is the end of a rebalance for a member, or of a half of one.
func (m *classicMember) adopt(synced *wire.SyncedGroup) {
	places, err := decodeAssignment(synced.Assignment)
	if err != nil {
		m.w.Violate("%s: the assignment of %s is %x", m.group, m.member, synced.Assignment)
		return
	}
	m.doing, m.rejoin = stable, m.late || m.missed
	m.missed = false
	var gone []place
	for _, p := range m.places() {
		if !slices.Contains(places, p) {
			gone = append(gone, p)
		}
	}
	m.take(places, nil)
	if len(gone) == 0 {
		return
	}
	attempt := m.attempt
	m.doing = rebalancing
	m.commitSome(gone, func() {
		m.w.At(m.callback(), m.run, func() {
			if m.attempt == attempt && m.doing == rebalancing {
				m.give(gone)
				m.join()
			}
		})
	})
}

// beat sends heartbeats while the member is stable, also when the application is busy.
func (m *classicMember) beat() {
	w := m.w
	w.At(w.profile.heartbeat(w), m.run, func() {
		if m.doing == stable || m.doing == rebalancing {
			attempt := m.attempt
			q := &wire.GroupHeartbeat{Group: m.group, Generation: m.generation, Member: m.member, Instance: m.instance}
			m.ask(q, requestTimeout, func(reply wire.GroupReply, err error) {
				if err == nil {
					err = reply.Failure()
				}
				if err != nil && m.attempt == attempt {
					m.misled(err)
					m.refused(err)
				}
			})
		}
		m.beat()
	})
}

// refused tells what a heartbeat or a commit heard.
func (m *classicMember) refused(err error) {
	if m.doing != stable && m.doing != rebalancing {
		return // the join will hear it, too
	}
	switch {
	case errors.Is(err, wire.RebalanceInProgress):
		m.rejoin = true
	case errors.Is(err, wire.UnknownMemberID), errors.Is(err, wire.IllegalGeneration), errors.Is(err, wire.FencedInstanceID):
		m.attempt++
		m.fails(err)
	}
}

// fails goes on after a refusal.
func (m *classicMember) fails(err error) {
	w := m.w
	m.note("hears in generation %d: %v", m.generation, err)
	m.misled(err)
	m.doing = idle
	m.attempt++
	attempt := m.attempt
	switch {
	case errors.Is(err, wire.FencedInstanceID):
		m.crash() // another one has its name
		return
	case errors.Is(err, wire.UnknownMemberID):
		m.lose()
		m.member, m.generation = "", wire.NoGeneration
	case errors.Is(err, wire.IllegalGeneration):
		m.lose()
		m.generation = wire.NoGeneration
	}
	var again func()
	again = func() {
		w.At(w.Between(10*time.Millisecond, 200*time.Millisecond), m.run, func() {
			switch {
			case m.stuck: // it is the application that joins
				again()
			case m.attempt == attempt:
				m.join()
			}
		})
	}
	again()
}

func (m *classicMember) leave() {
	if m.instance != "" && m.w.Chance(60) {
		return // a static member goes without a word, and is expected back
	}
	leaving := &wire.LeaveGroup{Group: m.group, Members: []wire.LeavingMember{{Member: m.member, Instance: m.instance, Reason: "closed"}}}
	ghost := &client{w: m.w, name: m.name, run: &play.Process{}, group: m.group, to: m.to}
	ghost.ask(leaving, requestTimeout, func(wire.GroupReply, error) {})
}
