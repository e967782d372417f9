package group

import (
	"github.com/troupe-mq/troupe/wire"
)

// offsetValue is a committed offset as its record has it. Times are milliseconds. metadata aliases what was decoded.
type offsetValue struct {
	offset      int64
	leaderEpoch int32
	metadata    []byte
	committed   int64
	expires     int64 // -1: by the broker's retention
	topic       wire.TopicID
}

const highestOffsetVersion int16 = 4

// newOffsetRecord encodes a committed offset in the oldest version that holds all there is to say: Kafka itself writes 1
// for an offset with an expiry of its own, which knows no leader epochs, and 3 for others; 4 adds the topic's id.
func newOffsetRecord(group wire.GroupID, topic string, partition int32, v offsetValue) Record {
	w := writer{b: make([]byte, 0, 48+len(v.metadata))}
	switch {
	case v.expires >= 0:
		w.int16(1)
		w.int64(v.offset)
		w.bytesAsString(v.metadata)
		w.int64(v.committed)
		w.int64(v.expires)
	case v.topic.IsZero():
		w.int16(3)
		w.int64(v.offset)
		w.int32(v.leaderEpoch)
		w.bytesAsString(v.metadata)
		w.int64(v.committed)
	default:
		w.flexible = true
		w.int16(4)
		w.int64(v.offset)
		w.int32(v.leaderEpoch)
		w.bytesAsString(v.metadata)
		w.int64(v.committed)
		w.oneTag(v.topic[:])
	}
	return Record{Key: keyOf(offsetRecord, group, topic, partition), Value: w.b}
}

func (w *writer) bytesAsString(b []byte) {
	w.length(len(b), true)
	w.b = append(w.b, b...)
}

func readOffsetValue(b []byte) (offsetValue, error) {
	r := reader{b: b}
	version := r.version(highestOffsetVersion)
	r.flexible = version >= 4
	v := offsetValue{leaderEpoch: int32(wire.NoEpoch), expires: -1}
	v.offset = r.int64()
	if version >= 3 {
		v.leaderEpoch = r.int32()
	}
	v.metadata = r.string()
	v.committed = r.int64()
	if version == 1 {
		v.expires = r.int64()
	}
	r.tagged(func(tag int, value []byte) {
		if tag == 0 && len(value) == len(v.topic) {
			v.topic = wire.TopicID(value)
		}
	})
	return v, r.err
}
