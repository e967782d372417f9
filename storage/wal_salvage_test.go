package storage_test

import (
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/storage/crashfs"
)

// once says that a log which is left was at some time in the script the log, or the beginning of it.
func once(script []walCall, left walModel) bool {
	for _, call := range script {
		m := call.after
		if m.last() < left.last() {
			continue
		}
		agree := true
		for i := max(m.index, left.index) + 1; i <= left.last(); i++ {
			agree = agree && m.entries[i-m.index-1] == left.entries[i-left.index-1]
		}
		if agree {
			return true
		}
	}
	return false
}

// flip changes one bit of a file.
func flip(t *testing.T, fsys *crashfs.FS, name string, at func(size int64) int64) {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	size, err := f.Size()
	if err != nil || size == 0 {
		t.Fatalf("%s has %d bytes: %v", name, size, err)
	}
	b := make([]byte, 1)
	position := at(size)
	_, err = f.ReadAt(b, position)
	b[0] ^= 0x10
	if _, writeErr := f.WriteAt(b, position); errors.Join(err, writeErr, f.Close()) != nil {
		t.Fatal(err, writeErr)
	}
}

func TestWhatIsLeftOfADamagedWALIsWhatItOnceSaid(t *testing.T) {
	refused, saved := 0, 0
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 21))
		script := walScript(rng, 25)
		fsys := newWALDisk(t)
		if _, err := play(fsys, script); err != nil {
			t.Fatal(err)
		}
		whole, err := storage.SalvageWAL(fsys, walDir)
		if want := modelAfter(script, len(script)).String(); err != nil || modelOf(whole).String() != want {
			t.Fatalf("seed %d: of a whole log is left\n     %v\nwant %s, %v", seed, modelOf(whole), want, err)
		}
		files := slices.Sorted(maps.Keys(dumpDir(t, fsys)))
		for range 10 {
			name := files[rng.IntN(len(files))]
			damaged := fsys.Crash(rng) // which loses nothing: all was answered
			var position int64
			flip(t, damaged, name, func(size int64) int64 {
				position = rng.Int64N(size)
				return position
			})
			left, err := storage.SalvageWAL(damaged, walDir)
			if err == nil && !once(script, modelOf(left)) {
				t.Fatalf("seed %d, byte %d of %s: what is left was never the log: %v", seed, position, name, modelOf(left))
			}
			if _, _, openErr := storage.OpenWAL(damaged, walDir, smallWAL); openErr != nil {
				refused++
				if err == nil {
					saved++
				}
			}
		}
	}
	if refused == 0 || saved < refused/2 {
		t.Errorf("of %d damaged logs something is left of %d", refused, saved)
	}
}

func TestACopyOfAWALIsWholeOrNotThere(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 22))
	script := walScript(rng, 18)
	base := newWALDisk(t)
	if _, err := play(base, script); err != nil {
		t.Fatal(err)
	}
	want := modelAfter(script, len(script)).String()
	const copied = "/data/copy"
	for step := int64(1); ; step++ {
		disk := base.Crash(rng)
		disk.AfterStep(step, nil)
		copyErr := storage.CopyWAL(disk, walDir, copied)
		found := disk.Crash(rng)
		if _, err := found.Stat(copied); err == nil {
			if state, err := storage.SalvageWAL(found, copied); err != nil || modelOf(state).String() != want {
				t.Fatalf("step %d: the copy says\n     %v\nwant %s, %v", step, modelOf(state), want, err)
			}
		} else if copyErr == nil {
			t.Fatalf("step %d: the copy is gone: %v", step, err)
		}
		if err := storage.CopyWAL(found, walDir, copied); err != nil {
			t.Fatalf("step %d: copied again: %v", step, err)
		}
		if copyErr == nil {
			return
		}
	}
}
