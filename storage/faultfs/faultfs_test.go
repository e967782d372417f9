package faultfs_test

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/storage/faultfs"
)

func create(t *testing.T, fsys storage.FS, name string) storage.File {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func expectFree(t *testing.T, fsys storage.FS, want int64) {
	t.Helper()
	if _, free, err := fsys.Space("/"); free != want || err != nil {
		t.Fatalf("%d bytes free, %v; want %d", free, err, want)
	}
}

func TestTheNthMatchingCallFailsAndOnlyThat(t *testing.T) {
	fsys := faultfs.New(crashfs.New())
	fsys.Fail(faultfs.Rule{Kind: faultfs.Sync, Match: faultfs.Base("*.log"), Nth: 2})
	log, index := create(t, fsys, "/d/../00.log"), create(t, fsys, "00.index")
	for i, c := range []struct {
		f    storage.File
		want error
	}{{log, nil}, {index, nil}, {log, syscall.EIO}, {log, nil}, {index, nil}} {
		if err := c.f.Sync(); !errors.Is(err, c.want) {
			t.Errorf("sync %d: %v, want %v", i, err, c.want)
		}
	}
	if n := fsys.Calls(faultfs.Sync); n != 5 {
		t.Errorf("%d syncs counted", n)
	}
	if n := fsys.Calls(faultfs.Any); n != 7 {
		t.Errorf("%d calls counted", n)
	}
}

func TestARuleWithoutEndHoldsUntilItIsHealed(t *testing.T) {
	fsys := faultfs.New(crashfs.New())
	f := create(t, fsys, "f")
	fsys.Fail(faultfs.Rule{Kind: faultfs.Any, Match: faultfs.Under("/f"), Nth: 2, Times: -1, Err: syscall.EROFS})
	other := create(t, fsys, "other")
	fsys.Fail(faultfs.Rule{Match: faultfs.Base("f"), Times: -1, Err: syscall.EROFS})
	for range 3 {
		if err := f.Sync(); !errors.Is(err, syscall.EROFS) {
			t.Fatal(err)
		}
		if err := other.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	fsys.Heal()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

func TestEveryKindOfCallCanFail(t *testing.T) {
	fsys := faultfs.New(crashfs.New())
	f := create(t, fsys, "f")
	calls := map[faultfs.Kind]func() error{
		faultfs.Open:     func() error { _, err := fsys.OpenFile("f", os.O_RDONLY, 0); return err },
		faultfs.Read:     func() error { _, err := f.ReadAt(make([]byte, 1), 0); return err },
		faultfs.Write:    func() error { _, err := f.WriteAt([]byte("x"), 0); return err },
		faultfs.Truncate: func() error { return f.Truncate(0) },
		faultfs.Sync:     f.Sync,
		faultfs.Size:     func() error { _, err := f.Size(); return err },
		faultfs.Close:    f.Close,
		faultfs.Remove:   func() error { return fsys.Remove("f") },
		faultfs.Rename:   func() error { return fsys.Rename("f", "g") },
		faultfs.Mkdir:    func() error { return fsys.MkdirAll("d", 0) },
		faultfs.ReadDir:  func() error { _, err := fsys.ReadDir("/"); return err },
		faultfs.Stat:     func() error { _, err := fsys.Stat("f"); return err },
		faultfs.SyncDir:  func() error { return fsys.SyncDir("/") },
		faultfs.Lock:     func() error { _, err := fsys.Lock("l"); return err },
		faultfs.Space:    func() error { _, _, err := fsys.Space("/"); return err },
	}
	for k := faultfs.Open; k <= faultfs.Space; k++ {
		before := fsys.Calls(k)
		fsys.Fail(faultfs.Rule{Kind: k, Err: syscall.EDQUOT})
		if err := calls[k](); !errors.Is(err, syscall.EDQUOT) || fsys.Calls(k) != before+1 {
			t.Errorf("%v: %v", k, err)
		}
	}
	if _, err := fsys.Stat("f"); err != nil {
		t.Errorf("a call that failed was carried out: %v", err)
	}
}

func TestAShortWriteLeavesItsBeginning(t *testing.T) {
	fsys := faultfs.New(crashfs.New())
	f := create(t, fsys, "f")
	fsys.Fail(faultfs.Rule{Kind: faultfs.Write, Short: 3, Err: syscall.ENOSPC})
	if n, err := f.WriteAt([]byte("abcdef"), 0); n != 3 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("%d, %v", n, err)
	}
	if size, err := f.Size(); size != 3 || err != nil {
		t.Fatalf("%d, %v", size, err)
	}
}

func TestWhatDoesNotFitIsRefusedAndSpaceAgrees(t *testing.T) {
	fsys := faultfs.New(crashfs.New())
	f := create(t, fsys, "f")
	fsys.SetFree(10)
	write := func(off int64, bytes, want int, wantErr error) {
		t.Helper()
		if n, err := f.WriteAt(make([]byte, bytes), off); n != want || !errors.Is(err, wantErr) {
			t.Fatalf("wrote %d, %v; want %d, %v", n, err, want, wantErr)
		}
	}
	write(0, 8, 8, nil)
	expectFree(t, fsys, 2)
	write(4, 4, 4, nil) // overwriting takes nothing
	expectFree(t, fsys, 2)
	write(6, 6, 4, syscall.ENOSPC)
	expectFree(t, fsys, 0)
	write(10, 1, 0, syscall.ENOSPC)
	if err := f.Truncate(11); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Truncate(5); err != nil {
		t.Fatal(err)
	}
	expectFree(t, fsys, 5)
	write(20, 1, 0, syscall.ENOSPC)
	expectFree(t, fsys, 5)
	create(t, fsys, "g")
	if err := fsys.Rename("g", "f"); err != nil {
		t.Fatal(err)
	}
	expectFree(t, fsys, 10)
	fsys.SetFree(-1)
	write(0, 100, 100, nil)
}

func TestRemovingADirectoryGivesBackWhatItsFilesTook(t *testing.T) {
	fsys := faultfs.New(crashfs.New())
	if err := fsys.MkdirAll("a/b", 0); err != nil {
		t.Fatal(err)
	}
	fsys.SetFree(100)
	for _, name := range []string{"a/x", "a/b/y"} {
		if _, err := create(t, fsys, name).WriteAt(make([]byte, 30), 0); err != nil {
			t.Fatal(err)
		}
	}
	expectFree(t, fsys, 40)
	if err := fsys.RemoveAll("a"); err != nil {
		t.Fatal(err)
	}
	expectFree(t, fsys, 100)
}

func TestAGateHoldsTheSyncsOfOneDirectory(t *testing.T) {
	fsys := faultfs.New(crashfs.New())
	for _, dir := range []string{"slow", "fast"} {
		if err := fsys.MkdirAll(dir, 0); err != nil {
			t.Fatal(err)
		}
	}
	gate := fsys.Hold("slow")
	held := create(t, fsys, "slow/f")
	done := make(chan error, 1)
	go func() { done <- held.Sync() }()
	<-gate.Arrived()
	if err := create(t, fsys, "fast/f").Sync(); err != nil {
		t.Fatal(err)
	}
	if _, err := held.WriteAt([]byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		t.Fatal("the gate did not hold", err)
	default:
	}
	gate.Release()
	gate.Release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := fsys.SyncDir("slow"); err != nil {
		t.Fatal(err)
	}
}
