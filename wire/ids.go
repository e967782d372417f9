package wire

import (
	"encoding/base64"
	"fmt"
	"strconv"
)

// BrokerID names a broker. Ids are allocated by the controller and never used twice.
type BrokerID int32

// NoBroker stands where a partition has no leader, or a cluster no controller.
const NoBroker BrokerID = -1

// TopicID tells a topic apart from another that had its name before. The zero id names no topic.
type TopicID [16]byte

// String returns the id as Kafka's tools print it: URL-safe base64, 22 characters.
func (id TopicID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// IsZero says that the id names no topic.
func (id TopicID) IsZero() bool { return id == TopicID{} }

// ParseTopicID reads what String wrote.
func ParseTopicID(s string) (TopicID, error) {
	var id TopicID
	if base64.RawURLEncoding.DecodedLen(len(s)) != len(id) {
		return id, fmt.Errorf("topic id %q: want 22 characters", s)
	}
	if _, err := base64.RawURLEncoding.Decode(id[:], []byte(s)); err != nil {
		return TopicID{}, fmt.Errorf("topic id %q: %w", s, err)
	}
	return id, nil
}

// TopicPartition is the unit of order and of ownership.
type TopicPartition struct {
	Topic     TopicID
	Partition int32
}

// String returns "<topic id>/<partition>", which is also how replica actors are named.
func (tp TopicPartition) String() string {
	return tp.Topic.String() + "/" + strconv.Itoa(int(tp.Partition))
}

// LeaderEpoch grows at each change of a partition's leadership and fences the past.
type LeaderEpoch int32

// NoEpoch is what a client sends that does not know the epoch, and what an empty log ends with.
const NoEpoch LeaderEpoch = -1

// PartitionEpoch grows at each change of a partition's record in the metadata log.
type PartitionEpoch int32

// Incarnation tells one run of a broker process from the next.
type Incarnation uint64

// Offset is a record's place in its partition.
type Offset int64

// NoOffset stands where there is no offset to tell.
const NoOffset Offset = -1

// Offsets that a ListOffsets asks for in place of a timestamp.
const (
	LatestTimestamp        int64 = -1 // the high watermark
	EarliestTimestamp      int64 = -2 // the log start offset
	MaxTimestamp           int64 = -3 // the record with the largest timestamp (KIP-734)
	EarliestLocalTimestamp int64 = -4 // the log start offset: nothing is tiered (KIP-405)
	LatestTieredTimestamp  int64 = -5 // none: nothing is tiered (KIP-1005)
)

// ProducerID names an idempotent producer.
type ProducerID int64

// NoProducer is the id in a batch that asks for no idempotence.
const NoProducer ProducerID = -1

// ProducerEpoch fences an older instance of a producer.
type ProducerEpoch int16

// Sequence numbers a producer's records in one partition; after MaxSequence comes 0.
type Sequence int32

// MaxSequence is the largest sequence number.
const MaxSequence Sequence = 1<<31 - 1

// Next returns the sequence n records after s.
func (s Sequence) Next(n int32) Sequence {
	return Sequence((int64(s) + int64(n)) & int64(MaxSequence))
}

// Acks is how many replicas must have a produced batch before it is answered.
type Acks int16

// The three answers to "how sure".
const (
	AcksNone   Acks = 0  // no answer at all
	AcksLeader Acks = 1  // appended by the leader
	AcksAll    Acks = -1 // below the high watermark: on every in-sync replica, durably if the topic is
)
