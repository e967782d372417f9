package group

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

// topicNumber makes ids whose order is that of the numbers.
func topicNumber(n int) wire.TopicID {
	return wire.TopicID{0: byte(n >> 8), 1: byte(n), 15: 1}
}

// sharingOf makes a problem of topics with so many partitions, and members with such subscriptions.
func sharingOf(partitions []int, subscribed ...[]int) *sharing {
	s := &sharing{}
	for t, n := range partitions {
		s.topics = append(s.topics, sharedTopic{id: topicNumber(t), partitions: int32(n)})
	}
	known := map[string]int{}
	for m, topics := range subscribed {
		key := fmt.Sprint(topics)
		sub, ok := known[key]
		if !ok {
			sub = len(s.subscriptions)
			known[key] = sub
			list := []int32{}
			for _, t := range topics {
				list = append(list, int32(t))
			}
			s.subscriptions = append(s.subscriptions, list)
		}
		s.members = append(s.members, sharer{id: wire.MemberID(fmt.Sprintf("member-%04d", m)), subscription: sub})
	}
	if len(s.subscriptions) == 0 {
		s.subscriptions = [][]int32{{}}
	}
	return s
}

func (s *sharing) subscribed(m int, t int32) bool {
	return slices.Contains(s.subscriptions[s.members[m].subscription], t)
}

// checkShared proves that each partition has exactly one owner who is subscribed to it.
func checkShared(t *testing.T, s *sharing, results []assignment) {
	t.Helper()
	owner := map[wire.TopicPartition]int{}
	for m, a := range results {
		if !isAssignment(a) {
			t.Fatalf("member %d: not sorted: %v", m, a)
		}
		for _, at := range a {
			place, ok := s.place(at.Topic)
			if !ok || !s.subscribed(m, place) {
				t.Fatalf("member %d is given topic %v, which it is not subscribed to", m, at.Topic)
			}
			for _, p := range at.Partitions {
				if p < 0 || p >= s.topics[place].partitions {
					t.Fatalf("member %d is given partition %d of %d", m, p, s.topics[place].partitions)
				}
				tp := wire.TopicPartition{Topic: at.Topic, Partition: p}
				if other, twice := owner[tp]; twice {
					t.Fatalf("%v is given to %d and %d", tp, other, m)
				}
				owner[tp] = m
			}
		}
	}
	for i, topic := range s.topics {
		anybody := false
		for m := range s.members {
			anybody = anybody || s.subscribed(m, int32(i))
		}
		for p := range topic.partitions {
			if _, given := owner[wire.TopicPartition{Topic: topic.id, Partition: p}]; given != anybody {
				t.Fatalf("topic %d partition %d: given %v, subscribed %v", i, p, given, anybody)
			}
		}
	}
}

func loads(results []assignment) []int {
	loads := make([]int, len(results))
	for m, a := range results {
		loads[m] = a.count()
	}
	return loads
}

func TestUniformDiffersByNoMoreThanOneWhereAllHaveTheSameSubscription(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		s, results := randomHomogeneous(r), []assignment(nil)
		for range 6 {
			results = assignUniform(s)
			checkShared(t, s, results)
			if l := loads(results); slices.Max(l)-slices.Min(l) > 1 {
				t.Fatalf("seed %d: loads %v", seed, l)
			}
			s = changeRandomly(r, s, results)
		}
	}
}

func randomHomogeneous(r *rand.Rand) *sharing {
	partitions, all := []int{}, []int{}
	for t := range 1 + r.IntN(6) {
		partitions = append(partitions, r.IntN(12))
		all = append(all, t)
	}
	members := make([][]int, 1+r.IntN(9))
	for m := range members {
		members[m] = all
	}
	return sharingOf(partitions, members...)
}

