package gossip

import (
	"maps"
	"slices"
	"sync"
)

// roster is the others that are there, as the events have told. Memberlist's own nodes change under its lock while others read
// them; what its events show is copied under that lock.
type roster struct {
	mu      sync.Mutex
	present map[string]presence // by name
}

type presence struct {
	Member
	seenAt string // the address in numbers
}

func (r *roster) put(name string, p presence) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.present == nil {
		r.present = make(map[string]presence)
	}
	r.present[name] = p
}

func (r *roster) remove(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.present, name)
}

// all returns the others in the order of their names.
func (r *roster) all() []presence {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]presence, 0, len(r.present))
	for _, name := range slices.Sorted(maps.Keys(r.present)) {
		list = append(list, r.present[name])
	}
	return list
}
