package actors

import (
	"time"

	"go.etcd.io/raft/v3"
	raftpb "go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/wire"
)

// quorum is what the controller keeps beside raft about the voters.
type quorum struct {
	snapshots map[uint64]time.Time // on their way to these, and when they are taken for lost
	urgent    int                  // ticks for which an election is wanted at once
	disk      diskAccount
	changing  uint64 // index of the change of voters that was proposed last
	rules     metadata.Quorum
	heard     map[uint64]time.Time // when each of the others was heard last, while this one leads
}

const (
	// snapshotPatience is how long a snapshot may take on its way.
	snapshotPatience = 30 * time.Second
	// urgentTicks is for how long a voter asks for votes on each tick after the leader's process was found
	// gone: the others find it out at about the same time.
	urgentTicks = 4
	// diskPatience is how long the log of the one that leads may take over a write.
	diskPatience = 2 * time.Second
)

// diskAccount is the account of what the log was given to write.
type diskAccount struct {
	outstanding int
	since       time.Time // when the oldest of it was asked, or the one before it answered
}

func (d *diskAccount) asked(now time.Time) {
	if d.outstanding == 0 {
		d.since = now
	}
	d.outstanding++
}

func (d *diskAccount) answered(n int, now time.Time) {
	d.outstanding -= n
	d.since = now
}

// stalled says that the disk has been silent for too long.
func (d *diskAccount) stalled(now time.Time) bool {
	return d.outstanding > 0 && now.Sub(d.since) >= diskPatience
}

// snapshotSent notes that a snapshot is on its way. Raft sends nothing else to that one until it answers, or
// until the snapshot is reported lost.
func (c *controller) snapshotSent(to uint64, sent bool) {
	if !sent {
		c.node.ReportSnapshot(to, raft.SnapshotFailure)
		return
	}
	if c.quorum.snapshots == nil {
		c.quorum.snapshots = make(map[uint64]time.Time)
	}
	c.quorum.snapshots[to] = c.cfg.now().Add(snapshotPatience)
}

func (c *controller) snapshotLost(to uint64) {
	if _, sent := c.quorum.snapshots[to]; sent {
		delete(c.quorum.snapshots, to)
		c.node.ReportSnapshot(to, raft.SnapshotFailure)
	}
}

// watchSnapshots gives up those of which nothing was heard.
func (c *controller) watchSnapshots() {
	if len(c.quorum.snapshots) == 0 {
		return
	}
	awaited := make(map[uint64]bool)
	if c.leading {
		c.node.WithProgress(func(id uint64, _ raft.ProgressType, p tracker.Progress) {
			awaited[id] = p.State == tracker.StateSnapshot
		})
	}
	now := c.cfg.now()
	for id, until := range c.quorum.snapshots {
		switch {
		case !awaited[id]:
			delete(c.quorum.snapshots, id)
		case !now.Before(until):
			c.snapshotLost(id)
		}
	}
}

// onPeerRefused has the voters elect another leader at once when the leader's process is gone. Voters do
// not vote while they believe in a leader, so each forgets it; and one of them asks for the votes. Nobody is
// deposed by a mistake of one: it takes a majority that has forgotten.
func (c *controller) onPeerRefused(msg *peerRefused) {
	if c.node == nil || c.leading || c.lead == raft.None {
		return
	}
	leader, known := c.image.BrokerByRaftID(c.lead)
	if !known || leader.ID != msg.broker {
		return
	}
	if err := c.node.ForgetLeader(); err != nil {
		c.logger.Debug("raft keeps its leader", "err", err)
		return
	}
	c.hurry(leader.ID)
}

// hurry has one of the voters that are here ask for votes without waiting for its time to come.
func (c *controller) hurry(but wire.BrokerID) {
	if c.isFirstVoter(but) {
		c.quorum.urgent = urgentTicks
		c.campaignIfUrgent()
	}
}

// isFirstVoter says that this one has the lowest raft id of the voters that are here, but for one.
func (c *controller) isFirstVoter(but wire.BrokerID) bool {
	first, own := uint64(0), false
	for _, id := range c.confState.GetVoters() {
		b, known := c.image.BrokerByRaftID(id)
		_, linked := c.cfg.peers.incarnation(b.ID)
		own = own || id == c.cfg.raftID
		if known && b.ID != but && (linked || b.ID == c.cfg.self) && (first == 0 || id < first) {
			first = id
		}
	}
	return own && first == c.cfg.raftID
}

// campaignIfUrgent asks for votes while nobody leads.
func (c *controller) campaignIfUrgent() {
	if c.quorum.urgent == 0 {
		return
	}
	c.quorum.urgent--
	if status := c.node.BasicStatus(); status.Lead != raft.None || status.RaftState == raft.StateLeader {
		c.quorum.urgent = 0
		return
	}
	if err := c.node.Campaign(); err != nil {
		c.logger.Debug("raft does not campaign", "err", err)
	}
}

// stepAsideIfStalled lets another voter lead when the disk here hangs. The others go on committing without it, but
// this one could apply and answer nothing.
func (c *controller) stepAsideIfStalled(now time.Time) {
	if c.leading && !c.alone() && c.quorum.disk.stalled(now) {
		c.quorum.disk.since = now // and again, if nobody takes it
		c.logger.Warn("metadata log does not answer: another voter is to lead", "took", diskPatience)
		c.onHandOver()
	}
}

