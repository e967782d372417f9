package actors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/scheduler"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
)

// membership keeps this broker's place in the cluster: it sends heartbeats to the controller and holds the
// lease that they earn, and it tells the controller of brokers that seem to be dead.
//
//	every 250 ms   Heartbeat ──> controller        HeartbeatReply ──> lease ──> standing (what Ready tells)
//	peerRefused, memberFailed ──> hints ──> controller, with each heartbeat until the image shows it
//
// A broker that is alone has no membership.
type membership struct {
	*Broker
	timers *scheduler.TimerScheduler
	cancel scheduler.CancelFunc

	lease metadata.Lease
	held  bool   // the lease, when it was looked at last
	id    uint64 // of the last heartbeat
	hints map[wire.BrokerID]*wire.Hint

	registered bool              // it has been, in this run
	fenced     bool              // as the last answer said
	leaving    []chan<- struct{} // wait for this broker to have handed over
	left       bool              // it hands over to stop, and takes nothing back in this run
	full       bool              // a disk, when it was looked at last: others are to lead meanwhile
	handedOver time.Time         // when the metadata log was handed over
}

// standing is what the last heartbeats have led to.
type standing struct {
	until time.Time // of the lease
	err   error     // what the controller has against this broker
}

// memberTick is when the next heartbeat is due.
type memberTick struct{}

// memberNow has membership act without waiting for its tick: something has changed.
type memberNow struct{}

// memberFailed tells of a broker that gossip has declared dead.
type memberFailed struct {
	broker      wire.BrokerID
	incarnation wire.Incarnation
}

// leave asks for this broker's leaderships to be taken over.
type leave struct{ done chan<- struct{} } // closed when they are

const (
	// waitingInterval is how often a broker sends heartbeats that waits to be let in, or to be let go.
	waitingInterval = 25 * time.Millisecond
	// handOverPatience is how long it waits for another voter to lead the metadata log.
	handOverPatience = time.Second
)

// Receive implements actor.Actor.
func (m *membership) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		m.timers = scheduler.NewTimerScheduler(ctx.ActorSystem().Root)
		m.onTick(ctx)
	case *memberTick:
		m.onTick(ctx)
	case *memberNow:
		m.beat(ctx)
	case *wire.HeartbeatReply:
		m.onReply(ctx, msg)
	case *peerRefused:
		m.hint(ctx, &wire.Hint{Broker: msg.broker, Incarnation: msg.incarnation, Refused: true})
		if _, pid := m.controller.present(); pid != nil {
			ctx.Send(pid, msg)
		}
	case *memberFailed:
		m.hint(ctx, &wire.Hint{Broker: msg.broker, Incarnation: msg.incarnation, Failed: true})
	case *linkUp:
		m.onLinkUp(ctx, msg)
	case *leave:
		m.leaving, m.left = append(m.leaving, msg.done), true
		m.beat(ctx)
		m.arm(ctx)
	case *actor.Stopping:
		m.cancel()
	}
}

func (m *membership) onTick(ctx actor.Context) {
	m.beat(ctx)
	m.arm(ctx)
}

func (m *membership) arm(ctx actor.Context) {
	interval := metadata.HeartbeatInterval
	if len(m.leaving) > 0 || m.fenced && m.recovered.Load() {
		interval = waitingInterval
	}
	if m.cancel != nil {
		m.cancel()
	}
	m.cancel = m.timers.SendOnce(interval, ctx.Self(), &memberTick{})
}

// beat sends a heartbeat and the hints to the controller, once this broker is registered.
func (m *membership) beat(ctx actor.Context) {
	image := m.image.Load()
	registration, registered := image.Registration(m.cfg.ID)
	if !registered || registration.Incarnation != m.cfg.Incarnation {
		if m.registered {
			m.onUnknown(wire.StaleBrokerEpoch)
		}
		return
	}
	m.registered = true
	m.noteLease()
	m.noteRoom()
	m.id++
	beat := &wire.Heartbeat{
		Sender: m.cfg.ID, ID: m.id, Incarnation: m.cfg.Incarnation,
		DiskHealthy: m.disks.healthy(m.now()), ShuttingDown: m.left || m.full && !registration.Fenced,
	}
	if m.recovered.Load() {
		beat.Applied = image.Index() // until its logs are open it must not be elected
	}
	if m.toController(ctx, beat) {
		m.lease.Sent(m.id, m.now())
	}
	m.sendHints(ctx)
}

