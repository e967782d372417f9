package kafka

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// fakeView is a cluster of one broker, or of those given.
type fakeView struct {
	brokers    []wire.Broker
	controller wire.BrokerID // 0 for 1
	topics     map[string]wire.Topic
	leader     map[wire.TopicPartition]wire.BrokerID  // where it is not broker 1
	states     map[wire.TopicPartition]wire.Partition // where it is nothing like that
}

func (v *fakeView) ClusterID() string         { return "troupe-test-cluster-id" }
func (v *fakeView) Controller() wire.BrokerID { return cmp.Or(v.controller, 1) }
func (v *fakeView) Brokers() []wire.Broker    { return v.brokers }

func (v *fakeView) Topic(name string) (wire.Topic, bool) {
	t, ok := v.topics[name]
	return t, ok
}

func (v *fakeView) TopicByID(id wire.TopicID) (wire.Topic, bool) {
	for _, t := range v.topics {
		if t.ID == id {
			return t, true
		}
	}
	return wire.Topic{}, false
}

func (v *fakeView) TopicNames() []string {
	var names []string
	for name := range v.topics {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (v *fakeView) Partition(id wire.TopicID, partition int32) (wire.Partition, bool) {
	t, ok := v.TopicByID(id)
	if !ok || partition < 0 || partition >= t.Partitions {
		return wire.Partition{}, false
	}
	if state, known := v.states[wire.TopicPartition{Topic: id, Partition: partition}]; known {
		return state, true
	}
	leader, elsewhere := v.leader[wire.TopicPartition{Topic: id, Partition: partition}]
	if !elsewhere {
		leader = 1
	}
	return wire.Partition{Leader: leader, LeaderEpoch: 3, Replicas: []wire.BrokerID{1}, ISR: []wire.BrokerID{1}}, true
}

// fakeLog is a partition: its bytes, and where each batch begins.
type fakeLog struct {
	bytes   []byte
	batches []fakeBatch
	end     wire.Offset
	parking wire.Parking
	file    *os.File // holds bytes too, where the test wants sendfile
}

type fakeBatch struct {
	position     int
	base, end    wire.Offset
	maxTimestamp int64
}

// fakeFile is a stretch of a fakeLog as it was.
type fakeFile struct {
	*bytes.Reader
	file    *os.File
	release func()
}

func (f *fakeFile) Descriptor() (uintptr, bool) {
	if f.file == nil {
		return 0, false
	}
	return f.file.Fd(), true
}

func (f *fakeFile) Release() { f.release() }

// fakeBackend is an in-memory broker.
type fakeBackend struct {
	mu        sync.Mutex
	view      *fakeView
	logs      map[wire.TopicPartition]*fakeLog
	broken    bool            // panic in ListOffsets
	hold      bool            // keep Produce until release is called
	held      []*wire.Produce //
	fail      error           // what Produce answers
	hint      wire.LeaderHint // with fail
	async     bool            // complete on another goroutine
	lent      int             // files that were not released
	parkings  int             // calls of ParkAt
	fetches   int             // calls of Fetch
	produced  chan struct{}   // receives one for each Produce, when not nil
	parked    chan struct{}   // likewise for ParkAt
	autoErr   error
	configs   map[wire.ConfigResource][]wire.ConfigEntry
	altered   []wire.AlterConfigs
	elections []wire.ElectLeaders
	moves     []wire.AlterReassignments
	operator  error // what these two fail with as a whole
	cluster   wire.ClusterDescription
	groups    fakeGroups
	directory string // of real files
	nextID    byte
	working   sync.WaitGroup
}

func newFakeBackend() *fakeBackend {
	return &fakeBackend{
		view: &fakeView{
			topics:  map[string]wire.Topic{},
			brokers: []wire.Broker{{ID: 1, Host: "127.0.0.1", Port: 9092}},
			leader:  map[wire.TopicPartition]wire.BrokerID{},
		},
		logs:    map[wire.TopicPartition]*fakeLog{},
		configs: map[wire.ConfigResource][]wire.ConfigEntry{},
	}
}

func (b *fakeBackend) View() wire.View {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.view
}

func (b *fakeBackend) Self() wire.BrokerID { return 1 }

func (b *fakeBackend) create(name string, partitions int32) wire.Topic {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.createLocked(name, partitions)
}

func (b *fakeBackend) createLocked(name string, partitions int32) wire.Topic {
	b.nextID++
	topic := wire.Topic{Name: name, ID: wire.TopicID{15: b.nextID}, Partitions: partitions, Limits: &wire.RecordLimits{
		MaxBatchBytes: 2 << 20, TimestampBefore: -1, TimestampAfter: -1, Compression: "producer",
	}}
	fresh := *b.view // views are immutable
	fresh.topics = map[string]wire.Topic{name: topic}
	for n, t := range b.view.topics {
		fresh.topics[n] = t
	}
	b.view = &fresh
	for i := range partitions {
		l := &fakeLog{}
		if b.directory != "" {
			l.file, _ = os.Create(filepath.Join(b.directory, name+strconv.Itoa(int(i))))
		}
		b.logs[wire.TopicPartition{Topic: topic.ID, Partition: i}] = l
	}
	return topic
}

func (b *fakeBackend) Produce(p *wire.Produce) {
	b.mu.Lock()
	if b.hold {
		b.held = append(b.held, p)
	}
	hold, async := b.hold, b.async
	b.mu.Unlock()
	switch {
	case hold:
	case async:
		b.working.Go(func() { b.complete(p) })
	default:
		b.complete(p)
	}
	if b.produced != nil {
		b.produced <- struct{}{}
	}
}

// complete appends and answers.
func (b *fakeBackend) complete(p *wire.Produce) {
	b.mu.Lock()
	reply := wire.ProduceReply{Err: b.fail, Leader: b.hint}
	if b.fail == nil {
		reply = b.append(p)
	}
	b.mu.Unlock()
	p.Buffer.Release()
	p.Done.ProduceDone(p.Slot, reply)
}

func (b *fakeBackend) append(p *wire.Produce) wire.ProduceReply {
	l := b.logs[wire.TopicPartition{Topic: p.Topic, Partition: p.Partition}]
	h, batch, _, err := record.Next(p.Batches)
	if err != nil {
		return wire.ProduceReply{Err: err}
	}
	record.SetBaseOffset(batch, l.end)
	record.SetLeaderEpoch(batch, 3)
	base := l.end
	l.batches = append(l.batches, fakeBatch{len(l.bytes), base, base + wire.Offset(h.Count), h.MaxTimestamp})
	if l.file != nil {
		_, _ = l.file.WriteAt(batch, int64(len(l.bytes)))
	}
	l.bytes = append(l.bytes, batch...)
	l.end += wire.Offset(h.Count)
	l.parking.Passed(l.end)
	return wire.ProduceReply{BaseOffset: base, Leader: wire.NoHint}
}

// stored returns the bytes of a partition.
func (b *fakeBackend) stored(topic wire.TopicID, partition int32) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.logs[wire.TopicPartition{Topic: topic, Partition: partition}].bytes
}

// forget lets the test end with held messages that were completed.
func (b *fakeBackend) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held = nil
}

