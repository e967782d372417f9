package storage_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/storage/faultfs"
)

const walDir = "/data/__cluster_metadata"

// Segments of this size make a script of some twenty calls roll several times.
var smallWAL = storage.WALConfig{SegmentBytes: 400}

func newWALDisk(t testing.TB) *crashfs.FS {
	t.Helper()
	fsys := crashfs.New()
	if err := errors.Join(fsys.MkdirAll("/data", 0o755), fsys.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	return fsys
}

// walModel is what a WAL should say, kept in the plainest way.
type walModel struct {
	hardState string
	snapshot  string
	index     uint64 // of the snapshot
	entries   []string
}

func (m walModel) String() string {
	return fmt.Sprintf("hard state %q, snapshot %d %q, entries %q", m.hardState, m.index, m.snapshot, m.entries)
}

func modelOf(s storage.WALState) walModel {
	m := walModel{hardState: string(s.HardState), index: s.Snapshot.Index, snapshot: string(s.Snapshot.Data)}
	for i, e := range s.Entries {
		if e.Index != s.Snapshot.Index+1+uint64(i) {
			m.entries = append(m.entries, "a gap")
		}
		m.entries = append(m.entries, fmt.Sprintf("%d:%s", e.Term, e.Data))
	}
	return m
}

func (m walModel) last() uint64 { return m.index + uint64(len(m.entries)) }

// walCall is one call to a WAL and what it does to the model.
type walCall struct {
	do    func(*storage.WAL) error
	after walModel
}

// walScript returns calls of all kinds in a random order, with the model after each.
func walScript(rng *rand.Rand, calls int) []walCall {
	script := []walCall{{
		do: func(w *storage.WAL) error {
			return w.InstallSnapshot([]byte("founded"), storage.WALSnapshot{Index: 1, Term: 1, Data: []byte("empty")})
		},
		after: walModel{hardState: "founded", index: 1, snapshot: "empty"},
	}}
	term := uint64(1)
	for i := range calls {
		m := script[len(script)-1].after
		m.entries = slices.Clone(m.entries)
		switch kind := rng.IntN(10); {
		case kind == 0 && len(m.entries) > 0: // a snapshot somewhere in the log
			n := 1 + rng.IntN(len(m.entries))
			s := storage.WALSnapshot{Index: m.index + uint64(n), Term: term, Data: []byte(fmt.Sprint("state ", i))}
			m.index, m.snapshot, m.entries = s.Index, string(s.Data), m.entries[n:]
			script = append(script, walCall{func(w *storage.WAL) error { return w.SaveSnapshot(s) }, m})
		case kind == 1 && i%3 == 0: // one that came from another
			term++
			s := storage.WALSnapshot{Index: m.last() + 5, Term: term, Data: []byte(fmt.Sprint("sent ", i))}
			m = walModel{hardState: fmt.Sprint("hard ", i), index: s.Index, snapshot: string(s.Data)}
			h := []byte(m.hardState)
			script = append(script, walCall{func(w *storage.WAL) error { return w.InstallSnapshot(h, s) }, m})
		default:
			if kind == 2 && len(m.entries) > 0 { // what follows replaces the end
				term++
				m.entries = m.entries[:rng.IntN(len(m.entries))]
			}
			var h []byte
			if kind%2 == 0 {
				m.hardState = fmt.Sprint("hard ", i)
				h = []byte(m.hardState)
			}
			var entries []storage.WALEntry
			for range 1 + rng.IntN(3) {
				e := storage.WALEntry{Index: m.last() + 1, Term: term, Data: bytes.Repeat([]byte{'a' + byte(i%26)}, rng.IntN(90))}
				entries = append(entries, e)
				m.entries = append(m.entries, fmt.Sprintf("%d:%s", e.Term, e.Data))
			}
			script = append(script, walCall{func(w *storage.WAL) error { return w.Append(h, entries) }, m})
		}
	}
	return script
}

// play makes the calls until one fails, and returns how many did not.
func play(fsys storage.FS, script []walCall) (done int, err error) {
	w, _, err := storage.OpenWAL(fsys, walDir, smallWAL)
	if err != nil {
		return 0, err
	}
	for done < len(script) {
		if err := script[done].do(w); err != nil {
			return done, errors.Join(err, w.Close())
		}
		done++
	}
	return done, w.Close()
}

func modelAfter(script []walCall, done int) walModel {
	if done == 0 {
		return walModel{}
	}
	return script[done-1].after
}

// expectEither opens the WAL and expects what was answered, or that and the call that was not.
func expectEither(t *testing.T, fsys storage.FS, script []walCall, done int) {
	t.Helper()
	w, state, err := storage.OpenWAL(fsys, walDir, smallWAL)
	if err != nil {
		t.Fatalf("after %d calls: %v", done, err)
	}
	defer w.Close()
	if state.PassedBy != nil {
		t.Fatalf("after %d calls: %v", done, state.PassedBy)
	}
	got := modelOf(state).String()
	answered, next := modelAfter(script, done).String(), modelAfter(script, min(done+1, len(script))).String()
	if got != answered && got != next {
		t.Fatalf("after %d calls\n     %s\nwant %s\nor   %s", done, got, answered, next)
	}
	// And it can be written to.
	m := modelOf(state)
	if err := w.Append([]byte("more"), []storage.WALEntry{{Index: m.last() + 1, Term: 99, Data: []byte("more")}}); err != nil {
		t.Fatal(err)
	}
}

func TestTheWALSaysAgainWhatItWasTold(t *testing.T) {
	for seed := range uint64(200) {
		script := walScript(rand.New(rand.NewPCG(seed, 1)), 25)
		fsys := newWALDisk(t)
		for done := range script { // reopened after each call
			w, state, err := storage.OpenWAL(fsys, walDir, smallWAL)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if got, want := modelOf(state).String(), modelAfter(script, done).String(); got != want || state.TornBytes != 0 {
				t.Fatalf("seed %d, after %d calls\n     %s\nwant %s\n%d bytes torn", seed, done, got, want, state.TornBytes)
			}
			if err := errors.Join(script[done].do(w), w.Close()); err != nil {
				t.Fatalf("seed %d, call %d: %v", seed, done, err)
			}
		}
		if n := fsys.OpenFiles(); n != 0 {
			t.Fatalf("%d files left open", n)
		}
	}
}

func TestAPowerCutAtAnyStepLeavesEachAppendWholeOrAbsent(t *testing.T) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 2))
		script := walScript(rng, 18)
		whole := newWALDisk(t)
		before := whole.Steps()
		if _, err := play(whole, script); err != nil {
			t.Fatal(err)
		}
		for n := before + 1; n <= whole.Steps(); n++ {
			fsys := newWALDisk(t)
			fsys.AfterStep(n, nil)
			done, _ := play(fsys, script)
			for range 12 {
				expectEither(t, fsys.Crash(rng), script, done)
			}
			for range 4 {
				expectSecondLife(t, fsys.Crash(rng), rng)
			}
		}
	}
}

