// Package faultfs lays faults over a storage.FS: it counts the calls of each kind, fails the n-th
// one, writes less than it was asked to, runs out of space, and holds back the syncs of one
// directory. A test asserts what the code above does then, for every n.
//
//	fsys := faultfs.New(storage.OSFS{})
//	fsys.Fail(faultfs.Rule{Kind: faultfs.Sync, Nth: 3, Err: syscall.EIO})
//
// It adds no state of its own to files: what does not fail goes straight to the file system below,
// which may be a crashfs.
package faultfs

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/troupe-mq/troupe/storage"
)

// Kind is a kind of call.
type Kind int

// The kinds of calls. Any, in a Rule, is every one of them.
const (
	Any Kind = iota
	Open
	Read
	Write
	Truncate
	Sync
	Close
	Size
	Remove // RemoveAll too, as one call
	Rename // a rule matches the old name
	Mkdir
	ReadDir
	Stat
	SyncDir
	Lock
	Space
	kinds
)

var kindNames = [kinds]string{
	"any", "open", "read", "write", "truncate", "sync", "close", "size", "remove", "rename", "mkdir",
	"readdir", "stat", "syncdir", "lock", "space",
}

// String returns the kind in lower case.
func (k Kind) String() string { return kindNames[k] }

// Rule makes calls fail.
type Rule struct {
	Kind  Kind
	Match func(name string) bool // of the file or directory; nil: any. See Base and Under
	Nth   int                    // fail the n-th call that matches, from 1 on; 0 is 1
	Times int                    // and those after it, so many in all; 0 is 1, negative without end
	Err   error                  // nil is EIO
	Short int                    // a failing write first writes so many bytes
}

// Base matches by the last element of the name, as filepath.Match does.
func Base(pattern string) func(string) bool {
	return func(name string) bool {
		matched, err := filepath.Match(pattern, filepath.Base(name))
		if err != nil {
			panic(err)
		}
		return matched
	}
}

// Under matches a directory and all that is in it.
func Under(dir string) func(string) bool {
	dir = filepath.Clean(dir)
	return func(name string) bool {
		name = filepath.Clean(name)
		return name == dir || strings.HasPrefix(name, strings.TrimSuffix(dir, "/")+"/")
	}
}

// FS is a file system with faults. It may be used by many goroutines.
type FS struct {
	below storage.FS

	mu    sync.Mutex
	calls [kinds]int
	rules []*activeRule
	free  int64 // bytes left; negative: as below
	gates []*Gate
}

type activeRule struct {
	Rule
	seen int
}

var _ storage.FS = (*FS)(nil)

// New returns a file system without faults.
func New(below storage.FS) *FS { return &FS{below: below, free: -1} }

// Fail adds a rule. Where several match, the first that fails a call decides; the others count
// it all the same.
func (f *FS) Fail(r Rule) {
	r.Nth = max(r.Nth, 1)
	if r.Times == 0 {
		r.Times = 1
	}
	if r.Err == nil {
		r.Err = syscall.EIO
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, &activeRule{Rule: r})
}

// Heal drops all rules.
func (f *FS) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
}

// Calls returns how many calls of a kind there were, failed ones too.
func (f *FS) Calls(k Kind) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if k != Any {
		return f.calls[k]
	}
	sum := 0
	for _, n := range f.calls {
		sum += n
	}
	return sum
}

// SetFree gives the volume so many free bytes: files that grow take from them, shrinking and
// removing gives back, and what does not fit is written in part and fails with ENOSPC. Files
// count by their size, as if none had holes. A negative number takes the limit away.
func (f *FS) SetFree(bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.free = bytes
}

// Gate holds back syncs until it is released.
type Gate struct {
	match    func(string) bool
	arrived  chan struct{}
	released chan struct{}
	once     sync.Once
}

