package metadata

import (
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// The times of liveness.
const (
	HeartbeatInterval = 250 * time.Millisecond
	SessionTimeout    = 3 * time.Second

	// overdue is the age of a heartbeat at which gossip is believed.
	overdue = 2 * HeartbeatInterval
	// hintWindow is the time in which hints may fence no more than a few brokers.
	hintWindow = 5 * time.Second
	// stall is the time without a tick after which the controller knows that it stood still itself.
	stall = 2 * HeartbeatInterval
)

// Liveness is the controller's knowledge of who is alive. It is soft state: nothing of it is in the
// log, and a new controller begins with the lease of everybody at now.
//
//	unfenced ── no heartbeat for SessionTimeout ──────────────────────────> fenced
//	         ── its process is gone: connection broken, redials refused ──>
//	         ── gossip calls it dead, and its heartbeat is overdue ───────>
//	fenced   ── heartbeat, disk works, its own registration is applied ───> unfenced
//
// Gossip that calls a broker alive does nothing: it answers from memory, even with a hung disk, and
// over detours that the metadata does not take. A hint is about one incarnation: it may come after
// the broker has begun anew.
//
// One goroutine uses it. Tick is called at least every HeartbeatInterval, and after each Hint.
type Liveness struct {
	leases map[wire.BrokerID]*lease
	hinted map[wire.BrokerID]time.Time // when they were fenced on a hint, in the last hintWindow
	ticked time.Time
}

type lease struct {
	incarnation wire.Incarnation
	renewed     time.Time
	refused     bool // somebody found its process gone
	failed      bool // gossip declared it dead
	disproved   bool // it was called gone once, and was not: such hints wait for the heartbeat from now on
	fencing     bool // a fence was proposed: it renews nothing any more
	fenced      bool
	fencedSince time.Time
}

// NewLiveness returns the knowledge of nobody.
func NewLiveness(now time.Time) *Liveness {
	return &Liveness{leases: map[wire.BrokerID]*lease{}, hinted: map[wire.BrokerID]time.Time{}, ticked: now}
}

// Begin restarts every lease: a controller begins, and has heard nobody yet.
func (l *Liveness) Begin(img *Image, now time.Time) {
	*l = *NewLiveness(now)
	l.follow(img, now)
}

// follow brings the leases in line with the registrations.
func (l *Liveness) follow(img *Image, now time.Time) {
	for _, b := range img.brokers {
		le := l.leases[b.ID]
		if le == nil || le.incarnation != b.Incarnation {
			le = &lease{incarnation: b.Incarnation, renewed: now}
			l.leases[b.ID] = le
		}
		if b.Fenced && !le.fenced {
			le.fencedSince = now
		}
		le.fenced = b.Fenced
	}
	for id := range l.leases {
		if img.broker(id) == nil {
			delete(l.leases, id)
		}
	}
}

// Heartbeat takes a broker's heartbeat. The image is the committed one. The change, if there is one,
// is to be proposed; the same one may come again until it is committed. The reply needs the
// controller's id, which raft knows.
func (l *Liveness) Heartbeat(m *wire.Heartbeat, img *Image, now time.Time) (wire.HeartbeatReply, *ChangeBrokers) {
	reply := wire.HeartbeatReply{ID: m.ID}
	b, err := img.process(m.Sender, m.Incarnation)
	if err != nil {
		reply.Err = wire.Errorf(wire.StaleBrokerEpoch, "broker %d is not registered in this incarnation", m.Sender)
		return reply, nil
	}
	l.follow(img, now)
	le := l.leases[b.ID]
	reply.Fenced = b.Fenced || le.fencing
	if le.refused {
		le.disproved = true
	}
	le.refused, le.failed = false, false
	if m.DiskHealthy {
		le.renewed = now
	} else {
		reply.Err = wire.Errorf(wire.KafkaStorageError, "broker %d reports a disk that does not answer: its lease runs out", m.Sender)
	}
	state := BrokerState{ID: b.ID, Epoch: b.Epoch, Fenced: b.Fenced, ShuttingDown: m.ShuttingDown}
	if m.DiskHealthy && !state.ShuttingDown && m.Applied >= b.RegisteredAt() {
		state.Fenced = false
	}
	if b.ShuttingDown {
		reply.MayStop = img.mayStop(b)
	}
	if state.Fenced == b.Fenced && state.ShuttingDown == b.ShuttingDown {
		return reply, nil
	}
	return reply, &ChangeBrokers{Brokers: []BrokerState{state}}
}

// mayStop says that there is nothing to wait for: no other replica that works could take over what
// the broker still leads.
func (img *Image) mayStop(b *broker) bool {
	if b.Fenced {
		return true
	}
	for _, p := range img.hosted(b.ID) {
		if p.leaderID() != b.ID {
			continue
		}
		for i := range p.replicas {
			if img.standing(&p, i) == usable {
				return false
			}
		}
	}
	return true
}

// Hint takes what somebody has noticed. It counts from the next Tick on, until the next heartbeat.
func (l *Liveness) Hint(h *wire.Hint) {
	le := l.leases[h.Broker]
	if le == nil || le.incarnation != h.Incarnation {
		return
	}
	le.refused = le.refused || h.Refused
	le.failed = le.failed || h.Failed
}

// Tick returns what is to be proposed: one ChangeBrokers with all who are to be fenced, or none of
// them would know that the next in line is dead as well. The image is the one that the command will
// be decided on.
func (l *Liveness) Tick(img *Image, now time.Time) []Command {
	if gap := now.Sub(l.ticked); gap > stall {
		// It is the controller that stood still, and has heard nobody meanwhile.
		for _, le := range l.leases {
			le.renewed = le.renewed.Add(gap)
		}
	}
	l.ticked = now
	l.follow(img, now)
	var expired, hinted []BrokerState
	for _, b := range img.brokers {
		le := l.leases[b.ID]
		state := BrokerState{ID: b.ID, Epoch: b.Epoch, Fenced: true, ShuttingDown: b.ShuttingDown}
		switch silent := now.Sub(le.renewed); {
		case b.Fenced:
		case silent >= SessionTimeout:
			expired = append(expired, state)
		case le.refused && !le.disproved, (le.failed || le.refused) && silent > overdue:
			hinted = append(hinted, state)
		}
	}
	if l.credible(hinted, len(img.brokers), now) {
		for _, s := range hinted {
			l.hinted[s.ID] = now
		}
		expired = append(expired, hinted...)
	}
	for _, b := range img.brokers {
		l.leases[b.ID].fencing = false
	}
	for _, s := range expired {
		l.leases[s.ID].fencing = true
	}
	if len(expired) == 0 {
		return nil
	}
	return []Command{ChangeBrokers{Brokers: expired}}
}

// credible says that the hints do not fence too many brokers at once. If they do, it is more likely
// that the controller is cut off; then leases decide alone.
func (l *Liveness) credible(hinted []BrokerState, brokers int, now time.Time) bool {
	for id, at := range l.hinted {
		if now.Sub(at) >= hintWindow {
			delete(l.hinted, id)
		}
	}
	fenced := len(l.hinted)
	for _, s := range hinted {
		if _, before := l.hinted[s.ID]; !before {
			fenced++
		}
	}
	return fenced <= max(2, brokers*30/100)
}

// FencedFor tells how long a broker has been fenced, as far as this controller saw it.
func (l *Liveness) FencedFor(id wire.BrokerID, now time.Time) time.Duration {
	le := l.leases[id]
	if le == nil || !le.fenced {
		return 0
	}
	return now.Sub(le.fencedSince)
}
