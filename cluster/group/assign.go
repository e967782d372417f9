package group

import (
	"cmp"
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// An assignor shares out the partitions of topics among the members that are subscribed to them: each partition goes to
// exactly one, unless nobody is subscribed. It is a function of the problem alone.
//
// The result has a place for each member. Where a member keeps exactly what it was to have, it is that very value.
type assignor func(*sharing) []assignment

// Names of assignors, as members ask for them.
const (
	uniformAssignor = "uniform"
	rangeAssignor   = "range"
)

// assignors are those that this broker has.
var assignors = map[string]assignor{
	uniformAssignor: assignUniform,
	rangeAssignor:   assignRange,
}

// sharing is the problem: who shares which topics.
type sharing struct {
	topics        []sharedTopic // sorted by id
	subscriptions [][]int32     // the different ones; each the sorted places of its topics
	members       []sharer      // sorted by id
}

type sharedTopic struct {
	id         wire.TopicID
	name       string
	partitions int32
}

type sharer struct {
	id           wire.MemberID
	instance     string
	subscription int        // its place in subscriptions
	target       assignment // what it was to have until now
}

// bases numbers all partitions: those of topic t begin at bases[t].
func (s *sharing) bases() (bases []int32, total int32) {
	bases = make([]int32, len(s.topics))
	for t := range s.topics {
		bases[t] = total
		total += s.topics[t].partitions
	}
	return bases, total
}

// assignment turns numbers of partitions, sorted, into an assignment.
func (s *sharing) assignment(bases []int32, numbers []int32) assignment {
	if len(numbers) == 0 {
		return nil
	}
	partitions := make([]int32, len(numbers)) // of all its topics
	var a assignment
	begun := 0
	for i, t := 0, 0; i < len(numbers); t++ {
		end := bases[t] + s.topics[t].partitions
		for ; i < len(numbers) && numbers[i] < end; i++ {
			partitions[i] = numbers[i] - bases[t]
		}
		if i > begun {
			a = append(a, wire.AssignedTopic{Topic: s.topics[t].id, Partitions: partitions[begun:i:i]})
			begun = i
		}
	}
	return a
}

// place returns where a topic is in topics, or false.
func (s *sharing) place(id wire.TopicID) (int32, bool) {
	t, found := slices.BinarySearchFunc(s.topics, id, func(t sharedTopic, id wire.TopicID) int {
		return compareTopicIDs(t.id, id)
	})
	return int32(t), found
}

// assignRange gives each subscriber of a topic one range of its partitions, as even as can be, the longer ones first. Topics
// with as many partitions and the same subscribers are shared out alike, so that the members can join their records by
// partition. Static members come first, by their instance, which outlives the id.
func assignRange(s *sharing) []assignment {
	order := make([]int32, len(s.members)) // members in the order of their ranges
	for m := range order {
		order[m] = int32(m)
	}
	slices.SortStableFunc(order, func(a, b int32) int {
		x, y := &s.members[a], &s.members[b]
		if (x.instance == "") != (y.instance == "") {
			return cmp.Compare(y.instance, x.instance)
		}
		return cmp.Or(cmp.Compare(x.instance, y.instance), cmp.Compare(x.id, y.id))
	})

	inOrder := make([][]int32, len(s.subscriptions)) // who has this subscription
	for _, m := range order {
		inOrder[s.members[m].subscription] = append(inOrder[s.members[m].subscription], m)
	}
	rank := make([]int32, len(s.members))
	for r, m := range order {
		rank[m] = int32(r)
	}

	results := make([]assignment, len(s.members))
	for t, subscribed := range s.subscribers() {
		var members []int32
		for _, sub := range subscribed {
			members = append(members, inOrder[sub]...)
		}
		if len(members) == 0 {
			continue
		}
		if len(subscribed) > 1 {
			slices.SortFunc(members, func(a, b int32) int { return cmp.Compare(rank[a], rank[b]) })
		}
		all := make([]int32, s.topics[t].partitions)
		for p := range all {
			all[p] = int32(p)
		}
		each, longer := len(all)/len(members), len(all)%len(members)
		for i, m := range members {
			n := each
			if i < longer {
				n++
			}
			if n == 0 {
				break
			}
			results[m] = append(results[m], wire.AssignedTopic{Topic: s.topics[t].id, Partitions: all[:n:n]})
			all = all[n:]
		}
	}
	for m := range results {
		if results[m].equal(s.members[m].target) {
			results[m] = s.members[m].target
		}
	}
	return results
}

// subscribers returns, for each topic, the subscriptions that have it, in order.
func (s *sharing) subscribers() [][]int32 {
	subscribers := make([][]int32, len(s.topics))
	for i, topics := range s.subscriptions {
		for _, t := range topics {
			subscribers[t] = append(subscribers[t], int32(i))
		}
	}
	return subscribers
}
