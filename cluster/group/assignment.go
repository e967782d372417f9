package group

import (
	"bytes"
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// assignment is a set of partitions: its topics sorted by id, their partitions sorted, none empty. It is never
// changed once it is made, so that members, replies and records may share it.
type assignment []wire.AssignedTopic

func compareTopicIDs(a, b wire.TopicID) int { return bytes.Compare(a[:], b[:]) }

// partitionsOf returns the partitions of one topic.
func (a assignment) partitionsOf(id wire.TopicID) []int32 {
	i, found := slices.BinarySearchFunc(a, id, func(t wire.AssignedTopic, id wire.TopicID) int {
		return compareTopicIDs(t.Topic, id)
	})
	if !found {
		return nil
	}
	return a[i].Partitions
}

func (a assignment) has(id wire.TopicID, partition int32) bool {
	_, found := slices.BinarySearch(a.partitionsOf(id), partition)
	return found
}

// holdsAll says that every partition of b is in a.
func (a assignment) holdsAll(b assignment) bool {
	for _, t := range b {
		for _, p := range t.Partitions {
			if !a.has(t.Topic, p) {
				return false
			}
		}
	}
	return true
}

// meets says that some partition is in both.
func (a assignment) meets(b assignment) bool {
	for _, t := range b {
		for _, p := range t.Partitions {
			if a.has(t.Topic, p) {
				return true
			}
		}
	}
	return false
}

func (a assignment) equal(b assignment) bool {
	if len(a) != len(b) {
		return false
	}
	if len(a) == 0 || &a[0] == &b[0] {
		return true
	}
	return slices.EqualFunc(a, b, func(s, t wire.AssignedTopic) bool {
		return s.Topic == t.Topic && slices.Equal(s.Partitions, t.Partitions)
	})
}

func (a assignment) count() (n int) {
	for _, t := range a {
		n += len(t.Partitions)
	}
	return n
}

// clipped returns as much of a as a record has so many bytes for.
func (a assignment) clipped(limit int) assignment {
	const topicBytes, partitionBytes = 16 + 5 + 1, 4
	for i, t := range a {
		room := (limit - topicBytes) / partitionBytes
		if room >= len(t.Partitions) {
			limit -= topicBytes + partitionBytes*len(t.Partitions)
			continue
		}
		if room <= 0 {
			return a[:i:i]
		}
		return append(a[:i:i], wire.AssignedTopic{Topic: t.Topic, Partitions: t.Partitions[:room:room]})
	}
	return a
}

// filter returns the partitions for which keep says so, and a itself where that is all of them.
func (a assignment) filter(keep func(wire.TopicPartition) bool) assignment {
	var kept assignment
	for i, t := range a {
		left := t.Partitions
		for j, p := range t.Partitions {
			if keep(wire.TopicPartition{Topic: t.Topic, Partition: p}) {
				continue
			}
			left = slices.Clone(t.Partitions[:j])
			for _, p := range t.Partitions[j+1:] {
				if keep(wire.TopicPartition{Topic: t.Topic, Partition: p}) {
					left = append(left, p)
				}
			}
			break
		}
		if kept == nil && len(left) == len(t.Partitions) {
			continue
		}
		if kept == nil {
			kept = append(make(assignment, 0, len(a)), a[:i]...)
		}
		if len(left) > 0 {
			kept = append(kept, wire.AssignedTopic{Topic: t.Topic, Partitions: left})
		}
	}
	if kept == nil {
		return a
	}
	return kept
}

// minus returns what is in a and not in b.
func (a assignment) minus(b assignment) assignment {
	if len(b) == 0 {
		return a
	}
	return a.filter(func(tp wire.TopicPartition) bool { return !b.has(tp.Topic, tp.Partition) })
}

// plus returns what is in a or in b.
func (a assignment) plus(b assignment) assignment {
	switch {
	case len(a) == 0:
		return b
	case len(b) == 0:
		return a
	}
	return normalized(slices.Concat(a, b))
}

// normalized makes an assignment of what somebody else wrote: topics and partitions in any order, told once or
// several times. It makes a new one only where it must.
func normalized(told []wire.AssignedTopic) assignment {
	if isAssignment(told) {
		return told
	}
	sorted := slices.Clone(told)
	slices.SortStableFunc(sorted, func(s, t wire.AssignedTopic) int { return compareTopicIDs(s.Topic, t.Topic) })
	a := make(assignment, 0, len(sorted))
	for _, t := range sorted {
		if n := len(a); n > 0 && a[n-1].Topic == t.Topic {
			a[n-1].Partitions = slices.Concat(a[n-1].Partitions, t.Partitions)
		} else if len(t.Partitions) > 0 {
			a = append(a, wire.AssignedTopic{Topic: t.Topic, Partitions: slices.Clone(t.Partitions)})
		}
	}
	for i := range a {
		slices.Sort(a[i].Partitions)
		a[i].Partitions = slices.Compact(a[i].Partitions)
	}
	return a
}

// isAssignment says that topics and partitions are sorted and told once.
func isAssignment(told []wire.AssignedTopic) bool {
	for i, t := range told {
		if len(t.Partitions) == 0 || i > 0 && compareTopicIDs(told[i-1].Topic, t.Topic) >= 0 {
			return false
		}
		for j, p := range t.Partitions {
			if j > 0 && t.Partitions[j-1] >= p {
				return false
			}
		}
	}
	return true
}
