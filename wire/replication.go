package wire

import "time"

// Produce asks the leader of a partition to append record batches. Exactly one reply goes to
// Done, whatever happens to the replica, unless Acks is AcksNone: then Done is told as well, so
// that the sender can account for the bytes, but the client is not.
type Produce struct {
	Topic     TopicID
	Partition int32
	Acks      Acks
	Deadline  time.Time // an acks=all that is not replicated by then is answered RequestTimedOut

	// Batches holds one or more whole record batches v2, checked at the door (package record).
	// The leader patches base offset and leader epoch in place: the sender does not look at
	// them after sending.
	Batches []byte
	// Buffer holds Batches and has been retained for the receiver, who releases it. It may be
	// nil, when the garbage collector owns the bytes.
	Buffer *Buffer

	Done ProduceDone
	Slot int // the sender's own, given back to Done
}

// ProduceDone is told the outcome of a Produce: once, on any goroutine. It must not block.
type ProduceDone interface {
	ProduceDone(slot int, reply ProduceReply)
}

// ProduceReply is the outcome of a Produce. With Err nil the batches are in the log from
// BaseOffset on, as safely as Acks asked.
type ProduceReply struct {
	Err            error // wraps an ErrorCode
	BaseOffset     Offset
	LogStartOffset Offset
	Leader         LeaderHint // who leads, when it is not this broker (KIP-951)
}

// LeaderHint tells a client that came to the wrong broker where the partition is led.
// Without a hint Broker is NoBroker and LeaderEpoch NoEpoch.
type LeaderHint struct {
	Broker      BrokerID
	LeaderEpoch LeaderEpoch
}

// NoHint is a LeaderHint that tells nothing.
var NoHint = LeaderHint{Broker: NoBroker, LeaderEpoch: NoEpoch}

// IsolationLevel says how far a consumer reads.
type IsolationLevel int8

// A consumer reads up to the high watermark, or up to the last stable offset.
const (
	ReadUncommitted IsolationLevel = 0
	ReadCommitted   IsolationLevel = 1
)

// Fetch asks for a partition's records from FetchOffset on.
type Fetch struct {
	Topic            TopicID
	Partition        int32
	CurrentEpoch     LeaderEpoch // the epoch the client believes in, or NoEpoch
	LastFetchedEpoch LeaderEpoch // of the last record the client has, or NoEpoch
	FetchOffset      Offset
	MaxBytes         int  // of records
	AtLeastOne       bool // the first batch is returned whole even if it is larger than MaxBytes
	Isolation        IsolationLevel

	// Rack is where the client says it stands, if it may fetch from a follower there (KIP-392): then
	// the leader names one, if it may, and a follower answers. With "" only the leader does. It does not travel
	// in the native protocol.
	Rack string
}

// Fetched is what a partition has for a Fetch at this moment. The receiver releases Records.
// The offsets are -1 where the error leaves them unknown.
type Fetched struct {
	Err              error
	HighWatermark    Offset
	LastStableOffset Offset
	LogStartOffset   Offset
	Diverging        *EpochEnd // set when the client's log went another way (KIP-320)
	Aborted          []AbortedTransaction
	Records          Records
	Leader           LeaderHint
	Preferred        *BrokerID // a follower in the client's rack that it is to fetch from instead (KIP-392)
	FromFollower     bool      // the offsets are what a follower knows
}

// AbortedTransaction tells a read_committed consumer which records of a producer to drop.
type AbortedTransaction struct {
	Producer    ProducerID
	FirstOffset Offset
}

// EpochEnd is where a leader epoch ends: the offset at which the next larger one begins.
type EpochEnd struct {
	LeaderEpoch LeaderEpoch
	EndOffset   Offset
}

// ListOffsets asks for the offset that belongs to a timestamp, in milliseconds since 1970, or to
// one of the special timestamps (LatestTimestamp and its neighbours).
type ListOffsets struct {
	Topic        TopicID
	Partition    int32
	CurrentEpoch LeaderEpoch
	Timestamp    int64
	Isolation    IsolationLevel
}

// ListedOffset answers ListOffsets. Offset is NoOffset and Timestamp -1 when no record is that new.
type ListedOffset struct {
	Err         error
	Offset      Offset
	Timestamp   int64
	LeaderEpoch LeaderEpoch
	Leader      LeaderHint
}

// OffsetForEpoch asks where a leader epoch ended in the leader's log (KIP-101, KIP-320).
type OffsetForEpoch struct {
	Topic        TopicID
	Partition    int32
	CurrentEpoch LeaderEpoch
	LeaderEpoch  LeaderEpoch // the one asked about
}

// OffsetForEpochReply carries the largest epoch not above the one asked for, and its end;
// NoEpoch and NoOffset when there is none.
type OffsetForEpochReply struct {
	Err error
	End EpochEnd
}

// DeleteRecords asks the leader to move the log start up to Before (exclusive); NoOffset means
// the high watermark. The reply carries the new log start offset.
type DeleteRecords struct {
	Topic     TopicID
	Partition int32
	Before    Offset
}

// ProducerState is what a partition knows of an idempotent producer.
type ProducerState struct {
	Producer         ProducerID
	Epoch            ProducerEpoch
	LastSequence     Sequence // -1 when the producer has no batch here
	LastOffset       Offset   // of the last record of the last batch
	LastTimestamp    int64    // milliseconds since 1970
	CoordinatorEpoch int32    // -1: no transaction marker was written
	CurrentTxnStart  Offset   // NoOffset when no transaction is open
}

// LogDir is a log directory of a broker, for DescribeLogDirs.
type LogDir struct {
	Path        string
	Err         error // KafkaStorageError when the directory is offline
	TotalBytes  int64 // of the volume; -1 unknown
	UsableBytes int64 // free on the volume; -1 unknown
	Partitions  []LogDirPartition
}

// LogDirPartition is one partition's share of a log directory.
type LogDirPartition struct {
	Topic     string
	Partition int32
	Bytes     int64
}

// InitProducerID asks for a producer id, or with a Producer for the next epoch of that one (KIP-360).
type InitProducerID struct {
	TransactionalID *string
	TimeoutMillis   int32
	Producer        ProducerID
	Epoch           ProducerEpoch
}

// ProducerIdentity is what a producer puts into its batches.
type ProducerIdentity struct {
	Producer ProducerID
	Epoch    ProducerEpoch
}

// ProducerBatch is one batch of an idempotent producer, as producer-state snapshots keep it. A
// producer has up to five, oldest first; the last one carries the state of the producer.
type ProducerBatch struct {
	Producer         ProducerID
	Epoch            ProducerEpoch
	LastSequence     Sequence
	LastOffset       Offset
	OffsetDelta      int32 // LastOffset - first offset
	Timestamp        int64 // the batch's largest, milliseconds since 1970
	CoordinatorEpoch int32
	CurrentTxnStart  Offset // NoOffset when no transaction is open
}
