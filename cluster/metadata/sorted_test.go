package metadata

import (
	"cmp"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

type numbered struct{ key, value int }

func byKey(a, b numbered) int { return cmp.Compare(a.key, b.key) }

func atKey(key int) place[numbered] {
	return func(n numbered) int { return cmp.Compare(n.key, key) }
}

// A sorted set is what a map with sorted keys would be, the sets before it stay what they were, and
// a comparison of two finds all that is different and nothing else.
func TestASortedSetIsAMapInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s sorted[numbered]
		m := map[int]int{}
		if rapid.Bool().Draw(t, "filled") {
			var items []numbered
			for key := range rapid.IntRange(0, 1000).Draw(t, "items") {
				items = append(items, numbered{3*key + 1, key})
				m[3*key+1] = key
			}
			s = sortedFrom(items)
		}
		before, was := s, maps.Clone(m)
		for i := range rapid.IntRange(0, 600).Draw(t, "changes") {
			key := rapid.IntRange(1, 3000).Draw(t, "key")
			if rapid.IntRange(0, 2).Draw(t, "remove") == 0 {
				s = s.without(atKey(key))
				delete(m, key)
			} else {
				s = s.with(numbered{key, -i - 1}, atKey(key))
				m[key] = -i - 1
			}
		}
		var by []numbered
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if rapid.IntRange(0, 20).Draw(t, "replace") == 0 {
				by = append(by, numbered{key, 1 << 20})
				m[key] = 1 << 20
			}
		}
		s = s.replaced(by, byKey)

		for state, want := range map[*sorted[numbered]]map[int]int{&s: m, &before: was} {
			if state.len() != len(want) {
				t.Fatalf("%d items, want %d", state.len(), len(want))
			}
			items := slices.Collect(state.all())
			if !slices.IsSortedFunc(items, byKey) {
				t.Fatal("the items are in no order")
			}
			for _, item := range items {
				if found, ok := state.find(atKey(item.key)); !ok || found != item || want[item.key] != item.value {
					t.Fatalf("%v is found as %v and should be %d", item, found, want[item.key])
				}
			}
		}
		if slices.ContainsFunc(s.leaves, func(leaf []numbered) bool { return len(leaf) == 0 || len(leaf) > maxLeaf }) {
			t.Fatal("a leaf is empty or too large")
		}

		diffSorted(before, s, byKey, func(a, b numbered) {
			if a == b { // leaves were cut otherwise: no difference, and the caller looks
				return
			}
			if b == (numbered{}) {
				delete(was, a.key)
			} else {
				was[b.key] = b.value
			}
		})
		if !maps.Equal(was, m) {
			t.Fatal("the differences do not lead from one to the other")
		}
	})
}

func TestItemsThatComeInOrderFillTheirLeaves(t *testing.T) {
	var s sorted[numbered]
	for key := range 10 * maxLeaf {
		s = s.with(numbered{key: key}, atKey(key))
	}
	if len(s.leaves) != 10 {
		t.Errorf("%d leaves of %d items", len(s.leaves), s.len())
	}
}
