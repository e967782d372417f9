package group

import (
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// A rebalance on record: version 0, in Kafka's newer encoding. Members and topics are told once and then by their place,
// since hundreds of pauses may be between two members. Times are microseconds.

func newHistoryRecord(group wire.GroupID, r *wire.Rebalance) Record {
	w := consumerValue()
	w.int64(r.Number)
	w.int64(r.Began.UnixMicro())
	w.int64(r.Took.Microseconds())
	w.string(string(r.Type))
	w.int32(r.Generation)
	w.string(string(r.Trigger))
	w.string(string(r.Cause))
	w.string(r.Detail)
	w.int32(int32(r.Members))
	w.string(string(r.Slowest))
	w.int64(r.SlowestTook.Microseconds())
	w.int32(int32(r.Moved))
	if r.Complete {
		w.int8(1)
	} else {
		w.int8(0)
	}
	var names placesOfNames
	pauses := writer{flexible: true}
	pauses.array(len(r.Pauses))
	for _, p := range r.Pauses {
		pauses.uvarint(names.place(p.Topic))
		pauses.int32(p.Partition)
		pauses.int64(p.Pause.Microseconds())
		pauses.uvarint(names.place(string(p.From)))
		pauses.uvarint(names.place(string(p.To)))
		pauses.noTags()
	}
	w.strings(names.all)
	w.b = append(w.b, pauses.b...)
	w.noTags()
	return Record{Key: keyOf(historyRecord, group, "", slotOf(r.Number)), Value: w.b}
}

// placesOfNames numbers names in the order that they come up.
type placesOfNames struct {
	all    []string
	places map[string]int
}

func (n *placesOfNames) place(name string) int {
	place, known := n.places[name]
	if !known {
		if n.places == nil {
			n.places = map[string]int{}
		}
		place = len(n.all)
		n.places[name] = place
		n.all = append(n.all, name)
	}
	return place
}

func readHistoryValue(b []byte) (rebalance wire.Rebalance, err error) {
	err = readConsumerValue(b, func(r *reader) {
		rebalance.Number = r.int64()
		if rebalance.Number < 0 {
			r.fail("rebalance number %d", rebalance.Number)
		}
		rebalance.Began = time.UnixMicro(r.int64())
		rebalance.Took = r.microseconds()
		rebalance.Type = wire.GroupType(r.string())
		rebalance.Generation = r.int32()
		rebalance.Trigger = wire.RebalanceTrigger(r.string())
		rebalance.Cause = wire.MemberID(r.string())
		rebalance.Detail = string(r.string())
		rebalance.Members = int(r.int32())
		rebalance.Slowest = wire.MemberID(r.string())
		rebalance.SlowestTook = r.microseconds()
		rebalance.Moved = int(r.int32())
		rebalance.Complete = r.int8() != 0
		names := r.strings()
		name := func() string {
			place := r.uvarint()
			if place >= len(names) {
				r.fail("name %d of %d", place, len(names))
				return ""
			}
			return names[place]
		}
		for range r.array(16) {
			p := wire.PartitionPause{Topic: name(), Partition: r.int32(), Pause: r.microseconds()}
			p.From, p.To = wire.MemberID(name()), wire.MemberID(name())
			r.tagged(nil)
			if r.err != nil {
				return
			}
			rebalance.Pauses = append(rebalance.Pauses, p)
		}
	}, nil)
	return rebalance, err
}

func (r *reader) microseconds() time.Duration { return time.Duration(r.int64()) * time.Microsecond }

// DecodeRebalance reads the record of a rebalance. It is false for records of other kinds and for tombstones.
func DecodeRebalance(r Record) (wire.Rebalance, bool) {
	key, known, err := readKey(r.Key)
	if err != nil || !known || key.kind != historyRecord || r.Value == nil {
		return wire.Rebalance{}, false
	}
	rebalance, err := readHistoryValue(r.Value)
	return rebalance, err == nil
}
