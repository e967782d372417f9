package actors

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	"go.etcd.io/raft/v3"
	raftpb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/storage/faultfs"
)

// metadataLogRun is a metadata log with a probe in the place of the controller.
type metadataLogRun struct {
	t     testing.TB
	log   *actor.PID
	probe *actor.PID
	heard chan any
}

type logParent struct {
	run *metadataLogRun
	cfg controllerConfig
}

func (p *logParent) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		p.run.log = ctx.Spawn(actor.PropsFromProducer(func() actor.Actor { return newMetadataLog(p.cfg) }))
	case *walOpened, *walAppended, *walFailed, *snapshotSaved, *actor.Stopped:
		p.run.heard <- msg
	}
}

func startMetadataLog(t testing.TB, fsys storage.FS) (*metadataLogRun, storage.WALState) {
	t.Helper()
	r := &metadataLogRun{t: t, heard: make(chan any, 100)}
	cfg := controllerTestConfig(fsys)
	r.probe = testSystem().Root.Spawn(propsOf(func() actor.Actor { return &logParent{run: r, cfg: cfg} }))
	opened := expectHeard[*walOpened](r)
	if opened.err != nil {
		t.Fatal(opened.err)
	}
	return r, opened.state
}

func expectHeard[M any](r *metadataLogRun) M {
	r.t.Helper()
	msg := <-r.heard
	m, ok := msg.(M)
	if !ok {
		r.t.Fatalf("heard %T, want %T", msg, m)
	}
	return m
}

func (r *metadataLogRun) append(m *raftpb.Message) {
	testSystem().Root.Send(r.log, &appendToWAL{message: m})
}

// stop returns once the files are closed.
func (r *metadataLogRun) stop() {
	testSystem().Root.Stop(r.probe)
	expectHeard[*actor.Stopped](r)
}

// raftEntries are entries of a term, named by their data, from an index on.
func raftEntries(index, term uint64, names string) (entries []*raftpb.Entry) {
	for i, name := range strings.Fields(names) {
		entries = append(entries, &raftpb.Entry{
			Index: proto.Uint64(index + uint64(i)), Term: proto.Uint64(term), Data: []byte(name),
		})
	}
	return entries
}

func entryNames(t testing.TB, entries []storage.WALEntry) string {
	t.Helper()
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		var entry raftpb.Entry
		if err := proto.Unmarshal(e.Data, &entry); err != nil || entry.GetIndex() != e.Index || entry.GetTerm() != e.Term {
			t.Fatalf("entry %d: %v", e.Index, err)
		}
		names = append(names, string(entry.GetData()))
	}
	return strings.Join(names, " ")
}

func stateAfterPowerCut(t testing.TB, disk *crashfs.FS) (storage.WALState, *raftpb.HardState) {
	t.Helper()
	for seed := range uint64(10) { // whatever is found, it is that
		r, state := startMetadataLog(t, disk.Crash(newRand(seed)))
		r.stop()
		if seed == 9 {
			var hardState raftpb.HardState
			if err := proto.Unmarshal(state.HardState, &hardState); err != nil {
				t.Fatal(err)
			}
			return state, &hardState
		}
	}
	panic("unreachable")
}

func TestAVoteIsDurableBeforeItIsAnswered(t *testing.T) {
	disk := dataDisk(t)
	r, _ := startMetadataLog(t, disk)
	r.append(&raftpb.Message{Term: proto.Uint64(5), Vote: proto.Uint64(3), Commit: proto.Uint64(1)})
	expectHeard[*walAppended](r)
	_, hardState := stateAfterPowerCut(t, disk)
	if hardState.GetTerm() != 5 || hardState.GetVote() != 3 {
		t.Fatalf("%v", hardState)
	}
	r.stop()
}

func TestACommitIndexIsNotSyncedForItsOwnSakeButGoesWithTheNextEntry(t *testing.T) {
	disk := dataDisk(t)
	fsys := faultfs.New(disk)
	r, _ := startMetadataLog(t, fsys)
	before := fsys.Calls(faultfs.Sync)
	r.append(&raftpb.Message{Term: proto.Uint64(1), Commit: proto.Uint64(2), Entries: raftEntries(2, 1, "a")})
	expectHeard[*walAppended](r)
	r.append(&raftpb.Message{Term: proto.Uint64(1), Commit: proto.Uint64(3)})
	expectHeard[*walAppended](r)
	if n := fsys.Calls(faultfs.Sync) - before; n != 1 {
		t.Fatalf("%d syncs", n)
	}
	r.append(&raftpb.Message{Entries: raftEntries(3, 1, "b")})
	expectHeard[*walAppended](r)
	state, hardState := stateAfterPowerCut(t, disk)
	if names := entryNames(t, state.Entries); names != "a b" || hardState.GetCommit() != 3 {
		t.Fatalf("%s, %v", names, hardState)
	}
	r.stop()
}

