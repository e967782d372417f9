package record

import (
	"encoding/binary"
	"fmt"

	"github.com/troupe-mq/troupe/wire"
)

// What a produced batch may hold when the topic needs it decompressed: DefaultMaxDecompressed at
// most, and above smallDecompressed no more than maxRatio times the bytes received, so that a few
// bytes from a stranger never become much memory.
//
// Kafka: has no limit. Java's client answers MessageTooLarge by splitting a compressed batch, so
// even records that shrink better than this get in.
const (
	DefaultMaxDecompressed = 64 << 20
	smallDecompressed      = 1 << 20
	maxRatio               = 256
)

func maxDecompressed(compressed int) int {
	return min(DefaultMaxDecompressed, max(smallDecompressed, maxRatio*compressed))
}

// Checked is what Check found in a batch that may be appended.
type Checked struct {
	Batches      []byte // the batch to append
	Rewritten    bool   // Batches is new memory, not what was given to Check
	Header       Header // of Batches
	Records      int32
	Bytes        int   // len(Batches)
	MaxTimestamp int64 // of the records, NoTimestamp when none has one
}

// RecordError tells what is wrong with one record of a batch.
type RecordError struct { //nolint:revive // Kafka's name for it in the protocol
	Index   int32 // in the batch
	Message string
}

// InvalidRecordsError refuses a batch for some of its records, and names them.
type InvalidRecordsError struct {
	Code    wire.ErrorCode // InvalidRecord, or InvalidTimestamp
	Records []RecordError  // the first hundred
}

func (e *InvalidRecordsError) Error() string { return e.Unwrap().Error() }

// Unwrap makes errors.Is(err, e.Code) and wire.Sentence work.
func (e *InvalidRecordsError) Unwrap() error {
	first := RecordError{}
	if len(e.Records) > 0 {
		first = e.Records[0]
	}
	return &wire.CodedError{
		Code:    e.Code,
		Message: fmt.Sprintf("records of the batch are refused, the first is %d: %s", first.Index, first.Message),
	}
}

var (
	errEmpty    = wire.Errorf(wire.InvalidRecord, "a partition without a record batch is produced to")
	errMore     = wire.Errorf(wire.InvalidRecord, "more than one record batch is produced to a partition")
	errControl  = wire.Errorf(wire.InvalidRecord, "a client may not write control records")
	errHorizon  = wire.Errorf(wire.InvalidRecord, "a client may not set the delete horizon")
	errStamped  = wire.Errorf(wire.InvalidTimestamp, "a client may not set the timestamp type to LogAppendTime")
	errUntimely = wire.Errorf(wire.InvalidTimestamp, "the batch's timestamps are outside the range that the topic takes")
)

// Check is the door: it says whether a broker may append what a client produced to one partition
// of a topic with these limits. It expects anything from a client and believes nothing.
//
// It may change the bytes it was given in place: with LogAppendTime it stamps the batch, and it
// corrects a wrong largest timestamp. When the topic wants another codec the batch is made anew.
//
// Uncompressed records are walked one by one. Compressed ones are decompressed only when the topic
// needs it: when it is compacted, or wants another codec. Otherwise header and checksum must do,
// and a consumer that meets a lie behind them refuses that batch.
//
// Kafka: decompresses always. Since the producer's compression is there to save that work, we do
// not, and so see timestamps of compressed records only as the batch's first and largest.
func Check(batches []byte, limits *wire.RecordLimits, nowMillis int64) (Checked, error) {
	h, batch, err := one(batches, limits)
	if err != nil {
		return Checked{}, err
	}
	if err := checkHeader(&h); err != nil {
		return Checked{}, err
	}
	w := newWalk(&h)
	w.keyed = limits.Compacted
	if !limits.LogAppendTime {
		w.limitTimestamps(limits, nowMillis)
	}
	target, recode := h.Codec(), false
	if limits.Compression != "" && limits.Compression != "producer" {
		if target, err = ParseCodec(limits.Compression); err != nil {
			return Checked{}, err
		}
		recode = target != h.Codec()
	}

	records := batch[HeaderBytes:]
	walked := true
	switch {
	case h.Codec() == None:
	case recode || limits.Compacted:
		memory, err := decompress(h.Codec(), records, maxDecompressed(len(records)))
		if err != nil {
			return Checked{}, err
		}
		defer memory.Release()
		records = memory.Bytes
	default:
		walked = false
	}
	if walked {
		err = w.records(records)
	} else {
		err = w.header(&h)
	}
	if err == nil {
		err = w.verdict()
	}
	if err != nil {
		return Checked{}, err
	}
	if recode {
		h.Attributes = h.Attributes&^AttributeCodec | int16(target)
		batch = encode(nil, &h, limits.CompressionLevel, records)
		if len(batch) > limits.MaxBatchBytes {
			return Checked{}, tooLarge(len(batch), limits)
		}
	}
	return checked(batch, recode, &w, limits.LogAppendTime, nowMillis), nil
}

