package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Magic opens a native connection, in both directions. As a Kafka length prefix it would be
// negative, so the first four bytes tell the two protocols apart on one port.
var Magic = [4]byte{0xFF, 'T', 'R', 'P'}

// The versions of the native protocol that this code speaks.
const (
	MinProtocol = 1
	MaxProtocol = 1
)

// Kind says what a frame asks for. The answer has the same kind, or is KindFailed.
type Kind uint8

// The kinds that clients send. Those between brokers, from 64 on, are not decoded by the client's
// listener.
const (
	KindFailed           Kind = 0 // only as an answer: a Failure
	KindGreeting         Kind = 1
	KindPing             Kind = 2
	KindProduce          Kind = 3
	KindFetch            Kind = 4
	KindListOffsets      Kind = 5
	KindOffsetForEpoch   Kind = 6
	KindDeleteRecords    Kind = 7
	KindMetadata         Kind = 8
	KindCreateTopics     Kind = 9
	KindDeleteTopics     Kind = 10
	KindCreatePartitions Kind = 11
	KindDescribeConfigs  Kind = 12
	KindAlterConfigs     Kind = 13
	KindInitProducerID   Kind = 14
	KindDescribeLogDirs  Kind = 15

	KindDescribeCluster    Kind = 16
	KindClusterHealth      Kind = 17
	KindElectLeaders       Kind = 18
	KindAlterReassignments Kind = 19
	KindRemoveBroker       Kind = 20
	KindGossipKeys         Kind = 21
	KindRotateGossipKey    Kind = 22

	KindConsumerHeartbeat Kind = 23
	KindCommitOffsets     Kind = 24
	KindFetchOffsets      Kind = 25
	KindDeleteOffsets     Kind = 26
	KindListGroups        Kind = 27
	KindDescribeGroup     Kind = 28
	KindDeleteGroup       Kind = 29
	KindGroupHistory      Kind = 30
	KindAppendTimes       Kind = 31
	KindLeaveGroup        Kind = 32

	MaxClientKind    Kind = 32
	frameHeadFields       = 4
	frameLengthBytes      = 4
	firstFrameBytes       = 64 << 10
	minTrustedBytes       = 64 << 10
	trustGrowth           = 4
)

var kindNames = [MaxClientKind + 1]string{
	"failed", "greeting", "ping", "produce", "fetch", "list_offsets", "offset_for_epoch", "delete_records",
	"metadata", "create_topics", "delete_topics", "create_partitions", "describe_configs", "alter_configs",
	"init_producer_id", "describe_log_dirs", "describe_cluster", "cluster_health", "elect_leaders",
	"alter_reassignments", "remove_broker", "gossip_keys", "rotate_gossip_key",
	"consumer_heartbeat", "commit_offsets", "fetch_offsets", "delete_offsets", "list_groups", "describe_group",
	"delete_group", "group_history", "append_times", "leave_group",
}

// String names the kind, for logs and metrics.
func (k Kind) String() string {
	if k <= MaxClientKind {
		return kindNames[k]
	}
	if name, ok := peerKindNames[k]; ok {
		return name
	}
	return "unknown"
}

// Frame is a frame without its length: [correlation id, kind, payload length, body], payload.
type Frame struct {
	Correlation uint32 // chosen by who asks, repeated in the answer
	Kind        Kind
	Body        []byte // one message in msgpack, for Parse
	Payload     []byte // record batches, raw
}

// AppendFrame appends a whole frame to b, all but its payload: payload bytes must follow.
func AppendFrame(b []byte, correlation uint32, kind Kind, m Message, payload int) []byte {
	start := len(b)
	e := newEncoder(append(b, 0, 0, 0, 0))
	e.array(frameHeadFields)
	e.int(int64(correlation))
	e.int(int64(kind))
	e.int(int64(payload))
	m.encode(e)
	b = e.finish()
	length := len(b) - start - frameLengthBytes + payload
	binary.BigEndian.PutUint32(b[start:], uint32(length))
	return b
}

// ParseFrame takes a frame apart. Body and Payload alias b.
func ParseFrame(b []byte) (Frame, error) {
	d := newDecoder(b)
	var f Frame
	d.open()
	f.Correlation, f.Kind = integer[uint32](d), integer[Kind](d)
	payload := d.length()
	if d.err == nil && d.left == 0 {
		d.fail(malformed("a frame without a body"))
	}
	body := d.in.at
	if err := d.finish(); err != nil {
		return f, err
	}
	if payload > len(b)-body {
		return f, malformed("a payload of %d bytes in a frame of %d", payload, len(b))
	}
	end := len(b) - payload
	f.Body, f.Payload = b[body:end:end], b[end:]
	return f, nil
}

// ErrFrameTooLarge is wrapped by the error about a frame that is longer than the reader allows.
var ErrFrameTooLarge = errors.New("frame too large")

// FrameReader reads frames from one connection, without trusting the lengths it is told: a buffer
// grows to a few times what the connection has sent before.
type FrameReader struct {
	r       io.Reader
	limit   int
	trusted int
	prefix  [frameLengthBytes]byte
}

// NewFrameReader returns a reader that accepts a first frame of at most 64 KiB, or limit if that
// is less. The reads should be buffered.
func NewFrameReader(r io.Reader, limit int) *FrameReader {
	return &FrameReader{r: r, limit: min(limit, firstFrameBytes), trusted: minTrustedBytes}
}

// Limit sets the longest frame that is accepted from now on.
func (f *FrameReader) Limit(limit int) { f.limit = limit }

// Length reads the length of the next frame, so that the caller can wait for room before Next.
func (f *FrameReader) Length() (int, error) {
	if _, err := io.ReadFull(f.r, f.prefix[:]); err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint32(f.prefix[:])
	if int64(n) > int64(f.limit) {
		return 0, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrFrameTooLarge, n, f.limit)
	}
	return int(n), nil
}

// Read reads a frame of n bytes, as Length told, into a pooled buffer with one holder.
func (f *FrameReader) Read(n int) (*Buffer, error) {
	have := 0
	b := NewBuffer(min(n, f.trusted))
	for {
		m, err := io.ReadFull(f.r, b.Bytes[have:])
		have += m
		if err != nil {
			b.Release()
			return nil, unexpectedEOF(err)
		}
		if have == n {
			f.trusted = max(f.trusted, min(n, f.limit/trustGrowth)*trustGrowth)
			return b, nil
		}
		grown := NewBuffer(min(n, have*trustGrowth))
		copy(grown.Bytes, b.Bytes)
		b.Release()
		b = grown
	}
}

// Next reads one whole frame.
func (f *FrameReader) Next() (*Buffer, error) {
	n, err := f.Length()
	if err != nil {
		return nil, err
	}
	return f.Read(n)
}

// unexpectedEOF turns the end of a stream in the middle of a frame into an error of its own.
func unexpectedEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