// release completes what was held, in the order of the given indexes.
func (b *fakeBackend) release(order ...int) {
	b.mu.Lock()
	held := slices.Clone(b.held)
	b.mu.Unlock()
	for _, i := range order {
		b.complete(held[i])
	}
}

func (b *fakeBackend) Fetch(f *wire.Fetch) wire.Fetched {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fetches++
	l, ok := b.logs[wire.TopicPartition{Topic: f.Topic, Partition: f.Partition}]
	if !ok {
		return failedFetch(wire.UnknownTopicOrPartition)
	}
	fetched := wire.Fetched{HighWatermark: l.end, LastStableOffset: l.end, Leader: wire.NoHint}
	if f.FetchOffset < 0 || f.FetchOffset > l.end {
		fetched.Err = wire.OffsetOutOfRange
		return fetched
	}
	at := slices.IndexFunc(l.batches, func(x fakeBatch) bool { return x.end > f.FetchOffset })
	if at < 0 {
		return fetched
	}
	from := l.batches[at].position
	n := min(f.MaxBytes, len(l.bytes)-from)
	if f.AtLeastOne {
		first := len(l.bytes)
		if at+1 < len(l.batches) {
			first = l.batches[at+1].position
		}
		n = max(n, first-from)
	}
	if n == 0 {
		return fetched
	}
	b.lent++
	fetched.Records = wire.Records{
		File: &fakeFile{Reader: bytes.NewReader(l.bytes), file: l.file, release: func() {
			b.mu.Lock()
			b.lent--
			b.mu.Unlock()
		}},
		Position: int64(from), Length: n,
	}
	return fetched
}

func (b *fakeBackend) ParkAt(s *wire.Spot, f *wire.Fetch, beyond wire.Offset) bool {
	b.mu.Lock()
	l := b.logs[wire.TopicPartition{Topic: f.Topic, Partition: f.Partition}]
	there := l.end > beyond
	if !there {
		l.parking.Enter(s, beyond)
	}
	b.parkings++
	b.mu.Unlock()
	if b.parked != nil {
		b.parked <- struct{}{}
	}
	return !there
}

// expectNobodyParked fails when a fetch that is over waits for a partition.
func (b *fakeBackend) expectNobodyParked(t testing.TB) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for place, l := range b.logs {
		if n := l.parking.Len(); n > 0 {
			t.Errorf("%d still wait for %v", n, place)
		}
	}
}

