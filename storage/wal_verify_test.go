package storage_test

import (
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/troupe-mq/troupe/storage"
)

func TestVerifyWALFindsEachFlippedBitAndNothingInAWholeOne(t *testing.T) {
	fsys := newWALDisk(t)
	if _, err := storage.VerifyWAL(fsys, "/data"); err == nil {
		t.Error("a directory without segments passes")
	}
	script := walScript(rand.New(rand.NewPCG(3, 3)), 25)
	if _, err := play(fsys, script); err != nil {
		t.Fatal(err)
	}
	expectFound := func(what string, want bool) {
		t.Helper()
		steps := fsys.Steps()
		found, err := storage.VerifyWAL(fsys, walDir)
		if err != nil || (len(found) > 0) != want || fsys.Steps() != steps {
			t.Fatalf("%s: found %v, %v; %d calls changed something", what, found, err, fsys.Steps()-steps)
		}
	}
	expectFound("the whole", false)
	entries, err := fsys.ReadDir(walDir)
	if err != nil || len(entries) < 4 {
		t.Fatalf("%d files, %v", len(entries), err)
	}
	for _, e := range entries {
		name := filepath.Join(walDir, e.Name())
		content := readFile(t, fsys, name)
		for i := range content {
			flip := func() {
				edit(t, fsys, name, func(f storage.File) error { _, err := f.WriteAt([]byte{content[i] ^ 1}, int64(i)); return err })
				content[i] ^= 1
			}
			flip()
			expectFound(e.Name(), true)
			flip()
		}
	}
}

func TestVerifyWALTellsAnUnfinishedAppendFromDamage(t *testing.T) {
	fsys := newWALDisk(t)
	if _, err := play(fsys, walScript(rand.New(rand.NewPCG(3, 3)), 25)); err != nil {
		t.Fatal(err)
	}
	var last string
	entries, err := fsys.ReadDir(walDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".wal" {
			last = filepath.Join(walDir, e.Name())
		}
	}
	size := int64(len(readFile(t, fsys, last)))
	edit(t, fsys, last, func(f storage.File) error { return f.Truncate(size - 1) })
	found, err := storage.VerifyWAL(fsys, walDir)
	if err != nil || len(found) != 1 || !found[0].Tail || found[0].File != last {
		t.Errorf("found %v, %v", found, err)
	}
}
