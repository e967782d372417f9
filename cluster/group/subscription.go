package group

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/troupe-mq/troupe/wire"
)

// subscription is what one or more members of a group are subscribed to: topics by name, those whose names a pattern
// matches, or both. Members with the same one share it.
type subscription struct {
	key     string
	names   []string // sorted, each once
	pattern *pattern // nil: none
	members int      // that have it
	topics  []wire.TopicID
}

// subscriptions are those of a group, and what they come to in the cluster as it is.
type subscriptions struct {
	byKey    map[string]*subscription
	patterns map[string]*pattern
	view     wire.View // that everything was resolved in; nil: nothing was
	// stale says that a subscription has come or gone since topics was made.
	stale bool
	// unfinished says that names are left to be matched: look goes on with them.
	unfinished bool
	// patternsChanged says that patterns came or went or match other topics, since it was set to false.
	patternsChanged bool

	topics []sharedTopic // of all subscriptions, sorted by id
	// hash changes when a topic comes to what is subscribed, goes from it, or gets partitions. 0: there is none.
	//
	// Kafka: also racks of the replicas are in it, since its assignors once looked at racks. The value differs from Kafka's;
	// it is compared with no other but our own.
	hash uint64
	news string // how topics differ from what they were before, for a person; "": they do not
}

func newSubscriptions() subscriptions {
	return subscriptions{byKey: map[string]*subscription{}, patterns: map[string]*pattern{}}
}

// subscriptionKey tells subscriptions apart.
func subscriptionKey(names []string, pattern string) string {
	var b strings.Builder
	var length [binary.MaxVarintLen64]byte
	for _, name := range names {
		b.Write(length[:binary.PutUvarint(length[:], uint64(len(name)))])
		b.WriteString(name)
	}
	b.WriteByte(0) // no name has no length
	b.WriteString(pattern)
	return b.String()
}

// sortedNames returns names as subscriptions keep them.
func sortedNames(names []string) []string {
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}

// add returns the subscription to names, sorted, and a pattern, and counts one member more that has it. The pattern was looked at
// before; one from the log that does not compile, since the limits are others now, matches nothing.
func (s *subscriptions) add(names []string, text string) *subscription {
	key := subscriptionKey(names, text)
	if sub := s.byKey[key]; sub != nil {
		sub.members++
		return sub
	}
	sub := &subscription{key: key, names: names, members: 1}
	if text != "" {
		p := s.patterns[text]
		if p == nil {
			var err error
			if p, err = compilePattern(text); err != nil {
				p = &pattern{text: text}
			}
			s.patterns[text] = p
			s.patternsChanged = true
			if s.view != nil {
				p.resolve(s.view)
				s.unfinished = s.unfinished || p.round != nil
			}
		}
		p.users++
		sub.pattern = p
	}
	s.byKey[key] = sub
	s.stale = true
	if s.view != nil {
		sub.resolve(s.view)
	}
	return sub
}

// drop counts one member less.
func (s *subscriptions) drop(sub *subscription) {
	if sub.members--; sub.members > 0 {
		return
	}
	delete(s.byKey, sub.key)
	s.stale = true
	if p := sub.pattern; p != nil {
		if p.users--; p.users == 0 {
			delete(s.patterns, p.text)
			s.patternsChanged = true
		}
	}
}

// text returns the pattern, "" for none.
func (sub *subscription) text() string {
	if sub.pattern == nil {
		return ""
	}
	return sub.pattern.text
}

// resolve looks up the topics that exist.
func (sub *subscription) resolve(view wire.View) {
	names := sub.names
	if sub.pattern != nil && len(sub.pattern.matched) > 0 {
		names = sortedNames(slices.Concat(names, sub.pattern.matched))
	}
	topics := make([]wire.TopicID, 0, len(names))
	for _, name := range names {
		if t, ok := view.Topic(name); ok {
			topics = append(topics, t.ID)
		}
	}
	slices.SortFunc(topics, compareTopicIDs)
	sub.topics = topics
}

// look resolves all in another state of the cluster's metadata, or goes on with that, as far as one turn may go.
func (s *subscriptions) look(view wire.View) {
	s.view, s.stale, s.unfinished = view, true, false
	var names []string
	if len(s.patterns) > 0 {
		names = view.TopicNames()
	}
	steps := stepsPerTurn
	for _, text := range slices.Sorted(maps.Keys(s.patterns)) {
		p := s.patterns[text]
		if p.match(view, names, &steps) {
			s.patternsChanged = true
		}
		s.unfinished = s.unfinished || p.round != nil
	}
	for _, sub := range s.byKey {
		sub.resolve(view)
	}
}

// refresh brings topics and hash up to date and says whether hash changed. It does nothing when neither the metadata nor
// a subscription did.
func (s *subscriptions) refresh() bool {
	if !s.stale || s.view == nil {
		return false
	}
	s.stale = false
	before := s.topics
	s.collect()
	s.news = difference(before, s.topics)
	hash := s.sum()
	changed := hash != s.hash
	s.hash = hash
	return changed
}

// collect makes topics of the subscriptions.
func (s *subscriptions) collect() {
	s.topics = nil
	seen := map[wire.TopicID]bool{}
	for _, sub := range s.byKey {
		for _, id := range sub.topics {
			if seen[id] {
				continue
			}
			seen[id] = true
			if t, ok := s.view.TopicByID(id); ok {
				s.topics = append(s.topics, sharedTopic{id: id, name: t.Name, partitions: t.Partitions})
			}
		}
	}
	slices.SortFunc(s.topics, func(a, b sharedTopic) int { return compareTopicIDs(a.id, b.id) })
}

// difference tells the first topic that is in one and not in the other, or has more partitions there.
func difference(before, after []sharedTopic) string {
	for len(before) > 0 || len(after) > 0 {
		switch {
		case len(before) == 0 || len(after) > 0 && compareTopicIDs(after[0].id, before[0].id) < 0:
			return "topic " + after[0].name + " is there"
		case len(after) == 0 || compareTopicIDs(before[0].id, after[0].id) < 0:
			return "topic " + before[0].name + " is gone"
		case before[0].partitions != after[0].partitions:
			return fmt.Sprintf("topic %s: partitions %d", after[0].name, after[0].partitions)
		}
		before, after = before[1:], after[1:]
	}
	return ""
}

// sum is FNV-1a of the ids and their numbers of partitions.
func (s *subscriptions) sum() uint64 {
	if len(s.topics) == 0 {
		return 0
	}
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	mix := func(b byte) { h = (h ^ uint64(b)) * prime }
	for _, t := range s.topics {
		for _, b := range t.id {
			mix(b)
		}
		for shift := 0; shift < 32; shift += 8 {
			mix(byte(t.partitions >> shift))
		}
	}
	return h
}

// inOrder returns the subscriptions sorted, for what must not depend on the order of a map.
func (s *subscriptions) inOrder() []*subscription {
	subs := make([]*subscription, 0, len(s.byKey))
	for _, sub := range s.byKey {
		subs = append(subs, sub)
	}
	slices.SortFunc(subs, func(a, b *subscription) int { return cmp.Compare(a.key, b.key) })
	return subs
}
