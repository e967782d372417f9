package storage

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"github.com/troupe-mq/troupe/wire"
)

// fileCache keeps the descriptors of a directory's files below a limit. A file is opened when it
// is needed and closed when others are needed more; a partition that nobody uses holds none.
//
// A file that is lent to a fetch, or that has writes which are not synced yet, is counted and
// stays open whatever the limit: an fsync must go through the descriptor that saw the writes, or
// the kernel may tell the error to nobody. Where volumes can be synced as a whole, files beyond
// the limit need not be held for that: see segment.dirty.
type fileCache struct {
	fsys    FS
	limit   int
	metrics *Metrics

	count atomic.Int32 // of the ring, for those who do not lock

	mu   sync.Mutex
	ring []*openFile // all files that the cache holds, swept by hand
	hand int
}

// openFile is a file and how many hold it: the cache itself counts as one. It is a wire.RecordFile.
type openFile struct {
	File
	cache *fileCache
	slot  *fileSlot
	place int // in the ring, under the cache's mutex
	refs  atomic.Int32
	used  atomic.Bool // since the hand last passed
}

var _ wire.RecordFile = (*openFile)(nil)

// fileSlot is where a segment keeps its file while the cache has it open.
type fileSlot struct{ file atomic.Pointer[openFile] }

// acquire returns the slot's file with one more holder, or nil when it is not open. It takes no
// lock.
func (slot *fileSlot) acquire() *openFile {
	f := slot.file.Load()
	if f == nil || !f.tryRetain() {
		return nil
	}
	if !f.used.Load() {
		f.used.Store(true)
	}
	return f
}

// open opens the slot's file and returns it with a holder besides the cache.
func (c *fileCache) open(slot *fileSlot, name string) (*openFile, error) {
	file, err := c.fsys.OpenFile(name, os.O_RDWR, filePerm)
	if err != nil {
		return nil, err
	}
	f := &openFile{File: file, cache: c, slot: slot}
	f.refs.Store(2)
	f.used.Store(true)
	c.metrics.openFiles(1)

	c.mu.Lock()
	if !slot.file.CompareAndSwap(nil, f) {
		other := slot.file.Load()
		c.mu.Unlock()
		if other != nil && other.tryRetain() {
			f.refs.Store(1)
			f.Release()
			return other, nil
		}
		// The slot changes hands at this moment. A file outside the cache does as well.
		f.refs.Store(1)
		return f, nil
	}
	f.place = len(c.ring)
	c.ring = append(c.ring, f)
	dropped := c.sweep()
	c.count.Store(int32(len(c.ring)))
	c.mu.Unlock()
	for _, f := range dropped {
		f.Release()
	}
	return f, nil
}

// sweep takes files out of the ring until it is within the limit: those that nobody holds and
// nobody used since the hand last came by. The caller releases them, outside the lock.
func (c *fileCache) sweep() (dropped []*openFile) {
	for steps := 2 * len(c.ring); len(c.ring) > c.limit && steps > 0; steps-- {
		if c.hand >= len(c.ring) {
			c.hand = 0
		}
		f := c.ring[c.hand]
		if f.used.Swap(false) || f.refs.Load() > 1 {
			c.hand++
			continue
		}
		c.remove(f)
		dropped = append(dropped, f)
	}
	return dropped
}

// remove takes f out of its slot and the ring; the cache's own hold on it passes to the caller.
func (c *fileCache) remove(f *openFile) {
	f.slot.file.CompareAndSwap(f, nil)
	last := len(c.ring) - 1
	c.ring[f.place] = c.ring[last]
	c.ring[f.place].place = f.place
	c.ring[last] = nil
	c.ring = c.ring[:last]
	c.count.Store(int32(last))
}

// crowded says that the cache is at its limit.
func (c *fileCache) crowded() bool { return int(c.count.Load()) >= c.limit }

// forget closes the slot's file once nobody holds it any more.
func (c *fileCache) forget(slot *fileSlot) {
	c.mu.Lock()
	f := slot.file.Load()
	if f != nil {
		c.remove(f)
	}
	c.mu.Unlock()
	f.Release()
}

func (f *openFile) tryRetain() bool {
	for {
		n := f.refs.Load()
		if n == 0 {
			return false
		}
		if f.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// retain adds a holder for a caller who knows of another one.
func (f *openFile) retain() { f.refs.Add(1) }

// Release implements wire.RecordFile. It does nothing to a nil file.
func (f *openFile) Release() {
	if f == nil {
		return
	}
	switch left := f.refs.Add(-1); {
	case left < 0:
		panic("storage: a file is released twice")
	case left == 0:
		// Nothing was written through it since its last sync, so an error says nothing.
		_ = f.Close()
		f.cache.metrics.openFiles(-1)
	}
}

const (
	filePerm fs.FileMode = 0o644
	dirPerm  fs.FileMode = 0o755
)

// readFile reads a small file whole. It refuses one larger than limit.
func readFile(fsys FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errTooLarge}
	}
	content := make([]byte, size)
	return content, readFull(f, content, 0)
}

var errTooLarge = errors.New("larger than such a file can be")
