package client

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// consumerPartition is one partition as a consumer reads it. Its consumer's mutex guards it.
type consumerPartition struct {
	consumer *Consumer
	topic    string
	id       wire.TopicID
	index    int32

	start    Start  // where to begin, while next is unknown
	next     Offset // to fetch; NoOffset while it must be looked up
	consumed Offset // to hand out; NoOffset like next
	first    Offset // where reading began; NoOffset like next
	epoch    wire.LeaderEpoch
	turn     int  // counts seeks: an answer to an older turn is dropped
	troubled bool // OnRetry has been told of a failure, and not that it is over
	asking   bool // a request of this turn is under way
	resting  bool // after an error, until Seek
	paused   bool
	withheld bool // the group wants it back: nothing of it is read or handed out any more

	chunks        []*chunk
	sizes         []int // of the chunks, as they count in the consumer's buffer
	listed        bool  // in the consumer's full
	highWatermark Offset
	failures      int
	notBefore     time.Time // the end of a pause, unless the partition is led elsewhere by then
	asked         place     // where it was led when it was asked for last
}

// seek drops everything and begins elsewhere.
func (p *consumerPartition) seek(to Start) {
	for _, n := range p.sizes {
		p.consumer.buffered -= n
	}
	p.chunks, p.sizes = nil, nil
	p.turn++
	p.asking, p.resting = false, false
	p.failures, p.notBefore = 0, time.Time{}
	p.start, p.next, p.epoch = to, wire.NoOffset, wire.NoEpoch
	if to.exact {
		p.next = to.offset
	}
	p.consumed, p.first = p.next, p.next
}

// silent says that nothing of the partition is to be handed out.
func (p *consumerPartition) silent() bool { return p.paused || p.withheld }

// list puts the partition in line for Poll if it has something for it.
func (p *consumerPartition) list() {
	if len(p.chunks) > 0 && !p.listed && !p.silent() {
		p.listed = true
		p.consumer.full = append(p.consumer.full, p)
		signal(p.consumer.ready)
	}
}

// take appends records to list, up to the limit of Poll. What cannot be read makes the partition
// rest: the records before it are handed out first.
func (p *consumerPartition) take(list []Record) []Record {
	limit := p.consumer.cfg.MaxPollRecords
	for len(p.chunks) > 0 && len(list) < limit {
		c := p.chunks[0]
		var err error
		list, err = c.take(list, limit-len(list))
		p.consumed = c.next
		if err != nil {
			p.rest(err)
			return list
		}
		if len(list) < limit {
			p.consumer.buffered -= p.sizes[0]
			p.chunks[0] = nil
			p.chunks, p.sizes = p.chunks[1:], p.sizes[1:]
		}
	}
	return list
}

// rest stops reading the partition until Seek, and has Poll say why.
func (p *consumerPartition) rest(err error) {
	at := p.consumed
	if told := (*PartitionError)(nil); !errors.As(err, &told) {
		err = &PartitionError{p.topic, p.index, p.next, err}
	}
	p.seek(AtOffset(max(at, 0)))
	p.consumed, p.first, p.resting = at, at, true
	p.consumer.tell(err)
}

// outOfRange goes on as the policy says.
func (p *consumerPartition) outOfRange(err error) {
	switch p.consumer.cfg.OutOfRange {
	case OutOfRangeEarliest:
		p.seek(Beginning())
	case OutOfRangeLatest:
		p.seek(End())
	default:
		p.rest(err)
	}
}

// failed handles an error that came in the place of an answer.
func (p *consumerPartition) failed(err error, hint wire.LeaderHint) {
	c := p.consumer
	switch {
	case errors.Is(err, wire.OffsetOutOfRange):
		p.outOfRange(err)
		return
	case !retriable(err), p.damaged(err):
		p.rest(err)
		return
	}
	c.lastErr = fmt.Errorf("%s/%d: %w", p.topic, p.index, err)
	p.failures++
	p.notBefore = now().Add(c.client.backoff(p.failures))
	if c.client.hint(p.topic, p.id, p.index, hint) && p.failures == 1 {
		return // a leader that we are told of is tried at once
	}
	if staleMetadata(err) {
		c.client.refresh.ask()
	}
	p.retry(err)
}

// retry has OnRetry told of a failure, or with nil that it is over.
func (p *consumerPartition) retry(err error) {
	if err != nil || p.troubled {
		p.troubled = err != nil
		p.consumer.client.retried(p.topic, p.index, err)
	}
}

