package metadata

import (
	"errors"
	"fmt"

	"github.com/troupe-mq/troupe/wire"
)

// replyCodec writes and reads the replies of one type.
type replyCodec struct {
	encode func(w *writer, reply any)
	decode func(r *reader) any
}

// EncodeReply returns what Decide of that command gave as the reply, in bytes.
func EncodeReply(c Command, reply any) []byte {
	t, ok := c.(traveller)
	if !ok {
		panic(fmt.Sprintf("metadata: %T does not travel between brokers", c))
	}
	var w writer
	commandCodecs[t.commandKind()].reply.encode(&w, reply)
	return w.b
}

// DecodeReply reads what EncodeReply wrote for the same command, here or in another version. It
// shares no memory with b.
func DecodeReply(c Command, b []byte) (any, error) {
	t, ok := c.(traveller)
	if !ok {
		panic(fmt.Sprintf("metadata: %T does not travel between brokers", c))
	}
	if len(b) > MaxReplyBytes {
		return nil, fmt.Errorf("%w: a reply of %d bytes", ErrMalformed, len(b))
	}
	r := &reader{b: b, left: 1}
	reply := commandCodecs[t.commandKind()].reply.decode(r)
	if r.err == nil && len(r.b) > 0 {
		r.fail("%d bytes after the reply", len(r.b))
	}
	if r.err != nil {
		return nil, fmt.Errorf("reply to %T: %w", c, r.err)
	}
	return reply, nil
}

// replyOf makes a codec of functions for one type. Every reply is one value, so also an error.
func replyOf[T any](encode func(*writer, T), decode func(*reader) T) replyCodec {
	return replyCodec{
		encode: func(w *writer, reply any) { encode(w, reply.(T)) },
		decode: func(r *reader) any { return decode(r) },
	}
}

var (
	// errorReply is for commands whose reply is an error, or nil when it is done.
	errorReply = replyCodec{
		encode: func(w *writer, reply any) {
			err, _ := reply.(error)
			encodeError(w, err)
		},
		decode: func(r *reader) any {
			if err := decodeError(r); err != nil {
				return err
			}
			return nil
		},
	}
	errorsReply = replyOf(
		func(w *writer, errs []error) { encodeList(w, errs, encodeError) },
		func(r *reader) []error { return boundedValues(r, decodeError) })
	registeredReply  = replyOf(encodeRegistered, decodeRegistered)
	producerIDsReply = replyOf(encodeAllocated, decodeAllocated)
	removedReply     = replyOf(encodeRemoved, decodeRemoved)
	countReply       = replyOf(
		func(w *writer, n int) { w.int(int64(n)) },
		func(r *reader) int { return int(signed[int32](r)) })
	outcomesReply = replyOf(
		func(w *writer, list []wire.PartitionOutcome) { encodeList(w, list, encodeOutcome) },
		func(r *reader) []wire.PartitionOutcome { return boundedList(r, decodeOutcome) })
	createdTopicsReply = replyOf(
		func(w *writer, list []wire.CreatedTopic) { encodeList(w, list, encodeCreatedTopic) },
		func(r *reader) []wire.CreatedTopic { return boundedList(r, decodeCreatedTopic) })
	deletedTopicsReply = replyOf(
		func(w *writer, list []wire.DeletedTopic) { encodeList(w, list, encodeDeletedTopic) },
		func(r *reader) []wire.DeletedTopic { return boundedList(r, decodeDeletedTopic) })
)

// An error is its code and its sentence. One that has no code is somebody's bug, and told in full.
func encodeError(w *writer, err error) {
	sentence := wire.Sentence(err)
	if code := wire.None; err != nil && !errors.As(err, &code) {
		sentence = err.Error()
	}
	w.array(2)
	w.int(int64(wire.Code(err)))
	w.string(sentence)
}

func decodeError(r *reader) error {
	_, outer := r.open()
	code, sentence := signed[wire.ErrorCode](r), r.string()
	r.close(outer)
	if code == wire.None || sentence == "" {
		return code.Err()
	}
	return &wire.CodedError{Code: code, Message: sentence}
}

