package node

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/troupe-mq/troupe/actors"
	"github.com/troupe-mq/troupe/cluster/gossip"
	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/peer"
)

// What connects this broker to the others: its port, links, gossip, and the address book that
// gossip fills and the links use.

// openClusterPort begins to answer other brokers: who this is, for now.
func (n *Node) openClusterPort(context.Context) error {
	var err error
	if n.clusterTLS, err = n.cfg.clusterTLS(); err != nil {
		return err
	}
	if n.gossipKeys, err = newKeyRing(n.cfg, n.log); err != nil {
		return err
	}
	if n.clusterAddress, err = n.cfg.AdvertisedCluster(n.cluster.Addr(), net.InterfaceAddrs); err != nil {
		return err
	}
	if n.registration, err = n.register(); err != nil {
		return err
	}
	unknown := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "troupe_cluster_port_strangers_total", Help: "Connections to the cluster port that spoke none of its protocols.",
	})
	n.registry.MustRegister(unknown)
	n.caller = caller{dialer: peer.NetDialer{}, tls: n.clusterTLS}
	n.port = newClusterPort(n.cluster, n.log, n.opts.Now, unknown)
	reception := &receptionist{
		self: n.introduction, asked: n.claimed, register: n.letIn, tls: n.clusterTLS, log: n.log,
		visitors: make(chan struct{}, maxVisitors),
	}
	n.port.handle(wire.HelloPreface, func(c net.Conn) { reception.serve(n.life, c) })
	closed := func(c net.Conn) { _ = c.Close() } // until they are served
	n.port.handle(peer.Preface, closed)
	n.port.handle(gossip.Preface, closed)
	n.run("cluster listener", n.port.run)
	return nil
}

// register is how this broker makes itself known.
func (n *Node) register() (metadata.RegisterBroker, error) {
	host, port, err := n.cfg.AdvertisedAddress(n.clients.Addr(), net.InterfaceAddrs)
	if err != nil {
		return metadata.RegisterBroker{}, err
	}
	directories := make([]metadata.DirectoryID, len(n.dirs))
	for i, d := range n.dirs {
		directories[i] = metadata.DirectoryID(d.Identity().DirectoryID)
	}
	id := wire.NoBroker
	if asked, ok := n.cfg.nodeID(); ok {
		id = asked
	}
	return metadata.RegisterBroker{
		ID: id, Incarnation: n.incarnation, Directories: directories, Host: host, Port: port,
		ClusterAddress: n.clusterAddress, Rack: n.cfg.Static[keyRack], BootID: n.opts.BootID, Fenced: true,
	}, nil
}

// letIn registers a broker that asks this one to be let into the cluster.
func (n *Node) letIn(ctx context.Context, registration metadata.RegisterBroker) wire.JoinedCluster {
	answer := wire.JoinedCluster{ClusterID: n.introduction().ClusterID, Broker: wire.NoBroker}
	broker := n.actors.Load()
	if broker == nil || !n.serving.Load() {
		answer.Err = wire.Errorf(wire.NotController, "this broker is starting or stopping itself")
		return answer
	}
	registered := broker.Register(ctx, registration)
	answer.Err, answer.Broker, answer.Members = registered.Err, registered.ID, n.brokers()
	return answer
}

// connect starts links and gossip. Links are served once the actors are attached to them.
func (n *Node) connect(ctx context.Context) error {
	me := n.identity.Load()
	n.links = peer.New(peer.Identity{
		ClusterID: me.ClusterID, Broker: me.BrokerID, Directory: me.DirectoryID,
		Incarnation: n.incarnation, RecoveryEpoch: me.RecoveryEpoch,
	}, peer.Config{TLS: n.clusterTLS}, peer.NetDialer{}, n.log, peerMetrics(n.registry), n.opts.Now)

	cfg := gossip.DefaultConfig()
	cfg.ClusterID, cfg.Keys, cfg.Packets, cfg.Now = me.ClusterID, plain(n.gossipKeys.keys), n.packets, n.opts.Now
	cfg.Self = gossip.Member{
		Broker: me.BrokerID, Directory: me.DirectoryID, Incarnation: n.incarnation,
		RecoveryEpoch: me.RecoveryEpoch, Address: n.clusterAddress,
	}
	cfg.Advertise = n.gossipAddress(ctx)
	cfg.Notify = n.heard
	var err error
	if n.gossip, err = gossip.Start(cfg, n.log); err != nil {
		return err
	}
	n.gossipKeys.use(n.gossip)
	n.port.handle(gossip.Preface, n.gossip.Serve)
	n.run("address book", n.keepAddresses)
	return nil
}