func (b *fakeBackend) ListOffsets(q *wire.ListOffsets) wire.ListedOffset {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken {
		panic("a bug")
	}
	l := b.logs[wire.TopicPartition{Topic: q.Topic, Partition: q.Partition}]
	listed := wire.ListedOffset{Offset: wire.NoOffset, Timestamp: -1, LeaderEpoch: 3}
	switch {
	case q.Timestamp == wire.LatestTimestamp:
		listed.Offset = l.end
	case q.Timestamp == wire.EarliestTimestamp, q.Timestamp == wire.EarliestLocalTimestamp:
		listed.Offset = 0
	case q.Timestamp == wire.MaxTimestamp && len(l.batches) > 0:
		newest := slices.MaxFunc(l.batches, func(x, y fakeBatch) int { return cmp.Compare(x.maxTimestamp, y.maxTimestamp) })
		listed.Offset, listed.Timestamp = newest.end-1, newest.maxTimestamp
	case q.Timestamp >= 0:
		for _, x := range l.batches {
			if x.maxTimestamp >= q.Timestamp {
				listed.Offset, listed.Timestamp = x.base, x.maxTimestamp
				break
			}
		}
	}
	return listed
}

func (b *fakeBackend) OffsetForEpoch(q *wire.OffsetForEpoch) wire.OffsetForEpochReply {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.logs[wire.TopicPartition{Topic: q.Topic, Partition: q.Partition}]
	return wire.OffsetForEpochReply{End: wire.EpochEnd{LeaderEpoch: min(q.LeaderEpoch, 3), EndOffset: l.end}}
}

func (b *fakeBackend) DeleteRecords(_ context.Context, q *wire.DeleteRecords) (wire.Offset, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.logs[wire.TopicPartition{Topic: q.Topic, Partition: q.Partition}]
	if q.Before == wire.NoOffset {
		return l.end, nil
	}
	if q.Before > l.end {
		return wire.NoOffset, wire.OffsetOutOfRange
	}
	return q.Before, nil
}

func (b *fakeBackend) Producers(context.Context, wire.TopicID, int32) ([]wire.ProducerState, error) {
	return []wire.ProducerState{{Producer: 7, Epoch: 1, LastSequence: 41, LastOffset: 99, LastTimestamp: 5, CoordinatorEpoch: -1, CurrentTxnStart: -1}}, nil
}

func (b *fakeBackend) LogDirs() []wire.LogDir {
	return []wire.LogDir{
		{Path: "/data/a", TotalBytes: 100, UsableBytes: 50, Partitions: []wire.LogDirPartition{
			{Topic: "one", Partition: 0, Bytes: 10}, {Topic: "two", Partition: 0, Bytes: 20}, {Topic: "one", Partition: 1, Bytes: 30},
		}},
		{Path: "/data/b", Err: wire.KafkaStorageError, TotalBytes: -1, UsableBytes: -1},
	}
}

func (b *fakeBackend) InitProducerID(_ context.Context, q wire.InitProducerID) (wire.ProducerIdentity, error) {
	if q.Producer != wire.NoProducer {
		return wire.ProducerIdentity{Producer: q.Producer, Epoch: q.Epoch + 1}, nil
	}
	return wire.ProducerIdentity{Producer: 4000, Epoch: 0}, nil
}

func (b *fakeBackend) CreateTopics(_ context.Context, topics []wire.NewTopic, validateOnly bool) []wire.CreatedTopic {
	b.mu.Lock()
	defer b.mu.Unlock()
	var created []wire.CreatedTopic
	for _, t := range topics {
		c := wire.CreatedTopic{Name: t.Name, Partitions: t.Partitions, ReplicationFactor: 1}
		if c.Partitions == -1 {
			c.Partitions = 1
		}
		if len(t.Assignment) > 0 {
			c.Partitions = int32(len(t.Assignment))
		}
		_, exists := b.view.topics[t.Name]
		switch {
		case exists:
			c.Err = wire.Errorf(wire.TopicAlreadyExists, "topic %q already exists", t.Name)
		case !validateOnly:
			c.ID = b.createLocked(t.Name, c.Partitions).ID
		}
		created = append(created, c)
	}
	return created
}

func (b *fakeBackend) AutoCreateTopics(_ context.Context, names []string) []wire.CreatedTopic {
	b.mu.Lock()
	defer b.mu.Unlock()
	var created []wire.CreatedTopic
	for _, name := range names {
		if b.autoErr == nil {
			b.createLocked(name, 1)
		}
		created = append(created, wire.CreatedTopic{Name: name, Err: b.autoErr})
	}
	return created
}

