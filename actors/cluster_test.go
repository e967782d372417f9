package actors

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/storage/faultfs"
	"github.com/troupe-mq/troupe/wire"
)

// cluster is several brokers on a network in memory, each with a disk in memory, inside a synctest
// bubble.
type cluster struct {
	t     *testing.T
	net   *memoryNetwork
	disks map[wire.BrokerID]*crashfs.FS

	mu      sync.Mutex
	members map[wire.BrokerID]*company
}

// startCluster starts n brokers: the first founds, the others join, one after the other.
func startCluster(t *testing.T, n int) *cluster {
	t.Helper()
	cl := &cluster{t: t, net: newMemoryNetwork(), disks: make(map[wire.BrokerID]*crashfs.FS), members: make(map[wire.BrokerID]*company)}
	for i := range n {
		id := wire.BrokerID(i + 1)
		cl.disks[id] = dataDisk(t)
		cl.start(id)
	}
	return cl
}

// clusterLog is where the brokers log when a test is looked into.
var clusterLog = slog.New(slog.DiscardHandler)

// start starts a broker on its disk and returns once it is registered.
func (cl *cluster) start(id wire.BrokerID) *company {
	cl.t.Helper()
	cl.mu.Lock()
	lives++
	incarnation := lives
	cl.mu.Unlock()
	c := &company{t: cl.t, disk: faultfs.New(cl.disks[id])}
	cfg := DefaultConfig()
	cfg.ID, cfg.Incarnation = id, incarnation
	cfg.Registration = metadata.RegisterBroker{
		ID: id, Incarnation: incarnation, Host: "localhost", Port: 9092 + int32(id),
		ClusterAddress: fmt.Sprintf("10.0.0.%d:7946", id), BootID: "boot",
	}
	logger := clusterLog.With("broker", id)
	dc := storage.DefaultDirConfig()
	dc.Now, dc.BootID, dc.ReserveBytes = time.Now, "boot", 0
	dir, err := storage.OpenDir(c.disk, "/data", dc, logger)
	if err != nil {
		cl.t.Error(err)
		return nil
	}
	c.dirs = append(c.dirs, dir)
	identity := dir.Identity()
	switch {
	case !identity.Blank():
	case id == 1:
		cfg.ClusterID = "cluster"
	default:
		cfg.Join = true
	}
	identity.ClusterID, identity.BrokerID, identity.RaftID = "cluster", id, 100+uint64(id)
	if err := dir.SaveIdentity(identity); err != nil {
		cl.t.Error(err)
		return nil
	}
	cfg.Registration.Directories = []metadata.DirectoryID{metadata.DirectoryID(identity.DirectoryID)}
	c.Broker, err = Start(cl.t.Context(), cfg, Dependencies{
		Dirs: c.dirs, FS: c.disk, RaftID: identity.RaftID, Links: cl.net.join(id, incarnation), Now: c.now, Logger: logger,
	})
	if err != nil {
		cl.t.Error(err)
		return nil
	}
	cl.mu.Lock()
	cl.members[id] = c
	cl.mu.Unlock()
	return c
}

// startAll starts brokers at once: no one of them can do without the others.
func (cl *cluster) startAll(ids ...wire.BrokerID) {
	cl.t.Helper()
	var all sync.WaitGroup
	for _, id := range ids {
		all.Go(func() { cl.start(id) })
	}
	all.Wait()
	if cl.t.Failed() {
		cl.t.FailNow()
	}
}

// kill ends a broker as if its process were gone: the others' connections break, and it says nothing.
func (cl *cluster) kill(id wire.BrokerID) {
	cl.t.Helper()
	cl.mu.Lock()
	c := cl.members[id]
	delete(cl.members, id)
	cl.mu.Unlock()
	cl.net.leave(id)
	if err := c.Stop(cl.t.Context()); err != nil {
		cl.t.Error(err)
	}
	for _, d := range c.dirs {
		if err := d.Close(); err != nil && d.Err() == nil {
			cl.t.Error(err)
		}
	}
}

// end stops everyone who is left.
func (cl *cluster) end() {
	cl.t.Helper()
	for id := range cl.disks {
		if cl.members[id] != nil {
			cl.kill(id)
		}
	}
	cl.net.end(cl.t)
	time.Sleep(2 * time.Second) // virtual: the runtime's throttle of dead letters ends
}

// any is one of the brokers that run.
func (cl *cluster) any() *company {
	for id := wire.BrokerID(1); ; id++ {
		if c := cl.members[id]; c != nil {
			return c
		}
	}
}

// await waits until something is so, for as long as a failover may take.
func (cl *cluster) await(what string, so func() bool) {
	cl.t.Helper()
	for range 1000 {
		synctest.Wait()
		if so() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	cl.t.Fatalf("it did not come to this: %s", what)
}

// awaitReady waits until every broker that runs is ready.
func (cl *cluster) awaitReady() {
	cl.t.Helper()
	cl.await("every broker is ready", func() bool {
		for _, c := range cl.members {
			if c.Ready() != nil {
				return false
			}
		}
		return true
	})
}



func TestBrokersThatJoinAreRegisteredAndUnfenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		cl.awaitReady()
		for id, c := range cl.members {
			brokers := c.View().Brokers()
			if len(brokers) != 3 || c.View().Controller() != 1 {
				t.Errorf("broker %d knows %+v, controller %d", id, brokers, c.View().Controller())
			}
			for _, b := range brokers {
				if b.Fenced {
					t.Errorf("broker %d believes that %d is fenced", id, b.ID)
				}
			}
		}
	})
}
