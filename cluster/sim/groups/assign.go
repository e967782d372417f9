package groups

import (
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// assign is what the leader of a classic generation does: every partition goes to one of those who want it, and members
// have about the same number. In a cooperative group a partition that somebody has stays there or, for one generation,
// goes to nobody.
func (m *classicMember) assign(joined *wire.JoinedGroup) []wire.MemberAssignment {
	w := m.w
	m.watched = make(map[string]bool)
	members := make([]assignee, len(joined.Members))
	for i, j := range joined.Members {
		s, err := decodeSubscription(j.Metadata)
		if err != nil {
			w.Violate("%s: the leader is told of %s with metadata %x", m.group, j.Member, j.Metadata)
			return nil
		}
		members[i] = assignee{member: j.Member, subscription: s}
		for _, topic := range s.topics {
			m.watched[topic] = true
		}
	}
	slices.SortFunc(members, func(a, b assignee) int {
		if a.member < b.member {
			return -1
		}
		return 1
	})
	owner := make(map[place]int)
	if joined.Protocol == cooperative {
		for i := range members {
			members[i].claim(owner, members, i)
		}
	}
	for _, p := range w.image.places(func(string) bool { return true }) {
		to, owned := owner[p]
		if !owned || !members[to].wants(p.topic) { // it is consumed no more
			to = least(members, p)
		}
		if to >= 0 {
			members[to].has = append(members[to].has, p)
		}
	}
	for balance(members) {
	}
	for i := range members {
		members[i].has = slices.DeleteFunc(members[i].has, func(p place) bool {
			other, owned := owner[p]
			return owned && other != i
		})
		slices.SortFunc(members[i].has, place.compare)
	}
	assignments := make([]wire.MemberAssignment, len(members))
	for i := range members {
		assignments[i] = wire.MemberAssignment{Member: members[i].member, Assignment: encodeAssignment(members[i].has)}
	}
	return assignments
}

// assignee is a member that an assignment is made for.
type assignee struct {
	member wire.MemberID
	subscription
	has []place
}

func (a *assignee) wants(topic string) bool { return slices.Contains(a.topics, topic) }

// least is the member with the fewest partitions of those that want one; -1: nobody does. Whoever has a partition wants it.
func least(members []assignee, p place) int {
	found := -1
	for i := range members {
		if members[i].wants(p.topic) && (found < 0 || len(members[i].has) < len(members[found].has)) {
			found = i
		}
	}
	return found
}

// balance moves one partition from who has the most to a member that has at least two fewer. It says whether there was one.
func balance(members []assignee) bool {
	from, to, at, widest := 0, 0, 0, 1
	for i := range members {
		for n := len(members[i].has) - 1; n >= 0; n-- {
			other := least(members, members[i].has[n])
			if wide := len(members[i].has) - len(members[other].has); wide > widest {
				from, to, at, widest = i, other, n, wide
			}
		}
	}
	if widest == 1 {
		return false
	}
	members[to].has = append(members[to].has, members[from].has[at])
	members[from].has = slices.Delete(members[from].has, at, at+1)
	return true
}

// claim takes what a member says that it owns, unless one of a later generation says so, too.
func (a *assignee) claim(owner map[place]int, members []assignee, i int) {
	for _, p := range a.owned {
		if other, taken := owner[p]; !taken || members[other].generation < a.generation {
			owner[p] = i
		}
	}
}
