// Package nativetest is a broker in memory, for tests of the native listener and of the client. It
// keeps Kafka's promises as far as a client can see them: offsets without gaps, idempotent
// producers, a watermark that wakes fetches. It has no disk, no replicas and no actors, and a test
// can make it fail where it wants.
package nativetest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// Broker is a native.Backend.
type Broker struct {
	mu         sync.Mutex
	cluster    *cluster // shared by the brokers of one test
	id         wire.BrokerID
	intercept  func(*wire.Produce) bool
	fetchFault func(*wire.Fetch) error
	frozen     *cluster // what the broker believes, if not what is
}

// cluster is what the brokers of one test share: in memory replication is perfect.
type cluster struct {
	mu       sync.Mutex
	brokers  []wire.Broker
	topics   map[string]*topic
	byID     map[wire.TopicID]*topic
	nextID   byte
	producer wire.ProducerID
	configs  map[wire.ConfigResource]map[string]string

	rotations int // of the gossip key
	groups    groups
}

type topic struct {
	wire.Topic

	partitions []*partition
}

type partition struct {
	leader    wire.BrokerID
	epoch     wire.LeaderEpoch
	replicas  []wire.BrokerID // nil: the leader alone
	target    []wire.BrokerID // of a reassignment; nil without one
	start     wire.Offset
	end       wire.Offset
	batches   [][]byte
	producers map[wire.ProducerID]*producer
	waiters   map[*wire.Waiter]wire.Offset
}

type producer struct {
	epoch  wire.ProducerEpoch
	recent []sequence // the last five batches
}

type sequence struct {
	first, last wire.Sequence
	base        wire.Offset
}

// New returns a broker with id 1 and no topics.
func New() *Broker {
	c := &cluster{
		topics: make(map[string]*topic), byID: make(map[wire.TopicID]*topic),
		producer: 1000, configs: make(map[wire.ConfigResource]map[string]string),
		groups: groups{byID: make(map[wire.GroupID]*group), interval: 20 * time.Millisecond},
	}
	return &Broker{cluster: c, id: 1}
}

// Join returns a further broker of b's cluster.
func (b *Broker) Join(id wire.BrokerID) *Broker { return &Broker{cluster: b.cluster, id: id} }

// Advertise tells clients where the broker is.
func (b *Broker) Advertise(host string, port int32) {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	c.brokers = slices.DeleteFunc(slices.Clone(c.brokers), func(o wire.Broker) bool { return o.ID == b.id })
	c.brokers = append(c.brokers, wire.Broker{ID: b.id, Host: host, Port: port})
	slices.SortFunc(c.brokers, func(x, y wire.Broker) int { return int(x.ID - y.ID) })
}

// Intercept calls f before each produce is done. When f returns true it has taken the produce
// over: it completes it, now, later or never, perhaps with Append.
func (b *Broker) Intercept(f func(*wire.Produce) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.intercept = f
}

// FailFetch makes every fetch fail for which f returns an error.
func (b *Broker) FailFetch(f func(*wire.Fetch) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fetchFault = f
}

// Lead makes the broker lead a partition in a new epoch.
func (b *Broker) Lead(name string, index int32) {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.topics[name].partitions[index]
	p.leader = b.id
	p.epoch++
	p.wake()
}

// ForgetProducers makes every partition forget its producers, as after their retention.
func (b *Broker) ForgetProducers() {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.topics {
		for _, p := range t.partitions {
			p.producers = make(map[wire.ProducerID]*producer)
		}
	}
}

// Values returns the values of all records of a partition.
func (b *Broker) Values(name string, index int32) []string {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	var values []string
	for _, batch := range c.topics[name].partitions[index].batches {
		if err := record.Iterate(batch, 1<<30, func(r record.Record) error {
			values = append(values, string(r.Value))
			return nil
		}); err != nil {
			panic(fmt.Sprintf("nativetest: a batch that was accepted cannot be read: %v", err))
		}
	}
	return values
}

// Batches returns how many batches a partition has.
func (b *Broker) Batches(name string, index int32) int {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.topics[name].partitions[index].batches)
}

// Corrupt flips a bit in the records of a partition's batch.
func (b *Broker) Corrupt(name string, index int32, batch int) {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	damaged := bytes.Clone(c.topics[name].partitions[index].batches[batch])
	damaged[len(damaged)-1] ^= 1
	c.topics[name].partitions[index].batches[batch] = damaged
}

// Self returns the broker's id.
func (b *Broker) Self() wire.BrokerID { return b.id }

