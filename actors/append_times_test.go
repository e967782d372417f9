package actors

import (
	"errors"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

func TestHowOldARecordIsIsToldByWhoeverLeads(t *testing.T) {
	withForwarding(t, func(t *testing.T, _ *memoryNetwork, leader *company, other Forwarding, refresh func()) {
		topic := leader.topic("events", 1)
		refresh()
		var r replies
		for slot := range 3 {
			produceTo(other, &r, slot, topic, recordsOf(2, 9, wire.Sequence(2*slot)))
			r.one(t, slot)
			time.Sleep(time.Minute) // between records, on the clock of the bubble
		}
		if _, err := leader.DeleteRecords(t.Context(), &wire.DeleteRecords{Topic: topic, Before: 2}); err != nil {
			t.Fatal(err)
		}
		queries := []wire.AppendTimeQuery{
			{Topic: topic, Offset: 5}, {Topic: topic, Offset: 0}, {Topic: topic, Offset: 6}, {Topic: topic, Partition: 7}, {Topic: topic, Offset: -1},
		}
		for name, got := range map[string][]wire.AppendTime{
			"the leader": leader.AppendTimes(queries), "another broker": other.AppendTimes(t.Context(), queries),
		} {
			for i, want := range []time.Duration{time.Minute, 2 * time.Minute, 0, 0, 2 * time.Minute} {
				one := got[i]
				if i == 3 {
					if !errors.Is(one.Err, wire.UnknownTopicOrPartition) {
						t.Errorf("%s, of no partition: %+v", name, one)
					}
					continue
				}
				if one.Err != nil || one.HighWatermark != 6 || one.LogStartOffset != 2 || one.Appended.IsZero() != (want == 0) || (one.Age-want).Abs() > time.Second {
					t.Errorf("%s, of offset %d: %+v, want an age of %s", name, queries[i].Offset, one, want)
				}
			}
		}
	})
}
