package crashfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/storage/crashfs"
)

const readWrite = os.O_RDWR | os.O_CREATE

func create(t *testing.T, fsys storage.FS, name string) storage.File {
	t.Helper()
	f, err := fsys.OpenFile(name, readWrite, 0o644)
	must(t, err)
	return f
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, f storage.File, off int64, content string) {
	t.Helper()
	if n, err := f.WriteAt([]byte(content), off); n != len(content) || err != nil {
		t.Fatalf("wrote %d of %d: %v", n, len(content), err)
	}
}

// content returns a file's bytes, or "absent".
func content(t *testing.T, fsys storage.FS, name string) string {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "absent"
	}
	must(t, err)
	defer f.Close()
	size, err := f.Size()
	must(t, err)
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); int64(n) != size || err != nil {
		t.Fatalf("read %d of %d: %v", n, size, err)
	}
	return string(b)
}

// outcomes crashes many times and returns the distinct descriptions of what was found.
func outcomes(fsys *crashfs.FS, describe func(*crashfs.FS) string) map[string]int {
	seen := map[string]int{}
	for seed := range uint64(300) {
		seen[describe(fsys.Crash(rand.New(rand.NewPCG(seed, 1))))]++
	}
	return seen
}

func expectExactly(t *testing.T, seen map[string]int, want ...string) {
	t.Helper()
	for _, w := range want {
		if seen[w] == 0 {
			t.Errorf("never found: %.60q", w)
		}
		delete(seen, w)
	}
	for s, n := range seen {
		t.Errorf("found %d times: %.60q", n, s)
	}
}

func TestWhatWasSyncedInANameThatWasSyncedIsAlwaysThere(t *testing.T) {
	fsys := crashfs.New()
	must(t, fsys.MkdirAll("/data/t-0", 0o755))
	must(t, fsys.SyncDir("/"))
	must(t, fsys.SyncDir("/data"))
	f := create(t, fsys, "/data/t-0/log")
	write(t, f, 3, strings.Repeat("x", 10_000))
	must(t, f.Sync())
	must(t, fsys.SyncDir("/data/t-0"))
	want := "\x00\x00\x00" + strings.Repeat("x", 10_000)
	expectExactly(t, outcomes(fsys, func(c *crashfs.FS) string { return content(t, c, "/data/t-0/log") }), want)
}

func TestAFileWhoseNameWasNotSyncedMayBeGone(t *testing.T) {
	fsys := crashfs.New()
	f := create(t, fsys, "log")
	write(t, f, 0, "content")
	must(t, f.Sync())
	expectExactly(t, outcomes(fsys, func(c *crashfs.FS) string { return content(t, c, "log") }), "absent", "content")
}

func TestUnsyncedWritesAreLostKeptReorderedAndTorn(t *testing.T) {
	fsys := crashfs.New()
	f := create(t, fsys, "log")
	write(t, f, 0, strings.Repeat("0", 2*4096))
	must(t, f.Sync())
	must(t, fsys.SyncDir("/"))
	write(t, f, 0, strings.Repeat("1", 4096))
	write(t, f, 4096, strings.Repeat("2", 4096))
	write(t, f, 0, strings.Repeat("3", 4096))
	seen := outcomes(fsys, func(c *crashfs.FS) string {
		b := content(t, c, "log")
		first, second := digest(b[:4096]), digest(b[4096:])
		return first + second
	})
	for _, want := range []string{"00", "10", "12", "32", "02", "30"} { // 02 is out of order
		if seen[want] == 0 {
			t.Errorf("never found: %s in %v", want, seen)
		}
	}
	torn := 0
	for s, n := range seen {
		if strings.Contains(s, "?") {
			torn += n
		}
	}
	if torn == 0 {
		t.Error("no page was torn")
	}
}

// digest returns the letter that fills a page, or ? when it is torn; a torn sector is fatal.
func digest(page string) string {
	for i := 0; i < len(page); i += 512 {
		if strings.Trim(page[i:i+512], page[i:i+1]) != "" {
			panic("a sector is torn")
		}
	}
	if strings.Trim(page, page[:1]) == "" {
		return page[:1]
	}
	return "?"
}