// noteRoom looks whether the disks have room. While one is full, others are to take over what this broker
// leads, as if it were to stop: it can acknowledge nothing. Where nobody else can lead it goes on, for
// those who read. A broker that is fenced says nothing of it, or it would not be let in while all disks
// are full.
func (m *membership) noteRoom() {
	full := slices.ContainsFunc(m.dirs, func(d *storage.Dir) bool { return d.Err() == nil && !d.Writable() })
	switch {
	case full && !m.full:
		m.logger.Warn("a disk is full: other brokers take over what this one leads")
	case !full && m.full:
		m.logger.Info("the disks have room again")
	}
	m.full = full
}

// toController sends a message to the controller, if it is known and linked.
func (m *membership) toController(ctx actor.Context, message wire.PeerMessage) bool {
	id := m.image.Load().Controller()
	if id == m.cfg.ID {
		_, pid := m.controller.present()
		if pid != nil {
			ctx.Request(pid, message)
		}
		return pid != nil
	}
	incarnation, linked := m.peers.incarnation(id)
	return linked && m.remotes.post(m.remotePID(id, incarnation, controllerName), membershipName, message) == nil
}

func (m *membership) onReply(ctx actor.Context, msg *wire.HeartbeatReply) {
	m.lease.Answered(msg)
	if msg.Err == nil && msg.Fenced != m.fenced {
		m.fenced = msg.Fenced
		m.arm(ctx)
	}
	err := msg.Err
	if err == nil && msg.Fenced {
		err = errFenced
	}
	m.standing.Store(&standing{until: m.lease.Until(), err: err})
	m.noteLease()
	switch {
	case errors.Is(msg.Err, wire.StaleBrokerEpoch):
		m.onUnknown(msg.Err)
	case msg.MayStop && len(m.leaving) > 0:
		m.onMayStop(ctx, msg.Controller)
	}
}

// noteLease logs when the lease begins or ends.
func (m *membership) noteLease() {
	switch held := m.lease.Held(m.now()); {
	case held && !m.held:
		m.logger.Info("the cluster counts on this broker")
	case !held && m.held:
		m.logger.Warn("this broker's lease has run out: it may be fenced", "err", m.standing.Load().err)
	default:
		return
	}
	m.held = !m.held
}

var errFenced = errors.New("the controller has fenced this broker")

// onUnknown ends this broker if another process has taken its place. The controller's word alone is not
// enough: this broker has been registered, and its own image has to tell the same.
func (m *membership) onUnknown(cause error) {
	registration, registered := m.image.Load().Registration(m.cfg.ID)
	switch {
	case !registered:
		m.fail(fmt.Errorf("broker %d was removed from the cluster: %w", m.cfg.ID, cause))
	case registration.Incarnation != m.cfg.Incarnation:
		m.fail(fmt.Errorf("another process runs as broker %d: %w", m.cfg.ID, cause))
	default:
		m.logger.Error("the controller does not know this broker", "err", cause)
	}
}

// onMayStop lets those go who want this broker to stop. If it is the controller's, another voter is to
// lead first, if there is one: else the others would have to find out.
func (m *membership) onMayStop(ctx actor.Context, controller wire.BrokerID) {
	now := m.now()
	if controller == m.cfg.ID && len(m.peers.ids()) > 0 {
		if m.handedOver.IsZero() {
			m.handedOver = now
		}
		if now.Sub(m.handedOver) < handOverPatience {
			if _, pid := m.controller.present(); pid != nil {
				ctx.Send(pid, &handOver{})
			}
			return
		}
	}
	for _, done := range m.leaving {
		close(done)
	}
	m.leaving = nil
}

