package metadata

import (
	"fmt"

	"github.com/troupe-mq/troupe/wire"
)

// Commands travel from the broker where something happens to the controller, and their replies back,
// in the form that records have: [kind, [fields ...]]. Fields are only ever appended, so brokers of
// different versions understand each other; a kind that is not known is refused, and the sender
// learns that the controller is too old.
//
// Nobody vouches for the bytes: they are bounded before anything is allocated for them.

// CommandKind numbers the commands that travel. A number is never used for something else.
type CommandKind uint8

// The kinds of commands.
const (
	CommandFoundCluster          CommandKind = 1
	CommandRegisterBroker        CommandKind = 2
	CommandChangeBrokers         CommandKind = 3
	CommandAllocateProducerIDs   CommandKind = 4
	CommandAlterPartitions       CommandKind = 5
	CommandCreateTopics          CommandKind = 6
	CommandCreatePartitions      CommandKind = 7
	CommandDeleteTopics          CommandKind = 8
	CommandAlterConfigs          CommandKind = 9
	CommandFailDirectories       CommandKind = 10
	CommandMoveReplica           CommandKind = 11
	CommandFailReplicas          CommandKind = 12
	CommandReplicaRestarted      CommandKind = 13
	CommandElectLeaders          CommandKind = 14
	CommandAlterReassignments    CommandKind = 15
	CommandCompleteReassignments CommandKind = 16
	CommandBalanceLeaders        CommandKind = 17
	CommandRemoveBroker          CommandKind = 18
	CommandGrowInternalTopics    CommandKind = 19
	CommandReportReplicas        CommandKind = 20
	CommandElectReported         CommandKind = 21
	CommandLoseTails             CommandKind = 22
	CommandCreateInternalTopic   CommandKind = 23
)

// Bounds of what travels.
const (
	MaxCommandBytes = 4 << 20
	MaxReplyBytes   = 16 << 20

	maxListLength = 100_000 // of any list in a command or reply
)

// traveller is a command that can be sent to another broker.
type traveller interface {
	Command
	commandKind() CommandKind
	encode(w *writer)
}

// commandCodecs says how to read each command, and how its reply travels.
var commandCodecs = [256]struct {
	decode func(*reader) Command
	reply  replyCodec
}{
	CommandFoundCluster:          {decodeFoundCluster, errorReply},
	CommandRegisterBroker:        {decodeRegisterBroker, registeredReply},
	CommandChangeBrokers:         {decodeChangeBrokers, errorReply},
	CommandAllocateProducerIDs:   {decodeAllocateProducerIDs, producerIDsReply},
	CommandAlterPartitions:       {decodeAlterPartitions, errorsReply},
	CommandCreateTopics:          {decodeCreateTopics, createdTopicsReply},
	CommandCreatePartitions:      {decodeCreatePartitions, errorsReply},
	CommandDeleteTopics:          {decodeDeleteTopics, deletedTopicsReply},
	CommandAlterConfigs:          {decodeAlterConfigs, errorsReply},
	CommandFailDirectories:       {decodeFailDirectories, errorReply},
	CommandMoveReplica:           {decodeMoveReplica, errorReply},
	CommandFailReplicas:          {decodeFailReplicas, errorReply},
	CommandReplicaRestarted:      {decodeReplicaRestarted, errorReply},
	CommandElectLeaders:          {decodeElectLeaders, outcomesReply},
	CommandAlterReassignments:    {decodeAlterReassignments, outcomesReply},
	CommandCompleteReassignments: {decodeCompleteReassignments, errorReply},
	CommandBalanceLeaders:        {decodeBalanceLeaders, countReply},
	CommandRemoveBroker:          {decodeRemoveBroker, removedReply},
	CommandGrowInternalTopics:    {decodeGrowInternalTopics, countReply},
	CommandReportReplicas:        {decodeReportReplicas, errorReply},
	CommandElectReported:         {decodeElectReported, errorReply},
	CommandLoseTails:             {decodeLoseTails, errorReply},
	CommandCreateInternalTopic:   {decodeCreateInternalTopic, errorReply},
}

