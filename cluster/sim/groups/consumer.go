package groups

import (
	"errors"
	"slices"
	"time"

	"github.com/troupe-mq/troupe/cluster/sim/play"
	"github.com/troupe-mq/troupe/wire"
)

// consumerMember is a client that speaks the protocol of KIP-848: it says who it is and what it has, and is told what it is to
// have.
type consumerMember struct {
	*client
	member   wire.MemberID
	epoch    int32
	interval time.Duration

	target   []place // what it was told last to have
	targetID map[place]wire.TopicID
	toldSome bool    // since it joined
	changing bool    // callbacks run
	owes     bool    // it was told an assignment, and has not said yet that it has it
	full     bool    // the next heartbeat tells everything
	sent     []place // what it last told that it has, and the coordinator has heard
	beats    int     // the answers to those before the last are void
	lives    int     // memberships: callbacks of one that is over are void
	waiting  bool    // for an answer
}

func (m *consumerMember) identity() (wire.MemberID, wire.GenerationID) {
	return m.member, wire.GenerationID(m.epoch)
}
func (m *consumerMember) modern() bool { return true }

func (m *consumerMember) begin() {
	m.interval = m.w.profile.Heartbeat
	m.reset()
	m.beat()
}

func (m *consumerMember) reset() {
	m.lives++
	m.epoch, m.full, m.sent, m.target, m.toldSome, m.changing, m.owes = wire.MemberJoins, true, nil, nil, false, false, false
}

// later sends the next heartbeat after a time.
func (m *consumerMember) later(after time.Duration) {
	m.beats++
	beat := m.beats
	m.w.At(after, m.run, func() {
		if m.beats == beat {
			m.beat()
		}
	})
}

func (m *consumerMember) beat() {
	w := m.w
	m.beats++
	beat := m.beats
	q := &wire.ConsumerHeartbeat{Group: m.group, Member: m.member, MemberEpoch: m.epoch, Instance: m.instance}
	places := m.places()
	if m.full {
		q.ClientID, q.ClientHost, q.RebalanceTimeout = m.name, "/10.0.0.1", w.profile.RebalanceTimeout
		q.Subscribed, q.Topics, q.OwnedTold = true, m.topics, true
		pattern := ""
		if len(m.topics) == 0 {
			pattern = ".*"
		}
		q.Pattern = &pattern
	}
	if m.full || !slices.Equal(m.sent, places) || m.owes && !m.changing {
		q.OwnedTold, q.Owned = true, m.holdings()
	}
	m.owes = m.owes && m.changing
	m.waiting = true
	m.ask(q, requestTimeout, func(reply wire.GroupReply, err error) {
		if m.beats != beat {
			return
		}
		m.waiting = false
		if err == nil {
			err = reply.Failure()
		}
		if err != nil {
			m.fails(err)
			return
		}
		m.full, m.sent = false, places
		m.heard(reply.(*wire.ConsumerHeartbeatReply))
	})
}

func (m *consumerMember) heard(r *wire.ConsumerHeartbeatReply) {
	if m.epoch != r.MemberEpoch {
		m.note("%s is at epoch %d", m.member, r.MemberEpoch)
	}
	m.epoch, m.interval, m.life = r.MemberEpoch, r.HeartbeatInterval, m.w.truth(m.group).lives
	if r.Assigned {
		m.target, m.toldSome, m.owes = m.w.placesOf(r.Assignment), true, true
		m.targetID = make(map[place]wire.TopicID, len(m.target))
		for _, p := range m.target {
			topic, _ := m.w.image.Topic(p.topic)
			m.targetID[p] = topic.ID
		}
	}
	m.later(m.interval)
	m.reconcile()
}

// reconcile brings what the member has to what it was told: first it gives up, which takes as long as the application
// likes, then it takes, and says so at once.
func (m *consumerMember) reconcile() {
	if m.changing || !m.toldSome {
		return
	}
	target, ids := m.target, m.targetID
	var gone, found []place
	for _, h := range m.owned {
		if ids[h.place] != h.id { // perhaps of a topic that has been created once more since
			gone = append(gone, h.place)
		}
	}
	for _, p := range target {
		if h, ok := m.holds(p); !ok || h.id != ids[p] {
			found = append(found, p)
		}
	}
	if len(gone)+len(found) == 0 {
		if !m.waiting && m.owes {
			m.beat()
		}
		return
	}
	m.changing = true
	life := m.lives
	after := func(then func()) func() {
		return func() {
			if m.lives == life {
				then()
			}
		}
	}
	m.commitSome(gone, after(func() {
		took := time.Duration(0)
		if len(gone) > 0 {
			took = m.callback()
		}
		m.w.At(took, m.run, after(func() {
			m.give(gone)
			m.take(found, ids)
			m.changing = false
			if !m.waiting {
				m.beat()
			}
			m.reconcile()
		}))
	}))
}

// refused tells what a commit heard.
func (m *consumerMember) refused(err error) {
	if errors.Is(err, wire.UnknownMemberID) || errors.Is(err, wire.FencedMemberEpoch) || errors.Is(err, wire.FencedInstanceID) {
		m.later(m.w.Between(0, 50*time.Millisecond)) // the heartbeat will tell for certain
	}
}

func (m *consumerMember) fails(err error) {
	w := m.w
	m.note("hears at epoch %d: %v", m.epoch, err)
	m.misled(err)
	m.full = true
	switch {
	case errors.Is(err, wire.FencedInstanceID):
		m.crash()
		return
	case errors.Is(err, wire.UnknownMemberID), errors.Is(err, wire.FencedMemberEpoch):
		m.lose()
		m.reset()
	}
	m.later(w.Between(20*time.Millisecond, 300*time.Millisecond))
}

func (m *consumerMember) leave() {
	epoch := wire.MemberLeaves
	if m.instance != "" {
		epoch = wire.StaticMemberPauses
		if m.w.Chance(30) {
			return
		}
	}
	q := &wire.ConsumerHeartbeat{Group: m.group, Member: m.member, MemberEpoch: epoch, Instance: m.instance}
	ghost := &client{w: m.w, name: m.name, run: &play.Process{}, group: m.group, to: m.to}
	ghost.ask(q, requestTimeout, func(wire.GroupReply, error) {})
}

// holdings are the client's partitions in the words of KIP-848: it knows topics by what it was told, also those that are no more.
func (c *client) holdings() []wire.AssignedTopic {
	var all []wire.AssignedTopic
	for _, h := range c.owned {
		if n := len(all); n > 0 && all[n-1].Topic == h.id {
			all[n-1].Partitions = append(all[n-1].Partitions, h.partition)
			continue
		}
		all = append(all, wire.AssignedTopic{Topic: h.id, Partitions: []int32{h.partition}})
	}
	return all
}

// placesOf reads such words. A topic that was deleted meanwhile has none.
func (w *World) placesOf(assigned []wire.AssignedTopic) []place {
	var places []place
	for _, a := range assigned {
		for _, p := range a.Partitions {
			if t, ok := w.image.TopicByID(a.Topic); ok {
				places = append(places, place{t.Name, p})
			}
		}
	}
	slices.SortFunc(places, place.compare)
	return places
}
