package group

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// BenchmarkAssign is what one change of a group of 1,000 members costs: how much longer does a join take for it?
func BenchmarkAssign(b *testing.B) {
	for _, partitions := range []int{1000, 3000, 10000} {
		for _, name := range []string{uniformAssignor, rangeAssignor} {
			b.Run(fmt.Sprintf("%s/partitions=%d", name, partitions), func(b *testing.B) {
				topics, all := []int{}, []int{}
				for t := range 10 {
					topics, all = append(topics, partitions/10), append(all, t)
				}
				s := sharingOf(topics, slices.Repeat([][]int{all}, 1000)...)
				results := assignors[name](s)
				for m := range s.members {
					s.members[m].target = results[m]
				}
				s.members[500].target = nil // it has just come
				b.ReportAllocs()
				for b.Loop() {
					assignors[name](s)
				}
			})
		}
	}
}

// BenchmarkAssignMixed is the same where members have many different subscriptions: how much do chains of hand-overs cost?
func BenchmarkAssignMixed(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	topics := slices.Repeat([]int{100}, 100)
	kinds := make([][]int, 50)
	for k := range kinds {
		for t := range topics {
			if r.IntN(10) == 0 {
				kinds[k] = append(kinds[k], t)
			}
		}
	}
	subscribed := make([][]int, 1000)
	for m := range subscribed {
		subscribed[m] = kinds[r.IntN(len(kinds))]
	}
	s := sharingOf(topics, subscribed...)
	b.ReportAllocs()
	for b.Loop() {
		assignUniform(s)
	}
}
