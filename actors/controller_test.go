package actors

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	raftpb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/storage/faultfs"
	"github.com/troupe-mq/troupe/wire"
)

// controllerRun is a controller with a probe in the place of the broker actor: it keeps the image
// and runs the replies.
type controllerRun struct {
	t      testing.TB
	root   *actor.RootContext
	probe  *actor.PID
	pid    *actor.PID
	image  atomic.Pointer[metadata.Image]
	first  chan struct{} // closed when the first entry is applied, or the state of the log is known
	failed chan error
	gone   chan struct{} // closed when the controller has stopped
}

type brokerProbe struct {
	run   *controllerRun
	cfg   controllerConfig
	name  string
	index uint64
}

func (p *brokerProbe) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		p.cfg.broker = ctx.Self()
		pid, err := ctx.ActorSystem().Root.SpawnNamed(controllerProps(p.cfg), p.name)
		if err != nil {
			panic(err)
		}
		p.run.pid = pid
		ctx.Watch(pid)
		close(p.run.first)
	case *imageApplied:
		if msg.index < p.index || msg.image.Index() > msg.index {
			p.run.t.Errorf("index %d after %d, of an image of %d", msg.index, p.index, msg.image.Index())
		}
		before := p.run.image.Swap(msg.image)
		if before == nil {
			before = metadata.NewImage()
		}
		if want := metadata.Diff(before, msg.image); before != msg.image && !reflect.DeepEqual(msg.delta, want) {
			p.run.t.Errorf("delta %+v, want %+v", msg.delta, want)
		}
		p.index = msg.index
		for _, reply := range msg.replies {
			reply()
		}
	case *controllerFailed:
		p.run.failed <- msg.err
		ctx.Stop(p.run.pid)
	case *actor.Terminated:
		close(p.run.gone)
	}
}

var controllerNames atomic.Int64

// testSystem is shared: making one costs more than most tests.
var testSystem = sync.OnceValue(func() *actor.ActorSystem {
	return newSystem(1, 1, nil, slog.New(slog.DiscardHandler), func(string, any) {})
})

func controllerTestConfig(fsys storage.FS) controllerConfig {
	return controllerConfig{
		raftID: 7, self: 1, fs: fsys, dir: "/data/" + metadataLogDir, wal: storage.WALConfig{SegmentBytes: 600},
		found: true, snapshotBytes: 1500, logger: slog.New(slog.DiscardHandler),
		now: func() time.Time { return time.Unix(1_700_000_000, 0) },
		newTopicID: func() (id wire.TopicID) {
			_, _ = rand.Read(id[:])
			return id
		},
	}
}

func startController(t testing.TB, cfg controllerConfig) *controllerRun {
	t.Helper()
	return startControllerIn(t, testSystem(), cfg)
}

func startControllerIn(t testing.TB, system *actor.ActorSystem, cfg controllerConfig) *controllerRun {
	t.Helper()
	r := &controllerRun{
		t: t, root: system.Root,
		first: make(chan struct{}), failed: make(chan error, 1), gone: make(chan struct{}),
	}
	name := fmt.Sprint("controller-", controllerNames.Add(1))
	r.probe = r.root.Spawn(propsOf(func() actor.Actor { return &brokerProbe{run: r, cfg: cfg, name: name} }))
	<-r.first
	return r
}

// stop stops the controller and waits until it has closed its files.
func (r *controllerRun) stop() {
	r.root.Stop(r.pid)
	<-r.gone
	r.root.Stop(r.probe)
}

func (r *controllerRun) propose(c metadata.Command) <-chan proposed {
	reply := make(chan proposed, 1)
	r.root.Send(r.pid, &propose{command: c, reply: reply})
	return reply
}

// ask returns the reply, or the error also when the controller stopped before it came to it.
func (r *controllerRun) ask(c metadata.Command) (any, error) {
	return r.await(r.propose(c))
}

func (r *controllerRun) await(reply <-chan proposed) (any, error) {
	select {
	case p := <-reply:
		return p.reply, p.err
	case <-r.gone:
	}
	select {
	case p := <-reply:
		return p.reply, p.err
	default:
		return nil, wire.NotController
	}
}

// setFeature is a command that adds a feature, and replies its name. It tells decided, unless that is nil.
type setFeature struct {
	name    string
	decided chan<- *metadata.Image
}

func (c setFeature) Decide(img *metadata.Image, _ metadata.Env) metadata.Decision {
	if c.decided != nil {
		c.decided <- img
	}
	return metadata.Decision{Records: []metadata.Record{&metadata.FeatureLevelChanged{Feature: c.name, Level: 1}}, Reply: c.name}
}

// addBroker is a command that registers a broker, whose epoch is the index of its entry.
type addBroker struct {
	id      wire.BrokerID
	decided chan<- *metadata.Image
}

