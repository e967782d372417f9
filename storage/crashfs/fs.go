package crashfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/troupe-mq/troupe/storage"
)

// ErrPowerOff answers every call after Crash, Kill, or the step that AfterStep named.
var ErrPowerOff = errors.New("crashfs: the power is off")

// volumeBytes is the size that Space reports. Nothing is ever refused for want of space here.
const volumeBytes = 1 << 40

// FS is a file system that a test can crash. Relative names count from the root. It may be used by
// many goroutines.
type FS struct {
	mu    sync.RWMutex
	off   bool
	root  *node
	names []*rename // changes of names not yet durable, in the order made
	locks map[*node]bool
	steps int64
	open  int

	cutAt int64
	then  func()

	syncsToFailure int
	syncErr        error
}

var _ storage.FS = (*FS)(nil)

// New returns an empty file system.
func New() *FS { return newFS(newDir()) }

func newFS(root *node) *FS { return &FS{root: root, locks: map[*node]bool{}} }

// Steps returns how many calls have changed something so far: writes, truncations, syncs of both
// kinds, and each name created, renamed or removed.
func (f *FS) Steps() int64 {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.steps
}

// AfterStep cuts the power behind the n-th step counted from New (or from the Crash or Kill that made
// this file system): that call still succeeds, every other fails. Then f, unless it is nil, is called
// once, by the goroutine that made the step; it may call Crash.
func (f *FS) AfterStep(n int64, then func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cutAt, f.then = n, then
}

// FailSync makes the n-th File.Sync from now on fail, as it does on Linux: what it was to write stays
// visible and counts as written from then on. Later syncs succeed and do not write it; only
// writing it again helps.
func (f *FS) FailSync(n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.syncsToFailure, f.syncErr = n, err
}

// OpenFiles returns how many files are open.
func (f *FS) OpenFiles() int {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.open
}

// change runs op, which returns whether it changed anything, and counts it.
func (f *FS) change(op func() (bool, error)) error {
	f.mu.Lock()
	if f.off {
		f.mu.Unlock()
		return ErrPowerOff
	}
	changed, err := op()
	var then func()
	if changed {
		f.steps++
		if f.steps == f.cutAt {
			f.off, then = true, f.then
		}
	}
	f.mu.Unlock()
	if then != nil {
		then()
	}
	return err
}

// look runs op, which changes nothing.
func (f *FS) look(op func() error) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.off {
		return ErrPowerOff
	}
	return op()
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// elements splits a name; the root has none.
func elements(name string) []string {
	clean := path.Clean("/" + name)
	if clean == "/" {
		return nil
	}
	return strings.Split(clean[1:], "/")
}

// find returns the node of that name.
func (f *FS) find(name string) (*node, error) {
	n := f.root
	for _, element := range elements(name) {
		if n.entries == nil {
			return nil, syscall.ENOTDIR
		}
		if n = n.entries[element]; n == nil {
			return nil, syscall.ENOENT
		}
	}
	return n, nil
}

// parent returns the directory that holds, or would hold, name, and the last element of name.
func (f *FS) parent(name string) (dir *node, base string, err error) {
	all := elements(name)
	if len(all) == 0 {
		return nil, "", syscall.EINVAL
	}
	dir, err = f.find(path.Join(all[:len(all)-1]...))
	if err == nil && dir.entries == nil {
		err = syscall.ENOTDIR
	}
	return dir, all[len(all)-1], err
}

// set changes names now, and durably once one of the directories is synced. It puts an end to a
// node, unless ended is nil.
func (f *FS) set(ended *node, changes ...nameChange) {
	for _, c := range changes {
		c.apply(c.dir.entries)
	}
	f.names = append(f.names, &rename{changes: changes, ended: ended})
}

// OpenFile opens a file.
func (f *FS) OpenFile(name string, flag int, _ fs.FileMode) (storage.File, error) {
	var opened *file
	err := f.change(func() (changed bool, err error) {
		dir, base, err := f.parent(name)
		if err != nil {
			return false, pathError("open", name, err)
		}
		n := dir.entries[base]
		switch {
		case n == nil && flag&os.O_CREATE == 0:
			return false, pathError("open", name, syscall.ENOENT)
		case n != nil && n.entries != nil:
			return false, pathError("open", name, syscall.EISDIR)
		case n != nil && flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0:
			return false, pathError("open", name, syscall.EEXIST)
		case n == nil:
			n, changed = &node{}, true
			f.set(nil, nameChange{dir, base, n})
		case flag&os.O_TRUNC != 0 && n.size > 0:
			n.truncate(0)
			changed = true
		}
		f.open++
		opened = &file{fs: f, node: n, name: name, writable: flag&(os.O_WRONLY|os.O_RDWR) != 0}
		return changed, nil
	})
	if err != nil {
		return nil, err
	}
	return opened, nil
}

