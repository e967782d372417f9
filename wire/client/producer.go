package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"github.com/troupe-mq/troupe/wire"
)

// Producer writes records. It may be used by many goroutines at once.
//
//	Produce --> open batch of the partition --full, or Linger is over--> queue --> in flight --> callback
//	                                                                      ^            |
//	                                                                      '-- retry ---'
//
// Records of one partition are written, and their callbacks called, in the order of the calls to
// Produce. Several goroutines that produce to one partition are put in some order.
type Producer struct {
	client *Client
	cfg    ProducerConfig
	room   *semaphore.Weighted // bytes not acknowledged yet
	alarms alarms
	calls  callbacks
	who    identity

	mu       sync.RWMutex
	topics   map[string]*producerTopic
	flushing atomic.Int32

	outstanding outstanding
	ctx         context.Context // ends with the producer
	cancel      context.CancelFunc
	tasks       sync.WaitGroup
}

// producerTopic is a topic as one producer knows it.
type producerTopic struct {
	producer   *Producer
	name       string
	sticky     atomic.Int32 // the partition of records that may go anywhere; -1 before the first
	mu         sync.Mutex   // for growing partitions
	partitions atomic.Pointer[[]*producerPartition]
}

// NewProducer returns a producer. Without options it is idempotent, waits for every in-sync replica
// and lingers for 5 ms.
func (cl *Client) NewProducer(options ...ProducerOption) (*Producer, error) {
	cfg := DefaultProducerConfig()
	for _, option := range options {
		option(&cfg)
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Acks != AcksAll {
		cfg.NotIdempotent = true
	}
	p := &Producer{
		client: cl, cfg: cfg, room: semaphore.NewWeighted(int64(cfg.MaxBufferedBytes)),
		topics: make(map[string]*producerTopic),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.alarms.init()
	p.calls.init()
	p.outstanding.init()
	p.who.init()
	if err := cl.subscribe(p); err != nil {
		p.cancel()
		return nil, err
	}
	p.tasks.Go(p.calls.run)
	p.tasks.Go(func() { p.alarms.run(p.ctx) })
	return p, nil
}

// Produce takes a record over and returns. It waits only for the layout of a topic that is new to
// the client, and for room in the producer's buffer; when ctx ends before there is room, the record
// is not taken and ctx's error is returned. An error means that done is not going to be called.
//
// A record that was taken is delivered, or given up after DeliveryTimeout, whatever becomes of ctx;
// then done is called exactly once, with the record as it was written or with the error. Calls
// of done for one partition come in the order of its records, all from one goroutine: what waits for
// them returns ErrInCallback to done, which are ProduceSync, Flush, Close, and Produce when there is no room. done may be nil.
//
// Key, Value and Headers must not be changed before done is called.
func (p *Producer) Produce(ctx context.Context, r Record, done func(Record, error)) error {
	_, err := p.produce(ctx, r, done)
	return err
}

// produce is Produce; it tells in which partition the record is now.
func (p *Producer) produce(ctx context.Context, r Record, done func(Record, error)) (*producerPartition, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t, err := p.topic(ctx, r.Topic)
	if err != nil {
		return nil, err
	}
	size := r.bytes()
	if size > p.cfg.MaxBufferedBytes {
		return nil, wire.Errorf(wire.MessageTooLarge, "the record has %d bytes, the buffer %d", size, p.cfg.MaxBufferedBytes)
	}
	if r.Timestamp.IsZero() {
		r.Timestamp = now()
	}
	partition, index, err := t.choose(r)
	if err != nil {
		return nil, err
	}
	if !p.room.TryAcquire(int64(size)) {
		if p.calls.mine() {
			return nil, ErrInCallback // what is acknowledged makes room once its callbacks have been called
		}
		p.hurryAll() // what lingers is what takes the room
		if err := p.room.Acquire(ctx, int64(size)); err != nil {
			return nil, err
		}
	}
	if !p.outstanding.add() {
		p.room.Release(int64(size))
		return nil, ErrClosed
	}
	r.Partition, r.Offset = index, wire.NoOffset
	partition.add(pending{record: r, done: done, bytes: size})
	return partition, nil
}

// ProduceSync writes records and waits until all of them are acknowledged, or ctx ends. It does
// not linger. It returns the records as they were written, in the same order, and the first
// error.
func (p *Producer) ProduceSync(ctx context.Context, records ...Record) ([]Record, error) {
	if p.calls.mine() {
		return records, ErrInCallback
	}
	type outcome struct {
		i      int
		record Record
		err    error
	}
	outcomes := make(chan outcome, len(records))
	written := slices.Clone(records)
	var first error
	sent := 0
	in := make(map[*producerPartition]struct{})
	for i, r := range records {
		partition, err := p.produce(ctx, r, func(r Record, err error) { outcomes <- outcome{i, r, err} })
		if err != nil {
			first = err
			break
		}
		in[partition] = struct{}{}
		sent++
	}
	for partition := range in {
		partition.hurry()
	}
	for range sent {
		select {
		case o := <-outcomes:
			written[o.i] = o.record
			if first == nil {
				first = o.err
			}
		case <-ctx.Done():
			return written, ctx.Err()
		}
	}
	return written, first
}

// Flush sends what lingers and waits until nothing is unacknowledged, or ctx ends. It waits for
// records that are produced meanwhile, too.
func (p *Producer) Flush(ctx context.Context) error {
	if p.calls.mine() {
		return ErrInCallback
	}
	p.flushing.Add(1)
	defer p.flushing.Add(-1)
	p.hurryAll()
	select {
	case <-p.outstanding.none():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close takes no more records, and waits until every record that was taken is acknowledged or
// given up, and its callback has returned. Called by such a callback it returns ErrInCallback.
func (p *Producer) Close() error {
	if p.calls.mine() {
		return ErrInCallback
	}
	p.outstanding.close()
	p.flushing.Add(1)
	p.hurryAll()
	<-p.outstanding.none()
	p.client.unsubscribe(p)
	p.end()
	return nil
}

// abandon gives up everything, when the client is closed.
func (p *Producer) abandon() {
	p.outstanding.close()
	p.each(func(pp *producerPartition) { pp.abandon() })
	if p.calls.mine() {
		p.cancel()
		p.calls.close() // once it has called all
		return
	}
	<-p.outstanding.none()
	p.end()
}

func (p *Producer) end() {
	p.cancel()
	p.calls.close()
	p.tasks.Wait()
}

// clusterChanged lets every partition with something to send try again.
func (p *Producer) clusterChanged() { p.each((*producerPartition).kick) }

func (p *Producer) hurryAll() { p.each((*producerPartition).hurry) }

func (p *Producer) each(f func(*producerPartition)) {
	p.mu.RLock()
	topics := make([]*producerTopic, 0, len(p.topics))
	for _, t := range p.topics {
		topics = append(topics, t)
	}
	p.mu.RUnlock()
	for _, t := range topics {
		for _, pp := range *t.partitions.Load() {
			f(pp)
		}
	}
}

// topic returns a topic whose partitions are known.
func (p *Producer) topic(ctx context.Context, name string) (*producerTopic, error) {
	p.mu.RLock()
	t := p.topics[name]
	p.mu.RUnlock()
	if t != nil {
		return t, nil
	}
	known, err := p.client.topic(ctx, name, true)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if t = p.topics[name]; t == nil {
		t = &producerTopic{producer: p, name: name}
		t.sticky.Store(Any)
		t.partitions.Store(new([]*producerPartition))
		t.grow(len(known.partitions))
		p.topics[name] = t
	}
	return t, nil
}

// grow makes partitions up to n.
func (t *producerTopic) grow(n int) []*producerPartition {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := *t.partitions.Load()
	if len(list) >= n {
		return list
	}
	list = append(make([]*producerPartition, 0, n), list...)
	for i := len(list); i < n; i++ {
		list = append(list, newProducerPartition(t, int32(i)))
	}
	t.partitions.Store(&list)
	return list
}

// choose asks the partitioner.
func (t *producerTopic) choose(r Record) (*producerPartition, int32, error) {
	list := *t.partitions.Load()
	if known := t.producer.client.meta.Load().topics[t.name]; known != nil && len(known.partitions) > len(list) {
		list = t.grow(len(known.partitions))
	}
	if len(list) == 0 {
		return nil, 0, fmt.Errorf("topic %s: %w", t.name, wire.LeaderNotAvailable)
	}
	index := t.producer.cfg.Partitioner(r, int32(len(list)))
	if index == Any {
		if index = t.sticky.Load(); index == Any || int(index) >= len(list) {
			index = t.restick(index)
		}
	}
	if index < 0 || int(index) >= len(list) {
		return nil, 0, wire.Errorf(wire.UnknownTopicOrPartition, "there is no partition %s/%d", t.name, index)
	}
	return list[index], index, nil
}

// restick chooses another partition than before for records that may go anywhere.
func (t *producerTopic) restick(before int32) int32 {
	list := *t.partitions.Load()
	m := t.producer.client.meta.Load()
	known := m.topics[t.name]
	led := make([]int32, 0, len(list))
	for i := range list {
		if known == nil || i >= len(known.partitions) || known.partitions[i].Leader != wire.NoBroker {
			led = append(led, int32(i))
		}
	}
	if len(led) == 0 {
		led = append(led, rand.Int32N(int32(len(list))))
	}
	next := led[rand.IntN(len(led))]
	if next == before && len(led) > 1 {
		next = led[(rand.IntN(len(led)-1)+1+indexOf(led, before))%len(led)]
	}
	if t.sticky.CompareAndSwap(before, next) {
		return next
	}
	if now := t.sticky.Load(); now != Any && int(now) < len(list) {
		return now
	}
	return next
}

func indexOf(list []int32, v int32) int {
	for i, x := range list {
		if x == v {
			return i
		}
	}
	return 0
}

// identity is the producer's id and epoch, asked for when the first batch needs it.
type identity struct {
	mu      sync.Mutex
	current wire.ProducerIdentity
	asking  bool
	err     error // of the last attempt
}

var nobody = wire.ProducerIdentity{Producer: wire.NoProducer, Epoch: -1}

func (w *identity) init() { w.current = nobody }

// identity returns an identity other than spent, which a partition can no longer use. When it
// must be asked for, false is returned and every partition is kicked once it is there.
func (p *Producer) identity(spent wire.ProducerIdentity) (wire.ProducerIdentity, bool) {
	w := &p.who
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.current != nobody && w.current != spent {
		return w.current, true
	}
	if !w.asking {
		w.asking = true
		p.tasks.Go(func() { p.askIdentity(w.current) })
	}
	return nobody, false
}

// askIdentity asks for a new producer id or, having one, for its next epoch, which fences what may
// still be under way in the old one.
func (p *Producer) askIdentity(old wire.ProducerIdentity) {
	w := &p.who
	req := wire.InitProducerID{Producer: old.Producer, Epoch: old.Epoch}
	for failures := 1; ; failures++ {
		ctx, cancel := context.WithTimeout(p.ctx, p.client.cfg.RequestTimeout)
		var got wire.ProducerIdentity
		err := p.client.askAny(ctx, wire.KindInitProducerID, &req, &got)
		cancel()
		w.mu.Lock()
		w.err = err
		if err == nil {
			w.current, w.asking = got, false
		} else if !retriable(err) && !errors.Is(err, context.DeadlineExceeded) {
			req.Producer, req.Epoch = nobody.Producer, nobody.Epoch // that id is of no use any more
		}
		w.mu.Unlock()
		if err != nil || failures > 1 {
			p.client.retried("", -1, err)
		}
		if err == nil {
			p.clusterChanged()
			return
		}
		if p.client.pause(p.ctx, failures) != nil {
			return
		}
	}
}

func (p *Producer) identityError() error {
	p.who.mu.Lock()
	defer p.who.mu.Unlock()
	return p.who.err
}
