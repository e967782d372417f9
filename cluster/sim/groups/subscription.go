package groups

import (
	"encoding/binary"
	"errors"

	"github.com/troupe-mq/troupe/wire"
)

// This is what classic members say among themselves, in the words of Kafka's consumers (ConsumerProtocolSubscription and
// ConsumerProtocolAssignment). It is written down here once more, so that the coordinator's own reading is tested by it.

// subscription is what a member brings to a rebalance.
type subscription struct {
	topics     []string
	owned      []place
	generation wire.GenerationID
}

// subscriptionVersion is the first that tells the generation (KIP-792).
const subscriptionVersion = 2

func (s *subscription) encode() []byte {
	b := binary.BigEndian.AppendUint16(nil, subscriptionVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.topics)))
	for _, t := range s.topics {
		b = appendString(b, t)
	}
	b = binary.BigEndian.AppendUint32(b, 0) // no user data
	b = appendPlaces(b, s.owned)
	return binary.BigEndian.AppendUint32(b, uint32(s.generation))
}

func encodeAssignment(places []place) []byte {
	b := binary.BigEndian.AppendUint16(nil, 1)
	b = appendPlaces(b, places)
	return binary.BigEndian.AppendUint32(b, 0) // no user data
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// appendPlaces writes partitions by topic; they come sorted.
func appendPlaces(b []byte, places []place) []byte {
	at, topics := len(b), uint32(0)
	b = binary.BigEndian.AppendUint32(b, 0)
	for len(places) > 0 {
		n := 1
		for n < len(places) && places[n].topic == places[0].topic {
			n++
		}
		topics++
		b = appendString(b, places[0].topic)
		b = binary.BigEndian.AppendUint32(b, uint32(n))
		for _, p := range places[:n] {
			b = binary.BigEndian.AppendUint32(b, uint32(p.partition))
		}
		places = places[n:]
	}
	binary.BigEndian.PutUint32(b[at:], topics)
	return b
}

// reader reads what appendString and its like wrote.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad = true
		return make([]byte, 8)
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *reader) uint16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
func (r *reader) int32() int32   { return int32(binary.BigEndian.Uint32(r.take(4))) }
func (r *reader) int64() int64   { return int64(binary.BigEndian.Uint64(r.take(8))) }
func (r *reader) string() string { return string(r.take(int(r.uint16()))) }

func (r *reader) places() []place {
	var places []place
	for n := r.int32(); n > 0 && !r.bad; n-- {
		topic := r.string()
		for k := r.int32(); k > 0 && !r.bad; k-- {
			places = append(places, place{topic, r.int32()})
		}
	}
	return places
}

var errMalformed = errors.New("malformed")

func decodeSubscription(b []byte) (s subscription, err error) {
	r := &reader{b: b}
	version := r.uint16()
	for n := r.int32(); n > 0 && !r.bad; n-- {
		s.topics = append(s.topics, r.string())
	}
	if n := r.int32(); n > 0 {
		r.take(int(n))
	}
	s.generation = wire.NoGeneration
	if version >= 1 {
		s.owned = r.places()
	}
	if version >= subscriptionVersion {
		s.generation = wire.GenerationID(r.int32())
	}
	if r.bad {
		return s, errMalformed
	}
	return s, nil
}

// decodeAssignment reads an assignment. One without bytes has no partitions.
func decodeAssignment(b []byte) ([]place, error) {
	if len(b) == 0 {
		return nil, nil
	}
	r := &reader{b: b}
	r.uint16()
	places := r.places()
	if r.bad {
		return nil, errMalformed
	}
	return places, nil
}