func TestTheSizeMayArriveWithoutTheContentAndTheContentWithoutTheSize(t *testing.T) {
	fsys := crashfs.New()
	f := create(t, fsys, "log")
	must(t, fsys.SyncDir("/"))
	write(t, f, 0, "ab")
	expectExactly(t, outcomes(fsys, func(c *crashfs.FS) string { return content(t, c, "log") }), "", "\x00\x00", "ab")
}

func TestContentThatArrivedWithoutTheSizeDoesNotComeBackWhenTheFileGrows(t *testing.T) {
	fsys := crashfs.New()
	f := create(t, fsys, "log")
	must(t, fsys.SyncDir("/"))
	write(t, f, 0, "ab")
	grown := func(c *crashfs.FS) string {
		f := create(t, c, "log")
		size, err := f.Size()
		must(t, err)
		if size > 0 {
			return "arrived"
		}
		must(t, f.Truncate(2))
		return content(t, c, "log")
	}
	expectExactly(t, outcomes(fsys, grown), "arrived", "\x00\x00")
}

func TestATruncationMayBeLostButWhatItTookNeverComesBackBehindIt(t *testing.T) {
	fsys := crashfs.New()
	f := create(t, fsys, "log")
	must(t, fsys.SyncDir("/"))
	old, fresh := strings.Repeat("o", 3*4096), strings.Repeat("n", 2*4096)
	write(t, f, 0, old)
	must(t, f.Sync())
	must(t, f.Truncate(4096))
	write(t, f, 4096, fresh)
	seen := outcomes(fsys, func(c *crashfs.FS) string {
		b := content(t, c, "log")
		switch {
		case b == old:
			return "old"
		case b == old[:4096]:
			return "cut"
		case strings.Contains(b[4096:], "o"):
			return "resurrected"
		default:
			return "regrown"
		}
	})
	expectExactly(t, seen, "old", "cut", "regrown")
}

func TestWhatATruncationTookReadsAsZerosWhenTheFileGrows(t *testing.T) {
	fsys := crashfs.New()
	f := create(t, fsys, "log")
	write(t, f, 0, "abcdef")
	must(t, f.Truncate(2))
	must(t, f.Truncate(4))
	if got := content(t, fsys, "log"); got != "ab\x00\x00" {
		t.Fatalf("%q", got)
	}
}

func TestARenameIsWholeOrAbsent(t *testing.T) {
	fsys := crashfs.New()
	write(t, create(t, fsys, "current"), 0, "")
	old := create(t, fsys, "current")
	write(t, old, 0, "old")
	must(t, old.Sync())
	must(t, fsys.SyncDir("/"))
	next := create(t, fsys, "tmp")
	write(t, next, 0, "new")
	must(t, next.Sync())
	must(t, fsys.Rename("tmp", "current"))
	found := func(c *crashfs.FS) string { return content(t, c, "current") + " " + content(t, c, "tmp") }
	expectExactly(t, outcomes(fsys, found), "old absent", "old new", "new absent")
}

func TestASyncedDirectoryKeepsARenameWithAllThatItBuildsOn(t *testing.T) {
	fsys := crashfs.New()
	must(t, fsys.MkdirAll("a", 0))
	must(t, fsys.MkdirAll("b", 0))
	f := create(t, fsys, "a/x")
	write(t, f, 0, "x")
	must(t, f.Sync())
	must(t, fsys.Rename("a/x", "b/x"))
	must(t, fsys.SyncDir("b"))
	expectExactly(t, outcomes(fsys, func(c *crashfs.FS) string { return content(t, c, "b/x") }), "x")
}

func TestAnUnsyncedRemovalMayComeBackButNotBelowARemovedDirectory(t *testing.T) {
	fsys := crashfs.New()
	must(t, fsys.MkdirAll("dir", 0))
	create(t, fsys, "dir/one")
	create(t, fsys, "dir/two")
	must(t, fsys.SyncDir("/"))
	must(t, fsys.SyncDir("dir"))
	must(t, fsys.RemoveAll("dir"))
	must(t, fsys.MkdirAll("dir", 0))
	seen := outcomes(fsys, func(c *crashfs.FS) string {
		entries, err := c.ReadDir("dir")
		if errors.Is(err, fs.ErrNotExist) {
			return "absent"
		}
		must(t, err)
		names := []string{}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return strings.Join(names, "+")
	})
	expectExactly(t, seen, "one+two", "two", "one", "", "absent")
}

