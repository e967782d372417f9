package client

import (
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// Offset is a record's place in its partition.
type Offset = wire.Offset

// Record is one record: what is produced, and what is consumed.
type Record struct {
	Topic string
	// Partition is where a consumed record was. For producing it is looked at by the Explicit
	// partitioner only, and set when the record is handed to its callback.
	Partition int32
	// Offset is set when the record is consumed or acknowledged; -1 where it is not known.
	Offset Offset
	// Timestamp has milliseconds. A record produced without one gets the time of Produce.
	Timestamp time.Time
	Key       []byte // nil is no key, which is not the same as an empty one
	Value     []byte // nil is no value: in a compacted topic it deletes the key
	Headers   []Header
}

// Header is a name and a value that travel with a record. Names may repeat.
type Header struct {
	Key   string
	Value []byte
}

// bytes estimates the memory that a record takes until it is acknowledged: its bytes in the batch,
// and itself, to be given to its callback.
func (r *Record) bytes() int {
	n := recordOverheadBytes + len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += headerOverheadBytes + len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}

const (
	recordOverheadBytes = 24 + 160 // of the record in the batch, and of pending
	headerOverheadBytes = 6
)
