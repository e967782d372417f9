package group

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// assignUniform gives all members as many partitions as each other, as far as their subscriptions allow, and moves no
// more partitions than that needs.
//
// Topics with the same subscribers are one pool: their partitions can be exchanged for one another. Where all members
// have the same subscription there is one pool, and this is: keep what one has, hand out what nobody has to who has
// least, level what is left. With several pools a partition may have to come from a member that gets another one in
// its stead; relay looks for that.
func assignUniform(s *sharing) []assignment {
	u := newUniform(s)
	u.keep()
	for _, p := range u.handOutOrder() {
		u.handOut(p)
	}
	for changed := true; changed; {
		changed = false
		for p := range u.pools {
			changed = u.level(&u.pools[p]) || changed
		}
		if !changed && len(u.pools) > 1 {
			changed = u.relay()
		}
	}
	return u.results()
}

type uniform struct {
	*sharing
	bases    []int32
	taken    []bool  // by number of partition
	poolOf   []int32 // by topic
	pools    []pool
	carriers []carrier // by member
	steps    int       // of relay, in all
}

// pool is topics that have the same subscribers.
type pool struct {
	topics []int32
	shares []*share // one for each subscriber, in the members' order
}

// share is what a member has of a pool.
type share struct {
	pool    int32
	carrier *carrier
	held    []int32 // numbers of partitions; the last is given away first
}

// carrier is a member, and how much it has in all.
type carrier struct {
	member  int32
	load    int
	changed bool
	shares  []*share // by pool
}

func newUniform(s *sharing) *uniform {
	bases, total := s.bases()
	u := &uniform{sharing: s, bases: bases, taken: make([]bool, total), poolOf: make([]int32, len(s.topics))}

	known := map[string]int32{} // pools by who is subscribed
	poolsOf := make([][]int32, len(s.subscriptions))
	var key []byte
	for t, subscribed := range s.subscribers() {
		key = key[:0]
		for _, sub := range subscribed {
			key = binary.AppendUvarint(key, uint64(sub))
		}
		p, ok := known[string(key)]
		if !ok {
			p = int32(len(u.pools))
			known[string(key)] = p
			u.pools = append(u.pools, pool{})
			for _, sub := range subscribed {
				poolsOf[sub] = append(poolsOf[sub], p)
			}
		}
		u.poolOf[t] = p
		u.pools[p].topics = append(u.pools[p].topics, int32(t))
	}

	count := 0
	for m := range s.members {
		count += len(poolsOf[s.members[m].subscription])
	}
	shares := make([]share, count)
	u.carriers = make([]carrier, len(s.members))
	pointers := make([]*share, 0, count)
	for m := range s.members {
		h := &u.carriers[m]
		h.member = int32(m)
		from := len(pointers)
		for _, p := range poolsOf[s.members[m].subscription] {
			sh := &shares[len(pointers)]
			sh.pool, sh.carrier = p, h
			pointers = append(pointers, sh)
			u.pools[p].shares = append(u.pools[p].shares, sh)
		}
		h.shares = pointers[from:len(pointers):len(pointers)]
	}
	return u
}

// share returns what the carrier has of a pool, or nil when it is not subscribed.
func (h *carrier) share(pool int32) *share {
	i, found := slices.BinarySearchFunc(h.shares, pool, func(s *share, p int32) int { return cmp.Compare(s.pool, p) })
	if !found {
		return nil
	}
	return h.shares[i]
}

// keep leaves each member what it was to have, where it is still subscribed to that and it still exists.
func (u *uniform) keep() {
	for m := range u.members {
		h := &u.carriers[m]
		for _, at := range u.members[m].target {
			t, known := u.place(at.Topic)
			var sh *share
			if known {
				sh = h.share(u.poolOf[t])
			}
			if sh == nil {
				h.changed = true
				continue
			}
			sh.held = slices.Grow(sh.held, len(at.Partitions))
			for _, p := range at.Partitions {
				if p < 0 || p >= u.topics[t].partitions || u.taken[u.bases[t]+p] {
					h.changed = true
					continue
				}
				u.taken[u.bases[t]+p] = true
				sh.held = append(sh.held, u.bases[t]+p)
				h.load++
			}
		}
	}
}

// handOutOrder begins with the pools that the fewest can take from.
func (u *uniform) handOutOrder() []*pool {
	order := make([]*pool, len(u.pools))
	for p := range u.pools {
		order[p] = &u.pools[p]
	}
	slices.SortStableFunc(order, func(a, b *pool) int { return cmp.Compare(len(a.shares), len(b.shares)) })
	return order
}

