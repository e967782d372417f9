package group

import (
	"fmt"

	"github.com/troupe-mq/troupe/wire"
)

// recordKind is the version that a key of the offsets topic begins with: it tells what the record is about.
type recordKind int16

// The kinds of records. Key version 0 is an older form of offsetRecord.
const (
	offsetRecord            recordKind = 1  // group, topic, partition: a committed offset
	classicRecord           recordKind = 2  // group: a generation of a classic group
	consumerEpochRecord     recordKind = 3  // group: the epoch of a group of KIP-848
	consumerTopicsRecord    recordKind = 4  // group: what it knew of its topics; Kafka before 4.1 writes it, we do not
	consumerMemberRecord    recordKind = 5  // group, member: what the member said
	targetEpochRecord       recordKind = 6  // group: the epoch that the target was computed from
	targetAssignmentRecord  recordKind = 7  // group, member: what it is to have
	currentAssignmentRecord recordKind = 8  // group, member: what it has
	patternRecord           recordKind = 16 // group, pattern: the topics that match it
	// historyRecord is Troupe's own: a rebalance that is remembered, in a slot of its group. Kafka's tools skip kinds
	// they do not know.
	historyRecord recordKind = 29696
)

// recordKey is a decoded key. name is the topic, the member or the pattern, number the partition or the slot, where the kind
// has one. The slices alias what was decoded.
type recordKey struct {
	kind   recordKind
	group  []byte
	name   []byte
	number int32
}

// named says that keys of the kind have a name besides the group's.
func (k recordKind) named() bool {
	switch k {
	case offsetRecord, consumerMemberRecord, targetAssignmentRecord, currentAssignmentRecord, patternRecord:
		return true
	default:
		return false
	}
}

// numbered says that keys of the kind end with a number.
func (k recordKind) numbered() bool { return k == offsetRecord || k == historyRecord }

// known says that this broker has a use for records of the kind.
func (k recordKind) known() bool {
	switch k {
	case offsetRecord, classicRecord, consumerEpochRecord, consumerTopicsRecord, consumerMemberRecord,
		targetEpochRecord, targetAssignmentRecord, currentAssignmentRecord, patternRecord, historyRecord:
		return true
	default:
		return false
	}
}

// readKey decodes a key. known is false for a kind that this broker does not know, which is no error: newer brokers
// write some, and so does Kafka for other types of groups.
func readKey(b []byte) (key recordKey, known bool, err error) {
	r := reader{b: b}
	key.kind = recordKind(r.int16())
	if r.err != nil {
		return key, false, r.err
	}
	if key.kind == 0 {
		key.kind = offsetRecord
	}
	if !key.kind.known() {
		return key, false, nil
	}
	key.group = r.name()
	if key.kind.named() {
		key.name = r.name()
	}
	if key.kind.numbered() {
		key.number = r.int32()
	}
	if r.err == nil && len(r.b) > 0 {
		r.fail("%d bytes after the key", len(r.b))
	}
	if r.err != nil {
		return key, false, fmt.Errorf("key of kind %d: %w", key.kind, r.err)
	}
	return key, true, nil
}

// keyOf encodes the key of a record.
func keyOf(kind recordKind, group wire.GroupID, name string, number int32) []byte {
	w := writer{b: make([]byte, 0, 2+2+len(group)+2+len(name)+4)}
	w.int16(int16(kind))
	w.string(string(group))
	if kind.named() {
		w.string(name)
	}
	if kind.numbered() {
		w.int32(number)
	}
	return w.b
}

// tombstone ends a record.
func tombstone(kind recordKind, group wire.GroupID, name string, number int32) Record {
	return Record{Key: keyOf(kind, group, name, number)}
}

// GroupOf returns the group that a record is of, by its key. It is false for a key that cannot be read and for a kind
// that this broker does not know: loading passes over those.
func GroupOf(key []byte) (wire.GroupID, bool) { //nolint:revive // the group of a record; Of would not say it
	k, known, err := readKey(key)
	if err != nil || !known {
		return "", false
	}
	return wire.GroupID(k.group), true
}

// IsOffset says that a key is that of a committed offset.
func IsOffset(key []byte) bool {
	k, known, err := readKey(key)
	return err == nil && known && k.kind == offsetRecord
}
