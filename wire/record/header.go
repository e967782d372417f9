package record

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/troupe-mq/troupe/wire"
)

// HeaderBytes is the size of a batch's header; the records follow it.
const HeaderBytes = 61

// Where each field of the header begins. All numbers are big endian.
const (
	BaseOffsetAt      = 0
	LengthAt          = 8
	LeaderEpochAt     = 12
	MagicAt           = 16
	CRCAt             = 17
	AttributesAt      = 21
	LastOffsetDeltaAt = 23
	BaseTimestampAt   = 27
	MaxTimestampAt    = 35
	ProducerIDAt      = 43
	ProducerEpochAt   = 51
	BaseSequenceAt    = 53
	CountAt           = 57
)

// Magic is the only batch format that this package reads.
const Magic = 2

const (
	lengthOverhead = LeaderEpochAt                // the length counts what comes after it
	minLength      = HeaderBytes - lengthOverhead // of a batch without records
)

// The bits of a batch's attributes.
const (
	AttributeCodec         = 0x07 // a Codec
	AttributeLogAppendTime = 0x08 // MaxTimestamp is every record's timestamp
	AttributeTransactional = 0x10
	AttributeControl       = 0x20 // the record is a transaction marker, not a client's
	AttributeDeleteHorizon = 0x40 // BaseTimestamp is when compaction may drop the tombstones
)

// NoTimestamp is the timestamp of a record whose producer gave none.
const NoTimestamp int64 = -1

// What can be wrong with a batch. Each carries the ErrorCode that a producer is answered.
var (
	ErrTruncated = wire.Errorf(wire.CorruptMessage, "the bytes end within a record batch")
	ErrLength    = wire.Errorf(wire.CorruptMessage, "the batch's length is smaller than its header")
	ErrMagic     = wire.Errorf(wire.UnsupportedForMessageFormat, "the record batch is not of format 2")
	ErrCRC       = wire.Errorf(wire.CorruptMessage, "the batch's checksum is wrong")
	ErrHeader    = wire.Errorf(wire.CorruptMessage, "the batch's header contradicts itself")
)

// Header is what the first 61 bytes of a batch say. The fields are as on the wire.
type Header struct {
	BaseOffset      wire.Offset
	Length          int32 // of what follows the length field
	LeaderEpoch     wire.LeaderEpoch
	Magic           int8
	CRC             uint32
	Attributes      int16
	LastOffsetDelta int32
	BaseTimestamp   int64
	MaxTimestamp    int64
	Producer        wire.ProducerID
	ProducerEpoch   wire.ProducerEpoch
	BaseSequence    wire.Sequence
	Count           int32 // of records; less than LastOffsetDelta+1 after compaction
}

// Size returns the size of the whole batch in bytes.
func (h *Header) Size() int { return lengthOverhead + int(h.Length) }

// LastOffset returns the offset of the batch's last record (before compaction).
func (h *Header) LastOffset() wire.Offset { return h.BaseOffset + wire.Offset(h.LastOffsetDelta) }

// NextOffset returns the first offset after the batch.
func (h *Header) NextOffset() wire.Offset { return h.LastOffset() + 1 }

// LastSequence returns the sequence of the last record, and -1 for a batch without a sequence.
func (h *Header) LastSequence() wire.Sequence {
	if h.BaseSequence < 0 {
		return -1
	}
	return h.BaseSequence.Next(h.LastOffsetDelta)
}

// Codec returns how the records are compressed. It may be one that does not exist.
func (h *Header) Codec() Codec { return Codec(h.Attributes & AttributeCodec) }

// Transactional says that the batch belongs to a transaction.
func (h *Header) Transactional() bool { return h.Attributes&AttributeTransactional != 0 }

// Control says that the batch holds a transaction marker.
func (h *Header) Control() bool { return h.Attributes&AttributeControl != 0 }

// LogAppendTime says that MaxTimestamp, set by the broker, is the timestamp of all records.
func (h *Header) LogAppendTime() bool { return h.Attributes&AttributeLogAppendTime != 0 }

// HasDeleteHorizon says that BaseTimestamp is the time from which compaction drops the batch's
// tombstones and markers.
func (h *Header) HasDeleteHorizon() bool { return h.Attributes&AttributeDeleteHorizon != 0 }

// HasProducer says that the batch comes from an idempotent producer.
func (h *Header) HasProducer() bool { return h.Producer > wire.NoProducer }

// Consistent returns ErrHeader unless the header could be that of a batch in a log: offsets from
// 0 on that do not overflow, and no more records than offsets.
func (h *Header) Consistent() error {
	if h.BaseOffset < 0 || h.LastOffsetDelta < 0 || h.NextOffset() < 0 ||
		h.Count < 0 || int64(h.Count) > int64(h.LastOffsetDelta)+1 {
		return ErrHeader
	}
	return nil
}