// expectSecondLife opens a WAL after a power cut, appends, and cuts the power again somewhere: what
// was read must not be taken back, and what was appended is there if it was answered.
func expectSecondLife(t *testing.T, disk *crashfs.FS, rng *rand.Rand) {
	t.Helper()
	disk.AfterStep(1+rng.Int64N(12), nil)
	var read walModel
	possible := map[string]bool{}
	w, state, err := storage.OpenWAL(disk, walDir, smallWAL)
	opened := err == nil
	if opened {
		read = modelOf(state)
		possible[read.String()] = true
		for i := 0; err == nil && i < 4; i++ {
			e := storage.WALEntry{Index: read.last() + 1, Term: 50, Data: make([]byte, 150)}
			err = w.Append(nil, []storage.WALEntry{e})
			if err == nil {
				clear(possible)
			}
			read.entries = append(read.entries, fmt.Sprintf("%d:%s", e.Term, e.Data))
			possible[read.String()] = true
		}
		_ = w.Close()
	}
	again := modelOf(openState(t, disk.Crash(rng)))
	if opened && !possible[again.String()] {
		t.Fatalf("in the second life\n     %v\nwant one of %v", again, possible)
	}
}

func TestWhatWasReadAfterAKillSurvivesAPowerCut(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 3))
	script := walScript(rng, 18)
	whole := newWALDisk(t)
	before := whole.Steps()
	if _, err := play(whole, script); err != nil {
		t.Fatal(err)
	}
	for n := before + 1; n <= whole.Steps(); n++ {
		fsys := newWALDisk(t)
		fsys.AfterStep(n, nil)
		_, _ = play(fsys, script)
		killed := fsys.Kill()
		_, read, err := storage.OpenWAL(killed, walDir, smallWAL)
		if err != nil {
			t.Fatal(err)
		}
		for range 8 {
			_, again, err := storage.OpenWAL(killed.Crash(rng), walDir, smallWAL)
			if err != nil || modelOf(again).String() != modelOf(read).String() {
				t.Fatalf("step %d: read\n     %v\nthen %v, %v", n, modelOf(read), modelOf(again), err)
			}
		}
	}
}