// changeRandomly lets members come and go and topics grow, shrink, and be deleted, with what all had until then.
func changeRandomly(r *rand.Rand, s *sharing, results []assignment) *sharing {
	next := &sharing{topics: slices.Clone(s.topics), subscriptions: s.subscriptions}
	for i := range next.topics {
		if r.IntN(4) == 0 {
			next.topics[i].partitions = int32(r.IntN(14))
		}
	}
	for m := range s.members {
		if r.IntN(4) > 0 {
			sh := s.members[m]
			sh.target = results[m]
			next.members = append(next.members, sh)
		}
	}
	for range 1 + r.IntN(3) {
		next.members = append(next.members, sharer{
			id: wire.MemberID(fmt.Sprintf("m-%d", r.Uint64())), subscription: r.IntN(len(s.subscriptions)),
		})
	}
	slices.SortFunc(next.members, func(a, b sharer) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	return next
}

// moves counts the partitions that have another owner than before though that one is still there and may have them.
func moves(s *sharing, results []assignment) (n int) {
	for m := range s.members {
		for _, at := range s.members[m].target {
			place, ok := s.place(at.Topic)
			if !ok || !s.subscribed(m, place) {
				continue
			}
			for _, p := range at.Partitions {
				if p < s.topics[place].partitions && !results[m].has(at.Topic, p) {
					n++
				}
			}
		}
	}
	return n
}

func TestUniformMovesNoMoreThanAnEvenShareNeeds(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 2))
		s := randomHomogeneous(r)
		for range 5 {
			results := assignUniform(s)
			s = changeRandomly(r, s, results)
			results = assignUniform(s)

			// Who had more than the larger share has to give the excess, and the poorest have to come up to the smaller one,
			// as far as what nobody has does not do.
			_, total := s.bases()
			least := int(total) / len(s.members)
			most := least
			if int(total)%len(s.members) > 0 {
				most++
			}
			kept, excess, missing := 0, 0, 0
			for m := range s.members {
				has := 0
				for _, at := range s.members[m].target {
					place, _ := s.place(at.Topic)
					for _, p := range at.Partitions {
						if p < s.topics[place].partitions {
							has++
						}
					}
				}
				kept += has
				excess += max(0, has-most)
				missing += max(0, least-has)
			}
			needed := max(excess, missing-(int(total)-kept))
			if got := moves(s, results); got != needed {
				t.Fatalf("seed %d: %d partitions moved, %d had to", seed, got, needed)
			}
		}
	}
}

func TestUniformChangesNothingWhereNothingChanged(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		s := randomHeterogeneous(r)
		results := assignUniform(s)
		for m := range s.members {
			s.members[m].target = results[m]
		}
		for m, a := range assignUniform(s) {
			if !a.equal(results[m]) {
				t.Fatalf("seed %d: member %d: %v, then %v", seed, m, results[m], a)
			}
		}
	}
}

func randomHeterogeneous(r *rand.Rand) *sharing {
	partitions := make([]int, 1+r.IntN(4))
	for t := range partitions {
		partitions[t] = r.IntN(6)
	}
	members := make([][]int, 1+r.IntN(5))
	for m := range members {
		for t := range partitions {
			if r.IntN(2) == 0 {
				members[m] = append(members[m], t)
			}
		}
	}
	return sharingOf(partitions, members...)
}

// An assignment is as even as can be when no chain of hand-overs leads from a member to one that has two less: then the sum of the
// squares of the loads is the smallest there is. The slow way looks for that among all.
func TestUniformIsAsEvenAsTheSubscriptionsAllow(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 4))
		s := randomHeterogeneous(r)
		for range 3 {
			results := assignUniform(s)
			checkShared(t, s, results)
			got := 0
			for _, l := range loads(results) {
				got += l * l
			}
			if want := smallestSquares(s); got != want {
				t.Fatalf("seed %d: loads %v have squares %d, and could have %d", seed, loads(results), got, want)
			}
			for m := range s.members { // what a member had may lie anywhere
				s.members[m].target = results[m]
				if r.IntN(2) == 0 {
					s.members[m].target = nil
				}
			}
		}
	}
}

