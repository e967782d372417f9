// Package gossip is how brokers meet. It turns memberlist, which knows which processes of a cluster
// are there and where, into plain events about brokers.
//
//	        cluster port, TCP                     the same number, UDP
//	              |                                      |
//	preface "GSP1" -> Serve -> transport.go <- packets --+
//	                               |
//	                          memberlist            probes, suspicion, push and pull
//	                               |
//	        delegate.go: is it ours?   meta.go: who is it?
//	                               |
//	  MemberJoined  MemberUpdated  MemberFailed   -> Config.Notify
//
// What gossip says is a hint and never a verdict: a broker that it calls dead keeps its leaderships
// until the controller, which also looks at leases and connections, has decided; one that it calls
// alive has no lease by that. Nobody waits for a complete view of it either.
//
// What holds:
//
//   - Members of another cluster are never taken in. The cluster's id is the label of every packet
//     and stream, and is asked for once more in what a member tells of itself. That keeps clusters
//     apart which were given each other's addresses by mistake. It keeps nobody out who means
//     harm: that is what keys are for (keys.go).
//   - A name is that of one process: the directory's id and the incarnation. So a broker that
//     starts again at another address is seen at once, rather than when its former name has died.
//   - Who was a member once is asked again for as long as the broker runs (contacts.go): two halves of
//     a cluster that lost sight of each other for long find together again.
//   - What a member tells of itself stays below maxMetaBytes, whatever its addresses: memberlist
//     panics when it is given more than fits.
//
// Begin with Start. The port is opened and shared out by package node; links between brokers
// are wire/peer's.
package gossip

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/troupe-mq/troupe/wire"
)

// Preface is what a stream of gossip begins with on the cluster port.
var Preface = [4]byte{'G', 'S', 'P', '1'}

// Member is a process of a broker, as it tells of itself.
type Member struct {
	Broker        wire.BrokerID
	Directory     string // the id of its first log directory
	Incarnation   wire.Incarnation
	RecoveryEpoch uint64
	Address       string // host:port of its cluster port
}

// Event is one of MemberJoined, MemberUpdated and MemberFailed.
type Event interface{ event() }

// MemberJoined tells that a process is there: for the first time, or again after it was thought dead.
type MemberJoined struct{ Member }

// MemberUpdated tells that a process tells something else of itself.
type MemberUpdated struct{ Member }

// MemberFailed tells that a process does not answer anybody any more, or that it has said goodbye.
type MemberFailed struct{ Member }

func (MemberJoined) event()  {}
func (MemberUpdated) event() {}
func (MemberFailed) event()  {}

// Config is what gossip is started with.
type Config struct {
	ClusterID string
	Self      Member
	// Advertise is where others reach this process: what Self.Address means in numbers.
	Advertise netip.AddrPort
	// Keys encrypt what is said. The first one is used for sending; none: nothing is encrypted.
	Keys [][]byte
	// Notify hears every event about others, in order. It must not block.
	Notify func(Event)
	// Packets is bound to the number of the cluster port. It is closed by Stop.
	Packets net.PacketConn
	// Now is the clock.
	Now func() time.Time
	// ContactInterval is how often those are called who should be members and are not.
	ContactInterval time.Duration
}

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	switch {
	case c.ClusterID == "" || len(c.ClusterID) > maxIDBytes:
		return fmt.Errorf("the cluster id %.100q is no label: it has 1 to %d bytes", c.ClusterID, maxIDBytes)
	case c.Self.Directory == "" || len(c.Self.Directory) > maxIDBytes:
		return fmt.Errorf("the directory id %.100q is no name: it has 1 to %d bytes", c.Self.Directory, maxIDBytes)
	case !c.Advertise.IsValid() || c.Advertise.Port() == 0 || c.Advertise.Addr().IsUnspecified():
		return fmt.Errorf("nobody can be reached at %s", c.Advertise)
	case c.Notify == nil || c.Packets == nil || c.Now == nil:
		return errors.New("notify, packets and now must be given")
	case c.ContactInterval <= 0:
		return errors.New("the contact interval must be positive")
	}
	return nil
}