func (c addBroker) Decide(img *metadata.Image, _ metadata.Env) metadata.Decision {
	if c.decided != nil {
		c.decided <- img
	}
	return metadata.Decision{Records: []metadata.Record{&metadata.BrokerRegistered{Broker: c.id}}}
}

// look is a command that changes nothing.
type look struct{ decided chan<- *metadata.Image }

func (c look) Decide(img *metadata.Image, _ metadata.Env) metadata.Decision {
	if c.decided != nil {
		c.decided <- img
	}
	return metadata.Decision{Reply: len(img.Features())}
}

func hasFeature(img *metadata.Image, name string) bool {
	for _, f := range img.Features() {
		if f.Name == name {
			return true
		}
	}
	return false
}

func dataDisk(t testing.TB) *crashfs.FS {
	t.Helper()
	fsys := crashfs.New()
	if err := errors.Join(fsys.MkdirAll("/data", 0o755), fsys.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	return fsys
}

func newRand(seed uint64) *mathrand.Rand { return mathrand.New(mathrand.NewPCG(seed, 0)) }

func TestACommandIsAnsweredOnceItsEffectIsVisible(t *testing.T) {
	r := startController(t, controllerTestConfig(dataDisk(t)))
	defer r.stop()
	for i := range 20 {
		name := fmt.Sprint("f", i)
		if reply, err := r.ask(setFeature{name: name}); reply != name || err != nil {
			t.Fatal(reply, err)
		}
		if !hasFeature(r.image.Load(), name) {
			t.Fatalf("%s was answered and is not in the image", name)
		}
		if reply, err := r.ask(look{}); reply != i+1 || err != nil {
			t.Fatal(reply, err)
		}
	}
}

func TestAPowerCutAtAnyStepKeepsEveryAnsweredCommand(t *testing.T) {
	const commands = 40
	// load proposes in bursts and returns which commands were answered.
	load := func(fsys storage.FS) (answered []string) {
		r := startController(t, controllerTestConfig(fsys))
		var waiting []<-chan proposed
		for i := range commands {
			waiting = append(waiting, r.propose(setFeature{name: fmt.Sprintf("feature-%02d", i)}))
			if i%4 == 3 {
				for _, w := range waiting {
					if reply, err := r.await(w); err == nil {
						answered = append(answered, reply.(string))
					}
				}
				waiting = nil
			}
		}
		r.stop()
		return answered
	}
	whole := dataDisk(t)
	before := whole.Steps()
	if n := len(load(whole)); n != commands {
		t.Fatalf("%d answered", n)
	}
	steps := whole.Steps()
	if testing.Short() {
		before = steps - 20
	}
	for n := before + 1; n <= steps; n++ {
		disk := dataDisk(t)
		disk.AfterStep(n, nil)
		answered := load(disk)
		rng := newRand(uint64(n))
		for range 3 {
			r := startController(t, controllerTestConfig(disk.Crash(rng)))
			if _, err := r.ask(setFeature{name: "afterwards"}); err != nil {
				t.Fatalf("step %d: after the restart: %v", n, err)
			}
			img := r.image.Load()
			for _, name := range answered {
				if !hasFeature(img, name) {
					t.Fatalf("step %d: %s was answered and is lost", n, name)
				}
			}
			// They were proposed in order, so what survived is a prefix.
			for i := range len(img.Features()) - 1 {
				if name := fmt.Sprintf("feature-%02d", i); !hasFeature(img, name) {
					t.Fatalf("step %d: %s is missing before others", n, name)
				}
			}
			r.stop()
		}
	}
}

func TestCommandsThatComeDuringASyncShareTheNext(t *testing.T) {
	fsys := faultfs.New(dataDisk(t))
	cfg := controllerTestConfig(fsys)
	cfg.snapshotBytes, cfg.wal = 1<<20, storage.DefaultWALConfig()
	r := startController(t, cfg)
	defer r.stop()
	if _, err := r.ask(look{}); err != nil {
		t.Fatal(err)
	}
	gate := fsys.Hold("/data")
	defer gate.Release()
	before := fsys.Calls(faultfs.Sync)
	first := r.propose(setFeature{name: "first"})
	<-gate.Arrived()
	decided := make(chan *metadata.Image, 100)
	var waiting []<-chan proposed
	for i := range 100 {
		waiting = append(waiting, r.propose(addBroker{id: wire.BrokerID(i), decided: decided}))
	}
	var last *metadata.Image
	for i := range 100 {
		// Each is decided on what those before it will have made.
		if last = <-decided; len(last.Brokers()) != i || !hasFeature(last, "first") {
			t.Fatalf("command %d was decided on %d brokers", i, len(last.Brokers()))
		}
	}
	if hasFeature(r.image.Load(), "first") {
		t.Fatal("what is not durable is visible")
	}
	gate.Release()
	for i, w := range append(waiting, first) {
		if _, err := r.await(w); err != nil {
			t.Fatalf("command %d: %v", i, err)
		}
	}
	for id := range wire.BrokerID(99) { // the epochs that were foreseen are those that came to be
		foreseen, _ := last.Registration(id)
		if got, ok := r.image.Load().Registration(id); !ok || got.Epoch != foreseen.Epoch {
			t.Fatalf("broker %d was decided to have epoch %d and has %d", id, foreseen.Epoch, got.Epoch)
		}
	}
	if n := fsys.Calls(faultfs.Sync) - before; n > 5 {
		t.Fatalf("%d syncs for 101 commands", n)
	}
}

func TestAStopFailsEveryCommandOnce(t *testing.T) {
	fsys := faultfs.New(dataDisk(t))
	r := startController(t, controllerTestConfig(fsys))
	if _, err := r.ask(look{}); err != nil {
		t.Fatal(err)
	}
	gate := fsys.Hold("/data")
	decided := make(chan *metadata.Image)
	var waiting []<-chan proposed
	for i := range 6 {
		var c metadata.Command = setFeature{name: fmt.Sprint(i), decided: decided}
		if i%3 == 2 {
			c = look{decided: decided} // it saw what is not committed, and so waits for it
		}
		waiting = append(waiting, r.propose(c))
		<-decided
	}
	r.root.Stop(r.pid)
	for i, w := range waiting {
		if p := <-w; !errors.Is(p.err, wire.NotController) {
			t.Errorf("command %d: %+v", i, p)
		}
	}
	if p := <-r.propose(look{}); !errors.Is(p.err, wire.NotController) {
		t.Errorf("while stopping: %+v", p)
	}
	gate.Release()
	<-r.gone
	for i, w := range waiting {
		select {
		case p := <-w:
			t.Errorf("command %d was answered again: %+v", i, p)
		default:
		}
	}
	select {
	case err := <-r.failed:
		t.Errorf("a stop is no failure: %v", err)
	default:
	}
}

func TestAStopFailsWhatIsHeldBeforeTheLogIsOpen(t *testing.T) {
	fsys := faultfs.New(dataDisk(t))
	gate := fsys.Hold("/data")
	r := startController(t, controllerTestConfig(fsys))
	<-gate.Arrived() // the log is about to be made
	held := r.propose(look{})
	for range maxHeldCommands - 1 {
		r.propose(look{})
	}
	if p := <-r.propose(look{}); !errors.Is(p.err, wire.ThrottlingQuotaExceeded) {
		t.Fatalf("%+v", p)
	}
	r.root.Stop(r.pid)
	if p := <-held; !errors.Is(p.err, wire.NotController) {
		t.Fatalf("%+v", p)
	}
	gate.Release()
	<-r.gone
}

func TestASnapshotAndTheEntriesSinceGiveTheSameImage(t *testing.T) {
	disk := dataDisk(t)
	r := startController(t, controllerTestConfig(disk))
	for i := range 200 {
		if _, err := r.ask(setFeature{name: fmt.Sprint("feature-", i)}); err != nil {
			t.Fatal(err)
		}
	}
	r.stop()
	want := r.image.Load()
	segments, snapshots := 0, 0
	entries, err := disk.ReadDir("/data/" + metadataLogDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".wal") {
			segments++
		} else if !strings.HasPrefix(e.Name(), "00000000000000000001-") {
			snapshots++
		}
	}
	if snapshots == 0 || segments > 20 {
		t.Fatalf("%d snapshots and %d segments after 200 commands", snapshots, segments)
	}
	r = startController(t, controllerTestConfig(disk))
	defer r.stop()
	if _, err := r.ask(look{}); err != nil {
		t.Fatal(err)
	}
	if got := r.image.Load(); !bytes.Equal(got.EncodeSnapshot(), want.EncodeSnapshot()) {
		t.Fatalf("%d features at %d, want %d at %d", len(got.Features()), got.Index(), len(want.Features()), want.Index())
	}
}