func (m *membership) hint(ctx actor.Context, hint *wire.Hint) {
	hint.Sender = m.cfg.ID
	if known := m.hints[hint.Broker]; known != nil && known.Incarnation == hint.Incarnation {
		hint.Refused, hint.Failed = hint.Refused || known.Refused, hint.Failed || known.Failed
	}
	m.hints[hint.Broker] = hint
	m.sendHints(ctx)
}

// sendHints repeats the hints, which may get lost or reach somebody who does not lead any more, until the
// image shows that they have been acted on or are out of date.
func (m *membership) sendHints(ctx actor.Context) {
	for id, hint := range m.hints {
		registration, ok := m.image.Load().Registration(id)
		if !ok || registration.Incarnation != hint.Incarnation || registration.Fenced {
			delete(m.hints, id)
			continue
		}
		m.toController(ctx, hint)
	}
}

// onLinkUp takes a hint back that has turned out to be wrong, and tells the controller that we are there.
func (m *membership) onLinkUp(ctx actor.Context, msg *linkUp) {
	if hint := m.hints[msg.broker]; hint != nil && hint.Incarnation == msg.incarnation {
		delete(m.hints, msg.broker)
	}
	if msg.broker == m.image.Load().Controller() {
		m.beat(ctx)
	}
}

// MemberFailed tells that gossip has declared a broker dead. It is a hint.
func (b *Broker) MemberFailed(id wire.BrokerID, incarnation wire.Incarnation) {
	b.tellNamed(membershipName, &memberFailed{id, incarnation})
}

// Register has the cluster register a broker that joins by way of this one.
func (b *Broker) Register(ctx context.Context, r metadata.RegisterBroker) metadata.RegisteredBroker {
	r.Fenced = true
	reply, err := b.ask(ctx, r)
	if registered, ok := reply.(metadata.RegisteredBroker); ok && err == nil {
		return registered
	}
	return metadata.RegisteredBroker{ID: r.ID, Err: orUnknown(err)}
}

// HandOver has other brokers take over what this one leads, and returns when they have or when ctx
// ends. The broker goes on until it is stopped.
func (b *Broker) HandOver(ctx context.Context) error {
	if b.peers == nil || len(b.View().Brokers()) < 2 {
		return nil
	}
	done := make(chan struct{})
	b.send(b.membership, &leave{done: done})
	select {
	case <-done:
		return nil
	case <-b.lost.Done():
		return b.Err()
	case <-ctx.Done():
		return fmt.Errorf("hand over what broker %d leads: %w", b.cfg.ID, ctx.Err())
	}
}

// Ready returns nil while this broker may serve: it is registered and not fenced, and the controller has
// said so not long ago.
func (b *Broker) Ready() error {
	switch registration, registered := b.image.Load().Registration(b.cfg.ID); {
	case b.lost.Err() != nil:
		return b.Err()
	case !registered || registration.Incarnation != b.cfg.Incarnation:
		return errors.New("this broker is not registered yet")
	case b.peers == nil || len(b.View().Brokers()) == 1:
		return nil // there is nobody to say otherwise
	case registration.Fenced:
		return errFenced
	case !b.leased():
		if s := b.standing.Load(); s != nil && s.err != nil {
			return s.err
		}
		return errors.New("nothing was heard of the controller for a while")
	}
	return nil
}

// leased says that the controller has not fenced this broker, as far as that can be known without
// asking. Without a lease, another broker may lead already what this one believes it leads.
func (b *Broker) leased() bool {
	if b.peers == nil {
		return true
	}
	s := b.standing.Load()
	return s != nil && b.now().Before(s.until)
}

// Quorum returns who keeps the metadata log, as far as this broker knows. The controller knows most.
func (b *Broker) Quorum() wire.Quorum {
	if q := b.quorum.Load(); q != nil {
		return *q
	}
	return wire.Quorum{Leader: wire.NoBroker}
}
