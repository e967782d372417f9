package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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
	wiped uint64                 // disks that were lost: what is on a new one has another raft id
	boots map[wire.BrokerID]int  // how often the power of a machine was cut
	joins map[wire.BrokerID]bool // those that join anew
	tune  func(*Config)          // of each broker that starts; or nil

	mu      sync.Mutex
	members map[wire.BrokerID]*company
}

// startCluster starts n brokers: the first founds, the others join, one after the other.
func startCluster(t *testing.T, n int) *cluster { return startTuned(t, n, nil) }

// startTuned starts n brokers with another configuration.
func startTuned(t *testing.T, n int, tune func(*Config)) *cluster {
	t.Helper()
	cl := &cluster{t: t, tune: tune, net: newMemoryNetwork(), disks: make(map[wire.BrokerID]*crashfs.FS), boots: make(map[wire.BrokerID]int), members: make(map[wire.BrokerID]*company)}
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
func (cl *cluster) start(id wire.BrokerID) {
	cl.t.Helper()
	c, err := cl.begin(id)
	if err != nil {
		cl.t.Errorf("broker %d: %v", id, err)
		return
	}
	cl.mu.Lock()
	cl.members[id] = c
	cl.mu.Unlock()
}

func (cl *cluster) begin(id wire.BrokerID) (*company, error) {
	return cl.beginWithin(cl.t.Context(), id)
}

func (cl *cluster) beginWithin(ctx context.Context, id wire.BrokerID) (*company, error) {
	cl.mu.Lock()
	lives++
	incarnation, boot := lives, fmt.Sprint("boot-", cl.boots[id])
	cl.mu.Unlock()
	c := &company{t: cl.t, disk: faultfs.New(cl.disks[id])}
	cfg := DefaultConfig()
	cfg.ID, cfg.Incarnation = id, incarnation
	cfg.Registration = metadata.RegisterBroker{
		ID: id, Incarnation: incarnation, Host: "localhost", Port: 9092 + int32(id),
		ClusterAddress: fmt.Sprintf("10.0.0.%d:7946", id), BootID: boot,
	}
	logger := clusterLog.With("broker", id)
	dc := storage.DefaultDirConfig()
	dc.Now, dc.BootID, dc.ReserveBytes = c.now, boot, 0
	dir, err := storage.OpenDir(c.disk, "/data", dc, logger)
	if err != nil {
		return nil, err
	}
	c.dirs = append(c.dirs, dir)
	identity := dir.Identity()
	switch {
	case cl.joins[id]:
		cfg.Join = true
	case !identity.Blank():
	case id == 1:
		cfg.ClusterID = "cluster"
	default:
		cfg.Join = true
	}
	if identity.Blank() {
		identity.ClusterID, identity.BrokerID, identity.RaftID = "cluster", id, 100*(1+cl.wiped)+uint64(id)
	}
	if err := dir.SaveIdentity(identity); err != nil {
		return nil, err
	}
	if cl.tune != nil {
		cl.tune(&cfg)
	}
	cfg.Registration.Directories = []metadata.DirectoryID{metadata.DirectoryID(identity.DirectoryID)}
	c.Broker, err = Start(ctx, cfg, Dependencies{
		Dirs: c.dirs, FS: c.disk, RaftID: identity.RaftID, Links: cl.net.join(id, incarnation), Now: c.now, Logger: logger,
	})
	if err != nil {
		cl.net.leave(id)
		return nil, errors.Join(err, dir.Close())
	}
	return c, nil
}

// wipe gives a broker that does not run an empty disk.
func (cl *cluster) wipe(id wire.BrokerID) {
	cl.wiped++
	cl.disks[id] = dataDisk(cl.t)
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
	cl.mu.Lock()
	defer cl.mu.Unlock()
	return cl.anyLocked()
}

func (cl *cluster) anyLocked() *company {
	for id := wire.BrokerID(1); ; id++ {
		if c := cl.members[id]; c != nil {
			return c
		}
	}
}

// await waits until something is so, for as long as a failover may take.
func (cl *cluster) await(what string, so func() bool) {
	cl.t.Helper()
	cl.awaitAtMost(10*time.Second, what, so)
}

func (cl *cluster) awaitAtMost(limit time.Duration, what string, so func() bool) {
	cl.t.Helper()
	for began := time.Now(); time.Since(began) < limit; time.Sleep(10 * time.Millisecond) {
		synctest.Wait()
		if so() {
			return
		}
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

// voters returns the brokers that vote, as the controller knows them.
func (cl *cluster) voters() (ids []wire.BrokerID) {
	for id, c := range cl.members {
		if c.View().Controller() == id {
			for _, v := range c.Quorum().Voters {
				ids = append(ids, v.Broker)
			}
		}
	}
	slices.Sort(ids)
	return ids
}

// awaitVoters waits until these are the voters, and all that run know it: one that does not yet would need those
// before as well.
func (cl *cluster) awaitVoters(want ...wire.BrokerID) {
	cl.t.Helper()
	cl.await(fmt.Sprint("the voters are ", want), func() bool {
		for _, c := range cl.members {
			if q := c.Quorum(); q.Changing || len(q.Voters) != len(want) && len(q.Voters) > 0 {
				return false
			}
		}
		return slices.Equal(cl.voters(), want)
	})
}

// awaitTopic waits until every broker that runs knows a topic.
func (cl *cluster) awaitTopic(name string) {
	cl.t.Helper()
	cl.await("everybody knows topic "+name, func() bool {
		for _, c := range cl.members {
			if _, ok := c.View().Topic(name); !ok {
				return false
			}
		}
		return true
	})
}

func TestThreeBrokersVote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		began := time.Now()
		cl.awaitVoters(1, 2, 3)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		for _, c := range cl.members {
			c.topic(fmt.Sprint("by-", c.Self()), 1) // whoever is asked
		}
		for id := range cl.members {
			cl.awaitTopic(fmt.Sprint("by-", id))
		}
	})
}