// handOut gives each partition that nobody has to the member that has least.
func (u *uniform) handOut(p *pool) {
	if len(p.shares) == 0 {
		return
	}
	var poorest byLoad
	for _, t := range p.topics {
		for number := u.bases[t]; number < u.bases[t]+u.topics[t].partitions; number++ {
			if u.taken[number] {
				continue
			}
			if poorest == nil {
				poorest = newByLoad(p.shares)
			}
			u.taken[number] = true
			sh := poorest[0]
			sh.take(number)
			sh.carrier.load++
			poorest.sink()
		}
	}
}

func (s *share) take(number int32) {
	s.held = append(s.held, number)
	s.carrier.changed = true
}

// give takes the last partition away.
func (s *share) give() int32 {
	last := len(s.held) - 1
	number := s.held[last]
	s.held = s.held[:last]
	s.carrier.changed = true
	return number
}

// level moves partitions of a pool from who has most to who has least, until they differ by no more than one. What there is
// to move is little, mostly: that of one new member.
func (u *uniform) level(p *pool) (changed bool) {
	for {
		var rich, poor *share
		for _, sh := range p.shares {
			if len(sh.held) > 0 && (rich == nil || sh.carrier.load > rich.carrier.load) {
				rich = sh
			}
			if poor == nil || sh.carrier.load < poor.carrier.load {
				poor = sh
			}
		}
		if rich == nil || rich.carrier.load-poor.carrier.load <= 1 {
			return changed
		}
		poor.take(rich.give())
		rich.carrier.load--
		poor.carrier.load++
		changed = true
	}
}

// relayLimit bounds how many shares relay looks at. Beyond it the assignment may be less even than it could be, in groups
// of many members with many different subscriptions.
const relayLimit = 1 << 20

// relay looks for a member that could hand a partition on to another, which hands one of another pool on in its
// stead, and so on, to one that has at least two less than the first; and lets the first such chain happen. When
// there is none, no other assignment is more even.
func (u *uniform) relay() bool {
	order := make([]*carrier, len(u.carriers))
	for i := range u.carriers {
		order[i] = &u.carriers[i]
	}
	slices.SortStableFunc(order, func(a, b *carrier) int { return cmp.Compare(b.load, a.load) })
	least := order[len(order)-1].load
	for _, from := range order {
		if from.load-least <= 1 || u.steps > relayLimit {
			return false
		}
		if u.relayFrom(from) {
			return true
		}
	}
	return false
}

// relayFrom searches breadth first, so that a chain is as short as can be.
func (u *uniform) relayFrom(from *carrier) bool {
	type link struct{ given, taken *share } // how a carrier was reached
	reached := make([]link, len(u.carriers))
	seen := make([]bool, len(u.pools))
	reached[from.member] = link{from.shares[0], from.shares[0]}
	queue := []*carrier{from}
	for len(queue) > 0 {
		giver := queue[0]
		queue = queue[1:]
		for _, given := range giver.shares {
			if len(given.held) == 0 || seen[given.pool] {
				continue
			}
			seen[given.pool] = true
			u.steps += len(u.pools[given.pool].shares)
			for _, taken := range u.pools[given.pool].shares {
				taker := taken.carrier
				if reached[taker.member].given != nil {
					continue
				}
				reached[taker.member] = link{given, taken}
				queue = append(queue, taker)
				if from.load-taker.load < 2 {
					continue
				}
				from.load--
				taker.load++
				for h := taker; h != from; {
					l := reached[h.member]
					l.taken.take(l.given.give())
					h = l.given.carrier
				}
				return true
			}
		}
	}
	return false
}

// results turns what the members hold into assignments.
func (u *uniform) results() []assignment {
	results := make([]assignment, len(u.members))
	var numbers []int32
	for m := range u.members {
		h := &u.carriers[m]
		if !h.changed {
			results[m] = u.members[m].target
			continue
		}
		numbers = numbers[:0]
		for _, sh := range h.shares {
			numbers = append(numbers, sh.held...)
		}
		slices.Sort(numbers)
		results[m] = u.assignment(u.bases, numbers)
	}
	return results
}

// byLoad is a heap of shares, that of the least loaded member first.
type byLoad []*share

func newByLoad(shares []*share) byLoad {
	h := byLoad(slices.Clone(shares))
	slices.SortFunc(h, compareLoad) // what is sorted is a heap
	return h
}

func compareLoad(a, b *share) int {
	return cmp.Or(cmp.Compare(a.carrier.load, b.carrier.load), cmp.Compare(a.carrier.member, b.carrier.member))
}

// sink puts the first share in its place after its load has grown.
func (h byLoad) sink() {
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if compareLoad(h[child], h[least]) < 0 {
				least = child
			}
		}
		if least == i {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
