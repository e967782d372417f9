package actors

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"

	"github.com/troupe-mq/troupe/wire"
)

// quorum is what the controller keeps beside raft about the voters.
type quorum struct {
	snapshots map[uint64]time.Time // on their way to these, and when they are taken for lost
	urgent    int                  // ticks for which an election is wanted at once
	changing  uint64               // index of the change of voters that was proposed last
}

const (
	// snapshotPatience is how long a snapshot may take on its way.
	snapshotPatience = 30 * time.Second
	// urgentTicks is for how long a voter asks for votes on each tick after the leader's process was found
	// gone: the others find it out at about the same time.
	urgentTicks = 5
)

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
	if incarnation, linked := c.cfg.peers.incarnation(leader.ID); linked && incarnation != msg.incarnation {
		return // it is there again
	}
	if err := c.node.ForgetLeader(); err != nil {
		c.logger.Debug("raft keeps its leader", "err", err)
		return
	}
	if c.isFirstVoter(leader.ID) {
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

// onHandOver lets the voter lead that is furthest, so that the others need not wait to notice.
func (c *controller) onHandOver() {
	if c.node == nil || !c.leading {
		return
	}
	best, match := uint64(raft.None), uint64(0)
	c.node.WithProgress(func(id uint64, kind raft.ProgressType, p tracker.Progress) {
		if id != c.cfg.raftID && kind == raft.ProgressTypePeer && p.RecentActive && (best == raft.None || p.Match > match) {
			best, match = id, p.Match
		}
	})
	if best != raft.None {
		c.node.TransferLeader(best)
	}
}

// chooseVoters proposes the next change of the voters, if one is due.
func (c *controller) chooseVoters(actor.Context) {}