// one takes the only batch, whole and undamaged, out of what was produced.
//
// Kafka: answers InvalidRecord to older formats; UnsupportedForMessageFormat says what is wrong.
func one(batches []byte, limits *wire.RecordLimits) (Header, []byte, error) {
	if len(batches) == 0 {
		return Header{}, nil, errEmpty
	}
	h, batch, rest, err := Next(batches)
	switch {
	case h.Magic == Magic && h.Size() > limits.MaxBatchBytes:
		return h, nil, tooLarge(h.Size(), limits)
	case err != nil:
		return h, nil, err
	case len(rest) > 0:
		return h, nil, errMore
	case !VerifyCRC(batch):
		return h, nil, ErrCRC
	}
	return h, batch, nil
}

func tooLarge(size int, limits *wire.RecordLimits) error {
	return wire.Errorf(wire.MessageTooLarge, "the batch has %d bytes, the topic takes %d", size, limits.MaxBatchBytes)
}

// checkHeader checks what a client may say in a header.
func checkHeader(h *Header) error {
	switch {
	case !h.Codec().Known():
		return ErrCodec
	case h.Control():
		return errControl
	// Kafka: does not look at this bit here.
	case h.HasDeleteHorizon():
		return errHorizon
	case h.LogAppendTime():
		return errStamped
	case h.Count <= 0 || int64(h.Count) != int64(h.LastOffsetDelta)+1:
		return wire.Errorf(wire.InvalidRecord, "the batch counts %d records up to offset delta %d", h.Count, h.LastOffsetDelta)
	case h.HasProducer() && (h.ProducerEpoch < 0 || h.BaseSequence < 0):
		return wire.Errorf(wire.InvalidRecord, "the batch of producer %d has epoch %d and sequence %d",
			h.Producer, h.ProducerEpoch, h.BaseSequence)
	case h.Transactional() && !h.HasProducer():
		return wire.Errorf(wire.InvalidRecord, "the batch is transactional and has no producer id")
	}
	return nil
}

func (w *walk) limitTimestamps(limits *wire.RecordLimits, nowMillis int64) {
	if limits.TimestampBefore >= 0 {
		w.oldest = nowMillis - limits.TimestampBefore.Milliseconds()
	}
	if limits.TimestampAfter >= 0 {
		w.newest = nowMillis + limits.TimestampAfter.Milliseconds()
	}
}

// header is the walk over a batch that stays closed: its first and largest timestamps must do.
func (w *walk) header(h *Header) error {
	w.maxTimestamp = h.MaxTimestamp
	if h.MaxTimestamp > w.newest || h.BaseTimestamp < w.oldest && h.BaseTimestamp != NoTimestamp {
		return errUntimely
	}
	return nil
}

func (w *walk) verdict() error {
	switch {
	case w.untimely:
		return &InvalidRecordsError{Code: wire.InvalidTimestamp, Records: w.faults}
	case len(w.faults) > 0:
		return &InvalidRecordsError{Code: wire.InvalidRecord, Records: w.faults}
	}
	return nil
}

// checked finishes a batch that is welcome: its timestamps become what the topic wants.
func checked(batch []byte, rewritten bool, w *walk, logAppendTime bool, nowMillis int64) Checked {
	switch {
	case logAppendTime:
		StampLogAppendTime(batch, nowMillis)
	case w.maxTimestamp != int64(binary.BigEndian.Uint64(batch[MaxTimestampAt:])):
		setMaxTimestamp(batch, w.maxTimestamp)
	}
	h, _ := ParseHeader(batch) // it was parsed before
	return Checked{
		Batches: batch, Rewritten: rewritten, Header: h,
		Records: h.Count, Bytes: len(batch), MaxTimestamp: h.MaxTimestamp,
	}
}
