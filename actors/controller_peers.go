package actors

import (
	"github.com/asynkron/protoactor-go/actor"
	"go.etcd.io/raft/v3"
	raftpb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/peer"
)

// raftLinks carries raft messages to the controllers of other brokers. It is the controller's own.
//
// Raft knows voters by numbers, the links know brokers. The image says which is whose; one who is not
// there yet, or whose image is older than a voter, goes by who has spoken in the name of that number.
type raftLinks struct {
	broker *Broker
	met    map[uint64]wire.BrokerID
}

// maxMet bounds the voters that are known without the image.
const maxMet = 16

// Send implements raftTransport.
func (l *raftLinks) Send(m *raftpb.Message) bool {
	id, known := l.brokerOf(m.GetTo())
	if !known {
		return false
	}
	data, err := proto.Marshal(m)
	if err != nil {
		panic("actors: a raft message cannot be encoded: " + err.Error())
	}
	return l.post(id, &wire.RaftStep{Data: data}) == nil
}

// post sends a message to the controller of another broker.
func (l *raftLinks) post(to wire.BrokerID, m wire.PeerMessage) error {
	incarnation, linked := l.broker.peers.incarnation(to)
	if !linked {
		return peer.ErrDown
	}
	return l.broker.remotes.post(l.broker.remotePID(to, incarnation, controllerName), controllerName, m)
}

func (l *raftLinks) brokerOf(raftID uint64) (wire.BrokerID, bool) {
	if registration, ok := l.broker.image.Load().BrokerByRaftID(raftID); ok {
		return registration.ID, true
	}
	id, ok := l.met[raftID]
	return id, ok
}

// admits says whether a broker may speak in the name of a raft id.
func (l *raftLinks) admits(raftID uint64, from wire.BrokerID) bool {
	id, known := l.brokerOf(raftID)
	if !known && len(l.met) < maxMet {
		l.met[raftID] = from
		return true
	}
	return known && id == from
}

// betweenVoters are the raft messages that may come from another broker. All else is a node's own affair.
var betweenVoters = map[raftpb.MessageType]bool{
	raftpb.MsgApp: true, raftpb.MsgAppResp: true,
	raftpb.MsgVote: true, raftpb.MsgVoteResp: true, raftpb.MsgPreVote: true, raftpb.MsgPreVoteResp: true,
	raftpb.MsgSnap: true, raftpb.MsgHeartbeat: true, raftpb.MsgHeartbeatResp: true, raftpb.MsgTimeoutNow: true,
}

// onRaftStep gives raft a message from another broker, unless it cannot be meant for it: a number belongs to
// one log on one disk, and a broker whose disk was lost has another.
func (c *controller) onRaftStep(msg *wire.RaftStep) {
	if _, linked := c.cfg.peers.incarnation(msg.Sender); !linked {
		return // it is from before the link broke: a leader that is gone would be believed in again
	}
	m := &raftpb.Message{}
	err := proto.Unmarshal(msg.Data, m)
	if err != nil || m.GetTo() != c.cfg.raftID || m.GetFrom() == c.cfg.raftID || m.GetFrom() == raft.None ||
		!betweenVoters[m.GetType()] || c.cfg.admits == nil || !c.cfg.admits(m.GetFrom(), msg.Sender) {
		c.logger.Debug("raft message is not for this log", "peer", msg.Sender, "err", err)
		return
	}
	c.onStep(m)
}

// onLinkUp goes on at once with what had to wait for a link: brokers that all begin at the same time need
// not wait for an election to fall due. If there is a leader, the others' votes are its.
func (c *controller) onLinkUp(ctx actor.Context, _ *linkUp) {
	if c.node == nil {
		return
	}
	if !c.leading && c.lead == raft.None {
		c.hurry(wire.NoBroker)
	}
	c.observe(ctx)
}

// onLinkDown lets go of what was on its way.
func (c *controller) onLinkDown(ctx actor.Context, msg *linkDown) {
	c.serving.forget(msg.broker)
	c.observing.forget(msg.broker)
	if c.node == nil {
		return
	}
	if registration, ok := c.image.Registration(msg.broker); ok && registration.RaftID != raft.None {
		c.snapshotLost(registration.RaftID)
		c.node.ReportUnreachable(registration.RaftID)
	}
	c.observe(ctx)
}

// leaderBroker is the broker that leads as far as this one's raft node knows, or one that it has been told of.
func (c *controller) leaderBroker() wire.BrokerID {
	switch {
	case c.leading:
		return c.cfg.self
	case c.following():
		if registration, ok := c.image.BrokerByRaftID(c.lead); ok {
			return registration.ID
		}
		return wire.NoBroker
	}
	return c.observing.leader
}

// following says that raft brings the committed log here: a leader is known, has been heard of not long
// ago, and counts this one among its own.
func (c *controller) following() bool {
	return c.lead != raft.None && c.quiet < maxQuietTicks
}

// maxQuietTicks is how long a leader that says nothing is believed to be there.
const maxQuietTicks = 2 * raftElectionTicks

// tellController tells the broker who leads, if that is another one than before.
func (c *controller) tellController(ctx actor.Context) {
	if c.ended {
		return
	}
	if id := c.leaderBroker(); id != c.controllerID {
		c.controllerID = id
		c.publishQuorum()
		ctx.Send(c.cfg.broker, &imageApplied{image: c.image, index: c.seen, controller: id})
		c.releaseAllPolls(ctx) // whoever observes wants to know
	}
}

// onRemotePropose decides a command for another broker.
func (c *controller) onRemotePropose(ctx actor.Context, msg *wire.Propose) {
	asker := &remoteAsker{from: ctx.Sender(), id: msg.ID}
	if asker.from == nil {
		return
	}
	command, err := metadata.DecodeCommand(msg.Command)
	if err != nil {
		(&propose{remote: asker}).refuse(ctx, wire.Errorf(wire.InvalidRequest, "the command cannot be read: %v", err))
		return
	}
	c.onPropose(ctx, &propose{command: command, remote: asker})
}
