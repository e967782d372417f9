package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/troupe-mq/troupe/cluster/bootstrap"
	"github.com/troupe-mq/troupe/wire"
)

// How long a broker that waits for others waits before it asks again.
const (
	firstBootstrapPause = 50 * time.Millisecond
	maxBootstrapPause   = time.Second
	// waitingInterval is how often it says what it waits for.
	waitingInterval = 5 * time.Second
)

// joinCluster comes to a cluster, by the rules of package bootstrap: afterwards the broker has a
// cluster id and a broker id.
func (n *Node) joinCluster(ctx context.Context) error {
	pause := firstBootstrapPause
	var told time.Time
	for {
		answers := n.askAll(ctx)
		if err := ctx.Err(); err != nil {
			return err
		}
		d := bootstrap.Decide(n.standing(), answers)
		why, mistake := d.Why, d.Mistake
		switch d.Action {
		case bootstrap.Found:
			return n.found()
		case bootstrap.Return:
			n.useIdentity()
			n.warnOfForeign(d)
			return nil
		case bootstrap.StartOver:
			n.warnOfForeign(d)
			if err := n.startOver(d.RecoveryEpoch); err != nil {
				return err
			}
			n.useIdentity()
			return nil
		case bootstrap.Refuse:
			return errors.New(d.Why)
		case bootstrap.Join:
			err := n.enter(ctx, d)
			if err == nil {
				return nil
			}
			if !bootstrap.Passes(err) {
				return fmt.Errorf("join cluster %s: %w", d.ClusterID, err)
			}
			why = "the cluster does not let this broker in yet: " + wire.Sentence(err)
		case bootstrap.Wait:
		}
		n.status.Store(&why)
		if now := n.opts.Now(); told.IsZero() || now.Sub(told) >= waitingInterval {
			told = now
			if mistake {
				n.log.Error("waiting for a cluster, in vain unless something is changed", "why", why)
			} else {
				n.log.Info("waiting for a cluster", "why", why)
			}
		}
		if err := rest(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, maxBootstrapPause)
	}
}

func (n *Node) warnOfForeign(d bootstrap.Decision) {
	if len(d.Foreign) > 0 {
		n.log.Error("addresses to join belong to another cluster and are not used", "addresses", d.Foreign)
	}
}

// rest waits, a little less or more each time, so that brokers which wait for one another do not
// do so in step.
func rest(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause/2 + rand.N(pause))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// standing is what this broker knows of itself.
func (n *Node) standing() bootstrap.Self {
	identity := n.dirs[0].Identity()
	return bootstrap.Self{
		ClusterID: identity.ClusterID, RecoveryEpoch: identity.RecoveryEpoch, Founding: n.beginning().Founding,
		Directory: identity.DirectoryID, Incarnation: n.incarnation, Join: n.cfg.Join,
	}
}

// askAll asks everybody on the list who they are.
func (n *Node) askAll(ctx context.Context) []bootstrap.Answer {
	answers := make([]bootstrap.Answer, len(n.cfg.Join))
	self := n.introduction()
	var asking sync.WaitGroup
	for i, address := range n.cfg.Join {
		asking.Go(func() {
			answer := bootstrap.Answer{Address: address, Own: n.looksOwn(ctx, address)}
			answer.Hello, answer.Err = n.caller.hello(ctx, address, self)
			answers[i] = answer
		})
	}
	asking.Wait()
	return answers
}

// looksOwn says that an address is where this broker says it is, or that its host is one of this
// machine's and its port is ours.
func (n *Node) looksOwn(ctx context.Context, address string) bool {
	if address == n.clusterAddress {
		return true
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || port != portOf(n.cluster.Addr()) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return false
	}
	local, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(ips, func(ip netip.Addr) bool {
		ip = ip.Unmap()
		return ip.IsLoopback() || slices.ContainsFunc(local, func(a net.Addr) bool {
			prefix, err := netip.ParsePrefix(a.String())
			return err == nil && prefix.Addr().Unmap() == ip
		})
	})
}

func portOf(a net.Addr) string {
	_, port, _ := net.SplitHostPort(a.String()) // a bound address has one
	return port
}

// introduction is what this broker says of itself to others.
func (n *Node) introduction() wire.Hello {
	first := n.dirs[0].Identity()
	hello := wire.Hello{
		Protocol: wire.HelloProtocol, Broker: wire.NoBroker, Known: wire.NoBroker, Address: n.clusterAddress,
		Directory: first.DirectoryID, Incarnation: n.incarnation, RecoveryEpoch: first.RecoveryEpoch,
		Seeds: bootstrap.SeedHash(n.cfg.Join),
	}
	if me := n.identity.Load(); me != nil {
		hello.ClusterID, hello.Broker = me.ClusterID, me.BrokerID
		hello.Members = n.brokers()
	} else if first.ClusterID != "" {
		hello.ClusterID, hello.Broker = first.ClusterID, first.BrokerID
	}
	return hello
}

