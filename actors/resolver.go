package actors

import (
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/peer"
)

// Links is how a broker reaches the others; *peer.Links is the real one.
type Links interface {
	Attach(h peer.Handler)
	// Send never blocks. On an error the caller still owns the buffers in e.
	Send(to wire.BrokerID, incarnation wire.Incarnation, bulk bool, e wire.Envelope) error
	SetPeer(b wire.BrokerID, incarnation wire.Incarnation, addresses ...string)
	ForgetPeer(b wire.BrokerID)
}

// addressOf is the address of all PIDs of one run of a broker, so that a message for a broker's
// earlier life can never reach the present one.
func addressOf(id wire.BrokerID, incarnation wire.Incarnation) string {
	return fmt.Sprintf("b%d@%x", id, uint64(incarnation))
}

func parseAddress(address string) (wire.BrokerID, wire.Incarnation, bool) {
	broker, incarnation, found := strings.Cut(strings.TrimPrefix(address, "b"), "@")
	id, err := strconv.ParseInt(broker, 10, 32)
	run, runErr := strconv.ParseUint(incarnation, 16, 64)
	if !found || err != nil || runErr != nil || address != addressOf(wire.BrokerID(id), wire.Incarnation(run)) {
		return 0, 0, false
	}
	return wire.BrokerID(id), wire.Incarnation(run), true
}

// remotes makes PIDs of other brokers work: Send and Request carry a wire.PeerMessage over the
// link, Watch is told when the actor stops or the link goes down. What cannot be sent is lost, as
// it would be on the way; who has to know uses post.
type remotes struct {
	system  *actor.ActorSystem
	links   Links
	metrics *Metrics

	mu        sync.Mutex
	processes map[string]*remoteProcess // by address
	watches   map[string]map[watch]struct{}
}

// watch is a local actor that watches a remote one of some address.
type watch struct{ watcher, watched string }

func newRemotes(system *actor.ActorSystem, links Links, metrics *Metrics) *remotes {
	r := &remotes{
		system: system, links: links, metrics: metrics,
		processes: make(map[string]*remoteProcess), watches: make(map[string]map[watch]struct{}),
	}
	system.ProcessRegistry.RegisterAddressResolver(r.resolve)
	return r
}

// resolve implements actor.AddressResolver.
func (r *remotes) resolve(pid *actor.PID) (actor.Process, bool) {
	p := r.process(pid.Address)
	return p, p != nil
}

func (r *remotes) process(address string) *remoteProcess {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.processes[address]
	if p == nil {
		id, incarnation, ok := parseAddress(address)
		if !ok || r.links == nil {
			return nil
		}
		p = &remoteProcess{remotes: r, address: address, broker: id, incarnation: incarnation}
		r.processes[address] = p
	}
	return p
}

// forget drops what is kept of a broker's run that has ended, and tells who watched its actors.
func (r *remotes) forget(address string) {
	r.mu.Lock()
	delete(r.processes, address)
	watches := r.watches[address]
	delete(r.watches, address)
	r.mu.Unlock()
	for w := range watches {
		r.terminated(w.watcher, actor.NewPID(address, w.watched), actor.TerminatedReason_AddressTerminated)
	}
}

func (r *remotes) terminated(watcher string, who *actor.PID, why actor.TerminatedReason) {
	if local, ok := r.system.ProcessRegistry.GetLocal(watcher); ok {
		local.SendSystemMessage(r.system.NewLocalPID(watcher), &actor.Terminated{Who: who, Why: why})
	}
}

// deliver hands a message from another broker to the actor that it is for.
func (r *remotes) deliver(from peer.Identity, e wire.Envelope) {
	address := addressOf(from.Broker, from.Incarnation)
	local, there := r.system.ProcessRegistry.GetLocal(e.To)
	sender := actor.NewPID(address, e.From)
	switch m := e.Message.(type) {
	case *wire.Watch:
		if !there {
			_ = r.post(sender, e.To, &wire.Terminated{NotFound: true})
			return
		}
		local.SendSystemMessage(r.system.NewLocalPID(e.To), &actor.Watch{Watcher: sender})
	case *wire.Unwatch:
		if there {
			local.SendSystemMessage(r.system.NewLocalPID(e.To), &actor.Unwatch{Watcher: sender})
		}
	case *wire.Terminated:
		if r.unwatch(address, watch{e.To, e.From}) {
			why := actor.TerminatedReason_Stopped
			if m.NotFound {
				why = actor.TerminatedReason_NotFound
			}
			r.terminated(e.To, sender, why)
		}
	default:
		if !there {
			r.metrics.deadLetter()
			releaseBuffer(e.Message)
			return
		}
		var message any = e.Message
		if e.From != "" {
			message = &actor.MessageEnvelope{Message: e.Message, Sender: sender}
		}
		local.SendUserMessage(r.system.NewLocalPID(e.To), message)
	}
}

