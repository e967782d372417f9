package group

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

// cluster is a state of the metadata as tests make it up: a topic is its name and its number of partitions. Names that begin with
// "__" are of internal topics.
type cluster struct {
	names  []string
	topics map[string]wire.Topic
}

// topicID derives ids from names.
func topicID(name string) wire.TopicID {
	id := wire.TopicID{15: 1}
	copy(id[:15], name)
	return id
}

func clusterOf(partitions map[string]int) *cluster {
	c := &cluster{topics: map[string]wire.Topic{}}
	for name, n := range partitions {
		c.names = append(c.names, name)
		c.topics[name] = wire.Topic{
			Name: name, ID: topicID(name), Partitions: int32(n), Internal: strings.HasPrefix(name, "__"),
		}
	}
	slices.Sort(c.names)
	return c
}

func (c *cluster) ClusterID() string         { return "cluster" }
func (c *cluster) Controller() wire.BrokerID { return 1 }
func (c *cluster) Brokers() []wire.Broker    { return nil }
func (c *cluster) TopicNames() []string      { return c.names }
func (c *cluster) Topic(name string) (wire.Topic, bool) {
	t, ok := c.topics[name]
	return t, ok
}

func (c *cluster) TopicByID(id wire.TopicID) (wire.Topic, bool) {
	for _, t := range c.topics {
		if t.ID == id {
			return t, true
		}
	}
	return wire.Topic{}, false
}

func (c *cluster) Partition(id wire.TopicID, partition int32) (wire.Partition, bool) {
	t, ok := c.TopicByID(id)
	return wire.Partition{}, ok && partition >= 0 && partition < t.Partitions
}

func resolvedNames(c *cluster, ids []wire.TopicID) []string {
	names := []string{}
	for _, id := range ids {
		t, _ := c.TopicByID(id)
		names = append(names, t.Name)
	}
	slices.Sort(names)
	return names
}

func TestASubscriptionIsItsNamesAndWhatItsPatternMatches(t *testing.T) {
	c := clusterOf(map[string]int{"orders": 3, "orders-eu": 1, "invoices": 2, "__consumer_offsets": 50, "x": 1})
	for _, test := range []struct {
		names   []string
		pattern string
		want    []string
	}{
		{[]string{"orders"}, "", []string{"orders"}},
		{[]string{"absent", "x"}, "", []string{"x"}},
		{nil, "orders.*", []string{"orders", "orders-eu"}},
		{nil, "rders", nil}, // the whole name has to match
		{nil, "order|x", []string{"x"}},
		{[]string{"x", "orders"}, "orders-.*", []string{"orders", "orders-eu", "x"}},
		{nil, ".*", []string{"invoices", "orders", "orders-eu", "x"}}, // and nothing internal
		{[]string{"__consumer_offsets"}, "", []string{"__consumer_offsets"}},
		{nil, "(?i)ORDERS", []string{"orders"}},
	} {
		s := newSubscriptions()
		s.look(c)
		sub := s.add(sortedNames(test.names), test.pattern)
		if got := resolvedNames(c, sub.topics); !slices.Equal(got, test.want) {
			t.Errorf("%v and %q: %v, want %v", test.names, test.pattern, got, test.want)
		}
	}
}

func TestPatternsThatAreNoneAreRefused(t *testing.T) {
	for _, text := range []string{
		"(", "a)(b", "[", "*", "a{2000}", `\1`, "(?=a)", strings.Repeat("a", maxPatternBytes+1),
		"((a{100}){100}){100}", strings.Repeat("(a{0,900})", 20), "\xff",
	} {
		if _, err := compilePattern(text); !errors.Is(err, wire.InvalidRegularExpression) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

func TestAPatternOfTheLogThatDoesNotCompileMatchesNothing(t *testing.T) {
	s := newSubscriptions()
	s.look(clusterOf(map[string]int{"a": 1}))
	if sub := s.add(nil, "("); len(sub.topics) > 0 || sub.text() != "(" {
		t.Errorf("%q comes to %v", sub.text(), sub.topics)
	}
}

func TestAChangeOfWhatIsSubscribedToChangesTheHash(t *testing.T) {
	s := newSubscriptions()
	s.add([]string{"a"}, "b.*")
	topics := map[string]int{"a": 1}
	look := func() bool {
		s.look(clusterOf(topics))
		return s.refresh()
	}
	if !look() {
		t.Error("a topic came, and the hash is the same")
	}
	if look() {
		t.Error("nothing happened, and the hash is another")
	}
	topics["c"] = 4
	if look() {
		t.Error("a topic came that nobody is subscribed to, and the hash is another")
	}
	for step, change := range []func(){
		func() { topics["b1"] = 1 },
		func() { topics["b2"] = 1 },
		func() { topics["b2"] = 2 },
		func() { delete(topics, "b1") },
		func() { topics["a"] = 9 },
		func() { clear(topics) },
	} {
		change()
		if !look() {
			t.Errorf("change %d: the hash is the same", step)
		}
	}
	if s.hash != 0 {
		t.Errorf("nothing is subscribed to, and the hash is %x", s.hash)
	}
}

func TestPatternsAreMatchedAgainstNewNamesOnly(t *testing.T) {
	p, err := compilePattern("t[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	topics := map[string]int{}
	for i := range 60 {
		topics[fmt.Sprintf("t%d", i)] = 1
		topics[fmt.Sprintf("u%d", i)] = 1
		if i%3 == 0 {
			delete(topics, fmt.Sprintf("t%d", i/2))
		}
		c := clusterOf(topics)
		p.resolve(c)
		want := []string{}
		for _, name := range c.names {
			if strings.HasPrefix(name, "t") {
				want = append(want, name)
			}
		}
		if !slices.Equal(p.matched, want) {
			t.Fatalf("after %d changes: %v, want %v", i, p.matched, want)
		}
	}
}

func TestMembersWithOneSubscriptionShareIt(t *testing.T) {
	s := newSubscriptions()
	s.look(clusterOf(map[string]int{"a": 1}))
	first := s.add([]string{"a"}, "b.*")
	second := s.add([]string{"a"}, "b.*")
	other := s.add([]string{"a", "b.*"}, "")
	if first != second || first == other {
		t.Error("the same subscription is not the same, or another one is")
	}
	s.drop(first)
	if len(s.byKey) != 2 || len(s.patterns) != 1 {
		t.Error("a subscription went with one of its two members")
	}
	s.drop(second)
	s.drop(other)
	if len(s.byKey) != 0 || len(s.patterns) != 0 {
		t.Error("a subscription stayed that nobody has")
	}
}

// FuzzCompilePattern: whatever a client sends is compiled within limits, or refused.
func FuzzCompilePattern(f *testing.F) {
	for _, text := range []string{"", ".*", "a)(b", "(?i)x{3,9}", "[[:alpha:]]+", `\Qa.b\E`, "(a*)*", "\x00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := compilePattern(text)
		if err != nil {
			if !errors.Is(err, wire.InvalidRegularExpression) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		p.resolve(clusterOf(map[string]int{"a": 1, "b.c": 2, "__x": 1}))
	})
}