func TestAnyCallOfTheDiskThatFailsBreaksTheWALAndLosesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 4))
	script := walScript(rng, 18)
	whole := faultfs.New(newWALDisk(t))
	if _, err := play(whole, script); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= whole.Calls(faultfs.Any); n++ {
		disk := newWALDisk(t)
		fsys := faultfs.New(disk)
		fsys.Fail(faultfs.Rule{Nth: n, Short: rng.IntN(60)})
		w, _, err := storage.OpenWAL(fsys, walDir, smallWAL)
		done := 0
		if err == nil {
			for done < len(script) && err == nil {
				if err = script[done].do(w); err == nil {
					done++
				}
			}
			if err != nil {
				for range 2 { // it is not tried again, though the disk is well by now
					if again := w.Append([]byte("again"), nil); again == nil || again.Error() != err.Error() {
						t.Fatalf("call %d: %v, then %v", n, err, again)
					}
				}
			}
			err = errors.Join(err, w.Close())
		}
		if err == nil {
			t.Fatalf("call %d failed and nobody said so", n)
		}
		expectEither(t, disk.Crash(rng), script, done)
	}
}

func TestWhatIsReadAfterAFailedSyncSurvivesAPowerCut(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 8))
	script := walScript(rng, 18)
	whole := faultfs.New(newWALDisk(t))
	if _, err := play(whole, script); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= whole.Calls(faultfs.Sync); n++ {
		fsys := newWALDisk(t)
		fsys.FailSync(n, syscall.EIO)
		done, err := play(fsys, script)
		if !errors.Is(err, syscall.EIO) {
			t.Fatalf("sync %d: %v", n, err)
		}
		read := openState(t, fsys) // from the page cache, which shows what was never written
		for range 8 {
			found := fsys.Crash(rng)
			if again := openState(t, found); modelOf(again).String() != modelOf(read).String() {
				t.Fatalf("sync %d: read\n     %v\nthen %v", n, modelOf(read), modelOf(again))
			}
			expectEither(t, found, script, done)
		}
	}
}

