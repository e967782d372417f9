package testbed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ClusterConfig says what a cluster of processes is made of.
type ClusterConfig struct {
	Binary      string
	Dir         string // data and logs of the brokers go below it
	Brokers     int
	Flags       []string // of each broker, besides where it is and whom it joins
	Together    bool     // all are told to join all, themselves too, and are to be started at once
	Environment []string
	Hosts       []Host // where the brokers run; nil: here, on free ports of the loopback interface
	Proxied     bool   // brokers reach each other by a Proxy, but for what they send as datagrams
}

// Cluster is n brokers in processes of their own, joined. The first founds it.
type Cluster struct {
	Members []*Member
}

// Member is a broker with a data directory. The process may come and go.
type Member struct {
	cluster *Cluster
	cfg     *ClusterConfig
	data    string
	log     string
	host    *Host // nil: this one
	founded bool  // the first start of the first member has no one to join

	gossip, admin string
	proxy         *Proxy // before gossip; nil without one
	id            int32
	process       *Process // the last one; nil before the first

	mu      sync.Mutex // of what View, which may be called at any time, shares with the others
	listen  string
	watcher *kgo.Client // made when it is first asked
}

// StartCluster starts the brokers one after the other and returns once the last serves.
func StartCluster(ctx context.Context, cfg ClusterConfig) (*Cluster, error) {
	c, err := NewCluster(cfg)
	if err != nil {
		return nil, err
	}
	for _, m := range c.Members {
		if err := m.Start(ctx); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// NewCluster gives the brokers addresses and directories, and starts none of them.
func NewCluster(cfg ClusterConfig) (*Cluster, error) {
	c := &Cluster{}
	for i := range cfg.Brokers {
		m := &Member{cluster: c, cfg: &cfg, founded: i > 0 || cfg.Together, id: -1}
		m.data = filepath.Join(cfg.Dir, "broker-"+strconv.Itoa(i+1))
		m.log = m.data + ".log"
		if cfg.Hosts != nil {
			m.host = &cfg.Hosts[i]
		}
		c.Members = append(c.Members, m)
	}
	return c, c.Move()
}

// Move gives new addresses to all members that are down. They take them when they start.
func (c *Cluster) Move() error {
	const each = 3
	addresses, err := FreeAddresses(each * len(c.Members))
	if err != nil {
		return err
	}
	for i, m := range c.Members {
		if m.host != nil { // which has its ports to itself
			for port := range each {
				addresses[each*i+port] = net.JoinHostPort(m.host.Address, strconv.Itoa(firstPort+port))
			}
		}
		if !m.Alive() {
			m.gossip, m.admin = addresses[each*i+1], addresses[each*i+2]
			m.listenAt(addresses[each*i])
			if err := m.proxied(); err != nil {
				return err
			}
		}
	}
	return nil
}

// proxied puts a new proxy before the broker, if there is to be one.
func (m *Member) proxied() (err error) {
	if !m.cfg.Proxied {
		return nil
	}
	if m.proxy != nil {
		m.proxy.Close()
	}
	m.proxy, err = NewProxy(m.gossip)
	return err
}

// Start runs the broker. On its first start the first member founds the cluster; otherwise it
// joins whoever of the others is there.
func (m *Member) Start(ctx context.Context) error {
	if m.Alive() {
		return fmt.Errorf("broker %d runs already", m.id)
	}
	args := []string{"broker", "--data", m.data, "--listen", m.Kafka(), "--cluster", m.gossip, "--admin", m.admin}
	if m.founded && len(m.cluster.Members) > 1 {
		args = append(args, "--join", strings.Join(m.others(), ","))
	}
	if m.proxy != nil {
		args = append(args, "--cluster-advertise", m.proxy.Address())
	}
	p, err := m.command(append(args, m.cfg.Flags...)).Start(ctx)
	if err != nil {
		return err
	}
	m.process, m.founded = p, true
	id, err := strconv.ParseInt(p.Ready("broker_id"), 10, 32)
	if err != nil {
		return fmt.Errorf("the ready line has no broker id: %w", err)
	}
	m.id = int32(id)
	return nil
}

func (m *Member) command(args []string) Command {
	c := Command{Binary: m.cfg.Binary, Args: args, Environment: m.cfg.Environment, LogFile: m.log}
	if m.host != nil {
		c.Inside = m.host.Inside
	}
	return c
}

// others are the addresses that a member joins by.
func (m *Member) others() []string {
	var addresses []string
	for _, other := range m.cluster.Members {
		if other != m || m.cfg.Together {
			addresses = append(addresses, other.Gossip())
		}
	}
	return addresses
}

// ID is the id that the broker was given, -1 before its first start.
func (m *Member) ID() int32 { return m.id }

// Kafka is the address for clients.
func (m *Member) Kafka() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.listen
}

// Gossip is the address for other brokers.
func (m *Member) Gossip() string {
	if m.proxy != nil {
		return m.proxy.Address()
	}
	return m.gossip
}

// Proxy is the line by which the others reach this broker; nil without one.
func (m *Member) Proxy() *Proxy { return m.proxy }

// Admin is the address of the admin server.
func (m *Member) Admin() string { return m.admin }

// Data is the log directory.
func (m *Member) Data() string { return m.data }

// Process is the process, or the last one there was; nil before the first.
func (m *Member) Process() *Process { return m.process }

// Alive says that the broker has a process, be it paused.
func (m *Member) Alive() bool { return m.process != nil && m.process.Alive() }

// Wipe empties the data directory of a broker that is down, as a new disk would be.
func (m *Member) Wipe() error {
	if m.Alive() {
		return fmt.Errorf("broker %d runs; its directory cannot be wiped", m.id)
	}
	return os.RemoveAll(m.data)
}

// Kafka are the addresses for clients of all members, comma separated.
func (c *Cluster) Kafka() string { return strings.Join(c.Addresses(), ",") }

// Addresses are the addresses for clients of all members.
func (c *Cluster) Addresses() []string {
	var addresses []string
	for _, m := range c.Members {
		addresses = append(addresses, m.Kafka())
	}
	return addresses
}

// Member returns the member that has an id, or nil.
func (c *Cluster) Member(id int32) *Member {
	i := slices.IndexFunc(c.Members, func(m *Member) bool { return m.id == id })
	if i < 0 {
		return nil
	}
	return c.Members[i]
}

// KillAll ends members at the same time, as a power cut in the room would: SIGKILL.
func KillAll(members ...*Member) {
	var killing sync.WaitGroup
	for _, m := range members {
		if m.Alive() {
			killing.Go(m.process.Kill)
		}
	}
	killing.Wait()
}

// StartAll starts those members that are down, at the same time: none may be ready before others are.
func StartAll(ctx context.Context, members ...*Member) error {
	var starting sync.WaitGroup
	errs := make([]error, len(members))
	for i, m := range members {
		if !m.Alive() {
			starting.Go(func() { errs[i] = m.Start(ctx) })
		}
	}
	starting.Wait()
	return errors.Join(errs...)
}

// Stop ends all members as an operator would who stops the machines: SIGTERM to each in turn.
func (c *Cluster) Stop() error {
	var errs []error
	for _, m := range c.Members {
		if m.Alive() {
			errs = append(errs, m.process.Stop())
		}
	}
	return errors.Join(errs...)
}

// Close ends whatever still runs, at once.
func (c *Cluster) Close() {
	for _, m := range c.Members {
		m.listenAt(m.Kafka())
		if m.Alive() {
			m.process.Kill()
		}
		if m.proxy != nil {
			m.proxy.Close()
		}
	}
}