func TestTheOthersElectAControllerAtOnceWhenItsProcessIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		cl.awaitVoters(1, 2, 3)
		cl.awaitReady()
		cl.any().topic("before", 1)
		cl.kill(1)
		began := time.Now()
		cl.await("another controller", func() bool {
			id := cl.members[2].View().Controller()
			return (id == 2 || id == 3) && cl.members[3].View().Controller() == id
		})
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		for id, c := range cl.members {
			c.topic(fmt.Sprint("by-", id), 1)
			if _, ok := c.View().Topic("before"); !ok {
				t.Errorf("broker %d has lost a topic", id)
			}
		}
		cl.await("the dead one is fenced", func() bool { return cl.members[2].fenced(1) })
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
		cl.start(1)
		cl.awaitReady()
		cl.awaitTopic("by-2")
		cl.awaitTopic("by-3")
	})
}

func TestAllMayRestartAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		cl.awaitVoters(1, 2, 3)
		cl.awaitReady()
		for round := range 3 {
			name := fmt.Sprint("round-", round)
			cl.any().topic(name, 1)
			for id := range wire.BrokerID(3) {
				cl.kill(id + 1)
			}
			cl.startAll(1, 2, 3)
			cl.awaitReady()
			cl.awaitVoters(1, 2, 3)
			for i := range round + 1 {
				cl.awaitTopic(fmt.Sprint("round-", i))
			}
		}
	})
}

func TestAControllerThatIsCutOffIsReplacedAndLosesItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		cl.awaitVoters(1, 2, 3)
		cl.awaitReady()
		old := cl.members[1]
		cl.net.cut(1, 2)
		cl.net.cut(1, 3)
		began := time.Now()
		cl.await("another controller", func() bool {
			id := cl.members[2].View().Controller()
			return id == 2 || id == 3
		})
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("the election took %v", took)
		}
		cl.members[2].topic("without-1", 1)
		cl.await("the lease of the one that is cut off ends", func() bool { return !old.leased() })
		if cl.members[2].fenced(1) {
			t.Error("it was fenced while it believed in its lease")
		}
		cl.await("it is fenced", func() bool { return cl.members[2].fenced(1) })
		if took := time.Since(began); took < metadata.SessionTimeout || took > metadata.SessionTimeout+2*time.Second {
			t.Errorf("it was fenced after %v", took)
		}
		if old.Ready() == nil {
			t.Error("it believes that it is ready")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		created := old.CreateTopics(ctx, []wire.NewTopic{{Name: "with-1", Partitions: 1, ReplicationFactor: 1}}, false)
		if !errors.Is(created[0].Err, wire.RequestTimedOut) {
			t.Errorf("it has created a topic: %v", created[0].Err)
		}
		cl.net.heal(1, 2)
		cl.net.heal(1, 3)
		cl.awaitReady()
		cl.awaitTopic("without-1")
		for id, c := range cl.members {
			if _, there := c.View().Topic("with-1"); there {
				t.Errorf("broker %d has a topic whose creation was not committed", id)
			}
		}
	})
}

