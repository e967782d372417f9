package storage_test

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/storage/faultfs"
)

// memory is what a script knows of a log: what it tried to append, and what it was promised. The zero one is of a
// log that does not exist yet.
type memory[M any] interface {
	*M
	clone() *M
	check(t *testing.T, fsys storage.FS, boot string) // opens what is left of the log and compares
}

// interrupted is a script that was stopped, or that had a call of the disk fail: wherever that was, the log may be
// found by another process, or another boot of the machine.
type interrupted[M any, P memory[M]] struct {
	name  string
	nth   uint64      // step or call
	disk  *crashfs.FS // as it was left
	known P           // as of then
	err   error       // that the script ended with
}

// stoppedAtEach stops a script behind its first step, and behind every stride-th one from there.
func stoppedAtEach[M any, P memory[M]](t *testing.T, script func(storage.FS, P) error, stride int64) iter.Seq[interrupted[M, P]] {
	t.Helper()
	whole := crashfs.New()
	if err := script(whole, new(M)); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d steps", whole.Steps())
	return func(yield func(interrupted[M, P]) bool) {
		for n := int64(1); n <= whole.Steps(); n += stride {
			disk, known := crashfs.New(), P(new(M))
			disk.AfterStep(n, nil)
			err := script(disk, known)
			if !yield(interrupted[M, P]{fmt.Sprintf("step=%d", n), uint64(n), disk, known, err}) {
				return
			}
		}
	}
}

// failedAtEach plays a script once for each call that a fault of any disk, or one more, may hit, and has that call fail.
func failedAtEach[M any, P memory[M]](t *testing.T, script func(storage.FS, P) error, more ...faultfs.Rule) iter.Seq[interrupted[M, P]] {
	t.Helper()
	whole := faultfs.New(crashfs.New())
	if err := script(whole, new(M)); err != nil {
		t.Fatal(err)
	}
	return func(yield func(interrupted[M, P]) bool) {
		for _, fault := range slices.Concat(diskFaults, more) {
			for n := range whole.Calls(fault.Kind) {
				disk, known := crashfs.New(), P(new(M))
				fsys := faultfs.New(disk)
				fault.Nth = n + 1
				fsys.Fail(fault)
				err := script(fsys, known)
				name := fmt.Sprintf("%s=%d/err=%v/short=%d", fault.Kind, fault.Nth, fault.Err, fault.Short)
				if !yield(interrupted[M, P]{name, uint64(fault.Nth), disk, known, err}) {
					return
				}
			}
		}
	}
}

// diskFaults are those that every script has to bear.
var diskFaults = []faultfs.Rule{
	{Kind: faultfs.Write, Err: syscall.EIO, Short: 40},
	{Kind: faultfs.Write, Err: syscall.ENOSPC, Short: 100},
	{Kind: faultfs.Sync},
	{Kind: faultfs.SyncDir},
	{Kind: faultfs.Truncate},
	{Kind: faultfs.Open},
	{Kind: faultfs.Open, Err: syscall.ENOSPC},
	{Kind: faultfs.Rename},
	{Kind: faultfs.Remove},
	{Kind: faultfs.Read},
	{Kind: faultfs.ReadDir},
	{Kind: faultfs.Size},
}

// chances are those that decide what of the disk survives: the same each time.
func (i interrupted[M, P]) chances(seed uint64) *rand.Rand {
	return rand.New(rand.NewPCG(i.nth, seed))
}

// powerCut checks one of the many states that the disk may be found in when the power goes at once.
func (i interrupted[M, P]) powerCut(t *testing.T, seed uint64) {
	found := i.disk.Crash(i.chances(seed))
	t.Run(fmt.Sprintf("%s/power=%d", i.name, seed), func(t *testing.T) {
		t.Logf("the script ended with %v", i.err)
		P(i.known.clone()).check(t, found, "boot-2")
	})
}

// powerCutTwice has the power go again, within so many steps of a second life.
func (i interrupted[M, P]) powerCutTwice(t *testing.T, seed uint64, within int64, second func(storage.FS, P)) {
	rng := i.chances(seed)
	found, known := i.disk.Crash(rng), P(i.known.clone())
	found.AfterStep(1+rng.Int64N(within), nil)
	second(found, known)
	found = found.Crash(rng)
	t.Run(fmt.Sprintf("%s/power=%d", i.name, seed), func(t *testing.T) { known.check(t, found, "boot-3") })
}

// kill checks what a process finds whose predecessor alone has ended. No power can be cut after that.
func (i interrupted[M, P]) kill(t *testing.T) {
	found := i.disk.Kill()
	t.Run(i.name+"/kill", func(t *testing.T) {
		t.Logf("the script ended with %v", i.err)
		P(i.known.clone()).check(t, found, "boot-1")
	})
}
