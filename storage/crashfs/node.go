package crashfs

import (
	"io/fs"
	"slices"
	"time"
)

const (
	sectorBytes = 512
	pageBytes   = 4096
)

type page [pageBytes]byte

// node is a file or a directory: entries is nil in a file.
type node struct {
	// Of a directory: the names as they are, and as of the last sync.
	entries, durable map[string]*node

	// Of a file: pages as they are, and as of the last sync; nil is a page of zeros. A page that both
	// hold, or another file system, is copied before it is written (see owned).
	pages       []*page
	size        int64
	synced      []*page
	syncedSize  int64
	owned       map[int]bool // pages written since the last sync, which nobody else holds
	lost        map[int]bool // pages that a failed sync gave up: seen, clean, and not on the disk
	sinceSynced []edit
}

// edit is a write (at off) or a truncation (to size); size is the file's after it either way.
type edit struct {
	truncation bool
	off        int64
	data       []byte
	size       int64
}

func newDir() *node { return &node{entries: map[string]*node{}, durable: map[string]*node{}} }

// holds says whether other is n or below it.
func (n *node) holds(other *node) bool {
	if n == other {
		return true
	}
	for _, child := range n.entries {
		if child.entries != nil && child.holds(other) {
			return true
		}
	}
	return false
}

func (n *node) write(p []byte, off int64) {
	n.place(p, off)
	n.size = max(n.size, off+int64(len(p)))
	n.sinceSynced = append(n.sinceSynced, edit{off: off, data: append([]byte(nil), p...), size: n.size})
}

// place puts p into the pages.
func (n *node) place(p []byte, off int64) {
	for len(p) > 0 {
		at := off % pageBytes
		done := copy(n.own(int(off / pageBytes))[at:], p)
		p, off = p[done:], off+int64(done)
	}
}

// own returns the i-th page to be written to.
func (n *node) own(i int) *page {
	for len(n.pages) <= i {
		n.pages = append(n.pages, nil)
	}
	if n.owned[i] {
		return n.pages[i]
	}
	fresh := new(page)
	if old := n.pages[i]; old != nil {
		*fresh = *old
	}
	if n.owned == nil {
		n.owned = map[int]bool{}
	}
	n.pages[i], n.owned[i] = fresh, true
	delete(n.lost, i) // the page is written as a whole
	return fresh
}

func (n *node) truncate(size int64) {
	if size < n.size {
		whole := int((size + pageBytes - 1) / pageBytes)
		for i := whole; i < len(n.pages); i++ {
			delete(n.owned, i)
			delete(n.lost, i)
		}
		n.pages = n.pages[:min(whole, len(n.pages))]
		if at := size % pageBytes; at != 0 && whole <= len(n.pages) && n.pages[whole-1] != nil {
			clear(n.own(whole - 1)[at:])
		}
	}
	n.size = size
	n.sinceSynced = append(n.sinceSynced, edit{truncation: true, size: size})
}

func (n *node) sync() {
	if len(n.sinceSynced) == 0 {
		return
	}
	before := n.synced
	if slices.ContainsFunc(n.sinceSynced, func(e edit) bool { return e.truncation }) {
		n.synced = slices.Clone(n.pages)
	} else { // what differs is owned, and the rest of a large file need not be looked at
		n.synced = append(n.synced, n.pages[len(n.synced):]...)
		for i := range n.owned {
			n.synced[i] = n.pages[i]
		}
	}
	for i := range n.lost {
		if n.synced[i] = nil; i < len(before) {
			n.synced[i] = before[i]
		}
	}
	clear(n.owned)
	n.syncedSize, n.sinceSynced = n.size, nil
}

// giveUp is a sync that fails as it does on Linux: what was to be written is forgotten, stays visible, and
// no later sync writes it, though it succeeds.
func (n *node) giveUp() {
	if n.lost == nil {
		n.lost = map[int]bool{}
	}
	for i := range n.owned {
		n.lost[i] = true
	}
	clear(n.owned)
	n.sinceSynced = nil
}

// read fills p from off and returns how much there was.
func (n *node) read(p []byte, off int64) int {
	if off >= n.size {
		return 0
	}
	p = p[:min(int64(len(p)), n.size-off)]
	for rest := p; len(rest) > 0; {
		i, at := int(off/pageBytes), off%pageBytes
		part := rest[:min(len(rest), int(pageBytes-at))]
		if i < len(n.pages) && n.pages[i] != nil {
			copy(part, n.pages[i][at:])
		} else {
			clear(part)
		}
		rest, off = rest[len(part):], off+int64(len(part))
	}
	return len(p)
}

// nameChange gives a name in a directory to a node; nil takes the name away.
type nameChange struct {
	dir  *node
	base string
	to   *node
}

func (c nameChange) apply(entries map[string]*node) {
	if c.to == nil {
		delete(entries, c.base)
	} else {
		entries[c.base] = c.to
	}
}

// rename is a change of names that happens as a whole: one for a creation or a removal, two for
// a rename. It may put an end to a node: the one removed or replaced.
type rename struct {
	changes []nameChange
	ended   *node
}

func (r *rename) in(dir *node) bool {
	return slices.ContainsFunc(r.changes, func(c nameChange) bool { return c.dir == dir })
}

// buildsOn says that r cannot be durable without the earlier one: both touch the same name, or r
// ends the directory in which the earlier one happened, or r carries a node from one directory to another,
// which must not get lost on the way.
func (r *rename) buildsOn(earlier *rename) bool {
	if len(r.changes) == 2 && r.changes[0].dir != r.changes[1].dir {
		return true
	}
	if r.ended != nil && earlier.in(r.ended) {
		return true
	}
	return slices.ContainsFunc(earlier.changes, func(e nameChange) bool {
		return slices.ContainsFunc(r.changes, func(c nameChange) bool { return c.dir == e.dir && c.base == e.base })
	})
}

// syncNames makes durable what happened in dir, and what that builds on.
func (f *FS) syncNames(dir *node) {
	needed := make([]bool, len(f.names))
	for i := len(f.names) - 1; i >= 0; i-- {
		needed[i] = needed[i] || f.names[i].in(dir)
		for j := 0; needed[i] && j < i; j++ {
			needed[j] = needed[j] || f.names[i].buildsOn(f.names[j])
		}
	}
	var left []*rename
	for i, r := range f.names {
		if !needed[i] {
			left = append(left, r)
			continue
		}
		for _, c := range r.changes {
			c.apply(c.dir.durable)
		}
	}
	f.names = left
}

func (n *node) info(base string) fs.FileInfo {
	return info{base: base, size: n.size, dir: n.entries != nil}
}

type info struct {
	base string
	size int64
	dir  bool
}

func (i info) Name() string       { return i.base }
func (i info) Size() int64        { return i.size }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.dir }
func (i info) Sys() any           { return nil }
func (i info) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o755
	}
	return 0o644
}