// damaged says that the next records are corrupt where they lie. Others may be able to wait until
// they are repaired, but whoever reads should be told; the records before them come first.
func (p *consumerPartition) damaged(err error) bool {
	return errors.Is(err, wire.CorruptMessage) && len(p.chunks) == 0
}

// wanted says what the partition needs: an offset, records, or nothing at present.
func (p *consumerPartition) wanted(at time.Time, led place) (offset, records bool) {
	if p.asking || p.resting || at.Before(p.notBefore) && led == p.asked {
		return false, false
	}
	if p.next == wire.NoOffset {
		return true, false
	}
	held := 0
	for _, n := range p.sizes {
		held += n
	}
	return false, !p.silent() && held < p.consumer.cfg.MaxPartitionBytes
}

// round is what is asked of one broker at once.
type round struct {
	offsets []*consumerPartition
	records []*consumerPartition
}

// maxFetches is how many fetches of a consumer one broker has at the same time. More than one is
// under way when partitions become ready at different times.
const maxFetches = 4

// request asks the leaders for what the partitions need. It returns when to look again although
// nothing has changed.
func (c *Consumer) request(m *metadata, at time.Time) time.Time {
	again := at.Add(time.Hour)
	rounds := make(map[string]*round)
	if c.turn++; c.turn >= len(c.order) {
		c.turn = 0
	}
	for i := range c.order { // the first of a fetch is sure to get a batch: they take turns
		p := c.order[(c.turn+i)%len(c.order)]
		addr, led := m.leader(p.topic, p.id, p.index)
		offset, records := p.wanted(at, led)
		if !offset && !records {
			if p.notBefore.After(at) && p.notBefore.Before(again) {
				again = p.notBefore
			}
			continue
		}
		p.asked = led
		if addr == "" {
			p.failed(m.leaderless(p.topic, p.id), wire.NoHint)
			again = earlier(again, p.notBefore)
			continue
		}
		r := rounds[addr]
		if r == nil {
			r = new(round)
			rounds[addr] = r
		}
		if offset {
			r.offsets = append(r.offsets, p)
		} else {
			r.records = append(r.records, p)
		}
	}
	for addr, r := range rounds {
		conn := c.client.connTo(addr)
		if conn == nil {
			if conn = c.client.relay(addr, at); conn != nil {
				addr = conn.addr
			}
		}
		if conn == nil {
			// A dial that is under way wakes us; a pause between dials does not.
			pause, err := c.client.unconnected(addr, at)
			again = earlier(again, at.Add(pause))
			c.unreachable(r, err)
			continue
		}
		if len(r.offsets) > 0 {
			c.askOffsets(conn, r.offsets)
		}
		if len(r.records) > 0 && c.fetches[addr] < maxFetches {
			c.askRecords(conn, r.records)
		}
	}
	return again
}