// onHandOver lets the voter lead that is furthest, so that the others need not wait to notice.
func (c *controller) onHandOver() {
	if c.node == nil || !c.leading {
		return
	}
	var best, match uint64
	c.node.WithProgress(func(id uint64, kind raft.ProgressType, p tracker.Progress) {
		if id != c.cfg.raftID && kind == raft.ProgressTypePeer && p.RecentActive && (best == raft.None || p.Match > match) {
			best, match = id, p.Match
		}
	})
	if best != raft.None {
		c.node.TransferLeader(best)
	}
}

// chooseVoters proposes the next change of those who keep the log, if one is due.
//
// Changes are proposed like any entry, and one at a time. Raft would end a joint configuration by an entry of
// its own making, of which the controller, who counts the entries, would know nothing: so it does that itself.
func (c *controller) chooseVoters(now time.Time) {
	joint := len(c.confState.GetVotersOutgoing()) > 0
	state := metadata.RaftState{
		Self: c.cfg.raftID, Commit: c.node.BasicStatus().GetCommit(),
		Changing: joint || c.quorum.changing > c.applied, Members: c.raftMembers(now),
	}
	change := c.quorum.rules.Next(c.image, state, c.overseer.liveness, now)
	switch {
	case c.quorum.changing > c.applied:
	case joint:
		c.changeVoters(&raftpb.ConfChangeV2{})
	case change == nil:
	case change.TransferTo != raft.None:
		c.node.TransferLeader(change.TransferTo)
	default:
		c.changeVoters(confChangeOf(change))
	}
}

// raftMembers returns the members of the group. Only a leader knows how far they are.
func (c *controller) raftMembers(now time.Time) (members []metadata.RaftMember) {
	c.node.WithProgress(func(id uint64, kind raft.ProgressType, p tracker.Progress) {
		m := metadata.RaftMember{ID: id, Learner: kind == raft.ProgressTypeLearner}
		if c.leading {
			m.Match = p.Match
		}
		if heard, ok := c.quorum.heard[id]; ok && c.leading && id != c.cfg.raftID {
			m.Silent = now.Sub(heard)
		}
		members = append(members, m)
	})
	return members
}

// brokersOf returns the brokers that logs belong to.
func (c *controller) brokersOf(raftIDs []uint64) (ids []wire.BrokerID) {
	for _, raftID := range raftIDs {
		id := wire.NoBroker
		if b, known := c.image.BrokerByRaftID(raftID); known {
			id = b.ID
		}
		ids = append(ids, id)
	}
	return ids
}

// publishQuorum lets everyone on this broker see who keeps the log.
func (c *controller) publishQuorum() {
	if c.cfg.quorum == nil {
		return
	}
	q := &wire.Quorum{
		Leader: c.controllerID, Term: c.node.BasicStatus().GetTerm(), Committed: c.seen,
		Changing: len(c.confState.GetVotersOutgoing()) > 0,
	}
	for _, m := range c.raftMembers(c.cfg.now()) {
		member := wire.QuorumMember{Broker: wire.NoBroker, RaftID: m.ID, Match: m.Match, Silent: m.Silent}
		if b, known := c.image.BrokerByRaftID(m.ID); known {
			member.Broker = b.ID
		}
		if m.Learner {
			q.Learners = append(q.Learners, member)
		} else {
			q.Voters = append(q.Voters, member)
		}
	}
	c.cfg.quorum.Store(q)
}

// confChangeOf says in raft's words what is to change. A single one needs no joint configuration; of
// several learners, whose change has no effect on any majority, the others have their turn next.
func confChangeOf(change *metadata.VoterChange) *raftpb.ConfChangeV2 {
	var voters, learners []*raftpb.ConfChangeSingle
	for _, part := range []struct {
		what raftpb.ConfChangeType
		ids  []uint64
		list *[]*raftpb.ConfChangeSingle
	}{
		{raftpb.ConfChangeAddNode, change.AddVoters, &voters},
		{raftpb.ConfChangeRemoveNode, change.RemoveVoters, &voters},
		{raftpb.ConfChangeRemoveNode, change.RemoveLearners, &learners},
		{raftpb.ConfChangeAddLearnerNode, change.AddLearners, &learners},
	} {
		for _, id := range part.ids {
			*part.list = append(*part.list, &raftpb.ConfChangeSingle{Type: part.what.Enum(), NodeId: proto.Uint64(id)})
		}
	}
	switch {
	case len(voters) == 0:
		return &raftpb.ConfChangeV2{Changes: learners[:1]}
	case len(voters) == 1:
		return &raftpb.ConfChangeV2{Changes: voters}
	}
	return &raftpb.ConfChangeV2{Transition: raftpb.ConfChangeTransitionJointExplicit.Enum(), Changes: voters}
}

// changeVoters proposes a change. It takes an entry also if raft makes nothing of it.
func (c *controller) changeVoters(change *raftpb.ConfChangeV2) {
	if err := c.node.ProposeConfChange(change); err != nil {
		c.logger.Debug("change of voters dropped", "err", err)
		return
	}
	c.proposedUpTo++
	c.quorum.changing = c.proposedUpTo
}