func TestWhatReplacesEntriesInOneSyncReplacesThem(t *testing.T) {
	for _, tt := range []struct {
		first uint64
		more  string
		want  string
	}{
		{5, "x", "a b c x"}, {4, "x", "a b x"}, {2, "x y", "x y"}, {1, "x", "x"},
	} {
		entries, err := appendWALEntries(nil, raftEntries(2, 1, "a b c"))
		if err != nil {
			t.Fatal(err)
		}
		entries, err = appendWALEntries(entries, raftEntries(tt.first, 2, tt.more))
		if got := entryNames(t, entries); got != tt.want || err != nil {
			t.Errorf("from %d on: %q, %v; want %q", tt.first, got, err, tt.want)
		}
	}
}

func TestAppendsOfOneSyncAreAnsweredTogetherAndInOrder(t *testing.T) {
	disk := dataDisk(t)
	fsys := faultfs.New(disk)
	r, _ := startMetadataLog(t, fsys)
	gate := fsys.Hold("/data")
	before := fsys.Calls(faultfs.Sync)
	r.append(&raftpb.Message{Entries: raftEntries(2, 1, "0")})
	<-gate.Arrived()
	var sent []*raftpb.Message
	for i := range uint64(20) {
		m := &raftpb.Message{Entries: raftEntries(3+i, 1, fmt.Sprint(i+1))}
		sent = append(sent, m)
		r.append(m)
	}
	gate.Release()
	if got := expectHeard[*walAppended](r); len(got.messages) != 1 {
		t.Fatalf("%d messages under the first sync", len(got.messages))
	}
	if got := expectHeard[*walAppended](r); !slices.Equal(got.messages, sent) {
		t.Fatalf("%d messages under the second sync, or in another order", len(got.messages))
	}
	if n := fsys.Calls(faultfs.Sync) - before; n != 2 {
		t.Fatalf("%d syncs", n)
	}
	state, _ := stateAfterPowerCut(t, disk)
	if len(state.Entries) != 21 {
		t.Fatalf("%d entries", len(state.Entries))
	}
	r.stop()
}

func TestASnapshotFromTheLeaderTakesThePlaceOfWhatIsQueuedAndOvertakesOurOwn(t *testing.T) {
	disk := dataDisk(t)
	fsys := faultfs.New(disk)
	r, _ := startMetadataLog(t, fsys)
	gate := fsys.Hold("/data")
	r.append(&raftpb.Message{Term: proto.Uint64(1), Entries: raftEntries(2, 1, "a b")})
	<-gate.Arrived()
	theirs := &raftpb.Snapshot{
		Data:     []byte("theirs"),
		Metadata: &raftpb.SnapshotMetadata{Index: proto.Uint64(9), Term: proto.Uint64(2), ConfState: &raftpb.ConfState{}},
	}
	ours := &raftpb.Snapshot{
		Data:     []byte("ours"),
		Metadata: &raftpb.SnapshotMetadata{Index: proto.Uint64(3), Term: proto.Uint64(1), ConfState: &raftpb.ConfState{}},
	}
	r.append(&raftpb.Message{Entries: raftEntries(4, 1, "c")})
	r.append(&raftpb.Message{Term: proto.Uint64(2), Commit: proto.Uint64(9), Snapshot: theirs})
	r.append(&raftpb.Message{Entries: raftEntries(10, 2, "d")})
	gate.Release()
	expectHeard[*walAppended](r)
	if got := expectHeard[*walAppended](r); len(got.messages) != 3 {
		t.Fatalf("%d messages under the second sync", len(got.messages))
	}
	testSystem().Root.Send(r.log, &saveSnapshot{snapshot: ours})
	expectHeard[*snapshotSaved](r)
	state, hardState := stateAfterPowerCut(t, disk)
	var found raftpb.Snapshot
	if err := proto.Unmarshal(state.Snapshot.Data, &found); err != nil {
		t.Fatal(err)
	}
	if names := entryNames(t, state.Entries); names != "d" || string(found.GetData()) != "theirs" || state.Snapshot.Index != 9 ||
		raft.IsEmptyHardState(hardState) || hardState.GetCommit() != 9 {
		t.Fatalf("entries %q after %q of index %d, %v", names, found.GetData(), state.Snapshot.Index, hardState)
	}
	r.stop()
}
