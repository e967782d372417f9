package group

import (
	"slices"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// sync handles SyncGroup: the second half of a rebalance.
func (g *Group) sync(t *turn, q *wire.SyncGroup, call Call) {
	switch {
	case g.classic != nil:
		g.classic.syncGroup(t, q, call)
	case g.consumer != nil:
		g.syncConsumer(t, q, call)
	default:
		t.answer(call, &wire.SyncedGroup{Err: wire.Errorf(wire.UnknownMemberID, "group %q has no members", g.id)})
	}
}

func (c *classic) syncGroup(t *turn, q *wire.SyncGroup, call Call) {
	m, err := c.validateSync(q)
	if err != nil {
		t.answer(call, &wire.SyncedGroup{Err: err})
		return
	}
	switch c.state {
	case wire.GroupPreparingRebalance:
		t.answer(call, &wire.SyncedGroup{Err: wire.Errorf(wire.RebalanceInProgress, "members are joining")})
	case wire.GroupCompletingRebalance:
		t.answer(m.sync, &wire.SyncedGroup{Err: wire.Errorf(wire.RebalanceInProgress, "the member has asked again")})
		m.sync, m.synced = call, true
		if c.leads(m) {
			c.assign(t, q)
		}
	default:
		m.synced = true
		c.heard(t, m)
		t.answer(call, c.syncedGroup(m))
	}
	c.allSynced()
}

func (c *classic) validateSync(q *wire.SyncGroup) (*classicMember, error) {
	m, err := c.validate(q.Member, q.Instance)
	if err != nil {
		return nil, err
	}
	if q.Generation != c.generation {
		return nil, wire.Errorf(wire.IllegalGeneration, "the generation is %d, not %d", c.generation, q.Generation)
	}
	if q.ProtocolType != "" && q.ProtocolType != c.protocolType || q.Protocol != "" && q.Protocol != c.protocol {
		return nil, wire.Errorf(wire.InconsistentGroupProtocol, "the generation has protocol %q of type %q", c.protocol, c.protocolType)
	}
	return m, nil
}

// assign takes over what the leader assigns: the generation is complete, and in the log before anybody hears of it.
func (c *classic) assign(t *turn, q *wire.SyncGroup) {
	assignments := make(map[wire.MemberID][]byte, len(q.Assignments))
	bytes := 0
	for _, a := range q.Assignments {
		assignments[a.Member] = a.Assignment
		bytes += len(a.Assignment)
	}
	if size := c.recordBytes(nil) + bytes; size > c.group.config.MaxRecordBytes {
		// Kafka: finds out when it writes the record; what follows is the same.
		for _, m := range c.members {
			t.answer(m.sync, &wire.SyncedGroup{Err: wire.Errorf(wire.UnknownServerError,
				"the assignments would take %d bytes, and may take %d", size, c.group.config.MaxRecordBytes)})
			m.sync = 0
			c.heard(t, m)
		}
		c.prepare(t, rebalanceCause{trigger: wire.NoAssignmentCame, member: c.leader, detail: "the leader's assignments are too large"})
		return
	}
	for _, m := range c.members {
		m.assignment = slices.Clone(assignments[m.id]) // nothing, where the leader forgot one
	}
	c.enter(t, wire.GroupStable)
	c.log(t)
	c.endHistory(t)
	for _, m := range c.members {
		if m.sync != 0 {
			t.answer(m.sync, c.syncedGroup(m))
			m.sync = 0
			c.heard(t, m)
		}
	}
}

func (c *classic) syncedGroup(m *classicMember) *wire.SyncedGroup {
	return &wire.SyncedGroup{ProtocolType: c.protocolType, Protocol: c.protocol, Assignment: m.assignment}
}

// allSynced stops waiting once all members have asked for their assignments.
func (c *classic) allSynced() {
	if c.state != wire.GroupStable {
		return
	}
	for _, m := range c.members {
		if !m.synced {
			return
		}
	}
	c.syncDue = time.Time{}
}

// syncTimeIsUp gives up the members that joined and did not ask for their assignments: the leader, maybe, without whom
// there are none.
func (c *classic) syncTimeIsUp(t *turn) {
	c.syncDue = time.Time{}
	cause := rebalanceCause{}
	for _, m := range slices.Clone(c.members) {
		if m.synced {
			continue
		}
		if cause.trigger == "" {
			cause = rebalanceCause{trigger: wire.MemberTooSlow, member: m.id, detail: "it did not ask for its assignment"}
		}
		if c.leads(m) && c.state == wire.GroupCompletingRebalance {
			cause = rebalanceCause{trigger: wire.NoAssignmentCame, member: m.id, detail: "the leader brought no assignments"}
		}
		c.gaveUp(m, t.now)
		c.takeOut(t, m, wire.UnknownMemberID)
	}
	if cause.trigger != "" {
		c.prepare(t, cause)
	}
}

// heartbeat handles Heartbeat: it keeps a member alive and tells it when it has to join again.
func (g *Group) heartbeat(t *turn, q *wire.GroupHeartbeat, call Call) {
	switch {
	case g.classic != nil:
		t.answer(call, &wire.GroupHeartbeatReply{Err: g.classic.beat(t, q)})
	case g.consumer != nil:
		g.heartbeatConsumer(t, q, call)
	default:
		t.answer(call, &wire.GroupHeartbeatReply{Err: wire.Errorf(wire.UnknownMemberID, "group %q has no members", g.id)})
	}
}

func (c *classic) beat(t *turn, q *wire.GroupHeartbeat) error {
	m, err := c.validate(q.Member, q.Instance)
	if err != nil {
		return err
	}
	if q.Generation != c.generation {
		return wire.Errorf(wire.IllegalGeneration, "the generation is %d, not %d", c.generation, q.Generation)
	}
	c.heard(t, m)
	if c.state == wire.GroupPreparingRebalance {
		return wire.Errorf(wire.RebalanceInProgress, "members are joining")
	}
	return nil
}

// maxLeaving bounds how many members one request takes out.
const maxLeaving = 10_000

// leave handles LeaveGroup, of members or by an operator who names some.
func (g *Group) leave(t *turn, q *wire.LeaveGroup, call Call) {
	switch {
	case len(q.Members) > maxLeaving:
		t.answer(call, &wire.LeftGroup{Err: wire.Errorf(wire.InvalidRequest, "%d members are to leave, and %d may at once", len(q.Members), maxLeaving)})
	case g.classic != nil:
		t.answer(call, g.classic.leaveGroup(t, q))
	case g.consumer != nil:
		g.leaveConsumer(t, q, call)
	default:
		t.answer(call, newClassic(g).leaveGroup(t, q)) // none of them is a member
	}
}

func (c *classic) leaveGroup(t *turn, q *wire.LeaveGroup) *wire.LeftGroup {
	reply := &wire.LeftGroup{Members: make([]wire.LeftMember, len(q.Members))}
	var cause rebalanceCause
	for i, leaving := range q.Members {
		reply.Members[i] = wire.LeftMember{Member: leaving.Member, Instance: leaving.Instance}
		m, err := c.leavingMember(leaving)
		if err != nil {
			reply.Members[i].Err = err
			continue
		}
		if m == nil {
			continue
		}
		if cause.trigger == "" {
			cause = rebalanceCause{trigger: wire.MemberLeft, member: m.id, detail: leaving.Reason}
		}
		c.gaveUp(m, t.now)
		c.takeOut(t, m, wire.UnknownMemberID)
	}
	if cause.trigger != "" {
		c.shrank(t, cause)
	} else {
		c.completeIfAllJoined(t) // somebody who was expected is not any more
	}
	return reply
}

// leavingMember finds the member that is to leave. It is nil for one that was expected and is not any more.
func (c *classic) leavingMember(leaving wire.LeavingMember) (*classicMember, error) {
	if leaving.Member == "" {
		if m := c.staticMember(leaving.Instance); m != nil {
			return m, nil
		}
		return nil, wire.Errorf(wire.UnknownMemberID, "group %q has no member with instance id %q", c.group.id, leaving.Instance)
	}
	if i := slices.IndexFunc(c.expected, func(e expectedMember) bool { return e.id == leaving.Member }); i >= 0 {
		c.expected = slices.Delete(c.expected, i, i+1)
		return nil, nil //nolint:nilnil // whoever was only expected is no member yet
	}
	return c.validate(leaving.Member, leaving.Instance)
}