func (b *fakeBackend) DeleteTopics(_ context.Context, refs []wire.TopicRef) []wire.DeletedTopic {
	b.mu.Lock()
	defer b.mu.Unlock()
	var deleted []wire.DeletedTopic
	for _, ref := range refs {
		d := wire.DeletedTopic{Name: ref.Name, ID: ref.ID, Err: wire.UnknownTopicOrPartition}
		if ref.Name == "" {
			d.Err = wire.UnknownTopicID
		}
		for name, t := range b.view.topics {
			if name == ref.Name || t.ID == ref.ID {
				fresh := *b.view
				fresh.topics = map[string]wire.Topic{}
				for n, t := range b.view.topics {
					if n != name {
						fresh.topics[n] = t
					}
				}
				b.view = &fresh
				d = wire.DeletedTopic{Name: name, ID: t.ID}
			}
		}
		deleted = append(deleted, d)
	}
	return deleted
}

func (b *fakeBackend) CreatePartitions(_ context.Context, more []wire.MorePartitions, _ bool) []error {
	errs := make([]error, len(more))
	for i, m := range more {
		if t, ok := b.View().Topic(m.Topic); !ok {
			errs[i] = wire.UnknownTopicOrPartition
		} else if m.Count <= t.Partitions {
			errs[i] = wire.Errorf(wire.InvalidPartitions, "topic has %d partitions already", t.Partitions)
		}
	}
	return errs
}

func (b *fakeBackend) AlterConfigs(_ context.Context, changes []wire.AlterConfigs, _ bool) []error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.altered = append(b.altered, changes...)
	return make([]error, len(changes))
}

func (b *fakeBackend) DescribeConfigs(resource wire.ConfigResource) ([]wire.ConfigEntry, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	entries, ok := b.configs[resource]
	if !ok {
		return nil, wire.UnknownTopicOrPartition
	}
	return entries, nil
}

func (b *fakeBackend) ElectLeaders(_ context.Context, req wire.ElectLeaders) ([]wire.PartitionOutcome, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.elections = append(b.elections, req)
	if req.Partitions == nil {
		return []wire.PartitionOutcome{
			{Topic: "orders", Partition: 0, Err: wire.ElectionNotNeeded},
			{Topic: "orders", Partition: 1},
			{Topic: "other", Partition: 4, Err: wire.PreferredLeaderNotAvailable},
		}, b.operator
	}
	outcomes := make([]wire.PartitionOutcome, len(req.Partitions))
	for i, p := range req.Partitions {
		outcomes[i] = wire.PartitionOutcome{Topic: p.Topic, Partition: p.Partition}
		if _, known := b.view.topics[p.Topic]; !known || p.Partition > 1 {
			outcomes[i].Err = wire.Errorf(wire.UnknownTopicOrPartition, "it is not there")
		}
	}
	return outcomes, b.operator
}

// lastElection and lastMove return what was asked for last.
func (b *fakeBackend) lastElection() wire.ElectLeaders {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.elections[len(b.elections)-1]
}

func (b *fakeBackend) lastMove() wire.AlterReassignments {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.moves[len(b.moves)-1]
}

func (b *fakeBackend) AlterReassignments(_ context.Context, req wire.AlterReassignments) ([]wire.PartitionOutcome, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.moves = append(b.moves, req)
	outcomes := make([]wire.PartitionOutcome, len(req.Partitions))
	for i, p := range req.Partitions {
		outcomes[i] = wire.PartitionOutcome{Topic: p.Topic, Partition: p.Partition}
		if p.Replicas == nil {
			outcomes[i].Err = wire.Errorf(wire.NoReassignmentInProgress, "it stays where it is")
		}
	}
	return outcomes, b.operator
}

func (b *fakeBackend) DescribeCluster(context.Context) wire.ClusterDescription {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cluster
}

// harness is a server on a real socket over a fake backend.
type harness struct {
	*Server
	backend *fakeBackend
	addr    string
	log     *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func start(t testing.TB, backend *fakeBackend, tune ...func(*Config)) *harness {
	t.Helper()
	cfg := DefaultConfig()
	for _, f := range tune {
		f(&cfg)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().(*net.TCPAddr)
	backend.view.brokers[0].Port = int32(addr.Port)
	h := &harness{backend: backend, addr: addr.String(), log: &lockedBuffer{}}
	h.Server = New(cfg, backend, slog.New(slog.NewTextHandler(h.log, nil)), NewMetrics(nil), time.Now)
	served := make(chan error, 1)
	go func() { served <- h.Serve(listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Errorf("serve: %v", err)
		}
		backend.working.Wait()
		backend.mu.Lock()
		defer backend.mu.Unlock()
		if backend.lent != 0 {
			t.Errorf("%d files were not released", backend.lent)
		}
		if used := h.budget.used.Load(); used != 0 && len(backend.held) == 0 {
			t.Errorf("%d bytes are still counted as in flight", used)
		}
	})
	return h
}

var quiet = slog.New(slog.DiscardHandler)
