package record

import (
	"encoding/binary"
	"math"

	"github.com/troupe-mq/troupe/wire"
)

// Builder makes one batch after the other in memory that it uses again. The zero Builder is one
// for uncompressed batches.
type Builder struct {
	codec         Codec
	level         int
	transactional bool

	batch         []byte // room for the header, then the records
	compressed    []byte // the finished batch when there is a codec
	count         int32
	baseTimestamp int64
	maxTimestamp  int64
}

// Reset begins a new batch. Level 0 is the codec's default.
func (b *Builder) Reset(codec Codec, level int, transactional bool) {
	b.codec, b.level, b.transactional = codec, level, transactional
	b.batch, b.count = b.batch[:0], 0
	b.baseTimestamp, b.maxTimestamp = NoTimestamp, NoTimestamp
}

// Append adds a record. A nil key or value is null. The caller keeps Len below 2 GiB.
func (b *Builder) Append(timestamp int64, key, value []byte, headers []RecordHeader) {
	if b.count == 0 {
		b.batch = append(b.batch[:0], make([]byte, HeaderBytes)...)
		b.baseTimestamp, b.maxTimestamp = timestamp, timestamp
	}
	b.maxTimestamp = max(b.maxTimestamp, timestamp)
	delta := timestamp - b.baseTimestamp
	size := bodyBytes(delta, b.count, key, value, headers)
	if uint64(len(b.batch)+size) > math.MaxInt32-maxVarint32 {
		panic("record: a batch grows over 2 GiB")
	}
	b.batch = appendRecord(b.batch, size, delta, b.count, key, value, headers)
	b.count++
}

// Count returns how many records the batch has so far.
func (b *Builder) Count() int { return int(b.count) }

// Len returns the size of the batch so far, before compression.
func (b *Builder) Len() int { return max(len(b.batch), HeaderBytes) }

// RecordBytes returns by how much Append would make Len grow.
func (b *Builder) RecordBytes(timestamp int64, key, value []byte, headers []RecordHeader) int {
	var delta int64
	if b.count > 0 {
		delta = timestamp - b.baseTimestamp
	}
	size := bodyBytes(delta, b.count, key, value, headers)
	return varint32Bytes(int32(size)) + size
}

// Finish returns the batch, which is the Builder's until the next Reset. Its base offset is 0 and
// its leader epoch unknown; a broker patches both. A producer without idempotence passes
// wire.NoProducer, -1, -1. Finish may be called again for the same records.
func (b *Builder) Finish(producer wire.ProducerID, epoch wire.ProducerEpoch, sequence wire.Sequence) []byte {
	if b.count == 0 {
		b.batch = append(b.batch[:0], make([]byte, HeaderBytes)...)
		b.baseTimestamp, b.maxTimestamp = NoTimestamp, NoTimestamp
	}
	h := Header{
		LeaderEpoch: wire.NoEpoch, Magic: Magic, Attributes: int16(b.codec),
		LastOffsetDelta: b.count - 1, BaseTimestamp: b.baseTimestamp, MaxTimestamp: b.maxTimestamp,
		Producer: producer, ProducerEpoch: epoch, BaseSequence: sequence, Count: b.count,
	}
	if b.transactional {
		h.Attributes |= AttributeTransactional
	}
	if b.codec == None {
		h.Length = int32(len(b.batch) - lengthOverhead)
		h.append(b.batch[:0])
		setCRC(b.batch)
		return b.batch
	}
	b.compressed = encode(b.compressed[:0], &h, b.level, b.batch[HeaderBytes:])
	return b.compressed
}

// encode appends a whole batch to dst, which is empty: the header, and the records compressed as
// the header's attributes say. Length and CRC come of them.
func encode(dst []byte, h *Header, level int, records []byte) []byte {
	dst = compress(h.append(dst), h.Codec(), level, records)
	binary.BigEndian.PutUint32(dst[LengthAt:], uint32(len(dst)-lengthOverhead))
	setCRC(dst)
	return dst
}

// bodyBytes returns the size of a record behind its length.
func bodyBytes(timestampDelta int64, offsetDelta int32, key, value []byte, headers []RecordHeader) int {
	n := 1 + varint64Bytes(timestampDelta) + varint32Bytes(offsetDelta) +
		nullableBytes(key) + nullableBytes(value) + varint32Bytes(int32(len(headers)))
	for i := range headers {
		h := &headers[i]
		n += varint32Bytes(int32(len(h.Key))) + len(h.Key) + nullableBytes(h.Value)
	}
	return n
}

func nullableBytes(b []byte) int {
	if b == nil {
		return 1
	}
	return varint32Bytes(int32(len(b))) + len(b)
}

func appendRecord(dst []byte, size int, timestampDelta int64, offsetDelta int32,
	key, value []byte, headers []RecordHeader,
) []byte {
	dst = appendVarint32(dst, int32(size))
	dst = append(dst, 0)
	dst = appendVarint64(dst, timestampDelta)
	dst = appendVarint32(dst, offsetDelta)
	dst = appendNullable(dst, key)
	dst = appendNullable(dst, value)
	dst = appendVarint32(dst, int32(len(headers)))
	for i := range headers {
		h := &headers[i]
		dst = appendVarint32(dst, int32(len(h.Key)))
		dst = append(dst, h.Key...)
		dst = appendNullable(dst, h.Value)
	}
	return dst
}

func appendNullable(dst, b []byte) []byte {
	if b == nil {
		return append(dst, 1) // -1
	}
	return append(appendVarint32(dst, int32(len(b))), b...)
}