// find returns a partition that this broker leads, locked by the cluster's mutex.
func (b *Broker) find(id wire.TopicID, index int32, epoch wire.LeaderEpoch) (*partition, wire.LeaderHint, error) {
	t := b.cluster.byID[id]
	if t == nil {
		return nil, wire.NoHint, wire.UnknownTopicID
	}
	if index < 0 || int(index) >= len(t.partitions) {
		return nil, wire.NoHint, wire.UnknownTopicOrPartition
	}
	p := t.partitions[index]
	hint := wire.LeaderHint{Broker: p.leader, LeaderEpoch: p.epoch}
	switch {
	case p.leader != b.id:
		return nil, hint, wire.Errorf(wire.NotLeaderOrFollower, "broker %d leads %s/%d", p.leader, t.Name, index)
	case epoch != wire.NoEpoch && epoch < p.epoch:
		return nil, hint, wire.FencedLeaderEpoch
	case epoch > p.epoch:
		return nil, wire.NoHint, wire.UnknownLeaderEpoch
	}
	return p, wire.NoHint, nil
}

// Produce appends at once, unless it is intercepted.
func (b *Broker) Produce(p *wire.Produce) {
	b.mu.Lock()
	intercept := b.intercept
	b.mu.Unlock()
	if intercept != nil && intercept(p) {
		return
	}
	p.Done.ProduceDone(p.Slot, b.Append(p))
}

// Append does what a produce asks and returns the reply, without sending it.
func (b *Broker) Append(p *wire.Produce) wire.ProduceReply {
	defer p.Buffer.Release()
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	reply := wire.ProduceReply{BaseOffset: wire.NoOffset, LogStartOffset: wire.NoOffset, Leader: wire.NoHint}
	target, hint, err := b.find(p.Topic, p.Partition, wire.NoEpoch)
	if err != nil {
		reply.Err, reply.Leader = err, hint
		return reply
	}
	reply.BaseOffset, reply.Err = target.append(p.Batches)
	reply.LogStartOffset = target.start
	return reply
}

func (p *partition) append(batch []byte) (wire.Offset, error) {
	h, batch, _, err := record.Next(batch)
	if err != nil {
		return wire.NoOffset, err
	}
	if h.HasProducer() {
		if base, duplicate, err := p.sequence(&h); err != nil || duplicate {
			return base, err
		}
	}
	batch = bytes.Clone(batch)
	record.SetBaseOffset(batch, p.end)
	record.SetLeaderEpoch(batch, p.epoch)
	p.batches = append(p.batches, batch)
	base := p.end
	p.end += wire.Offset(h.LastOffsetDelta) + 1
	p.wake()
	return base, nil
}

// sequence applies the rules for idempotent producers.
func (p *partition) sequence(h *record.Header) (base wire.Offset, duplicate bool, err error) {
	known := p.producers[h.Producer]
	if known == nil || h.ProducerEpoch > known.epoch {
		if known != nil && h.BaseSequence != 0 {
			return wire.NoOffset, false, wire.OutOfOrderSequenceNumber
		}
		known = &producer{epoch: h.ProducerEpoch}
		p.producers[h.Producer] = known
	}
	if h.ProducerEpoch < known.epoch {
		return wire.NoOffset, false, wire.InvalidProducerEpoch
	}
	for _, s := range known.recent {
		if s.first == h.BaseSequence && s.last == h.LastSequence() {
			return s.base, true, nil
		}
	}
	if n := len(known.recent); n > 0 && h.BaseSequence != known.recent[n-1].last.Next(1) {
		return wire.NoOffset, false, wire.OutOfOrderSequenceNumber
	}
	known.recent = append(known.recent, sequence{h.BaseSequence, h.LastSequence(), p.end})
	if len(known.recent) > 5 {
		known.recent = known.recent[1:]
	}
	return wire.NoOffset, false, nil
}

func (p *partition) wake() {
	for w, beyond := range p.waiters {
		if p.end > beyond {
			w.Wake()
		}
	}
}

// memory is a RecordFile.
type memory struct{ *bytes.Reader }

func (memory) Descriptor() (uintptr, bool) { return 0, false }
func (memory) Release()                    {}

// Fetch answers with what is there.
func (b *Broker) Fetch(f *wire.Fetch) wire.Fetched {
	b.mu.Lock()
	fault := b.fetchFault
	b.mu.Unlock()
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	got := wire.Fetched{HighWatermark: -1, LastStableOffset: -1, LogStartOffset: -1, Leader: wire.NoHint}
	p, hint, err := b.find(f.Topic, f.Partition, f.CurrentEpoch)
	if err == nil && fault != nil {
		err = fault(f)
	}
	if err != nil {
		got.Err, got.Leader = err, hint
		return got
	}
	got.HighWatermark, got.LastStableOffset, got.LogStartOffset = p.end, p.end, p.start
	if f.FetchOffset < p.start || f.FetchOffset > p.end {
		got.Err = wire.OffsetOutOfRange
		return got
	}
	var out []byte
	for _, batch := range p.batches {
		h, _ := record.ParseHeader(batch)
		if h.NextOffset() <= f.FetchOffset {
			continue
		}
		if len(out)+len(batch) > f.MaxBytes && (len(out) > 0 || !f.AtLeastOne) {
			break
		}
		out = append(out, batch...)
	}
	if len(out) > 0 {
		got.Records = wire.Records{File: memory{bytes.NewReader(out)}, Length: len(out)}
	}
	return got
}