// maxMembersTold bounds how many brokers are told to another one: it needs to find one of them.
const maxMembersTold = 256

// brokers lists this broker and the others.
func (n *Node) brokers() []wire.Member {
	list := append([]wire.Member{{Broker: n.identity.Load().BrokerID, Address: n.clusterAddress}}, n.book.members()...)
	return list[:min(len(list), maxMembersTold)]
}

// found gives the broker a cluster of its own. The cluster's id is on disk before anything else is
// told of it: a founder that is interrupted goes on with that one.
func (n *Node) found() error {
	identity := n.dirs[0].Identity()
	if begun := n.beginning(); begun.Founding {
		identity.ClusterID = begun.ClusterID
	} else {
		identity.BrokerID = n.firstBrokerID()
		if identity.RaftID == 0 {
			identity.RaftID = newRaftID()
		}
		if err := n.dirs[0].SaveIdentity(identity); err != nil {
			return err
		}
		identity.ClusterID = newUUID()
		if err := n.begin(savedBeginning{ClusterID: identity.ClusterID, DirectoryID: identity.DirectoryID, Founding: true}); err != nil {
			return err
		}
	}
	n.identity.Store(&identity)
	n.log.Info("founding a cluster", "cluster_id", identity.ClusterID, "broker", identity.BrokerID)
	return nil
}

// beginning is how this broker begins in its cluster, if it has not done so yet.
func (n *Node) beginning() savedBeginning {
	identity := n.dirs[0].Identity()
	var saved savedBeginning
	if err := readJSON(n.opts.FS, n.beginningName(), &saved); err != nil {
		n.log.Warn("how this broker began in its cluster cannot be read", "err", err)
		return savedBeginning{}
	}
	if saved.DirectoryID != identity.DirectoryID || !identity.Blank() && identity.ClusterID != saved.ClusterID {
		return savedBeginning{}
	}
	return saved
}

func (n *Node) beginningName() string { return filepath.Join(n.dirs[0].Path(), beginningFile) }

func (n *Node) begin(b savedBeginning) error {
	if err := writeJSON(n.opts.FS, n.beginningName(), b); err != nil {
		return fmt.Errorf("begin in cluster %s: %w", b.ClusterID, err)
	}
	return nil
}

// useIdentity goes on as the broker that the directories say.
func (n *Node) useIdentity() {
	identity := n.dirs[0].Identity()
	n.identity.Store(&identity)
	var saved savedPeers
	if err := readJSON(n.opts.FS, filepath.Join(n.dirs[0].Path(), peersFile), &saved); err != nil {
		n.log.Warn("where the other brokers were is not known", "err", err)
	}
	if saved.ClusterID == identity.ClusterID {
		for _, b := range saved.Brokers {
			if b.ID != identity.BrokerID {
				n.book.remember([]wire.Member{{Broker: b.ID, Address: b.Address}})
			}
		}
	}
}

// enter has this broker registered in a cluster by one of its members, and keeps what it is told.
func (n *Node) enter(ctx context.Context, d bootstrap.Decision) error {
	identity := n.dirs[0].Identity()
	if identity.RaftID == 0 {
		// Before it is told to anybody: the same directory has one raft id, however often it asks.
		identity.RaftID = newRaftID()
		if err := n.dirs[0].SaveIdentity(identity); err != nil {
			return err
		}
	}
	registration := n.registration
	registration.RaftID = identity.RaftID
	var errs []error
	for _, address := range d.At {
		reply, err := n.caller.join(ctx, address, d.ClusterID, registration)
		if err == nil {
			err = reply.Err
		} else {
			err = wire.Errorf(wire.NotController, "%v", err) // ask again
		}
		if err != nil {
			errs = append(errs, err)
			if !bootstrap.Passes(err) {
				return err
			}
			continue
		}
		if reply.ClusterID != d.ClusterID || reply.Broker < 0 {
			return fmt.Errorf("the broker at %s answered as broker of cluster %q with id %d", address, reply.ClusterID, reply.Broker)
		}
		for _, m := range reply.Members {
			if m.Broker != reply.Broker {
				n.book.remember([]wire.Member{m})
			}
		}
		identity.ClusterID, identity.BrokerID, identity.RecoveryEpoch = reply.ClusterID, reply.Broker, d.RecoveryEpoch
		n.identity.Store(&identity)
		n.log.Info("joined a cluster", "cluster_id", reply.ClusterID, "broker", reply.Broker, "by", address)
		if err := n.begin(savedBeginning{ClusterID: reply.ClusterID, DirectoryID: identity.DirectoryID}); err != nil {
			return err
		}
		return n.keepIdentity(identity)
	}
	return errs[0]
}

// newRaftID is what a directory is called among the voters of the metadata log. It is random because it
// must never come back: a voter that has forgotten its votes is another one.
func newRaftID() uint64 {
	for {
		if id := rand.Uint64(); id != 0 {
			return id
		}
	}
}