// unwatch forgets a watch and says whether it was there.
func (r *remotes) unwatch(address string, w watch) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, watching := r.watches[address][w]
	delete(r.watches[address], w)
	return watching
}

// post sends a message to an actor of another broker and says if the link has not taken it. The
// buffers in it are the link's from then on, or released.
func (r *remotes) post(to *actor.PID, from string, m wire.PeerMessage) error {
	p := r.process(to.Address)
	if p == nil {
		releaseBuffer(m)
		return peer.ErrDown
	}
	return p.post(to.Id, from, m)
}

// remoteProcess stands for all actors of one run of another broker. It implements actor.Process.
type remoteProcess struct {
	*remotes
	address     string
	broker      wire.BrokerID
	incarnation wire.Incarnation
}

func (p *remoteProcess) post(to, from string, m wire.PeerMessage) error {
	err := p.links.Send(p.broker, p.incarnation, isBulk(m), wire.Envelope{To: to, From: from, Message: m})
	if err != nil {
		p.metrics.undeliverable()
		releaseBuffer(m)
	}
	return err
}

// isBulk says that a message goes on the link for bulk: all that goes from a leader to a follower,
// in one order, and whatever may be large.
func isBulk(m wire.PeerMessage) bool {
	switch m := m.(type) {
	case *wire.Probe, *wire.Truncate, *wire.Append, *wire.MetadataFetched, *wire.Forward, *wire.Forwarded:
		return true
	case *wire.RaftStep:
		return len(m.Data) > maxControlBytes
	}
	return false
}

// maxControlBytes is the largest raft message on the control link: a larger one would hold up votes
// and heartbeats behind it.
const maxControlBytes = 256 << 10

func releaseBuffer(m wire.PeerMessage) {
	switch m := m.(type) {
	case *wire.Append:
		m.Buffer.Release()
	case *wire.Forward:
		m.Buffer.Release()
	case *wire.Forwarded:
		m.Buffer.Release()
	}
}

// SendUserMessage implements actor.Process.
func (p *remoteProcess) SendUserMessage(pid *actor.PID, message any) {
	_, content, sender := actor.UnwrapEnvelope(message)
	m, ok := content.(wire.PeerMessage)
	if !ok {
		p.metrics.undeliverable() // the runtime's own answers to what was lost
		return
	}
	from := ""
	if sender != nil {
		from = sender.Id
	}
	_ = p.post(pid.Id, from, m) // counted; who has to know posts it
}

// SendSystemMessage implements actor.Process. No other broker is let stop an actor.
func (p *remoteProcess) SendSystemMessage(pid *actor.PID, message any) {
	switch m := message.(type) {
	case *actor.Watch:
		w := watch{m.Watcher.Id, pid.Id}
		p.mu.Lock()
		if p.watches[p.address] == nil {
			p.watches[p.address] = make(map[watch]struct{})
		}
		p.watches[p.address][w] = struct{}{}
		p.mu.Unlock()
		if p.post(pid.Id, m.Watcher.Id, &wire.Watch{}) != nil && p.unwatch(p.address, w) {
			p.terminated(w.watcher, pid, actor.TerminatedReason_AddressTerminated)
		}
	case *actor.Unwatch:
		p.unwatch(p.address, watch{m.Watcher.Id, pid.Id})
		_ = p.post(pid.Id, m.Watcher.Id, &wire.Unwatch{})
	case *actor.Terminated:
		_ = p.post(pid.Id, m.Who.Id, &wire.Terminated{NotFound: m.Why == actor.TerminatedReason_NotFound})
	}
}

// Stop implements actor.Process.
func (p *remoteProcess) Stop(*actor.PID) {}
