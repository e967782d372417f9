package group

import (
	"fmt"
	"strings"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

// maxEffects is what the log takes as one batch, half of the segments that offsets have by default.
const maxEffects = 50 << 20

func recordsSize(records []Record) (size int) {
	for _, r := range records {
		size += len(r.Key) + len(r.Value)
	}
	return size
}

// fill has members join until the group refuses one, and tells how many are in.
func (b *consumerBench) fill(name string) int {
	b.t.Helper()
	for n := range 1500 {
		if m := b.client(fmt.Sprint(name, n), "t").join(); m.err != nil {
			m.wants(wire.GroupMaxSizeReached)
			return n
		}
	}
	return 1500
}

func TestMembersWithLongNamesAreAsManyAsOneBatchTakes(t *testing.T) {
	for name, c := range map[string]struct {
		group wire.GroupID
		id    string
	}{
		"of members":   {"g", strings.Repeat("m", 32_000)},
		"of the group": {wire.GroupID(strings.Repeat("g", 32_000)), "m"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newConsumerBench(t, map[string]int{"t": 4})
			b.folds = false
			b.g = New(c.group, b.config(nil))
			if n := b.fill(c.id); n < 100 {
				t.Errorf("it is full with %d members", n)
			}
			b.now = b.last.Deadline // that of all of them
			b.took(b.g.Tick(b.view, b.now))
			if !b.g.empty() {
				t.Error("some are left")
			}
			if size := recordsSize(b.last.Records); size > maxEffects {
				t.Errorf("one turn emits %d bytes", size)
			}
			if m := b.client("another", "t").join(); m.err != nil {
				t.Errorf("there is room again, and %v", m.err)
			}
		})
	}
}

func TestPatternsThatMatchMuchAreRecordedInSteps(t *testing.T) {
	topics := map[string]int{}
	for n := range 1000 {
		topics[fmt.Sprintf("%s-%d", strings.Repeat("t", 200), n)] = 1
	}
	b := newConsumerBench(t, topics)
	b.folds = false
	members := make([]*consumerClient, 60)
	for n := range members {
		members[n] = b.client(fmt.Sprint("m", n))
		members[n].pattern = fmt.Sprintf("t.*|none-%d", n)
		members[n].join()
		if members[n].err != nil {
			t.Fatal(members[n].err)
		}
	}
	topics["t-new"] = 1
	b.topics(topics)
	b.log = nil
	for range 10 {
		members[0].beat()
		if size := recordsSize(b.last.Records); size > maxTurnBytes+b.g.config.MaxRecordBytes {
			t.Fatalf("one turn emits %d bytes", size)
		}
	}
	for text, names := range b.g.consumer.recorded {
		if len(names) != 1001 {
			t.Errorf("%s is recorded with %d topics", text, len(names))
		}
	}
}

func TestAFullGroupTakesNobodyMore(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 4})
	b.configure(func(c *Config) { c.ConsumerMaxSize = 2 })
	first := b.client("first", "t").join()
	static := b.client("static", "t").as("i").join()
	third := b.client("third", "t").join()
	third.wants(wire.GroupMaxSizeReached)
	first.join() // who is in may join again
	if first.err != nil {
		t.Error(first.err)
	}
	static.pause()
	static.id = "static-2"
	static.join() // and so may the next with an instance that is
	if static.err != nil {
		t.Error(static.err)
	}
}

// No target is larger than a record may be.
func TestASingleMemberOfTooManyPartitionsGetsWhatARecordHolds(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 5000, "u": 5000})
	b.configure(func(c *Config) { c.MaxRecordBytes = 16 << 10 })
	m := b.client("m", "t", "u").join()
	if n := m.assigned.count(); n < 1000 || n > 4096/3*2 {
		t.Errorf("it has %d", n)
	}
	for _, r := range b.log {
		if len(r.Value) > 16<<10 {
			t.Errorf("a record has %d bytes", len(r.Value))
		}
	}
	other := b.client("other", "t", "u").join()
	b.settle(m, other)
	if m.assigned.count()+other.assigned.count() < 2000 {
		t.Errorf("they have %d and %d", m.assigned.count(), other.assigned.count())
	}
}