// Park wakes w once the partition has grown beyond an offset.
func (b *Broker) Park(w *wire.Waiter, id wire.TopicID, index int32, beyond wire.Offset) {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.byID[id]; t != nil && index >= 0 && int(index) < len(t.partitions) {
		t.partitions[index].waiters[w] = beyond
		t.partitions[index].wake()
	}
}

// Unpark takes w out of all partitions.
func (b *Broker) Unpark(w *wire.Waiter) {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.topics {
		for _, p := range t.partitions {
			delete(p.waiters, w)
		}
	}
}

// Parked returns how many fetches are parked.
func (b *Broker) Parked() int {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	waiters := make(map[*wire.Waiter]bool)
	for _, t := range c.topics {
		for _, p := range t.partitions {
			for w := range p.waiters {
				waiters[w] = true
			}
		}
	}
	return len(waiters)
}

// ListOffsets answers from the batches' headers and records.
func (b *Broker) ListOffsets(q *wire.ListOffsets) wire.ListedOffset {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	got := wire.ListedOffset{Offset: wire.NoOffset, Timestamp: -1, LeaderEpoch: wire.NoEpoch, Leader: wire.NoHint}
	p, hint, err := b.find(q.Topic, q.Partition, q.CurrentEpoch)
	if err != nil {
		got.Err, got.Leader = err, hint
		return got
	}
	got.LeaderEpoch = p.epoch
	switch q.Timestamp {
	case wire.LatestTimestamp:
		got.Offset = p.end
		return got
	case wire.EarliestTimestamp:
		got.Offset = p.start
		return got
	}
	for _, batch := range p.batches {
		_ = record.Iterate(batch, 1<<30, func(r record.Record) error {
			newer := q.Timestamp == wire.MaxTimestamp && r.Timestamp > got.Timestamp
			first := q.Timestamp >= 0 && got.Offset == wire.NoOffset && r.Timestamp >= q.Timestamp
			if newer || first {
				got.Offset, got.Timestamp = r.Offset, r.Timestamp
			}
			return nil
		})
	}
	return got
}

// OffsetForEpoch knows the present epoch only.
func (b *Broker) OffsetForEpoch(q *wire.OffsetForEpoch) wire.OffsetForEpochReply {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	none := wire.EpochEnd{LeaderEpoch: wire.NoEpoch, EndOffset: wire.NoOffset}
	p, _, err := b.find(q.Topic, q.Partition, q.CurrentEpoch)
	if err != nil || q.LeaderEpoch < p.epoch {
		return wire.OffsetForEpochReply{Err: err, End: none}
	}
	return wire.OffsetForEpochReply{End: wire.EpochEnd{LeaderEpoch: p.epoch, EndOffset: p.end}}
}

// DeleteRecords moves the log start.
func (b *Broker) DeleteRecords(_ context.Context, q *wire.DeleteRecords) (wire.Offset, error) {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	p, _, err := b.find(q.Topic, q.Partition, wire.NoEpoch)
	if err != nil {
		return wire.NoOffset, err
	}
	before := q.Before
	if before == wire.NoOffset {
		before = p.end
	}
	if before > p.end {
		return wire.NoOffset, wire.OffsetOutOfRange
	}
	p.start = max(p.start, before)
	return p.start, nil
}

// InitProducerID gives a new id, or the next epoch of one.
func (b *Broker) InitProducerID(_ context.Context, q wire.InitProducerID) (wire.ProducerIdentity, error) {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if q.TransactionalID != nil {
		return wire.ProducerIdentity{}, wire.InvalidRequest
	}
	if q.Producer != wire.NoProducer {
		return wire.ProducerIdentity{Producer: q.Producer, Epoch: q.Epoch + 1}, nil
	}
	c.producer++
	return wire.ProducerIdentity{Producer: c.producer}, nil
}

// defaultLimits are what topics accept.
var defaultLimits = wire.RecordLimits{
	MaxBatchBytes: 1 << 20, TimestampBefore: -1, TimestampAfter: time.Hour, Compression: "producer",
}
