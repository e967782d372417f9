package crashfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// Kill ends the process and keeps the machine running: it returns a file system with all that was
// written, synced or not (a later Crash may still lose the rest), and this one is off.
func (f *FS) Kill() *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.root == nil {
		panic("crashfs: killed twice")
	}
	next := newFS(f.root)
	next.names = f.names
	f.off, f.root, f.names = true, nil, nil
	return next
}

// Crash cuts the power and returns the file system as it may be found afterwards: one of many
// states, chosen by rng. Called again, also with the power already off, it returns another.
func (f *FS) Crash(rng *rand.Rand) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.root == nil {
		panic("crashfs: nothing is left to crash after Kill")
	}
	f.off = true
	found := survivors{rng: rng, names: map[*node]map[string]*node{}}
	for i, kept := range f.survivingNames(rng) {
		if !kept {
			continue
		}
		for _, c := range f.names[i].changes {
			if found.names[c.dir] == nil {
				found.names[c.dir] = maps.Clone(c.dir.durable)
			}
			c.apply(found.names[c.dir])
		}
	}
	return newFS(found.of(f.root))
}

// survivingNames chooses which of the names not synced have arrived.
func (f *FS) survivingNames(rng *rand.Rand) []bool {
	kept := make([]bool, len(f.names))
	switch rng.IntN(4) {
	case 0: // none
	case 1:
		for i := range kept {
			kept[i] = true
		}
	case 2: // those up to some moment, as from a journal
		for i := range rng.IntN(len(kept) + 1) {
			kept[i] = true
		}
	case 3: // any that have what they build on
		for i := range kept {
			kept[i] = rng.IntN(2) == 0
			for j := 0; kept[i] && j < i; j++ {
				kept[i] = kept[j] || !f.names[i].buildsOn(f.names[j])
			}
		}
	}
	return kept
}

// survivors builds what is found from the root down.
type survivors struct {
	rng   *rand.Rand
	names map[*node]map[string]*node // of directories where it is not what was synced
}

func (s *survivors) of(n *node) *node {
	if n.entries == nil {
		return s.file(n)
	}
	names, changed := s.names[n]
	if !changed {
		names = n.durable
	}
	found := newDir()
	for _, base := range slices.Sorted(maps.Keys(names)) { // in order, or the same seed would not repeat
		found.entries[base] = s.of(names[base])
	}
	maps.Copy(found.durable, found.entries)
	return found
}

// file returns a file as of the last sync plus some of the edits since.
func (s *survivors) file(n *node) *node {
	found := &node{pages: slices.Clone(n.synced), size: n.syncedSize}
	if len(n.sinceSynced) > 0 {
		a := s.arrive(n)
		for i, e := range n.sinceSynced {
			if e.truncation {
				a.cut(found, i, e.size)
			} else {
				a.write(found, i, e)
			}
		}
		found.size = max(found.size, int64(len(found.pages))*pageBytes) // content may have arrived without the size:
		found.truncate(a.size)                                          // then it is gone
	}
	found.owned, found.sinceSynced = nil, nil
	found.synced, found.syncedSize = slices.Clone(found.pages), found.size
	return found
}

// arrival says of each sector how many of the edits it has seen.
type arrival struct {
	rng     *rand.Rand
	how     int
	edits   int
	moment  int // for inOrder
	shrinks []shrink
	sized   int // how many of the edits the size has seen
	size    int64
	pages   map[int64]int // how many edits a page has seen, where pages are whole
	sectors map[int64]int
}

// The ways in which edits arrive.
const (
	noneArrived = iota
	allArrived
	inOrder // all up to some moment
	byPage
	bySector
	ways
)

// shrink is a truncation that took something away: everything from size on.
type shrink struct {
	edit int
	size int64
}

func (s *survivors) arrive(n *node) *arrival {
	a := &arrival{
		rng: s.rng, how: s.rng.IntN(ways), edits: len(n.sinceSynced),
		pages: map[int64]int{}, sectors: map[int64]int{},
	}
	a.moment = a.rng.IntN(a.edits + 1)
	a.sized = a.choose()
	if a.rng.IntN(4) == 0 { // the size goes its own way
		a.sized = a.rng.IntN(a.edits + 1)
	}
	a.size = n.syncedSize
	before := n.syncedSize
	for i, e := range n.sinceSynced {
		if i < a.sized {
			a.size = e.size
		}
		if e.size < before {
			a.shrinks = append(a.shrinks, shrink{i, e.size})
		}
		before = e.size
	}
	return a
}

// choose says how many edits something has seen.
func (a *arrival) choose() int {
	switch a.how {
	case noneArrived:
		return 0
	case allArrived:
		return a.edits
	case inOrder:
		return a.moment
	}
	switch a.rng.IntN(3) { // the extremes are likelier than they would be by the number alone
	case 0:
		return 0
	case 1:
		return a.edits
	}
	return a.rng.IntN(a.edits + 1)
}

// seen returns how many edits a sector has seen. A sector that a truncation takes away as a whole has
// seen it if and only if the size has: its blocks go, and come back as others.
func (a *arrival) seen(sector int64) int {
	if n, chosen := a.sectors[sector]; chosen {
		return n
	}
	n, chosen := a.pages[sector*sectorBytes/pageBytes]
	if !chosen || a.how == bySector {
		n = a.choose()
		a.pages[sector*sectorBytes/pageBytes] = n
	}
	for _, s := range a.shrinks {
		if s.size > sector*sectorBytes {
			continue
		}
		if s.edit < a.sized {
			n = max(n, s.edit+1)
		} else {
			n = min(n, s.edit)
		}
	}
	a.sectors[sector] = n
	return n
}

// write applies the i-th edit to the sectors that have seen it.
func (a *arrival) write(found *node, i int, e edit) {
	for p, off := e.data, e.off; len(p) > 0; {
		part := p[:min(int64(len(p)), sectorBytes-off%sectorBytes)]
		if i < a.seen(off/sectorBytes) {
			found.place(part, off)
		}
		p, off = p[len(part):], off+int64(len(part))
	}
}

// cut clears what the i-th edit took away, in the sectors that have seen it.
func (a *arrival) cut(found *node, i int, size int64) {
	for at := size; at < int64(len(found.pages))*pageBytes; at = (at/sectorBytes + 1) * sectorBytes {
		if p := int(at / pageBytes); found.pages[p] == nil {
			at = int64(p+1)*pageBytes - 1 // on to the next page
			continue
		}
		if i < a.seen(at/sectorBytes) {
			p := found.own(int(at / pageBytes))
			clear(p[at%pageBytes : (at%pageBytes/sectorBytes+1)*sectorBytes])
		}
	}
}