// Remove removes a file or an empty directory.
func (f *FS) Remove(name string) error {
	return f.change(func() (bool, error) {
		dir, base, err := f.parent(name)
		if err != nil {
			return false, pathError("remove", name, err)
		}
		switch n := dir.entries[base]; {
		case n == nil:
			return false, pathError("remove", name, syscall.ENOENT)
		case len(n.entries) > 0:
			return false, pathError("remove", name, syscall.ENOTEMPTY)
		}
		f.set(dir.entries[base], nameChange{dir, base, nil})
		return true, nil
	})
}

// RemoveAll removes name and what it holds, one step for each. It is no error if there is none.
func (f *FS) RemoveAll(name string) error {
	entries, err := f.ReadDir(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return err
	}
	for _, entry := range entries {
		if err := f.RemoveAll(path.Join(name, entry.Name())); err != nil {
			return err
		}
	}
	if err := f.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Rename moves a file or directory, over a file or an empty directory if there is one.
func (f *FS) Rename(from, to string) error {
	return f.change(func() (bool, error) {
		fromDir, fromBase, err := f.parent(from)
		if err != nil {
			return false, pathError("rename", from, err)
		}
		toDir, toBase, err := f.parent(to)
		if err != nil {
			return false, pathError("rename", to, err)
		}
		moved, there := fromDir.entries[fromBase], toDir.entries[toBase]
		switch {
		case moved == nil:
			return false, pathError("rename", from, syscall.ENOENT)
		case moved == there:
			return false, nil
		case moved.entries != nil && moved.holds(toDir):
			return false, pathError("rename", to, syscall.EINVAL)
		case there != nil && there.entries != nil && moved.entries == nil:
			return false, pathError("rename", to, syscall.EISDIR)
		case there != nil && there.entries == nil && moved.entries != nil:
			return false, pathError("rename", to, syscall.ENOTDIR)
		case there != nil && len(there.entries) > 0:
			return false, pathError("rename", to, syscall.ENOTEMPTY)
		}
		f.set(there, nameChange{fromDir, fromBase, nil}, nameChange{toDir, toBase, moved})
		return true, nil
	})
}

// MkdirAll makes a directory and those above it, one step for each that is missing.
func (f *FS) MkdirAll(name string, _ fs.FileMode) error {
	all := elements(name)
	for i := range all {
		prefix := path.Join(all[:i+1]...)
		err := f.change(func() (bool, error) {
			dir, base, err := f.parent(prefix)
			if err != nil {
				return false, pathError("mkdir", name, err)
			}
			if n := dir.entries[base]; n != nil {
				if n.entries == nil {
					return false, pathError("mkdir", name, syscall.ENOTDIR)
				}
				return false, nil
			}
			f.set(nil, nameChange{dir, base, newDir()})
			return true, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ReadDir returns the entries sorted by name.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	var list []fs.DirEntry
	err := f.look(func() error {
		n, err := f.find(name)
		if err == nil && n.entries == nil {
			err = syscall.ENOTDIR
		}
		if err != nil {
			return pathError("readdir", name, err)
		}
		for base, child := range n.entries {
			list = append(list, fs.FileInfoToDirEntry(child.info(base)))
		}
		return nil
	})
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, err
}

// Stat describes a file or directory. Times are zero.
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	var info fs.FileInfo
	err := f.look(func() error {
		n, err := f.find(name)
		if err != nil {
			return pathError("stat", name, err)
		}
		info = n.info(path.Base(name))
		return nil
	})
	return info, err
}

// SyncDir makes the changes of names in a directory durable, together with those elsewhere that they
// build on.
func (f *FS) SyncDir(name string) error {
	return f.change(func() (bool, error) {
		n, err := f.find(name)
		if err == nil && n.entries == nil {
			err = syscall.ENOTDIR
		}
		if err != nil {
			return false, pathError("syncdir", name, err)
		}
		f.syncNames(n)
		return true, nil
	})
}

// Lock takes a lock that dies with this file system.
func (f *FS) Lock(name string) (io.Closer, error) {
	opened, err := f.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	l := &lock{opened.(*file)}
	f.mu.Lock()
	taken := f.locks[l.node]
	f.locks[l.node] = true
	f.mu.Unlock()
	if taken {
		return nil, errors.Join(pathError("lock", name, syscall.EWOULDBLOCK), opened.Close())
	}
	return l, nil
}

type lock struct{ *file }

func (l *lock) Close() error {
	l.fs.mu.Lock()
	delete(l.fs.locks, l.node)
	l.fs.mu.Unlock()
	return l.file.Close()
}

// Space returns a volume that is never full.
func (f *FS) Space(string) (total, free int64, err error) {
	return volumeBytes, volumeBytes / 2, f.look(func() error { return nil })
}