// Hold holds back File.Sync and SyncDir in and under a directory.
func (f *FS) Hold(dir string) *Gate {
	g := &Gate{match: Under(dir), arrived: make(chan struct{}, 1), released: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gates = append(f.gates, g)
	return g
}

// Arrived delivers a value once a sync waits at the gate (one for any number of them).
func (g *Gate) Arrived() <-chan struct{} { return g.arrived }

// Release opens the gate for good. A second call does nothing.
func (g *Gate) Release() { g.once.Do(func() { close(g.released) }) }

// call counts a call and says how it fails: nil when it does not.
func (f *FS) call(k Kind, name string) *activeRule {
	f.mu.Lock()
	f.calls[k]++
	var failing *activeRule
	for _, r := range f.rules {
		if r.Kind != Any && r.Kind != k || r.Match != nil && !r.Match(name) {
			continue
		}
		r.seen++
		if r.seen >= r.Nth && (r.Times < 0 || r.seen < r.Nth+r.Times) && failing == nil {
			failing = r
		}
	}
	var closed []*Gate
	for _, g := range f.gates {
		if (k == Sync || k == SyncDir) && g.match(name) {
			closed = append(closed, g)
		}
	}
	f.mu.Unlock()
	for _, g := range closed {
		select {
		case g.arrived <- struct{}{}:
		default:
		}
		<-g.released
	}
	return failing
}

// check is call for all but writes.
func (f *FS) check(k Kind, name string) error {
	if r := f.call(k, name); r != nil {
		return &fs.PathError{Op: k.String(), Path: name, Err: r.Err}
	}
	return nil
}

// take reserves up to grow bytes and returns how many there were.
func (f *FS) take(grow int64) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.free < 0 || grow <= 0 {
		return grow
	}
	got := min(grow, f.free)
	f.free -= got
	return got
}

func (f *FS) giveBack(bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.free >= 0 && bytes > 0 {
		f.free += bytes
	}
}

func (f *FS) limited() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.free >= 0
}

// size returns what name and all below it take.
func (f *FS) size(name string) int64 {
	if !f.limited() {
		return 0
	}
	info, err := f.below.Stat(name)
	if err != nil {
		return 0
	}
	if !info.IsDir() {
		return info.Size()
	}
	entries, _ := f.below.ReadDir(name)
	sum := int64(0)
	for _, e := range entries {
		sum += f.size(filepath.Join(name, e.Name()))
	}
	return sum
}

// OpenFile opens a file.
func (f *FS) OpenFile(name string, flag int, perm fs.FileMode) (storage.File, error) {
	if err := f.check(Open, name); err != nil {
		return nil, err
	}
	cut := int64(0)
	if flag&os.O_TRUNC != 0 {
		cut = f.size(name)
	}
	below, err := f.below.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	f.giveBack(cut)
	return &file{File: below, fs: f, name: name}, nil
}

// Remove removes a file or an empty directory.
func (f *FS) Remove(name string) error { return f.remove(name, f.below.Remove) }

// RemoveAll removes name and all below it.
func (f *FS) RemoveAll(name string) error { return f.remove(name, f.below.RemoveAll) }

func (f *FS) remove(name string, remove func(string) error) error {
	if err := f.check(Remove, name); err != nil {
		return err
	}
	before := f.size(name)
	err := remove(name)
	f.giveBack(before - f.size(name))
	return err
}

// Rename moves a file or directory.
func (f *FS) Rename(from, to string) error {
	if err := f.check(Rename, from); err != nil {
		return err
	}
	replaced := f.size(to)
	err := f.below.Rename(from, to)
	if err == nil {
		f.giveBack(replaced)
	}
	return err
}

// MkdirAll makes a directory and those above it.
func (f *FS) MkdirAll(name string, perm fs.FileMode) error {
	if err := f.check(Mkdir, name); err != nil {
		return err
	}
	return f.below.MkdirAll(name, perm)
}

// ReadDir returns the entries sorted by name.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := f.check(ReadDir, name); err != nil {
		return nil, err
	}
	return f.below.ReadDir(name)
}

// Stat describes a file or directory.
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	if err := f.check(Stat, name); err != nil {
		return nil, err
	}
	return f.below.Stat(name)
}

// SyncDir makes the changes of names in a directory durable.
func (f *FS) SyncDir(name string) error {
	if err := f.check(SyncDir, name); err != nil {
		return err
	}
	return f.below.SyncDir(name)
}

// Lock takes an exclusive lock.
func (f *FS) Lock(name string) (io.Closer, error) {
	if err := f.check(Lock, name); err != nil {
		return nil, err
	}
	return f.below.Lock(name)
}

// Space returns the volume below, and what SetFree left of it.
func (f *FS) Space(name string) (total, free int64, err error) {
	if err := f.check(Space, name); err != nil {
		return 0, 0, err
	}
	total, free, err = f.below.Space(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil && f.free >= 0 {
		free = f.free
	}
	return total, free, err
}
