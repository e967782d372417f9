package client

import (
	"errors"
	"fmt"

	"github.com/troupe-mq/troupe/wire"
)

// Errors of brokers that programs often ask for, with errors.Is. ErrorCode has Kafka's number of
// any of them: errors.As(err, &code) with a variable of that type.
const (
	ErrUnknownTopic     = wire.UnknownTopicOrPartition
	ErrTopicExists      = wire.TopicAlreadyExists
	ErrOffsetOutOfRange = wire.OffsetOutOfRange
	ErrMessageTooLarge  = wire.MessageTooLarge
	ErrInvalidTopic     = wire.InvalidTopic
	ErrInvalidConfig    = wire.InvalidConfig
	ErrUnknownGroup     = wire.GroupIDNotFound
	ErrGroupNotEmpty    = wire.NonEmptyGroup
)

// ErrorCode is an error in Kafka's numbers.
type ErrorCode = wire.ErrorCode

var (
	// ErrClosed is returned by everything that belongs to a closed Client, Producer or Consumer.
	ErrClosed = errors.New("client: closed")
	// ErrInCallback is returned by what waits for a callback, when that callback calls it. Nothing has been done.
	ErrInCallback = errors.New("client: called by a callback that it would wait for")
	// ErrNotTroupe is wrapped by the error of asking something that is no broker of Troupe.
	ErrNotTroupe = errors.New("does not speak Troupe's native protocol")
	// ErrConnection is wrapped by every failure of a connection, or of making one.
	ErrConnection = errConnection
	// ErrNotDelivered is wrapped by the error of a record that was not acknowledged in time. When
	// it had been sent, it may still be in the log.
	ErrNotDelivered = errors.New("client: record not delivered in time")
	// ErrNotOwned is wrapped by the error of committing an offset of a partition that is not, or no longer, this member's of the
	// group. What was read of it is going to be read by another member too.
	ErrNotOwned = errors.New("client: the partition is not this member's")
	// ErrNothingCommitted is wrapped by what Poll returns for a partition that a group has no offset of, if that is
	// not allowed: see MustBeCommitted.
	ErrNothingCommitted = errors.New("client: the group has committed no offset")
)

// PartitionError is why a partition cannot be read on from an offset.
type PartitionError struct {
	Topic     string
	Partition int32
	Offset    Offset // the first that was not read; -1 when it was still being looked up
	Err       error
}

func (e *PartitionError) Error() string {
	if e.Offset < 0 {
		return fmt.Sprintf("%s/%d: %v", e.Topic, e.Partition, e.Err)
	}
	return fmt.Sprintf("%s/%d at offset %d: %v", e.Topic, e.Partition, e.Offset, e.Err)
}

// Unwrap makes errors.Is(err, code) hold for the code of the cause.
func (e *PartitionError) Unwrap() error { return e.Err }

// retriable says that the same request may succeed later, at this broker or another.
func retriable(err error) bool {
	var code wire.ErrorCode
	if errors.As(err, &code) {
		return code.Retriable()
	}
	return errors.Is(err, errConnection)
}

// staleMetadata says that the error comes of not knowing who leads.
func staleMetadata(err error) bool {
	switch wire.Code(err) {
	case wire.NotLeaderOrFollower, wire.UnknownTopicOrPartition, wire.UnknownTopicID, wire.LeaderNotAvailable,
		wire.FencedLeaderEpoch, wire.UnknownLeaderEpoch, wire.KafkaStorageError, wire.ReplicaNotAvailable, wire.RequestTimedOut:
		return true
	default:
		return errors.Is(err, errConnection)
	}
}