func TestABrokerThatIsShutDownHandsTheControllerOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		cl.awaitVoters(1, 2, 3)
		cl.awaitReady()
		began := time.Now()
		if err := cl.members[1].HandOver(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 200*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		synctest.Wait()
		registration, _ := cl.members[2].image.Load().Registration(1)
		if id := cl.members[2].View().Controller(); id == 1 || id == wire.NoBroker || !registration.ShuttingDown {
			t.Errorf("controller %d, registration %+v", id, registration)
		}
		cl.kill(1)
		cl.members[2].topic("afterwards", 1)
		cl.start(1)
		cl.awaitReady()
		cl.awaitTopic("afterwards")
	})
}

func TestABrokerThatIsAloneHasNobodyToHandOverTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 1)
		defer cl.end()
		if err := cl.members[1].Ready(); err != nil {
			t.Errorf("it is not ready when it has started: %v", err)
		}
		if q := cl.members[1].Quorum(); q.Leader != 1 || len(q.Voters) != 1 || q.Voters[0].Broker != 1 {
			t.Errorf("when it has started it knows of %+v", q)
		}
		before := time.Now()
		if err := cl.members[1].HandOver(t.Context()); err != nil || time.Since(before) > 0 {
			t.Errorf("%v after %v", err, time.Since(before))
		}
	})
}

func TestBrokersBeyondTheVotersStandByOrObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 6)
		defer cl.end()
		cl.awaitReady()
		cl.await("three voters and two learners", func() bool {
			q := cl.members[1].Quorum()
			return len(q.Voters) == 3 && len(q.Learners) == 2
		})
		for id, c := range cl.members {
			c.topic(fmt.Sprint("by-", id), 1)
		}
		for id := range cl.members {
			cl.awaitTopic(fmt.Sprint("by-", id))
		}
		// One who observes and was away sees all that has happened since.
		away := cl.observer()
		cl.kill(away)
		for i := range 20 {
			cl.any().topic(fmt.Sprint("while-away-", i), 1)
		}
		cl.start(away)
		cl.awaitReady()
		cl.awaitTopic("while-away-19")
		// A voter that stays away is replaced, and no longer votes when it is back.
		cl.kill(2)
		voters := cl.voters()
		cl.awaitAtMost(2*time.Minute, "another voter", func() bool {
			voters = cl.voters()
			return len(voters) == 3 && !slices.Contains(voters, 2)
		})
		cl.start(2)
		cl.awaitReady()
		cl.awaitTopic("while-away-19")
		cl.members[2].topic("back", 1)
		cl.awaitTopic("back")
	})
}

// observer is a broker that neither votes nor learns.
func (cl *cluster) observer() wire.BrokerID {
	for id, c := range cl.members {
		q := cl.members[c.View().Controller()].Quorum()
		if !slices.ContainsFunc(slices.Concat(q.Voters, q.Learners), func(m wire.QuorumMember) bool { return m.Broker == id }) {
			return id
		}
	}
	cl.t.Fatal("nobody observes")
	return 0
}

func TestWhoHasLostTheMetadataLogMayNotComeBackWithItsRaftID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		cl.awaitVoters(1, 2, 3)
		cl.kill(3)
		if err := cl.disks[3].RemoveAll("/data/" + metadataLogDir); err != nil {
			t.Fatal(err)
		}
		if _, err := cl.begin(3); !errors.Is(err, errBlankLog) {
			t.Fatalf("%v, want that the log is missing", err)
		}
	})
}

func TestWhatTheControllerHasAnsweredOutlivesItAndItsSuccessors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		cl.awaitVoters(1, 2, 3)
		cl.awaitReady()
		var work sync.WaitGroup
		ctx, stop := context.WithCancel(t.Context())
		acknowledged := make(map[string]bool)
		// Whoever runs is asked: brokers come and go.
		running := func(n int) *company {
			cl.mu.Lock()
			defer cl.mu.Unlock()
			for {
				n++
				if c := cl.members[wire.BrokerID(n%3+1)]; c != nil {
					return c
				}
			}
		}
		for worker := range 3 {
			work.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					name := fmt.Sprintf("topic-%d-%d", worker, i)
					each, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					created := running(worker+i).CreateTopics(each, []wire.NewTopic{{Name: name, Partitions: 1, ReplicationFactor: 1}}, false)
					cancel()
					switch err := created[0].Err; {
					case err == nil:
						cl.mu.Lock()
						acknowledged[name] = true
						cl.mu.Unlock()
					case !errors.Is(err, wire.RequestTimedOut) && !errors.Is(err, wire.NotController):
						t.Errorf("%s: %v", name, err)
					}
					time.Sleep(20 * time.Millisecond)
				}
			})
		}
		for range 6 {
			time.Sleep(300 * time.Millisecond)
			cl.mu.Lock()
			victim := cl.anyLocked().View().Controller()
			known := cl.members[victim] != nil
			cl.mu.Unlock()
			if !known {
				continue
			}
			cl.kill(victim)
			time.Sleep(300 * time.Millisecond)
			cl.start(victim)
		}
		stop()
		work.Wait()
		cl.awaitReady()
		if len(acknowledged) < 20 {
			t.Errorf("only %d topics were created", len(acknowledged))
		}
		for name := range acknowledged {
			cl.awaitTopic(name)
		}
	})
}

