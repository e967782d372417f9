package actors

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/wire"
)

// overseer is what the controller of a cluster knows of who is alive, while it leads. A broker that is
// alone has nobody to oversee it, or to be taken over by.
type overseer struct {
	liveness *metadata.Liveness // nil before it first led, or alone
	due      time.Time          // of the next look at it
	early    []*wire.Hint       // came after raft had begun to lead, and before it could decide
}

const (
	// overseeInterval is how often the controller looks for leases that have run out.
	overseeInterval = 100 * time.Millisecond
	maxEarlyHints   = 1000
)

// beginOverseeing gives everyone a new lease: this one has heard nobody yet. Who is known to be gone is told
// it by all who know, as soon as they hear who leads.
func (c *controller) beginOverseeing() {
	if c.cfg.peers == nil {
		return
	}
	now := c.cfg.now()
	if c.overseer.liveness == nil {
		c.overseer.liveness = metadata.NewLiveness(now)
	}
	c.overseer.liveness.Begin(c.image, now)
	for _, hint := range c.overseer.early {
		c.overseer.liveness.Hint(hint)
	}
	c.overseer.early, c.overseer.due = nil, now
	c.chores = chores{}
	c.quorum.rules, c.quorum.changing = metadata.Quorum{}, 0
	c.quorum.heard = make(map[uint64]time.Time)
	c.node.WithProgress(func(id uint64, _ raft.ProgressType, _ tracker.Progress) { c.quorum.heard[id] = now })
}

// onHeartbeat renews a broker's lease, and changes its state if the heartbeat is a reason to.
func (c *controller) onHeartbeat(ctx actor.Context, msg *wire.Heartbeat) {
	from := ctx.Sender()
	if from == nil {
		return
	}
	if !c.current || c.overseer.liveness == nil {
		ctx.Send(from, &wire.HeartbeatReply{ID: msg.ID, Err: wire.NotController, Controller: c.controllerID})
		return
	}
	reply, change := c.overseer.liveness.Heartbeat(msg, c.image, c.cfg.now())
	reply.Controller = c.cfg.self
	ctx.Send(from, &reply)
	if change != nil {
		c.onPropose(ctx, &propose{command: *change})
	}
}

// brokersIn returns the brokers that a command is about.
func brokersIn(command metadata.Command) (ids []wire.BrokerID) {
	if change, ok := command.(metadata.ChangeBrokers); ok {
		for _, b := range change.Brokers {
			ids = append(ids, b.ID)
		}
	}
	return ids
}

// onHint takes what another broker has noticed, and acts on it at once.
func (c *controller) onHint(ctx actor.Context, msg *wire.Hint) {
	if c.leading && !c.current && len(c.overseer.early) < maxEarlyHints {
		c.overseer.early = append(c.overseer.early, msg)
	}
	if !c.current || c.overseer.liveness == nil {
		return
	}
	c.overseer.liveness.Hint(msg)
	c.overseer.due = time.Time{}
	c.oversee(ctx)
}

// oversee shuts out who is not alive any more, and has the voters of the log be those who are.
func (c *controller) oversee(ctx actor.Context) {
	now := c.cfg.now()
	if !c.current || c.overseer.liveness == nil || now.Before(c.overseer.due) {
		return
	}
	c.overseer.due = now.Add(overseeInterval)
	for _, command := range c.overseer.liveness.Tick(c.next, now) {
		c.logger.Warn("brokers are fenced", "brokers", brokersIn(command))
		c.onPropose(ctx, &propose{command: command})
	}
	c.chooseVoters(now)
	c.doChores(ctx, now)
}