// ParseHeader reads the header at the beginning of b, which need not hold the records. It says
// ErrMagic of what is no format 2, ErrTruncated when b is shorter than a header, and ErrLength of a
// batch shorter than its header; the Header holds what could be read.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderBytes {
		// Formats 0 and 1 have their magic at the same place and are shorter.
		if len(b) > MagicAt && int8(b[MagicAt]) != Magic {
			return Header{Magic: int8(b[MagicAt])}, ErrMagic
		}
		return Header{}, ErrTruncated
	}
	b = b[:HeaderBytes:HeaderBytes]
	h := Header{
		BaseOffset:      wire.Offset(binary.BigEndian.Uint64(b[BaseOffsetAt:])),
		Length:          int32(binary.BigEndian.Uint32(b[LengthAt:])),
		LeaderEpoch:     wire.LeaderEpoch(binary.BigEndian.Uint32(b[LeaderEpochAt:])),
		Magic:           int8(b[MagicAt]),
		CRC:             binary.BigEndian.Uint32(b[CRCAt:]),
		Attributes:      int16(binary.BigEndian.Uint16(b[AttributesAt:])),
		LastOffsetDelta: int32(binary.BigEndian.Uint32(b[LastOffsetDeltaAt:])),
		BaseTimestamp:   int64(binary.BigEndian.Uint64(b[BaseTimestampAt:])),
		MaxTimestamp:    int64(binary.BigEndian.Uint64(b[MaxTimestampAt:])),
		Producer:        wire.ProducerID(binary.BigEndian.Uint64(b[ProducerIDAt:])),
		ProducerEpoch:   wire.ProducerEpoch(binary.BigEndian.Uint16(b[ProducerEpochAt:])),
		BaseSequence:    wire.Sequence(binary.BigEndian.Uint32(b[BaseSequenceAt:])),
		Count:           int32(binary.BigEndian.Uint32(b[CountAt:])),
	}
	if h.Magic != Magic {
		return h, ErrMagic
	}
	if h.Length < minLength {
		return h, ErrLength
	}
	return h, nil
}

// append writes the header as 61 bytes behind b.
func (h *Header) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(h.BaseOffset))
	b = binary.BigEndian.AppendUint32(b, uint32(h.Length))
	b = binary.BigEndian.AppendUint32(b, uint32(h.LeaderEpoch))
	b = append(b, byte(h.Magic))
	b = binary.BigEndian.AppendUint32(b, h.CRC)
	b = binary.BigEndian.AppendUint16(b, uint16(h.Attributes))
	b = binary.BigEndian.AppendUint32(b, uint32(h.LastOffsetDelta))
	b = binary.BigEndian.AppendUint64(b, uint64(h.BaseTimestamp))
	b = binary.BigEndian.AppendUint64(b, uint64(h.MaxTimestamp))
	b = binary.BigEndian.AppendUint64(b, uint64(h.Producer))
	b = binary.BigEndian.AppendUint16(b, uint16(h.ProducerEpoch))
	b = binary.BigEndian.AppendUint32(b, uint32(h.BaseSequence))
	return binary.BigEndian.AppendUint32(b, uint32(h.Count))
}

// Next takes the first batch off b. It says ErrTruncated when b ends within the batch, as it does
// at the end of most fetch answers; the Header is then valid if b held all of it.
func Next(b []byte) (h Header, batch, rest []byte, err error) {
	if h, err = ParseHeader(b); err != nil {
		return h, nil, b, err
	}
	size := h.Size()
	if size > len(b) {
		return h, nil, b, ErrTruncated
	}
	return h, b[:size:size], b[size:], nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// VerifyCRC says whether a whole batch has the checksum that its header claims.
func VerifyCRC(batch []byte) bool {
	return len(batch) >= HeaderBytes &&
		crc32.Checksum(batch[AttributesAt:], castagnoli) == binary.BigEndian.Uint32(batch[CRCAt:])
}

func setCRC(batch []byte) {
	binary.BigEndian.PutUint32(batch[CRCAt:], crc32.Checksum(batch[AttributesAt:], castagnoli))
}

// SetBaseOffset gives the batch its place in the log. The CRC does not cover it.
func SetBaseOffset(batch []byte, offset wire.Offset) {
	binary.BigEndian.PutUint64(batch[BaseOffsetAt:], uint64(offset))
}

// SetLeaderEpoch tells in which epoch the batch was appended. The CRC does not cover it.
func SetLeaderEpoch(batch []byte, epoch wire.LeaderEpoch) {
	binary.BigEndian.PutUint32(batch[LeaderEpochAt:], uint32(epoch))
}

// SetProducer makes a whole batch one of another producer or epoch, as an idempotent producer
// does with batches still to send when its epoch changed, and renews the CRC.
func SetProducer(batch []byte, producer wire.ProducerID, epoch wire.ProducerEpoch, base wire.Sequence) {
	binary.BigEndian.PutUint64(batch[ProducerIDAt:], uint64(producer))
	binary.BigEndian.PutUint16(batch[ProducerEpochAt:], uint16(epoch))
	binary.BigEndian.PutUint32(batch[BaseSequenceAt:], uint32(base))
	setCRC(batch)
}

// StampLogAppendTime makes nowMillis the timestamp of all records of a whole batch and renews the
// CRC. The base timestamp and the differences stay as the producer wrote them.
func StampLogAppendTime(batch []byte, nowMillis int64) {
	attributes := binary.BigEndian.Uint16(batch[AttributesAt:]) | AttributeLogAppendTime
	binary.BigEndian.PutUint16(batch[AttributesAt:], attributes)
	setMaxTimestamp(batch, nowMillis)
}

// setMaxTimestamp corrects the largest timestamp of a whole batch and renews the CRC.
func setMaxTimestamp(batch []byte, millis int64) {
	binary.BigEndian.PutUint64(batch[MaxTimestampAt:], uint64(millis))
	setCRC(batch)
}
