package client

import (
	"errors"

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
)

// ErrorCode is an error in Kafka's numbers.
type ErrorCode = wire.ErrorCode

var (
	// ErrClosed is returned by everything that belongs to a closed Client, Producer or Consumer.
	ErrClosed = errors.New("client: closed")
	// ErrNotDelivered is wrapped by the error of a record that was not acknowledged in time. When
	// it had been sent, it may still be in the log.
	ErrNotDelivered = errors.New("client: record not delivered in time")
)

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
		wire.FencedLeaderEpoch, wire.UnknownLeaderEpoch, wire.KafkaStorageError, wire.ReplicaNotAvailable:
		return true
	default:
		return errors.Is(err, errConnection)
	}
}