// smallestSquares tries how many of each topic's partitions each member may have.
func smallestSquares(s *sharing) int {
	type state struct {
		topic int
		loads string
	}
	known := map[state]int{}
	var try func(topic int, loads []byte) int
	try = func(topic int, loads []byte) int {
		if topic == len(s.topics) {
			sum := 0
			for _, l := range loads {
				sum += int(l) * int(l)
			}
			return sum
		}
		key := state{topic, string(loads)}
		if best, ok := known[key]; ok {
			return best
		}
		best := -1
		var spread func(m, left int)
		spread = func(m, left int) {
			if left == 0 {
				if sum := try(topic+1, loads); best < 0 || sum < best {
					best = sum
				}
				return
			}
			if m == len(s.members) {
				return
			}
			if !s.subscribed(m, int32(topic)) {
				spread(m+1, left)
				return
			}
			for n := 0; n <= left; n++ {
				loads[m] += byte(n)
				spread(m+1, left-n)
				loads[m] -= byte(n)
			}
		}
		anybody := slices.ContainsFunc(s.members, func(sh sharer) bool {
			return slices.Contains(s.subscriptions[sh.subscription], int32(topic))
		})
		if anybody {
			spread(0, int(s.topics[topic].partitions))
		} else {
			best = try(topic+1, loads)
		}
		known[key] = best
		return best
	}
	return try(0, make([]byte, len(s.members)))
}

func TestUniformTakesWhatIsNotSubscribedToAway(t *testing.T) {
	s := sharingOf([]int{2, 2}, []int{0}, []int{0, 1})
	s.members[0].target = assignment{{Topic: topicNumber(0), Partitions: []int32{0}}, {Topic: topicNumber(1), Partitions: []int32{0, 1}}}
	results := assignUniform(s)
	checkShared(t, s, results)
	if results[0].partitionsOf(topicNumber(1)) != nil {
		t.Fatalf("member 0 still has topic 1: %v", results[0])
	}
}

func TestAMemberThatKeepsAllIsNotGivenACopy(t *testing.T) {
	s := sharingOf([]int{4}, []int{0}, []int{0})
	results := assignUniform(s)
	for m := range s.members {
		s.members[m].target = results[m]
	}
	if n := testing.AllocsPerRun(10, func() { assignUniform(s) }); n > 25 {
		t.Errorf("%v allocations", n)
	}
	for m, a := range assignUniform(s) {
		if &a[0] != &results[m][0] {
			t.Errorf("member %d has a copy", m)
		}
	}
}

func TestRangeGivesOneRangeOfEachTopic(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 5))
		s := randomHeterogeneous(r)
		results := assignRange(s)
		checkShared(t, s, results)
		for m, a := range results {
			for _, at := range a {
				if n := len(at.Partitions); at.Partitions[n-1]-at.Partitions[0] != int32(n-1) {
					t.Fatalf("seed %d: member %d has holes in %v", seed, m, at.Partitions)
				}
			}
		}
		for place, topic := range s.topics {
			var sizes []int
			for m := range s.members {
				if s.subscribed(m, int32(place)) {
					sizes = append(sizes, len(results[m].partitionsOf(topic.id)))
				}
			}
			if len(sizes) > 0 && slices.Max(sizes)-slices.Min(sizes) > 1 {
				t.Fatalf("seed %d: topic %d is shared out as %v", seed, place, sizes)
			}
		}
	}
}

// A member that reads two topics with as many partitions gets the same ones of both, so that it can join them.
func TestRangeSharesTopicsOfOneSizeAlike(t *testing.T) {
	s := sharingOf([]int{7, 7}, []int{0, 1}, []int{0, 1}, []int{0, 1})
	for m, a := range assignRange(s) {
		if !slices.Equal(a.partitionsOf(topicNumber(0)), a.partitionsOf(topicNumber(1))) {
			t.Errorf("member %d: %v", m, a)
		}
	}
}

func TestRangeKeepsTheOrderOfInstancesOverNewMemberIDs(t *testing.T) {
	s := sharingOf([]int{3}, []int{0}, []int{0}, []int{0})
	s.members[0].instance, s.members[2].instance = "b", "a"
	results := assignRange(s)
	for m, want := range map[int]int32{2: 0, 0: 1, 1: 2} { // static ones by instance, then the others
		if !slices.Equal(results[m].partitionsOf(topicNumber(0)), []int32{want}) {
			t.Errorf("member %d has %v, want %d", m, results[m], want)
		}
	}
}

func TestNobodyIsGivenAnythingWhereThereIsNothing(t *testing.T) {
	for name, assign := range assignors {
		for _, s := range []*sharing{sharingOf(nil), sharingOf(nil, []int{}), sharingOf([]int{3}), sharingOf([]int{0}, []int{0})} {
			for _, a := range assign(s) {
				if len(a) > 0 {
					t.Errorf("%s: %v", name, a)
				}
			}
		}
	}
}