// gossipAddress is the advertised address in numbers. A name that stands for nothing yet, as when
// it is published only once a broker serves, is replaced by an address of this machine.
func (n *Node) gossipAddress(ctx context.Context) netip.AddrPort {
	host, port, _ := splitAddress(n.clusterAddress) // made of a host and a port
	if ip, err := netip.ParseAddr(host); err == nil {
		return netip.AddrPortFrom(ip.Unmap(), port)
	}
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err == nil && len(ips) > 0 {
		slices.SortStableFunc(ips, func(a, b netip.Addr) int { return a.Unmap().BitLen() - b.Unmap().BitLen() }) // IPv4 first
		return netip.AddrPortFrom(ips[0].Unmap(), port)
	}
	n.log.Warn("the advertised cluster address stands for no number yet; gossip announces one of this machine's", "address", n.clusterAddress, "err", err)
	local, _ := net.InterfaceAddrs() // none: this machine alone
	return netip.AddrPortFrom(netip.MustParseAddr(firstIPv4(local)), port)
}

// heard takes over an event of gossip. It is called with gossip's locks held.
func (n *Node) heard(e gossip.Event) {
	switch e := e.(type) {
	case gossip.MemberJoined:
		n.log.Info("gossip sees a broker", "broker", e.Broker, "address", e.Address)
		n.meet(e.Member)
	case gossip.MemberUpdated:
		n.meet(e.Member)
	case gossip.MemberFailed:
		n.log.Info("gossip sees a broker no more", "broker", e.Broker, "address", e.Address)
		n.book.failed(e.Member)
		if broker := n.actors.Load(); broker != nil && e.Broker != n.identity.Load().BrokerID {
			broker.MemberFailed(e.Broker, e.Incarnation)
		}
	}
}

func (n *Node) meet(m gossip.Member) {
	n.heardOfRecovery(n.inEpoch(m.RecoveryEpoch, m.Address))
	if m.Broker != n.identity.Load().BrokerID { // the last process on our own disk may still be seen
		n.book.alive(m)
	}
}

// linkTable is what the actors see of the links: the address book stands between, because the metadata
// log is not all that is known of where brokers are.
type linkTable struct {
	*peer.Links
	n *Node
}

// Attach implements actors.Links. From now on links are made and served.
func (t linkTable) Attach(h peer.Handler) {
	if broker, ok := h.(*actors.Broker); ok {
		t.n.actors.Store(broker)
	}
	t.Links.Attach(h)
	t.n.book.attach(t.Links)
	t.n.port.handle(peer.Preface, t.Serve)
}

// SetPeer implements actors.Links.
func (t linkTable) SetPeer(b wire.BrokerID, incarnation wire.Incarnation, addresses ...string) {
	if b != t.n.identity.Load().BrokerID {
		t.n.book.register(b, incarnation, addresses)
	}
}

// ForgetPeer implements actors.Links.
func (t linkTable) ForgetPeer(b wire.BrokerID) {
	t.n.book.forget(b)
	t.Links.ForgetPeer(b)
}

// addressesPause is how long changes of addresses are gathered before they are written down.
const addressesPause = 100 * time.Millisecond

// keepAddresses writes down where the other brokers are, and has gossip call those who are missing.
func (n *Node) keepAddresses() error {
	me := n.identity.Load()
	name := filepath.Join(n.dirs[0].Path(), peersFile)
	var saved []wire.Member
	for {
		n.gossip.SetContacts(append(n.book.contacts(), n.cfg.Join...))
		if members := n.book.members(); !slices.Equal(members, saved) {
			file := savedPeers{ClusterID: me.ClusterID, Brokers: []savedBroker{}}
			for _, m := range members {
				file.Brokers = append(file.Brokers, savedBroker{ID: m.Broker, Address: m.Address})
			}
			if err := writeJSON(n.opts.FS, name, file); err != nil {
				n.log.Warn("where the other brokers are cannot be written down", "err", err)
			}
			saved = members
		}
		if rest(n.life, addressesPause) != nil {
			return nil //nolint:nilerr // the broker stops
		}
		select {
		case <-n.book.changed:
		case <-n.life.Done():
			return nil
		}
	}
}

// leaveCluster takes leave of the others: gossip first, so that they hear of it before the links break.
func (n *Node) leaveCluster(ctx context.Context) error {
	if n.gossip == nil {
		return nil
	}
	if err := n.gossip.Stop(ctx); err != nil {
		return fmt.Errorf("leave the cluster: %w", err)
	}
	return nil
}
