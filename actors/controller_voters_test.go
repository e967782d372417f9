package actors

import (
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	raftpb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/wire"
)

// voters is a raft group of several controllers in one actor system, whose messages go over a wire that a
// test can cut. There is one voter in a cluster so far: this shows that the controller does not depend
// on that.
type voters struct {
	t      *testing.T
	system *actor.ActorSystem
	disks  map[uint64]*crashfs.FS
	runs   map[uint64]*controllerRun

	mu        sync.Mutex
	cut       map[uint64]bool
	snapshots int // sent from one to another
}

// voterWire is one voter's end of the wire.
type voterWire struct {
	*voters
	from uint64
}

func (w voterWire) Send(m *raftpb.Message) bool {
	w.mu.Lock()
	to := w.runs[m.GetTo()]
	lost := to == nil || w.cut[w.from] || w.cut[m.GetTo()]
	if !lost && m.GetType() == raftpb.MsgSnap {
		w.snapshots++
	}
	w.mu.Unlock()
	if !lost {
		// As bytes, as it will be between brokers: the two share nothing.
		w.system.Root.Send(to.pid, &stepRaft{message: proto.CloneOf(m)})
	}
	return !lost
}

func startVoters(t *testing.T, n uint64) *voters {
	v := &voters{
		t: t, system: newSystem(1, 1, nil, slog.New(slog.DiscardHandler), func(string, any) {}),
		disks: map[uint64]*crashfs.FS{}, runs: map[uint64]*controllerRun{}, cut: map[uint64]bool{},
	}
	var ids []uint64
	for id := range n {
		ids = append(ids, id+1)
	}
	for _, id := range ids {
		v.disks[id] = dataDisk(t)
		w, _, err := storage.OpenWAL(v.disks[id], "/data/"+metadataLogDir, storage.DefaultWALConfig())
		if err != nil {
			t.Fatal(err)
		}
		one := proto.Uint64(1)
		hardState, err1 := proto.Marshal(&raftpb.HardState{Term: one, Commit: one})
		snapshot, err2 := proto.Marshal(&raftpb.Snapshot{
			Data:     metadata.NewImage().EncodeSnapshot(),
			Metadata: &raftpb.SnapshotMetadata{Index: one, Term: one, ConfState: &raftpb.ConfState{Voters: ids}},
		})
		err = errors.Join(err1, err2, w.InstallSnapshot(hardState, storage.WALSnapshot{Index: 1, Term: 1, Data: snapshot}), w.Close())
		if err != nil {
			t.Fatal(err)
		}
		v.start(id)
	}
	return v
}

func (v *voters) start(id uint64) {
	v.t.Helper()
	cfg := controllerTestConfig(v.disks[id])
	cfg.raftID, cfg.found, cfg.transport = id, false, voterWire{v, id}
	run := startControllerIn(v.t, v.system, cfg)
	v.mu.Lock()
	v.runs[id] = run
	v.mu.Unlock()
}

// stop stops one voter.
func (v *voters) stop(id uint64) {
	v.mu.Lock()
	run := v.runs[id]
	delete(v.runs, id)
	v.mu.Unlock()
	run.stop()
}

func (v *voters) setCut(id uint64, cut bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.cut[id] = cut
}

// ask asks one voter after the other until one answers, and returns which.
func (v *voters) ask(c metadata.Command) (leader uint64) {
	v.t.Helper()
	for range 100 {
		for id, run := range v.runs {
			if v.cut[id] {
				continue
			}
			reply := run.propose(c)
			synctest.Wait()
			select {
			case p := <-reply:
				if p.err == nil {
					return id
				}
				if !errors.Is(p.err, wire.NotController) {
					v.t.Fatal(p.err)
				}
			default: // it believes that it leads, and cannot
			}
		}
		time.Sleep(raftTickInterval)
	}
	v.t.Fatal("nobody leads")
	return 0
}

// expectSame waits until all voters hold the same features.
func (v *voters) expectSame(n int) {
	v.t.Helper()
	time.Sleep(20 * raftTickInterval)
	synctest.Wait()
	for id, run := range v.runs {
		if got := len(run.image.Load().Features()); got != n {
			v.t.Errorf("voter %d has %d features, want %d", id, got, n)
		}
	}
}

func (v *voters) end() {
	for id := range v.disks {
		if v.runs[id] != nil {
			v.stop(id)
		}
	}
	v.system.Shutdown()
	time.Sleep(2 * time.Second) // the runtime's throttle of dead letters ends by itself, a second later
}

func TestThreeVotersElectAnotherWhenTheLeaderStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := startVoters(t, 3)
		defer v.end()
		leader := v.ask(setFeature{name: "one"})
		for id, run := range v.runs {
			if id == leader {
				continue
			}
			reply := run.propose(setFeature{name: "two"})
			synctest.Wait()
			if p := <-reply; !errors.Is(p.err, wire.NotController) {
				t.Fatalf("voter %d does not lead, and said %+v", id, p)
			}
		}
		v.stop(leader)
		next := v.ask(setFeature{name: "two"})
		if next == leader {
			t.Fatal("it was stopped")
		}
		v.start(leader)
		v.expectSame(2)
	})
}

func TestALeaderThatIsCutOffAnswersNothingAndFollowsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := startVoters(t, 3)
		defer v.end()
		old := v.ask(setFeature{name: "before"})
		v.setCut(old, true)
		lost := v.runs[old].propose(setFeature{name: "lost"})
		next := v.ask(setFeature{name: "after"})
		if next == old {
			t.Fatal("it was cut off")
		}
		time.Sleep(20 * raftTickInterval) // no quorum: it stops leading by itself
		synctest.Wait()
		if p := <-lost; !errors.Is(p.err, wire.NotController) {
			t.Fatalf("%+v", p)
		}
		v.setCut(old, false)
		v.expectSame(2)
		for id, run := range v.runs {
			if hasFeature(run.image.Load(), "lost") {
				t.Errorf("voter %d has what its leader could not commit", id)
			}
		}
	})
}

func TestALeaderThatIsCutOffDoesNotSayThatNothingHasChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := startVoters(t, 5)
		defer v.end()
		old := v.ask(setFeature{name: "before"})
		answered := v.runs[old].propose(look{})
		synctest.Wait()
		if p := <-answered; p.reply != 1 || p.err != nil {
			t.Fatalf("%+v", p)
		}
		v.setCut(old, true)
		unsure := v.runs[old].propose(look{})
		next := v.ask(setFeature{name: "after"})
		if next == old {
			t.Fatal("it was cut off")
		}
		time.Sleep(30 * raftTickInterval)
		synctest.Wait()
		if p := <-unsure; !errors.Is(p.err, wire.NotController) || p.open {
			t.Fatalf("%+v, though there is something that it does not see", p)
		}
	})
}

func TestAVoterThatWasAwayForLongGetsASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := startVoters(t, 3)
		defer v.end()
		leader := v.ask(setFeature{name: "first"})
		away := leader%3 + 1
		v.setCut(away, true)
		for i := range 100 {
			v.ask(addBroker{id: wire.BrokerID(i)})
		}
		v.setCut(away, false)
		v.expectSame(1)
		if n := len(v.runs[away].image.Load().Brokers()); n != 100 || v.snapshots == 0 {
			t.Fatalf("%d brokers, %d snapshots", n, v.snapshots)
		}
		// And it finds it again on its disk.
		v.stop(away)
		v.start(away)
		v.ask(setFeature{name: "last"})
		v.expectSame(2)
	})
}