func TestKillKeepsWhatWasNotSyncedUntilThePowerGoes(t *testing.T) {
	fsys := crashfs.New()
	write(t, create(t, fsys, "log"), 0, "ab")
	next := fsys.Kill()
	if got := content(t, next, "log"); got != "ab" {
		t.Fatalf("after the kill: %q", got)
	}
	expectExactly(t, outcomes(next, func(c *crashfs.FS) string { return content(t, c, "log") }), "absent", "", "\x00\x00", "ab")
}

func TestAfterTheEndEveryCallFails(t *testing.T) {
	for _, end := range []func(*crashfs.FS){
		func(f *crashfs.FS) { f.Crash(rand.New(rand.NewPCG(1, 1))) },
		func(f *crashfs.FS) { f.Kill() },
	} {
		fsys := crashfs.New()
		f := create(t, fsys, "log")
		end(fsys)
		_, readErr := f.ReadAt(make([]byte, 1), 0)
		_, writeErr := f.WriteAt([]byte("x"), 0)
		_, sizeErr := f.Size()
		_, openErr := fsys.OpenFile("log", os.O_RDONLY, 0)
		_, listErr := fsys.ReadDir("/")
		_, statErr := fsys.Stat("log")
		_, lockErr := fsys.Lock("lock")
		_, _, spaceErr := fsys.Space("/")
		for i, err := range []error{
			readErr, writeErr, sizeErr, openErr, listErr, statErr, lockErr, spaceErr, f.Truncate(0), f.Sync(), f.Close(),
			fsys.Remove("log"), fsys.RemoveAll("log"), fsys.Rename("log", "l"), fsys.MkdirAll("d", 0), fsys.SyncDir("/"),
		} {
			if !errors.Is(err, crashfs.ErrPowerOff) {
				t.Errorf("call %d: %v", i, err)
			}
		}
	}
}

func TestThePowerGoesBehindExactlyTheStepThatWasNamed(t *testing.T) {
	run := func(fsys *crashfs.FS) (done int) {
		f, err := fsys.OpenFile("log", readWrite, 0)
		for i := int64(0); err == nil && i < 5; i++ {
			done++
			_, err = f.WriteAt([]byte("x"), i)
		}
		return done
	}
	whole := crashfs.New()
	run(whole)
	if whole.Steps() != 6 {
		t.Fatalf("%d steps, want the creation and five writes", whole.Steps())
	}
	for n := int64(1); n <= 6; n++ {
		fsys, called := crashfs.New(), 0
		fsys.AfterStep(n, func() { called++ })
		if done := run(fsys); int64(done) != min(n, 5) || called != 1 || fsys.Steps() != n {
			t.Errorf("step %d: %d calls went well, hook called %d times, %d steps", n, done, called, fsys.Steps())
		}
	}
}

func TestAfterAFailedSyncOnlyWritingAgainMakesDurable(t *testing.T) {
	for _, again := range []bool{false, true} {
		fsys := crashfs.New()
		f := create(t, fsys, "log")
		must(t, fsys.SyncDir("/"))
		write(t, f, 0, "old")
		must(t, f.Sync())
		fsys.FailSync(1, syscall.EIO)
		write(t, f, 0, "new")
		if err := f.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		want := "old"
		if again {
			write(t, f, 0, "new")
			want = "new"
		}
		must(t, f.Sync())
		if got := content(t, fsys, "log"); got != "new" {
			t.Fatalf("the page cache shows %q", got)
		}
		expectExactly(t, outcomes(fsys, func(c *crashfs.FS) string { return content(t, c, "log") }), want)
	}
}

func TestALockIsHeldOnceAndDiesWithTheProcess(t *testing.T) {
	fsys := crashfs.New()
	l, err := fsys.Lock("lock")
	must(t, err)
	if _, err := fsys.Lock("lock"); err == nil {
		t.Fatal("locked twice")
	}
	must(t, l.Close())
	_, err = fsys.Lock("lock")
	must(t, err)
	_, err = fsys.Kill().Lock("lock")
	must(t, err)
}