// EncodeCommand returns a command in bytes. Every command of this package travels but Recover, which
// no controller is ever asked for; it is a bug to send another.
func EncodeCommand(c Command) []byte {
	t, ok := c.(traveller)
	if !ok {
		panic(fmt.Sprintf("metadata: %T does not travel between brokers", c))
	}
	var w writer
	w.array(2)
	w.uint(uint64(t.commandKind()))
	t.encode(&w)
	return w.b
}

// DecodeCommand reads what EncodeCommand wrote, here or in another version. The command shares no
// memory with b.
func DecodeCommand(b []byte) (Command, error) {
	if len(b) > MaxCommandBytes {
		return nil, fmt.Errorf("%w: a command of %d bytes: %w", ErrMalformed, len(b), wire.InvalidRequest)
	}
	r := &reader{b: b, left: 1}
	_, outer := r.open()
	kind := unsigned[CommandKind](r)
	decode := commandCodecs[kind].decode
	if r.err == nil && decode == nil {
		return nil, fmt.Errorf("command of kind %d: %w: this controller is too old: %w", kind, ErrTooNew, wire.UnsupportedVersion)
	}
	if r.err != nil {
		return nil, fmt.Errorf("command: %w: %w", r.err, wire.InvalidRequest)
	}
	_, fields := r.open()
	c := decode(r)
	r.close(fields)
	r.close(outer)
	if r.err == nil && len(r.b) > 0 {
		r.fail("%d bytes after the command", len(r.b))
	}
	if r.err != nil {
		return nil, fmt.Errorf("command of kind %d: %w: %w", kind, r.err, wire.InvalidRequest)
	}
	return c, nil
}

// boundedList reads a list of at most maxListLength elements; each is an array of fields.
func boundedList[T any](r *reader, fields func(*reader) T) []T {
	return boundedValues(r, func(r *reader) T {
		_, outer := r.open()
		v := fields(r)
		r.close(outer)
		return v
	})
}

// boundedValues reads a list of at most maxListLength values.
func boundedValues[T any](r *reader, value func(*reader) T) []T {
	n := 0
	return listOf(r, func(r *reader) T {
		if n++; n > maxListLength {
			r.fail("a list of more than %d elements", maxListLength)
		}
		return value(r)
	})
}

func encodeList[T any](w *writer, list []T, element func(*writer, T)) {
	w.array(len(list))
	for _, v := range list {
		element(w, v)
	}
}

// An optional string is a list of one or none.
func encodeOptional(w *writer, s *string) {
	if s == nil {
		w.array(0)
		return
	}
	w.array(1)
	w.string(*s)
}

func decodeOptional(r *reader) (s *string) {
	n, outer := r.open()
	if n > 0 {
		v := r.string()
		s = &v
	}
	r.close(outer)
	return s
}

func encodeBrokerIDs(w *writer, ids []wire.BrokerID) {
	encodeList(w, ids, func(w *writer, id wire.BrokerID) { w.int(int64(id)) })
}

func decodeBrokerIDs(r *reader) []wire.BrokerID {
	return boundedValues(r, signed[wire.BrokerID])
}

func encodeAssignment(w *writer, assignment [][]wire.BrokerID) {
	encodeList(w, assignment, encodeBrokerIDs)
}

func decodeAssignment(r *reader) [][]wire.BrokerID {
	return boundedValues(r, decodeBrokerIDs)
}

func encodeTopicPartitions(w *writer, list []wire.TopicPartition) {
	encodeList(w, list, func(w *writer, tp wire.TopicPartition) {
		w.array(2)
		w.bytes(tp.Topic[:])
		w.int(int64(tp.Partition))
	})
}

func decodeTopicPartitions(r *reader) []wire.TopicPartition {
	return boundedList(r, func(r *reader) wire.TopicPartition {
		return wire.TopicPartition{Topic: decodeTopicID(r), Partition: signed[int32](r)}
	})
}

func encodeResource(w *writer, res wire.ConfigResource) {
	w.array(2)
	w.int(int64(res.Type))
	w.string(res.Name)
}

func decodeResource(r *reader) wire.ConfigResource {
	_, outer := r.open()
	res := wire.ConfigResource{Type: signed[wire.ConfigResourceType](r), Name: r.string()}
	r.close(outer)
	return res
}
