package client

import (
	"sync"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// pending is a record that is not acknowledged yet.
type pending struct {
	record Record
	done   func(Record, error)
	bytes  int // of the producer's room
}

// batch is a record batch on its way.
type batch struct {
	builder record.Builder
	records []pending
	bytes   int // of the producer's room
	since   time.Time
	hurried bool // somebody waits: do not linger

	data     []byte // as sent; the builder's memory
	numbered bool   // who and sequence are set, and have been sent
	who      wire.ProducerIdentity
	sequence wire.Sequence

	attempt  int  // counts how often it was sent
	answered bool // in flight only
	lent     bool // a connection may still be writing data, whose answer nobody waits for
	doubtful bool // it was sent, and may or may not be in the log
	settled  bool // base or err is final
	base     Offset
	err      error
}

var batches = sync.Pool{New: func() any { return new(batch) }}

func (b *batch) settle(base Offset, err error) { b.settled, b.base, b.err = true, base, err }

// finish has the callbacks of a batch called.
func (pp *producerPartition) finish(b *batch) {
	p := pp.topic.producer
	p.calls.put(func() {
		for i := range b.records {
			r := &b.records[i]
			if b.err == nil && b.base >= 0 {
				r.record.Offset = b.base + Offset(i)
			}
			if r.done != nil {
				r.done(r.record, b.err)
			}
		}
		p.room.Release(int64(b.bytes))
		p.outstanding.done(len(b.records))
		b.recycle()
	})
}

// recycle gives a finished batch's memory to the next one.
func (b *batch) recycle() {
	if b.lent {
		return // it belongs to the garbage collector
	}
	clear(b.records)
	*b = batch{builder: b.builder, records: b.records[:0]}
	batches.Put(b)
}