func dumpDir(t *testing.T, fsys storage.FS) map[string][]byte {
	t.Helper()
	entries, err := fsys.ReadDir(walDir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, e := range entries {
		name := filepath.Join(walDir, e.Name())
		f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		size, _ := f.Size()
		files[name] = make([]byte, size)
		if _, err := f.ReadAt(files[name], 0); err != nil && size > 0 {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	return files
}

func fill(t testing.TB, fsys storage.FS, name string, content []byte) {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
}

func TestAFlippedBitIsNeverTakenForAnEndExceptInTheVeryLastAppend(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 5))
	script := walScript(rng, 12)
	disk := newWALDisk(t)
	if _, err := play(disk, script); err != nil {
		t.Fatal(err)
	}
	want, shorter := modelAfter(script, len(script)).String(), modelAfter(script, len(script)-1).String()
	files := dumpDir(t, disk)
	refused, cut := 0, 0
	for name, content := range files {
		for i := range content {
			damaged := slices.Clone(content)
			damaged[i] ^= 1 << rng.IntN(8)
			fsys := newWALDisk(t)
			if err := fsys.MkdirAll(walDir, 0); err != nil {
				t.Fatal(err)
			}
			for other, c := range files {
				fill(t, fsys, other, c)
			}
			fill(t, fsys, name, damaged)
			w, state, err := storage.OpenWAL(fsys, walDir, smallWAL)
			if err != nil {
				var damage *storage.WALDamage
				if !errors.As(err, &damage) || !strings.Contains(err.Error(), filepath.Base(damage.File)) {
					t.Fatalf("%s, byte %d: %v", name, i, err)
				}
				if now := dumpDir(t, fsys); !bytes.Equal(now[name], damaged) || len(now) != len(files) {
					t.Fatalf("%s, byte %d: refused, but changed", name, i)
				}
				refused++
				continue
			}
			_ = w.Close()
			switch got := modelOf(state).String(); {
			case got == want: // the snapshot that does not count, or is passed by
				if !strings.HasSuffix(name, ".snapshot") {
					t.Fatalf("%s, byte %d: not noticed", name, i)
				}
			case got == shorter && state.TornBytes > 0:
				cut++
			default:
				t.Fatalf("%s, byte %d: found %s", name, i, got)
			}
		}
	}
	if refused == 0 || cut == 0 {
		t.Fatalf("%d refused, %d cut", refused, cut)
	}
}

func TestAnUnreadableSnapshotIsPassedByWhereTheLogReachesPastIt(t *testing.T) {
	disk := newWALDisk(t)
	w := openWAL(t, disk)
	must(t, w.InstallSnapshot([]byte("h"), storage.WALSnapshot{Index: 1, Term: 1, Data: []byte("one")}))
	must(t, w.Append(nil, []storage.WALEntry{{2, 1, []byte("b")}, {3, 1, []byte("c")}}))
	must(t, w.SaveSnapshot(storage.WALSnapshot{Index: 3, Term: 1, Data: []byte("three")}))
	must(t, w.Append(nil, []storage.WALEntry{{4, 1, []byte("d")}}))
	must(t, w.Close())
	fill(t, disk, filepath.Join(walDir, "00000000000000000003-0000000000000001.snapshot"), []byte("rotten"))

	w, state, err := storage.OpenWAL(disk, walDir, smallWAL)
	must(t, err)
	if got := modelOf(state).String(); got != `hard state "h", snapshot 1 "one", entries ["1:b" "1:c" "1:d"]` || state.PassedBy == nil {
		t.Fatalf("%s, passed by: %v", got, state.PassedBy)
	}
	must(t, w.SaveSnapshot(storage.WALSnapshot{Index: 4, Term: 1, Data: []byte("four")}))
	must(t, w.Close())
	_, state, err = storage.OpenWAL(disk, walDir, smallWAL)
	must(t, err)
	if got := modelOf(state).String(); got != `hard state "h", snapshot 4 "four", entries []` || state.PassedBy != nil {
		t.Fatalf("%s, passed by: %v", got, state.PassedBy)
	}

	// One that came from another broker has no entries before it: nothing can stand in.
	disk = newWALDisk(t)
	w = openWAL(t, disk)
	must(t, w.InstallSnapshot([]byte("h"), storage.WALSnapshot{Index: 1, Term: 1}))
	must(t, w.InstallSnapshot([]byte("h"), storage.WALSnapshot{Index: 9, Term: 1}))
	must(t, w.Close())
	fill(t, disk, filepath.Join(walDir, "00000000000000000009-0000000000000001.snapshot"), []byte("rotten"))
	expectDamage(t, disk, "00000000000000000009-0000000000000001.snapshot")
}

func openWAL(t *testing.T, fsys storage.FS) *storage.WAL {
	t.Helper()
	w, _, err := storage.OpenWAL(fsys, walDir, smallWAL)
	must(t, err)
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func expectDamage(t *testing.T, fsys storage.FS, file string) {
	t.Helper()
	_, _, err := storage.OpenWAL(fsys, walDir, smallWAL)
	var damage *storage.WALDamage
	if !errors.As(err, &damage) || filepath.Base(damage.File) != file {
		t.Fatalf("%v, want damage in %s", err, file)
	}
}

func TestTwoSnapshotsAndTheSegmentsSinceTheOlderOneAreKept(t *testing.T) {
	disk := newWALDisk(t)
	w := openWAL(t, disk)
	must(t, w.InstallSnapshot([]byte("h"), storage.WALSnapshot{Index: 1, Term: 1}))
	for i := uint64(2); i < 300; i++ {
		must(t, w.Append(nil, []storage.WALEntry{{Index: i, Term: 1, Data: make([]byte, 100)}}))
		if i%50 == 0 {
			must(t, w.SaveSnapshot(storage.WALSnapshot{Index: i, Term: 1}))
		}
	}
	segments, snapshots := 0, 0
	for name := range dumpDir(t, disk) {
		if strings.HasSuffix(name, ".wal") {
			segments++
		} else {
			snapshots++
		}
	}
	if snapshots != 2 || segments < 25 || segments > 35 {
		t.Fatalf("%d snapshots, %d segments", snapshots, segments)
	}
	must(t, w.Close())
}

func TestAMissingSegmentIsDamage(t *testing.T) {
	for missing, want := range map[int]string{
		3: "",
		1: "00000000000000000002.wal",
		2: "00000000000000000002.wal",
	} {
		disk := newWALDisk(t)
		w := openWAL(t, disk)
		must(t, w.Append([]byte("h"), []storage.WALEntry{{1, 1, make([]byte, 500)}}))
		must(t, w.Append(nil, []storage.WALEntry{{2, 1, make([]byte, 500)}}))
		must(t, w.Append(nil, []storage.WALEntry{{3, 1, make([]byte, 500)}}))
		must(t, w.Close())
		must(t, disk.Remove(filepath.Join(walDir, fmt.Sprintf("%020d.wal", missing))))
		if want == "" {
			// The last segment gone looks like a log that was shorter: only its owner can know.
			if state := openState(t, disk); len(state.Entries) != 2 {
				t.Fatalf("without segment %d: %v", missing, modelOf(state))
			}
			continue
		}
		expectDamage(t, disk, want)
	}

	disk := newWALDisk(t)
	w := openWAL(t, disk)
	must(t, w.InstallSnapshot([]byte("h"), storage.WALSnapshot{Index: 1, Term: 1}))
	must(t, w.Close())
	must(t, disk.Remove(filepath.Join(walDir, "00000000000000000002.wal")))
	expectDamage(t, disk, "00000000000000000001.wal")
}

func TestZerosBehindTheLastFrameAreNoDamage(t *testing.T) {
	disk := newWALDisk(t)
	w := openWAL(t, disk)
	must(t, w.Append([]byte("h"), []storage.WALEntry{{1, 1, []byte("a")}}))
	must(t, w.Close())
	name := filepath.Join(walDir, "00000000000000000001.wal")
	fill(t, disk, name, append(dumpDir(t, disk)[name], make([]byte, 5000)...))
	w, state, err := storage.OpenWAL(disk, walDir, smallWAL)
	must(t, err)
	if got := modelOf(state).String(); got != `hard state "h", snapshot 0 "", entries ["1:a"]` || state.TornBytes != 5000 {
		t.Fatalf("%s, %d bytes torn", got, state.TornBytes)
	}
	must(t, w.Append(nil, []storage.WALEntry{{2, 1, []byte("b")}}))
	must(t, w.Close())
	_, state, err = storage.OpenWAL(disk, walDir, smallWAL)
	must(t, err)
	if len(state.Entries) != 2 || state.TornBytes != 0 {
		t.Fatalf("%v", modelOf(state))
	}
}

func TestWhatDoesNotFollowIsRefusedAndBreaksNothing(t *testing.T) {
	w := openWAL(t, newWALDisk(t))
	for i, err := range []error{
		w.Append(nil, []storage.WALEntry{{Index: 0}}),
		w.Append(nil, []storage.WALEntry{{Index: 2}}),
		w.Append(nil, []storage.WALEntry{{Index: 1}, {Index: 3}}),
		w.SaveSnapshot(storage.WALSnapshot{Index: 1}),
		w.InstallSnapshot(nil, storage.WALSnapshot{}),
	} {
		if err == nil {
			t.Errorf("call %d: no error", i)
		}
	}
	must(t, w.Append(nil, []storage.WALEntry{{Index: 1}, {Index: 2}}))
	must(t, w.Append(nil, nil))
	must(t, w.Close())
	if err := w.Append([]byte("h"), nil); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
}

// The bytes that FORMAT.md draws: a change of them needs a new version.
func TestTheBytesOfTheWALAreThoseOfTheFormat(t *testing.T) {
	disk := newWALDisk(t)
	w := openWAL(t, disk)
	must(t, w.InstallSnapshot([]byte("hs"), storage.WALSnapshot{Index: 1, Term: 1, Data: []byte("image")}))
	must(t, w.Append([]byte("h2"), []storage.WALEntry{{2, 1, []byte("b")}, {300, 1, nil}}[:1]))
	must(t, w.Close())
	golden, err := os.ReadFile("testdata/wal/golden.txt")
	must(t, err)
	var got strings.Builder
	files := dumpDir(t, disk)
	names := []string{}
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&got, "%s\n%s", filepath.Base(name), hex.Dump(files[name]))
	}
	if got.String() != string(golden) {
		t.Errorf("got\n%swant\n%s", got.String(), golden)
	}
}

