package group

import (
	"cmp"
	"fmt"

	"github.com/troupe-mq/troupe/wire"
)

// The records of groups of KIP-848. Their values are of version 0, in Kafka's newer encoding; fields are only ever added
// with tags.

// memberState is what a member of a group of KIP-848 is doing, in Kafka's numbers.
type memberState int8

// The states of members.
const (
	memberStable               memberState = 0 // it has what it is to have
	memberUnrevokedPartitions  memberState = 1 // it has not given up all that it is to give up
	memberUnreleasedPartitions memberState = 2 // it waits for partitions that others have not given up
	memberUnknown              memberState = 127
)

// memberValue is what a member said of itself.
type memberValue struct {
	instance         string
	rack             string
	clientID         string
	clientHost       string
	topics           []string
	pattern          string
	rebalanceTimeout int32 // milliseconds
	assignor         string
	classic          *classicMemberValue // nil: it speaks the consumer protocol
}

// classicMemberValue is what a member said that speaks the classic protocol in a group of KIP-848.
type classicMemberValue struct {
	sessionTimeout int32 // milliseconds
	protocols      []wire.GroupProtocol
}

// currentValue is where a member stands.
type currentValue struct {
	epoch         int32
	previousEpoch int32
	state         memberState
	assigned      []wire.AssignedTopic
	revoking      []wire.AssignedTopic // it is to give them up
}

// patternValue is the topics that a pattern matched.
type patternValue struct {
	topics    []string
	version   int64 // of the metadata image
	timestamp int64
}

func consumerValue() writer {
	w := writer{flexible: true}
	w.int16(0)
	return w
}

// newConsumerEpochRecord makes the record of the group's epoch, with the hash of what it was subscribed to then.
func newConsumerEpochRecord(group wire.GroupID, epoch int32, hash uint64) Record {
	w := consumerValue()
	w.int32(epoch)
	if hash == 0 {
		w.noTags()
	} else {
		var tag writer
		tag.int64(int64(hash))
		w.oneTag(tag.b)
	}
	return Record{Key: keyOf(consumerEpochRecord, group, "", 0), Value: w.b}
}

func newTargetEpochRecord(group wire.GroupID, epoch int32) Record {
	w := consumerValue()
	w.int32(epoch)
	w.noTags()
	return Record{Key: keyOf(targetEpochRecord, group, "", 0), Value: w.b}
}

func newMemberRecord(group wire.GroupID, member wire.MemberID, m memberValue) Record {
	w := consumerValue()
	w.nullable(m.instance)
	w.nullable(m.rack)
	w.string(m.clientID)
	w.string(m.clientHost)
	w.strings(m.topics)
	w.nullable(m.pattern)
	w.int32(m.rebalanceTimeout)
	w.nullable(m.assignor)
	if m.classic == nil {
		w.noTags()
	} else {
		tag := writer{flexible: true}
		tag.int8(1) // there is one
		tag.int32(m.classic.sessionTimeout)
		tag.array(len(m.classic.protocols))
		for _, p := range m.classic.protocols {
			tag.string(p.Name)
			tag.bytes(p.Metadata)
			tag.noTags()
		}
		tag.noTags()
		w.oneTag(tag.b)
	}
	return Record{Key: keyOf(consumerMemberRecord, group, string(member), 0), Value: w.b}
}

func newTargetAssignmentRecord(group wire.GroupID, member wire.MemberID, target []wire.AssignedTopic) Record {
	w := consumerValue()
	w.assignedTopics(target)
	w.noTags()
	return Record{Key: keyOf(targetAssignmentRecord, group, string(member), 0), Value: w.b}
}

func newCurrentAssignmentRecord(group wire.GroupID, member wire.MemberID, c currentValue) Record {
	w := consumerValue()
	w.int32(c.epoch)
	w.int32(c.previousEpoch)
	w.int8(int8(c.state))
	w.assignedTopics(c.assigned)
	w.assignedTopics(c.revoking)
	w.noTags()
	return Record{Key: keyOf(currentAssignmentRecord, group, string(member), 0), Value: w.b}
}

func newPatternRecord(group wire.GroupID, pattern string, p patternValue) Record {
	w := consumerValue()
	w.strings(p.topics)
	w.int64(p.version)
	w.int64(p.timestamp)
	w.noTags()
	return Record{Key: keyOf(patternRecord, group, pattern, 0), Value: w.b}
}