func TestAnyDiskErrorStopsTheControllerAndSaysWhy(t *testing.T) {
	load := func(r *controllerRun) (answered []string, err error) {
		for i := range 30 {
			name := fmt.Sprint("feature-", i)
			if _, err = r.ask(setFeature{name: name}); err != nil {
				return answered, err
			}
			answered = append(answered, name)
		}
		return answered, nil
	}
	whole := faultfs.New(dataDisk(t))
	r := startController(t, controllerTestConfig(whole))
	if _, err := load(r); err != nil {
		t.Fatal(err)
	}
	r.stop()
	for n := 1; n < whole.Calls(faultfs.Any); n++ { // the last is the close
		disk := dataDisk(t)
		fsys := faultfs.New(disk)
		fsys.Fail(faultfs.Rule{Nth: n})
		r := startController(t, controllerTestConfig(fsys))
		answered, err := load(r)
		if err != nil {
			if !errors.Is(err, wire.NotController) {
				t.Fatalf("call %d: %v", n, err)
			}
			if err := <-r.failed; err == nil {
				t.Fatalf("call %d: stopped for no reason", n)
			}
			<-r.gone
			r.root.Stop(r.probe)
		} else {
			r.stop() // a snapshot that failed behind the last command
		}
		r = startController(t, controllerTestConfig(disk))
		if _, err := r.ask(look{}); err != nil {
			t.Fatalf("call %d: after the restart: %v", n, err)
		}
		for _, name := range answered {
			if !hasFeature(r.image.Load(), name) {
				t.Fatalf("call %d: %s was answered and is lost", n, name)
			}
		}
		r.stop()
	}
}

