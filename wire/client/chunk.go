package client

import (
	"errors"
	"fmt"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// maxDecompressedBytes bounds what one compressed batch may become.
const maxDecompressedBytes = 256 << 20

// chunk is a stretch of fetched record batches of one partition, opened batch by batch as its
// records are taken.
type chunk struct {
	topic     string
	partition int32
	bytes     []byte
	next      Offset // the next record to hand out; those before it are passed over
	reader    record.Reader
	open      bool             // reader is within a batch
	end       Offset           // of that batch
	epoch     wire.LeaderEpoch // of the last record handed out or passed over; NoEpoch before
	scratch   record.Record
}

// take appends up to limit records to list. The chunk is finished when it returns fewer.
// After an error next is the first offset that could not be read.
func (c *chunk) take(list []Record, limit int) ([]Record, error) {
	for taken := 0; taken < limit; {
		if !c.open {
			more, err := c.openBatch()
			if err != nil || !more {
				return list, err
			}
			continue
		}
		if !c.reader.Next(&c.scratch) {
			if err := c.reader.Err(); err != nil {
				return list, c.broken(err)
			}
			// The reader is dropped, not closed: the records of a compressed batch lie in its memory.
			c.reader, c.open, c.next = record.Reader{}, false, max(c.next, c.end)
			continue
		}
		if c.scratch.Offset < c.next {
			continue // fetches begin at batches, not at records
		}
		c.next = c.scratch.Offset + 1
		list = append(list, c.record())
		taken++
	}
	return list, nil
}

// openBatch begins the next batch that clients may see. It returns false when there is none.
func (c *chunk) openBatch() (bool, error) {
	for {
		h, batch, rest, err := record.Next(c.bytes)
		if errors.Is(err, record.ErrTruncated) {
			return false, nil // the answer ends within a batch, as fetch answers may
		}
		if err != nil {
			return false, c.broken(err)
		}
		if !record.VerifyCRC(batch) {
			return false, c.broken(record.ErrCRC)
		}
		if err := h.Consistent(); err != nil {
			return false, c.broken(err)
		}
		c.bytes, c.epoch = rest, h.LeaderEpoch
		if h.Control() || h.NextOffset() <= c.next {
			c.next = max(c.next, h.NextOffset())
			continue
		}
		if err := c.reader.Reset(batch, maxDecompressedBytes); err != nil {
			return false, c.broken(err)
		}
		c.open, c.end = true, h.NextOffset()
		return true, nil
	}
}

func (c *chunk) broken(err error) error {
	return &PartitionError{c.topic, c.partition, c.next, fmt.Errorf("%w; the batch cannot be read", err)}
}

func (c *chunk) record() Record {
	r := Record{
		Topic: c.topic, Partition: c.partition, Offset: c.scratch.Offset,
		Key: c.scratch.Key, Value: c.scratch.Value,
	}
	if c.scratch.Timestamp >= 0 {
		r.Timestamp = time.UnixMilli(c.scratch.Timestamp)
	}
	if len(c.scratch.Headers) > 0 {
		r.Headers = make([]Header, len(c.scratch.Headers))
		for i, h := range c.scratch.Headers {
			r.Headers[i] = Header{Key: h.Key, Value: h.Value}
		}
	}
	return r
}
