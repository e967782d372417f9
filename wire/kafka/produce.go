package kafka

import (
	"sync/atomic"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// Versions of Produce at which its layout changes.
const (
	produceTransactions = 3 // and batches v2: the lowest version served
	produceZstd         = 7
	produceFlexible     = 9
	produceTopicIDs     = 13
)

// produceShape only tells where the flexible header begins: parse reads the body by hand, since it
// is on the hot path, with the same care.
var produceShape = shape{flexible: produceFlexible}

// copiedBytes is the size below which a Produce is copied out of its chunk rather than keeping
// all of the chunk for as long as it is in flight.
const copiedBytes = chunkBytes / 8

// production is one Produce request from its parsing to its answer. It is used again and again by its
// connection. The reader fills it; once a partition is submitted, its reply belongs to the completion;
// once left is zero, all of it belongs to whoever writes the answer.
type production struct {
	conn        *conn
	version     int16
	correlation int32
	acks        wire.Acks
	timeout     time.Duration
	received    time.Time
	transaction bool // it names a transactional id
	topics      []producedTopic
	parts       []producedPartition // of all topics, in their order
	bytes       int64
	left        atomic.Int32 // submitted and not completed, plus one while submitting
	ready       bool         // left is zero; guarded by answers.mu
}

type producedTopic struct {
	name  string
	id    wire.TopicID
	parts int
}

type producedPartition struct {
	number     int32
	records    []byte // until it is submitted
	rewritten  bool   // records are not in the request's buffer
	appendTime int64  // milliseconds since 1970 with LogAppendTime, else -1
	refused    []recordError
	reply      wire.ProduceReply
}

// recordError tells which record of a batch was refused.
type recordError struct {
	index   int32
	message string
}

// reset forgets what p holds, but for its memory.
func (p *production) reset() {
	if cap(p.parts) > partsKept {
		p.topics, p.parts = nil, nil
	}
	clear(p.parts)
	p.topics, p.parts = p.topics[:0], p.parts[:0]
	p.ready, p.transaction, p.bytes = false, false, 0
}

// partsKept is how many partitions' worth of memory a request leaves for the next one.
const partsKept = 1024

// serveProduce checks the request and hands it to the Backend, one message for each partition.
func (c *conn) serveProduce() error {
	r := &c.request
	p := c.answers.next(c)
	p.version, p.correlation, p.received = r.version, r.correlation, r.received
	p.bytes = int64(len(r.frame.bytes))
	body, buffer := r.body, r.frame.buffer
	if len(body) < copiedBytes && buffer == c.in.chunk {
		buffer = wire.NewBuffer(len(body))
		copy(buffer.Bytes, body)
		body = buffer.Bytes
	} else {
		c.in.keep(buffer.Retain())
	}
	defer buffer.Release()
	if !p.parse(body, &c.names) {
		return errMalformed
	}
	accepted := c.checkProduction(p)
	if !c.answers.awaitRoom(c.server.config.MaxConnectionBytes) || !c.server.take(p.bytes) {
		return errClose
	}
	c.answers.add(p)
	c.submit(p, accepted, buffer)
	return nil
}

// parse reads the body, to which p's records point afterwards.
func (p *production) parse(body []byte, known *names) bool {
	d := decoder{rest: body, flexible: p.version >= produceFlexible}
	if p.version >= produceTransactions {
		_, p.transaction = d.nullable(d.stringLength())
	}
	p.acks = wire.Acks(d.int16())
	p.timeout = time.Duration(d.int32()) * time.Millisecond
	const topicBytes, partitionBytes = 2, 5 // at least
	topics := d.count(topicBytes)
	for ; topics > 0 && !d.bad; topics-- {
		var t producedTopic
		if p.version >= produceTopicIDs {
			copy(t.id[:], d.take(len(t.id)))
		} else {
			t.name = known.of(d.string())
		}
		t.parts = d.count(partitionBytes)
		for range t.parts {
			part := producedPartition{number: d.int32(), appendTime: -1}
			part.records, _ = d.nullable(d.bytesLength())
			d.skipTags()
			if d.bad || len(p.parts) == maxElements {
				return false
			}
			p.parts = append(p.parts, part)
		}
		d.skipTags()
		p.topics = append(p.topics, t)
	}
	d.skipTags()
	return !d.bad && len(p.topics) <= maxElements
}

// submit sends what was accepted. Whoever takes the last part off p.left sees to the answer; when all
// is done at the end of this loop, that is the reader itself.
func (c *conn) submit(p *production, accepted int, buffer *wire.Buffer) {
	p.left.Store(int32(accepted) + 1)
	if accepted > 0 {
		messages := make([]wire.Produce, 0, accepted)
		deadline := p.received.Add(p.timeout)
		slot := 0
		for _, t := range p.topics {
			for range t.parts {
				part := &p.parts[slot]
				if part.records != nil {
					messages = append(messages, wire.Produce{
						Topic: t.id, Partition: part.number, Acks: p.acks, Deadline: deadline,
						Batches: part.records, Done: p, Slot: slot,
					})
					if !part.rewritten {
						messages[len(messages)-1].Buffer = buffer.Retain()
					}
					part.records = nil
					c.server.backend.Produce(&messages[len(messages)-1])
				}
				slot++
			}
		}
	}
	if p.left.Add(-1) > 0 {
		c.writeLater()
		return
	}
	c.server.give(p.bytes)
	if c.answers.finished(p) {
		c.answers.flush(c.encode, c.send)
	}
}

// ProduceDone takes the outcome of one partition, on any goroutine.
func (p *production) ProduceDone(slot int, reply wire.ProduceReply) {
	p.parts[slot].reply = reply
	if p.left.Add(-1) > 0 {
		return
	}
	c := p.conn
	c.server.give(p.bytes)
	if c.answers.finished(p) {
		select {
		case c.answers.poke <- struct{}{}:
		default:
		}
	}
}