func TestAnEntryThatDoesNotFitTheImageStopsTheController(t *testing.T) {
	disk := dataDisk(t)
	r := startController(t, controllerTestConfig(disk))
	if _, err := r.ask(look{}); err != nil {
		t.Fatal(err)
	}
	r.stop()
	w, state, err := storage.OpenWAL(disk, "/data/"+metadataLogDir, storage.DefaultWALConfig())
	if err != nil {
		t.Fatal(err)
	}
	last := state.Entries[len(state.Entries)-1]
	wrong, err := proto.Marshal(&raftpb.Entry{
		Index: proto.Uint64(last.Index + 1), Term: proto.Uint64(last.Term),
		Data: metadata.EncodeRecords([]metadata.Record{&metadata.ProducerIDsAllocated{Broker: 1, First: 999, Count: 1}}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Append(nil, []storage.WALEntry{{Index: last.Index + 1, Term: last.Term, Data: wrong}}), w.Close()); err != nil {
		t.Fatal(err)
	}
	r = startController(t, controllerTestConfig(disk))
	if _, err := r.ask(look{}); !errors.Is(err, wire.NotController) {
		t.Fatal(err)
	}
	if err := <-r.failed; !errors.Is(err, metadata.ErrMismatch) {
		t.Fatal(err)
	}
	<-r.gone
}

func TestABlankLogFoundsNothingUnlessItMay(t *testing.T) {
	cfg := controllerTestConfig(dataDisk(t))
	cfg.found = false
	r := startController(t, cfg)
	if err := <-r.failed; !errors.Is(err, errBlankLog) {
		t.Fatal(err)
	}
	<-r.gone
}

func TestADamagedLogStopsTheControllerAndNamesTheFile(t *testing.T) {
	disk := dataDisk(t)
	r := startController(t, controllerTestConfig(disk))
	for i := range 10 {
		if _, err := r.ask(setFeature{name: fmt.Sprint("feature-", i)}); err != nil {
			t.Fatal(err)
		}
	}
	r.stop()
	f, err := disk.OpenFile("/data/"+metadataLogDir+"/00000000000000000002.wal", 2, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("rot"), 60); err != nil {
		t.Fatal(err)
	}
	r = startController(t, controllerTestConfig(disk))
	var damage *storage.WALDamage
	if err := <-r.failed; !errors.As(err, &damage) {
		t.Fatal(err)
	}
	<-r.gone
}

func TestACommandTooLargeForAnEntryIsRefused(t *testing.T) {
	r := startController(t, controllerTestConfig(dataDisk(t)))
	defer r.stop()
	if _, err := r.ask(setFeature{name: strings.Repeat("x", maxEntryBytes)}); !errors.Is(err, wire.InvalidRequest) {
		t.Fatal(err)
	}
	if reply, err := r.ask(look{}); reply != 0 || err != nil {
		t.Fatal(reply, err)
	}
}

func BenchmarkControllerStart(b *testing.B) {
	for _, kind := range []string{"founding", "restart"} {
		b.Run(kind, func(b *testing.B) {
			cfg := controllerTestConfig(storage.OSFS{})
			cfg.dir, cfg.wal, cfg.snapshotBytes = b.TempDir()+"/log", storage.DefaultWALConfig(), defaultSnapshotBytes
			_ = testSystem()
			for i := 0; b.Loop(); i++ {
				if kind == "founding" {
					cfg.dir = fmt.Sprint(b.TempDir(), "/log", i)
				}
				r := startController(b, cfg)
				if _, err := r.ask(look{}); err != nil { // answered once the own term's first entry is applied
					b.Fatal(err)
				}
				b.StopTimer()
				r.stop()
				b.StartTimer()
			}
		})
	}
}
