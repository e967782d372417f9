package metadata

import (
	"iter"
	"slices"
)

// sorted is an ordered set in leaves of bounded size. It is immutable: with and without return a
// new one that shares all leaves but one with the old. The leaves are found by binary search; there
// is one list of them, whose copy is what a change costs: for 10,000 items some 2 KB, for a million
// some 200 KB. A deeper tree would only pay beyond that.
type sorted[T any] struct {
	leaves [][]T // none is empty
	size   int
}

const maxLeaf = 128

// place compares an item with the one that is looked for: negative if the item comes before it.
type place[T any] func(item T) int

// locate returns the leaf and the place in it where the item is or would be.
func (s sorted[T]) locate(at place[T]) (leaf, i int, found bool) {
	leaf, _ = slices.BinarySearchFunc(s.leaves, struct{}{}, func(l []T, _ struct{}) int {
		if at(l[len(l)-1]) < 0 {
			return -1
		}
		return 1
	})
	if leaf == len(s.leaves) {
		return leaf, 0, false
	}
	i, found = slices.BinarySearchFunc(s.leaves[leaf], struct{}{}, func(item T, _ struct{}) int {
		return at(item)
	})
	return leaf, i, found
}

func (s sorted[T]) find(at place[T]) (item T, found bool) {
	leaf, i, found := s.locate(at)
	if !found {
		return item, false
	}
	return s.leaves[leaf][i], true
}

// with returns s with the item at its place, instead of the one that was there.
func (s sorted[T]) with(item T, at place[T]) sorted[T] {
	leaf, i, found := s.locate(at)
	switch {
	case found:
		changed := slices.Clone(s.leaves[leaf])
		changed[i] = item
		return s.replace(leaf, 0, changed)
	case leaf == len(s.leaves) && leaf > 0 && len(s.leaves[leaf-1]) < maxLeaf:
		leaf, i = leaf-1, len(s.leaves[leaf-1])
	case leaf == len(s.leaves):
		return s.replace(leaf, 1, []T{item}) // so leaves filled in order are full
	}
	old := s.leaves[leaf]
	changed := make([]T, 0, len(old)+1)
	changed = append(append(append(changed, old[:i]...), item), old[i:]...)
	if len(changed) <= maxLeaf {
		return s.replace(leaf, 1, changed)
	}
	half := len(changed) / 2
	return s.replace(leaf, 1, slices.Clone(changed[:half]), slices.Clone(changed[half:]))
}

// without returns s without the item at that place.
func (s sorted[T]) without(at place[T]) sorted[T] {
	leaf, i, found := s.locate(at)
	if !found {
		return s
	}
	old := s.leaves[leaf]
	if len(old) == 1 {
		return s.replace(leaf, -1)
	}
	changed := make([]T, 0, len(old)-1)
	return s.replace(leaf, -1, append(append(changed, old[:i]...), old[i+1:]...))
}

// replace puts other leaves where one was, or appends them; the number of items changes by grow.
func (s sorted[T]) replace(leaf, grow int, by ...[]T) sorted[T] {
	leaves := make([][]T, 0, len(s.leaves)+1)
	leaves = append(append(leaves, s.leaves[:leaf]...), by...)
	if leaf < len(s.leaves) {
		leaves = append(leaves, s.leaves[leaf+1:]...)
	}
	return sorted[T]{leaves: leaves, size: s.size + grow}
}

// replaced returns s with other items at places that are taken; by is in order. It copies each
// leaf that changes once.
func (s sorted[T]) replaced(by []T, compare func(a, b T) int) sorted[T] {
	if len(by) == 0 {
		return s
	}
	leaves := slices.Clone(s.leaves)
	for leaf, old := range leaves {
		n := 0 // how many fall into this leaf
		for n < len(by) && compare(by[n], old[len(old)-1]) <= 0 {
			n++
		}
		if n == 0 {
			continue
		}
		leaves[leaf] = slices.Clone(old)
		for _, item := range by[:n] {
			i, _ := slices.BinarySearchFunc(old, item, compare)
			leaves[leaf][i] = item
		}
		by = by[n:]
	}
	return sorted[T]{leaves: leaves, size: s.size}
}

func (s sorted[T]) len() int { return s.size }

// all yields the items in order.
func (s sorted[T]) all() iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, leaf := range s.leaves {
			for _, item := range leaf {
				if !yield(item) {
					return
				}
			}
		}
	}
}

// sortedFrom makes a set of items that are in order.
func sortedFrom[T any](items []T) sorted[T] {
	s := sorted[T]{size: len(items)}
	for leaf := range slices.Chunk(items, maxLeaf) {
		s.leaves = append(s.leaves, slices.Clone(leaf))
	}
	return s
}