// DefaultConfig is a configuration but for what belongs to one broker.
func DefaultConfig() Config {
	return Config{ContactInterval: time.Second}
}

// Gossip is a member of the cluster.
type Gossip struct {
	cfg       Config
	log       *slog.Logger
	list      *memberlist.Memberlist
	keyring   *memberlist.Keyring // nil: not encrypted
	transport *transport
	others    roster

	contacts contacts
	stopping context.CancelFunc
	tasks    sync.WaitGroup
	stop     sync.Once
	stopErr  error
}

// Start begins to take part, alone at first: SetContacts says whom to call.
func Start(cfg Config, logger *slog.Logger) (*Gossip, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	keyring, err := newKeyring(cfg.Keys)
	if err != nil {
		return nil, err
	}
	g := &Gossip{cfg: cfg, log: logger, keyring: keyring}
	g.transport = newTransport(cfg, logger)
	g.list, err = memberlist.Create(g.memberlistConfig())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start gossip: %w", err), g.transport.Shutdown())
	}
	ctx, cancel := context.WithCancel(context.Background())
	g.stopping = cancel
	g.contacts.changed = make(chan struct{}, 1)
	g.tasks.Go(func() { g.callContacts(ctx) })
	return g, nil
}

// memberlistConfig is tuned between two evils. With these values a process that was killed is found
// out in 2 to 3 s, and one that is merely slow, or stopped for a second, is not called dead.
// A full exchange every 5 s heals what lost packets left undone.
func (g *Gossip) memberlistConfig() *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = nameOf(g.cfg.Self)
	c.Label = g.cfg.ClusterID
	c.Transport = g.transport
	c.AdvertiseAddr = g.cfg.Advertise.Addr().Unmap().String()
	c.AdvertisePort = int(g.cfg.Advertise.Port())
	c.BindPort = c.AdvertisePort
	c.TCPTimeout = streamTimeout
	c.ProbeInterval, c.ProbeTimeout = 500*time.Millisecond, 250*time.Millisecond
	c.SuspicionMult, c.SuspicionMaxTimeoutMult = 3, 3
	c.GossipInterval = 100 * time.Millisecond
	c.PushPullInterval = 5 * time.Second
	c.Keyring = g.keyring
	c.Logger = log.New(newLogWriter(g.log, g.cfg.Now), "", 0)
	d := &delegate{clusterID: g.cfg.ClusterID, self: c.Name, meta: encodeMeta(g.cfg), notify: g.cfg.Notify, others: &g.others, log: g.log}
	c.Delegate, c.Events, c.Alive, c.Merge, c.Conflict = d, d, d, d, d
	return c
}

// streamTimeout bounds an exchange over a stream, and the dialling before it.
const streamTimeout = 3 * time.Second

// nameOf is unique for each process, so that no name is ever seen at two addresses.
func nameOf(m Member) string { return fmt.Sprintf("%s/%016x", m.Directory, uint64(m.Incarnation)) }

// Serve takes over a connection that was accepted on the cluster port and began with Preface,
// which the caller has read.
func (g *Gossip) Serve(c net.Conn) { g.transport.serve(c) }

// Members returns the others that are there.
func (g *Gossip) Members() []Member {
	var members []Member
	for _, p := range g.others.all() {
		members = append(members, p.Member)
	}
	return members
}

// Stop says goodbye to the others and ends. Who does not hear it will find out.
func (g *Gossip) Stop(ctx context.Context) error {
	g.stop.Do(func() { g.stopErr = g.leave(ctx) })
	return g.stopErr
}

// leaveTimeout is how long a goodbye may take without a deadline of the caller's.
const leaveTimeout = time.Second

func (g *Gossip) leave(ctx context.Context) error {
	g.stopping()
	g.tasks.Wait()
	patience := leaveTimeout
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, max(deadline.Sub(g.cfg.Now()), time.Millisecond))
	}
	if err := g.list.Leave(patience); err != nil {
		g.log.Debug("nobody heard the goodbye", "err", err)
	}
	if err := g.list.Shutdown(); err != nil {
		return fmt.Errorf("stop gossip: %w", err)
	}
	return nil
}