func TestACommandIsAnsweredWhenTheControllerThatHadItPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		cl.awaitVoters(1, 2, 3)
		cl.awaitReady()
		controller := cl.members[1]
		_, pid := controller.controller.present()
		gate := controller.disk.Hold("/data/" + metadataLogDir)
		defer gate.Release()
		type outcome struct {
			err  error
			took time.Duration
		}
		began := time.Now()
		once, again := make(chan outcome, 1), make(chan outcome, 1)
		go func() {
			created := cl.members[2].CreateTopics(t.Context(), []wire.NewTopic{{Name: "once", Partitions: 1, ReplicationFactor: 1}}, false)
			once <- outcome{created[0].Err, time.Since(began)}
		}()
		go func() {
			_, err := cl.members[3].ask(t.Context(), metadata.AllocateProducerIDs{Broker: 3})
			again <- outcome{err, time.Since(began)}
		}()
		synctest.Wait()
		controller.root.Send(pid, &killActor{})
		synctest.Wait()
		gate.Release()
		if o := <-once; o.took > time.Second || o.err != nil && !errors.Is(o.err, wire.RequestTimedOut) {
			t.Errorf("what must not be repeated: %v after %v", o.err, o.took)
		}
		if o := <-again; o.took > 3*time.Second || o.err != nil {
			t.Errorf("what may be repeated: %v after %v", o.err, o.took)
		}
	})
}

func TestAControllerWhoseDiskHangsLetsAnotherOneLead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 3)
		defer cl.end()
		cl.awaitVoters(1, 2, 3)
		cl.awaitReady()
		gate := cl.members[1].disk.Hold("/data/" + metadataLogDir)
		defer gate.Release()
		began := time.Now()
		created := cl.members[2].CreateTopics(t.Context(), []wire.NewTopic{{Name: "first", Partitions: 1, ReplicationFactor: 1}}, false)
		if err := created[0].Err; err != nil && !errors.Is(err, wire.RequestTimedOut) {
			t.Error(err)
		}
		if took := time.Since(began); took > diskPatience+time.Second {
			t.Errorf("it was answered after %v", took)
		}
		cl.members[2].topic("second", 1)
		if id := cl.members[2].View().Controller(); id == 1 || id == wire.NoBroker {
			t.Errorf("broker %d leads", id)
		}
		gate.Release()
		cl.awaitTopic("second")
		cl.awaitReady()
	})
}

func TestSevenBrokersHaveFiveVotersAndTwoOfThemMayDie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 7)
		defer cl.end()
		cl.awaitReady()
		cl.awaitAtMost(time.Minute, "five voters and two learners", func() bool {
			q := cl.members[1].Quorum()
			return len(q.Voters) == 5 && len(q.Learners) == 2
		})
		voters := cl.voters()
		cl.kill(1)
		for _, id := range voters[1:] {
			cl.kill(id)
			break
		}
		cl.any().topic("still", 1)
		cl.awaitTopic("still")
	})
}

func TestWhoObservesTurnsToSomebodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cl := startCluster(t, 6)
		defer cl.end()
		cl.awaitReady()
		cl.await("three voters and two learners", func() bool {
			q := cl.members[1].Quorum()
			return len(q.Voters) == 3 && len(q.Learners) == 2
		})
		observer := cl.observer()
		// The controller is lost to everybody, without a connection that breaks for the observer.
		for id := range cl.members {
			if id != 1 && id != observer {
				cl.net.cut(1, id)
			}
		}
		began := time.Now()
		cl.await("the observer knows another controller", func() bool {
			id := cl.members[observer].View().Controller()
			return id != 1 && id != wire.NoBroker
		})
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
		cl.members[observer].topic("from-the-observer", 1)
		for id := range cl.members {
			if id != 1 && id != observer {
				cl.net.heal(1, id)
			}
		}
		cl.awaitTopic("from-the-observer")
	})
}