func TestCallsFailAsTheOperatingSystemsDo(t *testing.T) {
	fsys := crashfs.New()
	must(t, fsys.MkdirAll("dir/sub", 0))
	f := create(t, fsys, "file")
	_, missing := fsys.OpenFile("none", os.O_RDWR, 0)
	_, exclusive := fsys.OpenFile("file", readWrite|os.O_EXCL, 0)
	readOnly, err := fsys.OpenFile("file", os.O_RDONLY, 0)
	must(t, err)
	_, denied := readOnly.WriteAt([]byte("x"), 0)
	_, end := f.ReadAt(make([]byte, 1), 0)
	must(t, f.Close())
	for i, c := range []struct{ got, want error }{
		{missing, fs.ErrNotExist},
		{exclusive, fs.ErrExist},
		{end, io.EOF},
		{f.Close(), fs.ErrClosed},
		{f.Sync(), fs.ErrClosed},
		{fsys.Remove("none"), fs.ErrNotExist},
		{fsys.Rename("none", "x"), fs.ErrNotExist},
		{fsys.SyncDir("none"), fs.ErrNotExist},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%d: %v, want %v", i, c.got, c.want)
		}
	}
	for i, err := range []error{
		denied, fsys.Remove("dir"), fsys.Rename("file", "dir"), fsys.Rename("dir", "dir/sub/x"),
		fsys.Rename("dir", "file"), fsys.MkdirAll("file/x", 0), fsys.SyncDir("file"),
	} {
		if err == nil {
			t.Errorf("%d: no error", i)
		}
	}
	must(t, fsys.RemoveAll("none"))
	if n := fsys.OpenFiles(); n != 1 {
		t.Errorf("%d files open", n)
	}
}

// The pages, copies and cut-offs against the plainest model there is: one slice.
func TestAFileReadsAsASliceWould(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 2))
		fsys := crashfs.New()
		f := create(t, fsys, "file")
		must(t, fsys.SyncDir("/"))
		var model []byte
		for range 60 {
			switch rng.IntN(6) {
			case 0:
				must(t, f.Sync())
			case 1:
				size := rng.IntN(20_000)
				must(t, f.Truncate(int64(size)))
				model = append(model[:min(size, len(model)):min(size, len(model))], make([]byte, max(0, size-len(model)))...)
			default:
				off, p := rng.IntN(15_000), bytes.Repeat([]byte{byte(rng.Uint32())}, 1+rng.IntN(5_000))
				write(t, f, int64(off), string(p))
				model = append(model, make([]byte, max(0, off+len(p)-len(model)))...)
				copy(model[off:], p)
			}
			if got := content(t, fsys, "file"); got != string(model) {
				t.Fatalf("seed %d: the content differs from the model", seed)
			}
		}
		must(t, f.Sync())
		synced := slices.Clone(model)
		crashed := fsys.Crash(rng)
		if got := content(t, crashed, "file"); got != string(synced) {
			t.Fatalf("seed %d: the synced content differs from the model", seed)
		}
		// What is found shares pages with what was lost, and must not share fate.
		write(t, create(t, crashed, "file"), 0, "overwritten")
		if got := content(t, fsys.Crash(rng), "file"); got != string(synced) {
			t.Fatalf("seed %d: writing to one outcome changed another", seed)
		}
	}
}

func TestTheSameSeedFindsTheSameState(t *testing.T) {
	dump := func() string {
		fsys := crashfs.New()
		for i := range 20 {
			write(t, create(t, fsys, fmt.Sprint("f", i)), int64(i), strings.Repeat("x", 1000*i))
		}
		found := fsys.Crash(rand.New(rand.NewPCG(7, 7)))
		all := ""
		entries, err := found.ReadDir("/")
		must(t, err)
		for _, e := range entries {
			all += e.Name() + content(t, found, e.Name())
		}
		return all
	}
	if first, second := dump(), dump(); first != second {
		t.Fatal("two runs differ")
	}
}

func TestManyGoroutinesMayWriteWhileThePowerGoes(t *testing.T) {
	fsys := crashfs.New()
	off := make(chan struct{})
	fsys.AfterStep(500, func() { close(off) })
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			f, err := fsys.OpenFile(fmt.Sprint(g), readWrite, 0)
			for i := int64(0); err == nil; i++ {
				_, err = f.WriteAt([]byte("x"), i)
				if err == nil && i%10 == 0 {
					err = f.Sync()
				}
			}
			if !errors.Is(err, crashfs.ErrPowerOff) {
				t.Error(err)
			}
		})
	}
	<-off
	all.Wait()
	if fsys.Steps() != 500 {
		t.Errorf("%d steps", fsys.Steps())
	}
}