// unreachable has OnRetry told why a broker cannot be asked, once for each partition.
func (c *Consumer) unreachable(r *round, err error) {
	for _, p := range slices.Concat(r.offsets, r.records) {
		if err != nil && !p.troubled {
			p.retry(err)
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// asked remembers which turn a partition was in when it was asked for.
type asked struct {
	p    *consumerPartition
	turn int
}

func ask(list []*consumerPartition) []asked {
	out := make([]asked, len(list))
	for i, p := range list {
		p.asking = true
		out[i] = asked{p, p.turn}
	}
	return out
}

func (c *Consumer) askOffsets(conn *conn, list []*consumerPartition) {
	req := wire.ListOffsetsRequest{Partitions: make([]wire.ListOffsets, len(list))}
	for i, p := range list {
		req.Partitions[i] = wire.ListOffsets{
			Topic: p.id, Partition: p.index, CurrentEpoch: wire.NoEpoch, Timestamp: p.start.query(),
		}
	}
	of := ask(list)
	err := conn.send(wire.KindListOffsets, &req, nil, func(f wire.Frame, err error) {
		var reply wire.ListOffsetsReply
		if err == nil {
			err = parseAnswer(f, wire.KindListOffsets, &reply)
		}
		if err == nil && len(reply.Partitions) != len(of) {
			err = errAnswerCount
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for i, a := range of {
			if a.turn != a.p.turn {
				continue
			}
			a.p.asking = false
			if err != nil {
				a.p.failed(err, wire.NoHint)
				continue
			}
			a.p.located(&reply.Partitions[i])
		}
		signal(c.wake)
	})
	if err != nil {
		c.unsent(of, err)
	}
}

// unsent takes back what a connection that has ended did not take.
func (c *Consumer) unsent(of []asked, err error) {
	for _, a := range of {
		a.p.asking = false
		a.p.failed(err, wire.NoHint)
	}
	signal(c.wake)
}

// located takes the answer to where the partition begins.
func (p *consumerPartition) located(got *wire.ListedOffset) {
	switch {
	case got.Err != nil:
		p.failed(got.Err, got.Leader)
	case got.Offset == wire.NoOffset && p.start.timestamp > 0:
		p.seek(End()) // no record is that new
	case got.Offset < 0:
		p.rest(fmt.Errorf("%w: offset %d", wire.ErrMalformed, got.Offset))
	default:
		p.failures = 0
		p.retry(nil)
		p.next, p.consumed, p.first = got.Offset, got.Offset, got.Offset
		signal(p.consumer.ready) // a group's member commits where it begins
	}
}

func (c *Consumer) askRecords(conn *conn, list []*consumerPartition) {
	room := c.cfg.MaxBufferedBytes - c.buffered - c.reserved
	if room <= 0 {
		return // Poll makes room and wakes loop
	}
	room = min(room, len(list)*c.cfg.MaxPartitionBytes)
	req := wire.FetchRequest{
		MaxWait: c.cfg.MaxWait, MinBytes: c.cfg.MinBytes, MaxBytes: room,
		Partitions: make([]wire.Fetch, len(list)),
	}
	for i, p := range list {
		req.Partitions[i] = wire.Fetch{
			Topic: p.id, Partition: p.index, FetchOffset: p.next, MaxBytes: c.cfg.MaxPartitionBytes,
			CurrentEpoch: p.asked.LeaderEpoch, LastFetchedEpoch: p.epoch,
		}
	}
	of := ask(list)
	addr := conn.addr
	c.reserved += room
	c.fetches[addr]++
	err := conn.send(wire.KindFetch, &req, nil, func(f wire.Frame, err error) {
		var got []fetchedPartition
		if err == nil {
			got, err = parseFetched(f, len(of))
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.reserved -= room
		c.fetches[addr]--
		for i, a := range of {
			if a.turn != a.p.turn {
				continue
			}
			a.p.asking = false
			if err != nil {
				a.p.failed(err, wire.NoHint)
				continue
			}
			a.p.fetched(&got[i])
		}
		signal(c.wake)
	})
	if err != nil {
		c.reserved -= room
		c.fetches[addr]--
		c.unsent(of, err)
	}
}

// fetched takes the answer to a fetch.
func (p *consumerPartition) fetched(got *fetchedPartition) {
	switch {
	case got.Err != nil:
		p.failed(got.Err, got.Leader)
		return
	case got.Diverging != nil:
		p.diverged(got.Diverging)
		return
	}
	p.failures = 0
	p.retry(nil)
	p.highWatermark = got.HighWatermark
	whole, next, epoch := wholeBatches(got.records)
	if whole == 0 {
		return
	}
	p.chunks = append(p.chunks, &chunk{
		topic: p.topic, partition: p.index, bytes: got.records[:whole:whole], next: p.next,
	})
	p.sizes = append(p.sizes, whole)
	p.consumer.buffered += whole
	p.next, p.epoch = max(p.next, next), epoch
	p.list()
}

// wholeBatches returns how many bytes whole batches take, and what follows them. Bytes that are
// no batch count as whole: whoever opens them says what is wrong.
func wholeBatches(b []byte) (whole int, next Offset, epoch wire.LeaderEpoch) {
	next, epoch = wire.NoOffset, wire.NoEpoch
	for rest := b; len(rest) > 0; {
		h, _, after, err := record.Next(rest)
		if errors.Is(err, record.ErrTruncated) {
			return len(b) - len(rest), next, epoch
		}
		if err != nil {
			return len(b), next, epoch
		}
		next, epoch, rest = h.NextOffset(), h.LeaderEpoch, after
	}
	return len(b), next, epoch
}

// diverged goes back to where the logs of two leaders part: what was read behind that has been
// lost in an unclean election.
func (p *consumerPartition) diverged(end *wire.EpochEnd) {
	if p.consumer.cfg.OutOfRange == OutOfRangeFails {
		p.rest(fmt.Errorf("the log was cut at offset %d, of epoch %d, behind which records had been read: %w",
			end.EndOffset, end.LeaderEpoch, wire.OffsetOutOfRange))
		return
	}
	p.seek(AtOffset(max(end.EndOffset, 0)))
}
