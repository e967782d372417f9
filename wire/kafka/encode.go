package kafka

import (
	"encoding/binary"

	"github.com/troupe-mq/troupe/wire"
)

// encoder writes Kafka's primitive types behind what b holds. Only the answers to Produce and Fetch
// are written with it; all others are kmsg's.
type encoder struct {
	b        []byte
	flexible bool
}

func (e *encoder) int16(v int16) { e.b = binary.BigEndian.AppendUint16(e.b, uint16(v)) }
func (e *encoder) int32(v int32) { e.b = binary.BigEndian.AppendUint32(e.b, uint32(v)) }
func (e *encoder) int64(v int64) { e.b = binary.BigEndian.AppendUint64(e.b, uint64(v)) }

func (e *encoder) uvarint(v int) { e.b = binary.AppendUvarint(e.b, uint64(v)) }

// arrayLength writes the length of an array or of bytes; null is the null one.
func (e *encoder) arrayLength(n int) {
	if e.flexible {
		e.uvarint(n + 1)
		return
	}
	e.int32(int32(n))
}

func (e *encoder) stringLength(n int) {
	if e.flexible {
		e.uvarint(n + 1)
		return
	}
	e.int16(int16(n))
}

func (e *encoder) string(s string) {
	e.stringLength(len(s))
	e.b = append(e.b, s...)
}

// nullable writes a string, and the empty one as null.
func (e *encoder) nullable(s string) {
	if s == "" {
		e.stringLength(null)
		return
	}
	e.string(s)
}

// noTags ends a structure that has no tagged fields.
func (e *encoder) noTags() {
	if e.flexible {
		e.b = append(e.b, 0)
	}
}

// leaderTag writes a CurrentLeader (KIP-951) as the content of a tagged field.
func (e *encoder) leaderTag(tag int, leader wire.LeaderHint) {
	e.uvarint(tag)
	e.uvarint(4 + 4 + 1)
	e.int32(int32(leader.Broker))
	e.int32(int32(leader.LeaderEpoch))
	e.noTags()
}

// endpoints ends an answer with the addresses of the leaders that it hints at (KIP-951).
func (e *encoder) endpoints(brokers []wire.Broker) {
	if len(brokers) == 0 {
		e.noTags()
		return
	}
	e.uvarint(1) // one tagged field
	e.uvarint(0) // its tag
	size := uvarintBytes(len(brokers) + 1)
	for _, b := range brokers {
		size += 4 + stringBytes(b.Host) + 4 + max(stringBytes(b.Rack), 1) + 1
	}
	e.uvarint(size)
	e.arrayLength(len(brokers))
	for _, b := range brokers {
		e.int32(int32(b.ID))
		e.string(b.Host)
		e.int32(b.Port)
		e.nullable(b.Rack)
		e.noTags()
	}
}

func stringBytes(s string) int { return uvarintBytes(len(s)+1) + len(s) }

func uvarintBytes(v int) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// endpointsOf returns the brokers that the hints name, each once.
func endpointsOf(brokers []wire.Broker, hinted []wire.BrokerID) []wire.Broker {
	var found []wire.Broker
	for _, b := range brokers { // few, and a hint is rare
		for _, id := range hinted {
			if b.ID == id && !b.Fenced {
				found = append(found, b)
				break
			}
		}
	}
	return found
}

// beginAnswer leaves room for the size, which endAnswer writes.
func beginAnswer(b []byte, correlation int32, flexibleHeader bool) []byte {
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(correlation))
	if flexibleHeader {
		b = append(b, 0) // no tagged fields
	}
	return b
}

// endAnswer sets the size of the answer that begins at start; more follows b from elsewhere.
func endAnswer(b []byte, start, more int) {
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4+more))
}
