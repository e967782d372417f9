package group

import (
	"slices"
	"strings"

	"github.com/troupe-mq/troupe/wire"
)

// What consumers tell each other through a classic group, in their own words (the "consumer" protocol type). A coordinator
// need not understand them; it reads them to tell an operator who has what, and where a group moves to KIP-848.

// consumerProtocolType is the protocol type of groups of consumers.
const consumerProtocolType = "consumer"

// embeddedSubscription is the metadata that a consumer joins with.
type embeddedSubscription struct {
	version    int16
	topics     []string
	userData   []byte
	owned      []topicPartitions // from version 1 on: what it keeps while it joins
	generation int32             // from version 2 on: of owned; -1
	rack       string            // from version 3 on
}

// embeddedAssignment is what a consumer is assigned.
type embeddedAssignment struct {
	version    int16
	partitions []topicPartitions
	userData   []byte
}

// topicPartitions is partitions of a topic by its name.
type topicPartitions struct {
	topic      string
	partitions []int32
}

func (s *embeddedSubscription) has(topic string) bool { return slices.Contains(s.topics, topic) }

// readSubscription reads the metadata of a consumer. Newer versions begin as the newest that is known; clients exist that
// call a shorter one version 1, so that what is missing after the topics is not missed.
func readSubscription(b []byte) (*embeddedSubscription, error) {
	r := reader{b: b}
	s := &embeddedSubscription{generation: -1, version: r.int16()}
	if r.err == nil && s.version < 0 {
		r.fail("version %d", s.version)
	}
	s.topics = r.strings()
	s.userData = slices.Clone(r.bytes())
	if r.err != nil {
		return nil, r.err
	}
	if s.version >= 1 && len(r.b) > 0 {
		s.owned = r.topicPartitions()
	}
	if s.version >= 2 && len(r.b) > 0 {
		s.generation = r.int32()
	}
	if s.version >= 3 && len(r.b) > 0 {
		s.rack = string(r.string())
	}
	return s, r.err
}

func newSubscription(s *embeddedSubscription) []byte {
	w := writer{}
	w.int16(s.version)
	w.array(len(s.topics))
	for _, topic := range s.topics {
		w.string(topic)
	}
	w.bytes(s.userData)
	if s.version >= 1 {
		w.topicPartitions(s.owned)
	}
	if s.version >= 2 {
		w.int32(s.generation)
	}
	if s.version >= 3 {
		w.nullable(s.rack)
	}
	return w.b
}

// readAssignment reads what a consumer was assigned; no bytes are no partitions.
func readAssignment(b []byte) (*embeddedAssignment, error) {
	a := &embeddedAssignment{}
	if len(b) == 0 {
		return a, nil
	}
	r := reader{b: b}
	a.version = r.int16()
	if r.err == nil && a.version < 0 {
		r.fail("version %d", a.version)
	}
	a.partitions = r.topicPartitions()
	if len(r.b) > 0 {
		a.userData = slices.Clone(r.bytes())
	}
	return a, r.err
}

func newAssignment(a *embeddedAssignment) []byte {
	w := writer{}
	w.int16(a.version)
	w.topicPartitions(a.partitions)
	w.bytes(a.userData)
	return w.b
}

func (r *reader) topicPartitions() []topicPartitions {
	var all []topicPartitions
	for range r.array(2 + 4) {
		tp := topicPartitions{topic: string(r.string())}
		if n := r.array(4); n > 0 {
			tp.partitions = make([]int32, 0, n)
			for range n {
				tp.partitions = append(tp.partitions, r.int32())
			}
		}
		if r.err != nil {
			return nil
		}
		all = append(all, tp)
	}
	return all
}

func (w *writer) topicPartitions(all []topicPartitions) {
	w.array(len(all))
	for _, tp := range all {
		w.string(tp.topic)
		w.array(len(tp.partitions))
		for _, p := range tp.partitions {
			w.int32(p)
		}
	}
}

// namedInOrder gives the partitions with both names of their topics, as tools want them, sorted by topic.
func namedInOrder(view wire.View, all []topicPartitions) []wire.NamedPartitions {
	names := make([]wire.NamedPartitions, 0, len(all))
	for _, tp := range all {
		n := wire.NamedPartitions{Topic: tp.topic, Partitions: slices.Sorted(slices.Values(tp.partitions))}
		if topic, there := view.Topic(tp.topic); there {
			n.TopicID = topic.ID
		}
		names = append(names, n)
	}
	slices.SortFunc(names, func(a, b wire.NamedPartitions) int { return strings.Compare(a.Topic, b.Topic) })
	return names
}
