package group

import (
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

func TestOffsetsOfAGroupThatBecomesAClassicOneAreKeptSinceItHasNoMembers(t *testing.T) {
	// KIP-211: "offsets are kept for the retention period since the group became empty".
	b := newConsumerBench(t, map[string]int{"t": 1})
	b.configure(func(c *Config) { c.OffsetsRetention = time.Hour })
	m := b.client("a", "t").join()
	b.settle(m)
	if err := m.commit(); err != nil {
		t.Fatal(err)
	}
	for range 2 * 60 {
		b.pass(30 * time.Second)
		m.beat()
	}
	m.leave()
	q := joining("")
	q.MustKnowID = true
	b.ask(q) // it is told its id, and has not joined yet
	committed := func() wire.Offset {
		q := &wire.FetchOffsets{Group: "g", MemberEpoch: wire.UnknownMemberEpoch, Topics: []wire.NamedPartitions{{Topic: "t", Partitions: []int32{0}}}}
		return b.ask(q).(*wire.FetchedOffsets).Offsets[0].Offset
	}
	b.pass(time.Hour - time.Millisecond)
	if got := committed(); got != 1 {
		t.Errorf("offset %d before the retention time is over", got)
	}
	b.pass(time.Minute)
	if got := committed(); got != wire.NoOffset {
		t.Errorf("offset %d after the retention time", got)
	}
}
