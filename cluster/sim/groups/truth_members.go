package groups

import (
	"errors"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// standing is a member, as it may take itself for one.
type standing struct {
	id          wire.MemberID
	instance    string
	classic     bool
	established bool                 // it was told an assignment
	over        bool                 // it left, or another one took its instance
	robbed      bool                 // of the classic protocol: something that it had was given to another
	epoch       wire.GenerationID    // it was told
	decided     wire.GenerationID    // and what was decided last, which it may not have been told
	least       wire.GenerationID    // of KIP-848: where the present coordinator has it, or further
	assigned    []wire.AssignedTopic // of KIP-848, as was decided
	given       []wire.AssignedTopic // and as it was told
	doubted     time.Duration        // when it came to a coordinator that may want something of it; 0: it was heard there
	heard       time.Duration        // when it was last heard with success
	joined      time.Duration
	told        time.Duration // since when it is to join, to sync, or to give up partitions; 0: it is not
}

func (t *truth) standing(id wire.MemberID) *standing {
	s := t.members[id]
	if s == nil {
		s = &standing{id: id}
		t.members[id] = s
		t.order = append(t.order, id)
	}
	return s
}

// slack is what timers may be late by.
const slack = 10 * time.Millisecond

// active is a member that no coordinator has had a reason to take out.
func (t *truth) active() *standing {
	for _, id := range t.order {
		if m := t.members[id]; m.established && !m.over && !t.mayBeOut(m) {
			return m
		}
	}
	return nil
}

// mayBeOut says that a member may have been taken out: it was silent for too long, or slow, or it may go on with what is
// another's by now.
func (t *truth) mayBeOut(m *standing) bool {
	w := t.w
	return w.Now()-m.heard >= w.profile.Session-slack ||
		m.told != 0 && t.waitedFor(m.told) ||
		m.doubted != 0 && t.waitedFor(m.doubted) ||
		m.classic && (m.robbed || t.slow >= m.joined || t.rebalancing() && t.waitedFor(t.since))
}

// waitedFor says that somebody who was to join, to sync or to give up since then has had all his time.
func (t *truth) waitedFor(since time.Duration) bool {
	return t.w.Now()-since >= t.w.profile.RebalanceTimeout-slack
}

// rebalancing says that a classic group waits for its members.
func (t *truth) rebalancing() bool {
	return t.state == wire.GroupPreparingRebalance || t.state == wire.GroupCompletingRebalance
}

// replaces says that a member is another one's instance, or was.
func (m *standing) replaces(other *standing) bool {
	return m.instance != "" && m.instance == other.instance
}

// replace ends the members that had the instance before.
func (t *truth) replace(m *standing) {
	if m.instance == "" {
		return
	}
	for _, id := range t.order {
		if other := t.members[id]; other != m && other.instance == m.instance {
			other.over = true
		}
	}
}

// comesBack is a process of an instance that joins: whoever had the instance before is out from here on, even if the answer takes until
// the group has moved to the other protocol, and is a refusal then.
func (t *truth) comesBack(q *wire.JoinGroup) {
	for _, id := range t.order {
		if m := t.members[id]; q.Instance != "" && m.instance == q.Instance && m.id != q.Member {
			m.over = true
		}
	}
}

// heard is a member's request that was accepted, or was not: then there has to be a reason for that.
func (t *truth) heard(id wire.MemberID, err error, epoch int32) {
	m := t.members[id]
	if m == nil {
		return
	}
	w := t.w
	switch {
	case err == nil:
		m.heard, m.over = w.Now(), false // also if it left, or was replaced, at a coordinator that could not commit that
		if m.classic {
			m.doubted = 0
		}
	case errors.Is(err, wire.RebalanceInProgress):
		if m.told == 0 {
			m.told = w.Now()
		}
	case errors.Is(err, wire.UnknownMemberID), errors.Is(err, wire.FencedMemberEpoch) && m.epoch == m.decided && epoch == int32(m.epoch):
		if m.established && !m.over && !t.mayBeOut(m) {
			t.violate("%s hears %v, and was heard %v ago; it had to rejoin or to give up for %v", id, err, w.Now()-m.heard, m.told)
		}
		m.established = false
	}
}

// syncs is a member that asks for its assignment, for the first time since it joined or once more. From the first time on it
// has as long as a rebalance may take for whatever it is to do next.
func (t *truth) syncs(m *standing, err error) {
	if m == nil || m.told != m.joined {
		return
	}
	switch {
	case err == nil:
		m.told = 0
	case errors.Is(err, wire.RebalanceInProgress) && !t.classic():
		m.told = t.w.Now()
	}
}

// leaves are members that somebody takes out.
func (t *truth) leaves(q *wire.LeaveGroup) {
	for _, leaving := range q.Members {
		for _, id := range t.order {
			m := t.members[id]
			if id == leaving.Member || leaving.Member == "" && leaving.Instance != "" && m.instance == leaving.Instance {
				m.over = true
			}
		}
	}
}