func FuzzWALOpensOrRefusesAnySegment(f *testing.F) {
	disk := newWALDisk(f)
	if _, err := play(disk, walScript(rand.New(rand.NewPCG(1, 6)), 6)); err != nil {
		f.Fatal(err)
	}
	entries, _ := disk.ReadDir(walDir)
	for _, e := range entries {
		file, err := disk.OpenFile(filepath.Join(walDir, e.Name()), os.O_RDONLY, 0)
		if err != nil {
			f.Fatal(err)
		}
		size, _ := file.Size()
		content := make([]byte, size)
		_, _ = file.ReadAt(content, 0)
		f.Add(content, strings.HasSuffix(e.Name(), ".snapshot"))
	}
	f.Fuzz(func(t *testing.T, content []byte, snapshot bool) {
		fsys := newWALDisk(t)
		if snapshot {
			w := openWAL(t, fsys)
			must(t, w.InstallSnapshot([]byte("h"), storage.WALSnapshot{Index: 1, Term: 1}))
			must(t, w.Close())
			fill(t, fsys, filepath.Join(walDir, "00000000000000000001-0000000000000001.snapshot"), content)
		} else {
			must(t, fsys.MkdirAll(walDir, 0))
			fill(t, fsys, filepath.Join(walDir, "00000000000000000001.wal"), content)
		}
		w, state, err := storage.OpenWAL(fsys, walDir, smallWAL)
		if err != nil {
			return
		}
		must(t, w.Close())
		again := openState(t, fsys)
		if modelOf(state).String() != modelOf(again).String() {
			t.Fatalf("read\n%v\nthen\n%v", modelOf(state), modelOf(again))
		}
	})
}

func openState(t *testing.T, fsys storage.FS) storage.WALState {
	t.Helper()
	w, state, err := storage.OpenWAL(fsys, walDir, smallWAL)
	must(t, err)
	must(t, w.Close())
	return state
}