func encodeRegistered(w *writer, reply RegisteredBroker) {
	w.array(2)
	encodeError(w, reply.Err)
	w.int(int64(reply.ID))
}

func decodeRegistered(r *reader) RegisteredBroker {
	_, outer := r.open()
	reply := RegisteredBroker{Err: decodeError(r), ID: signed[wire.BrokerID](r)}
	r.close(outer)
	return reply
}

func encodeAllocated(w *writer, reply AllocatedProducerIDs) {
	w.array(3)
	encodeError(w, reply.Err)
	w.int(int64(reply.First))
	w.int(int64(reply.Count))
}

func decodeAllocated(r *reader) AllocatedProducerIDs {
	_, outer := r.open()
	reply := AllocatedProducerIDs{Err: decodeError(r), First: signed[wire.ProducerID](r), Count: signed[int32](r)}
	r.close(outer)
	return reply
}

func encodeRemoved(w *writer, reply RemovedBroker) {
	w.array(4)
	encodeError(w, reply.Err)
	w.int(int64(reply.Left))
	w.int(int64(reply.Moving))
	w.bool(reply.Done)
}

func decodeRemoved(r *reader) RemovedBroker {
	_, outer := r.open()
	reply := RemovedBroker{Err: decodeError(r), Left: int(signed[int32](r)), Moving: int(signed[int32](r)), Done: r.bool()}
	r.close(outer)
	return reply
}

func encodeOutcome(w *writer, o wire.PartitionOutcome) {
	w.array(3)
	w.string(o.Topic)
	w.int(int64(o.Partition))
	encodeError(w, o.Err)
}

func decodeOutcome(r *reader) wire.PartitionOutcome {
	return wire.PartitionOutcome{Topic: r.string(), Partition: signed[int32](r), Err: decodeError(r)}
}

func encodeCreatedTopic(w *writer, t wire.CreatedTopic) {
	w.array(6)
	w.string(t.Name)
	w.bytes(t.ID[:])
	encodeError(w, t.Err)
	w.int(int64(t.Partitions))
	w.int(int64(t.ReplicationFactor))
	encodeList(w, t.Configs, encodeConfigEntry)
}

func decodeCreatedTopic(r *reader) wire.CreatedTopic {
	return wire.CreatedTopic{
		Name: r.string(), ID: decodeTopicID(r), Err: decodeError(r),
		Partitions: signed[int32](r), ReplicationFactor: signed[int16](r),
		Configs: boundedList(r, decodeConfigEntry),
	}
}

func encodeDeletedTopic(w *writer, t wire.DeletedTopic) {
	w.array(3)
	w.string(t.Name)
	w.bytes(t.ID[:])
	encodeError(w, t.Err)
}

func decodeDeletedTopic(r *reader) wire.DeletedTopic {
	return wire.DeletedTopic{Name: r.string(), ID: decodeTopicID(r), Err: decodeError(r)}
}

// The documentation of a key does not travel: the receiver has its own.
func encodeConfigEntry(w *writer, e wire.ConfigEntry) {
	w.array(7)
	w.string(e.Name)
	encodeOptional(w, e.Value)
	w.int(int64(e.Source))
	w.int(int64(e.Type))
	w.bool(e.ReadOnly)
	w.bool(e.Sensitive)
	encodeList(w, e.Synonyms, func(w *writer, s wire.ConfigSynonym) {
		w.array(3)
		w.string(s.Name)
		encodeOptional(w, s.Value)
		w.int(int64(s.Source))
	})
}

func decodeConfigEntry(r *reader) wire.ConfigEntry {
	e := wire.ConfigEntry{
		Name: r.string(), Value: decodeOptional(r),
		Source: signed[wire.ConfigSource](r), Type: signed[wire.ConfigType](r),
		ReadOnly: r.bool(), Sensitive: r.bool(),
		Synonyms: boundedList(r, func(r *reader) wire.ConfigSynonym {
			return wire.ConfigSynonym{Name: r.string(), Value: decodeOptional(r), Source: signed[wire.ConfigSource](r)}
		}),
	}
	if key, known := LookupTopicKey(e.Name); known {
		e.Doc = key.Doc
	}
	return e
}