func (w *writer) strings(all []string) {
	w.array(len(all))
	for _, s := range all {
		w.string(s)
	}
}

func (w *writer) assignedTopics(topics []wire.AssignedTopic) {
	w.array(len(topics))
	for _, t := range topics {
		w.topicID(t.Topic)
		w.array(len(t.Partitions))
		for _, p := range t.Partitions {
			w.int32(p)
		}
		w.noTags()
	}
}

// readConsumerValue decodes a value of version 0. tagged decodes the field that oneTag wrote, where there is one.
func readConsumerValue(b []byte, fields func(*reader), tagged func(value []byte) error) error {
	r := reader{b: b, flexible: true}
	r.version(0)
	fields(&r)
	var inTag error
	r.tagged(func(tag int, value []byte) {
		if tag == 0 && tagged != nil {
			inTag = tagged(value)
		}
	})
	return cmp.Or(r.err, inTag)
}

// readConsumerEpochValue reads what newConsumerEpochRecord wrote. Brokers before Kafka 4.1 write no hash.
func readConsumerEpochValue(b []byte) (epoch int32, hash uint64, err error) {
	err = readConsumerValue(b, func(r *reader) { epoch = r.int32() }, func(value []byte) error {
		r := reader{b: value}
		if hash = uint64(r.int64()); r.err != nil {
			return fmt.Errorf("hash of the topics: %w", r.err)
		}
		return nil
	})
	return epoch, hash, err
}

// readEpochValue reads the value of a targetEpochRecord.
func readEpochValue(b []byte) (epoch int32, err error) {
	err = readConsumerValue(b, func(r *reader) { epoch = r.int32() }, nil)
	return epoch, err
}

func readMemberValue(b []byte) (m memberValue, err error) {
	err = readConsumerValue(b, func(r *reader) {
		m.instance = string(r.string())
		m.rack = string(r.string())
		m.clientID = string(r.string())
		m.clientHost = string(r.string())
		m.topics = r.strings()
		m.pattern = string(r.string())
		m.rebalanceTimeout = r.int32()
		m.assignor = string(r.string())
	}, func(value []byte) (err error) {
		if m.classic, err = readClassicMemberValue(value); err != nil {
			return fmt.Errorf("classic member: %w", err)
		}
		return nil
	})
	return m, err
}

func readClassicMemberValue(b []byte) (*classicMemberValue, error) {
	r := reader{b: b, flexible: true}
	if r.int8() <= 0 || r.err != nil { // null; Kafka writes it as 0
		return nil, r.err
	}
	m := &classicMemberValue{sessionTimeout: r.int32()}
	for range r.array(3) {
		p := wire.GroupProtocol{Name: string(r.string()), Metadata: append([]byte(nil), r.bytes()...)}
		r.tagged(nil)
		m.protocols = append(m.protocols, p)
	}
	r.tagged(nil)
	return m, r.err
}

func readTargetAssignmentValue(b []byte) (target []wire.AssignedTopic, err error) {
	err = readConsumerValue(b, func(r *reader) { target = r.assignedTopics() }, nil)
	return target, err
}

func readCurrentAssignmentValue(b []byte) (c currentValue, err error) {
	err = readConsumerValue(b, func(r *reader) {
		c.epoch = r.int32()
		c.previousEpoch = r.int32()
		c.state = memberState(r.int8())
		c.assigned = r.assignedTopics()
		c.revoking = r.assignedTopics()
	}, nil)
	return c, err
}

func readPatternValue(b []byte) (p patternValue, err error) {
	err = readConsumerValue(b, func(r *reader) {
		p.topics = r.strings()
		p.version = r.int64()
		p.timestamp = r.int64()
	}, nil)
	return p, err
}

func (r *reader) strings() []string {
	n := r.array(1)
	if n == 0 {
		return nil
	}
	all := make([]string, 0, n)
	for range n {
		all = append(all, string(r.string()))
	}
	return all
}

func (r *reader) assignedTopics() []wire.AssignedTopic {
	n := r.array(len(wire.TopicID{}) + 2)
	if n == 0 {
		return nil
	}
	topics := make([]wire.AssignedTopic, 0, n)
	for range n {
		t := wire.AssignedTopic{Topic: r.topicID()}
		if m := r.array(4); m > 0 {
			t.Partitions = make([]int32, 0, m)
			for range m {
				t.Partitions = append(t.Partitions, r.int32())
			}
		}
		r.tagged(nil)
		topics = append(topics, t)
	}
	return topics
}
