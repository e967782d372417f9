package kafka

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

// fetcher is a client in a fetch session.
type fetcher struct {
	*rawClient
	version int16
	topic   wire.Topic
	id      int32
	epoch   int32
	wait    int32
}

func newFetcher(h *harness, t *testing.T, version int16, topic wire.Topic) *fetcher {
	return &fetcher{rawClient: h.dial(t), version: version, topic: topic}
}

// at is a partition and the offset to fetch from.
type at struct {
	partition int32
	offset    int64
}

func (f *fetcher) request(want []at, forget ...int32) *kmsg.FetchRequest {
	q := kmsg.NewPtrFetchRequest()
	q.SetVersion(f.version)
	q.MaxBytes, q.MinBytes, q.MaxWaitMillis = 50<<20, 1, f.wait
	q.SessionID, q.SessionEpoch = f.id, f.epoch
	if len(want) > 0 {
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = f.topic.Name, f.topic.ID
		for _, w := range want {
			p := kmsg.NewFetchRequestTopicPartition()
			p.Partition, p.FetchOffset, p.PartitionMaxBytes = w.partition, w.offset, 1<<20
			t.Partitions = append(t.Partitions, p)
		}
		q.Topics = append(q.Topics, t)
	}
	if len(forget) > 0 {
		t := kmsg.NewFetchRequestForgottenTopic()
		t.Topic, t.TopicID, t.Partitions = f.topic.Name, f.topic.ID, forget
		q.ForgottenTopics = append(q.ForgottenTopics, t)
	}
	return q
}

// fetch sends a request of the session and takes note of its answer.
func (f *fetcher) fetch(want []at, forget ...int32) *kmsg.FetchResponse {
	f.t.Helper()
	a := f.ask(f.request(want, forget...)).(*kmsg.FetchResponse)
	f.answered(a)
	return a
}

func (f *fetcher) answered(a *kmsg.FetchResponse) {
	if a.ErrorCode == 0 {
		f.id, f.epoch = a.SessionID, f.epoch+1
	}
}

// expect fetches, and fails unless these partitions are answered, with records where there is a +.
func (f *fetcher) expect(want []at, answered ...string) {
	f.t.Helper()
	f.expectAnswer(f.fetch(want), answered...)
}

func (f *fetcher) expectAnswer(a *kmsg.FetchResponse, answered ...string) {
	f.t.Helper()
	got := []string{}
	for _, t := range a.Topics {
		for _, p := range t.Partitions {
			s := fmt.Sprint(p.Partition)
			if len(p.RecordBatches) > 0 {
				s += "+"
			}
			if p.ErrorCode != 0 {
				s += " " + wire.ErrorCode(p.ErrorCode).Name()
			}
			got = append(got, s)
		}
	}
	slices.Sort(got)
	if a.ErrorCode != 0 || !slices.Equal(got, answered) {
		f.t.Errorf("version %d: error %v, %q are answered, want %q", f.version, wire.ErrorCode(a.ErrorCode), got, answered)
	}
}

func (f *fetcher) expectError(a *kmsg.FetchResponse, want wire.ErrorCode) {
	f.t.Helper()
	if wire.ErrorCode(a.ErrorCode) != want || a.SessionID != 0 || len(a.Topics) > 0 {
		f.t.Errorf("version %d: error %v, session %d, %d topics; want %v", f.version, wire.ErrorCode(a.ErrorCode), a.SessionID, len(a.Topics), want)
	}
}

func (h *harness) produceTo(t *testing.T, topic wire.Topic, partition int32, size int) {
	t.Helper()
	q := produceOf(9, topic, -1, batchOf(1, size))
	q.Topics[0].Partitions[0].Partition = partition
	if p := produced(t, h.dial(t).ask(q)); p.ErrorCode != 0 {
		t.Fatal(wire.ErrorCode(p.ErrorCode))
	}
}

// valueOf reads a gauge or a counter.
func valueOf(t *testing.T, m prometheus.Metric) float64 {
	t.Helper()
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.GetGauge().GetValue() + out.GetCounter().GetValue()
}

// KIP-227: an incremental answer has a partition in it only for new data, another high watermark or log start, or an
// error.
func TestASessionIsAnsweredOnlyWhatIsNew(t *testing.T) {
	for _, version := range []int16{7, 11, 12, 13, 18} {
		backend := newFakeBackend()
		topic := backend.create("orders", 4)
		h := start(t, backend)
		f := newFetcher(h, t, version, topic)
		f.expect([]at{{0, 0}, {1, 0}, {2, 0}}, "0", "1", "2")
		if f.id <= 0 {
			t.Fatalf("version %d: session %d", version, f.id)
		}
		f.expect(nil)
		h.produceTo(t, topic, 1, 10)
		f.expect(nil, "1+")
		f.expect(nil, "1+") // the client has not gone on
		f.expect([]at{{1, 1}})
		f.expect(nil)
		f.expect([]at{{3, 0}}, "3") // one more, of which the client knows nothing yet
		h.produceTo(t, topic, 0, 10)
		h.produceTo(t, topic, 3, 10)
		f.expect(nil, "0+", "3+")
		f.expect([]at{{0, 1}, {3, 9}}, "3 OFFSET_OUT_OF_RANGE")
		f.expect(nil, "3 OFFSET_OUT_OF_RANGE")
		f.expect([]at{{3, 1}}, "3") // no error any more: that is news
		f.expect(nil)
	}
}

func TestForgottenPartitionsAreNotAnswered(t *testing.T) {
	for _, version := range []int16{7, 12, 13} {
		backend := newFakeBackend()
		topic := backend.create("orders", 3)
		h := start(t, backend)
		f := newFetcher(h, t, version, topic)
		f.expect([]at{{0, 0}, {1, 0}, {2, 0}}, "0", "1", "2")
		for p := range int32(3) {
			h.produceTo(t, topic, p, 10)
		}
		f.expectAnswer(f.fetch(nil, 1, 7), "0+", "2+") // nobody knows 7
		// A session that has no partition is over.
		if a := f.fetch(nil, 0, 2); a.ErrorCode != 0 || a.SessionID != 0 || len(a.Topics) > 0 {
			t.Errorf("version %d: %+v", version, a)
		}
		f.id, f.epoch = 1, 1
		f.expectError(f.fetch(nil), wire.FetchSessionIDNotFound)
		backend.expectNobodyParked(t)
	}
}

func TestARequestThatIsNotTheNextOfItsSessionIsRefused(t *testing.T) {
	backend := newFakeBackend()
	topic := backend.create("orders", 2)
	h := start(t, backend)
	f := newFetcher(h, t, 12, topic)
	f.expect([]at{{0, 0}, {1, 0}}, "0", "1")
	wrong := func(version int16, id, epoch int32, want wire.ErrorCode) {
		t.Helper()
		other := &fetcher{rawClient: f.rawClient, version: version, topic: topic, id: id, epoch: epoch}
		other.expectError(other.fetch([]at{{1, 5}}), want)
	}
	wrong(12, f.id, 2, wire.InvalidFetchSessionEpoch)
	wrong(12, f.id, -2, wire.InvalidFetchSessionEpoch)
	wrong(12, f.id^1, 1, wire.FetchSessionIDNotFound)
	wrong(12, 0, 1, wire.FetchSessionIDNotFound)
	wrong(13, f.id, 1, wire.FetchSessionTopicIDError) // KIP-516: a session names its topics in one way
	f.expect(nil)                                     // and all that changes nothing
	wrong(12, f.id, 1, wire.InvalidFetchSessionEpoch)
	h.produceTo(t, topic, 0, 1)
	f.expect(nil, "0+")
}

func TestAWholeRequestEndsTheSessionItNames(t *testing.T) {
	for _, epoch := range []int32{sessionInitial, sessionFinal} {
		backend := newFakeBackend()
		topic := backend.create("orders", 1)
		h := start(t, backend)
		f := newFetcher(h, t, 13, topic)
		f.expect([]at{{0, 0}}, "0")
		old := f.id
		f.epoch = epoch
		f.expect([]at{{0, 0}}, "0")
		if (f.id == noSession) != (epoch == sessionFinal) || f.id == old {
			t.Errorf("epoch %d: session %d after %d", epoch, f.id, old)
		}
		f.id, f.epoch = old, 1
		f.expectError(f.fetch(nil), wire.FetchSessionIDNotFound)
		if n := valueOf(t, h.metrics.fetch.sessions); n != float64(1+epoch) {
			t.Errorf("epoch %d: %v sessions", epoch, n)
		}
	}
}

func TestASessionHearsOfTopicsThatComeAndGo(t *testing.T) {
	backend := newFakeBackend()
	h := start(t, backend)
	byName := newFetcher(h, t, 12, wire.Topic{Name: "later"})
	byName.expect([]at{{0, 0}}, "0 UNKNOWN_TOPIC_OR_PARTITION")
	byName.expect(nil, "0 UNKNOWN_TOPIC_OR_PARTITION")
	topic := backend.create("later", 1)
	byName.expect(nil, "0")
	byName.expect([]at{{0, 0}})

	byID := newFetcher(h, t, 13, topic)
	byID.expect([]at{{0, 0}}, "0")
	backend.DeleteTopics(t.Context(), []wire.TopicRef{{Name: "later"}})
	byID.expect([]at{{0, 0}}, "0 UNKNOWN_TOPIC_ID")
	backend.create("later", 1) // under another id
	byID.expect(nil, "0 INCONSISTENT_TOPIC_ID")
	byName.expect([]at{{0, 0}}) // goes on with the new one, as in Kafka
}

// Ten thousand quiet partitions must not cost ten thousand of anything for each fetch.
func TestQuietPartitionsOfASessionAreNotTouched(t *testing.T) {
	const partitions = 10_000
	backend := newFakeBackend()
	topic := backend.create("wide", partitions)
	h := start(t, backend)
	f := newFetcher(h, t, 13, topic)
	var all []at
	for p := range int32(partitions) {
		all = append(all, at{p, 0})
	}
	f.ask(kmsg.NewPtrApiVersionsRequest())
	f.fetch(all)
	touched := func() int {
		backend.mu.Lock()
		defer backend.mu.Unlock()
		return backend.parkings + backend.fetches
	}
	before := touched()
	for range 10 {
		f.expect(nil)
	}
	h.produceTo(t, topic, 4711, 10)
	f.expect(nil, "4711+")
	f.expect([]at{{4711, 1}})
	if n := touched() - before; n > 6 {
		t.Errorf("partitions were touched %d times", n)
	}
	if n := valueOf(t, h.metrics.fetch.partitions); n != partitions {
		t.Errorf("the metric counts %v partitions", n)
	}
}

func TestASessionsLongPollEndsWhenAnyOfItsPartitionsMoves(t *testing.T) {
	backend := newFakeBackend()
	topic := backend.create("orders", 3)
	h := start(t, backend)
	f := newFetcher(h, t, 13, topic)
	f.expect([]at{{0, 0}, {1, 0}, {2, 0}}, "0", "1", "2")
	f.wait = 60_000
	for round := range int64(3) {
		f.send(f.request([]at{{1, round}})) // the others have been parked since the beginning
		h.produceTo(t, topic, 1, 10)
		a := f.receive(f.request(nil), f.correlation).(*kmsg.FetchResponse)
		f.answered(a)
		f.expectAnswer(a, "1+")
	}
}

// A client that has lost its connection may be back before the broker has noticed.
func TestWhoComesBackToASessionTakesItOver(t *testing.T) {
	backend := newFakeBackend()
	topic := backend.create("orders", 3)
	backend.parked = make(chan struct{}, 10)
	h := start(t, backend)
	f := newFetcher(h, t, 13, topic)
	f.expect([]at{{0, 0}, {1, 0}}, "0", "1")
	f.wait = 60_000
	<-backend.parked
	<-backend.parked
	lost := f.request([]at{{2, 0}})
	f.send(lost)
	<-backend.parked
	back := newFetcher(h, t, 13, topic)
	back.id, back.epoch, back.wait = f.id, 2, 60_000
	back.send(back.request(nil))
	f.expectError(f.receive(lost, f.correlation).(*kmsg.FetchResponse), wire.InvalidFetchSessionEpoch)
	h.produceTo(t, topic, 1, 10)
	back.expectAnswer(back.receive(lost, 1).(*kmsg.FetchResponse), "1+", "2") // of 2, the client was told nothing yet
}

// Whatever takes all of the room of an answer comes last in the next one.
func TestNoPartitionOfASessionStarves(t *testing.T) {
	const partitions = 5
	backend := newFakeBackend()
	topic := backend.create("orders", partitions)
	h := start(t, backend)
	f := newFetcher(h, t, 13, topic)
	var all []at
	for p := range int32(partitions) {
		all = append(all, at{p, 0})
	}
	f.fetch(all)
	next := make([]int64, partitions)
	for p := range int32(partitions) {
		for range 3 {
			h.produceTo(t, topic, p, 1000)
		}
	}
	var order []int32
	for range 3 * partitions {
		q := f.request(nil)
		if n := len(order); n > 0 {
			last := order[n-1]
			q = f.request([]at{{last, next[last]}})
		}
		q.MaxBytes = 10 // one batch
		a := f.ask(q).(*kmsg.FetchResponse)
		f.answered(a)
		for _, p := range a.Topics[0].Partitions {
			if len(p.RecordBatches) > 0 {
				order = append(order, p.Partition)
				next[p.Partition]++
			}
		}
	}
	if len(order) != 3*partitions {
		t.Fatalf("answered with records: %v", order)
	}
	for i := partitions; i < len(order); i++ {
		if order[i] != order[i-partitions] {
			t.Fatalf("the partitions do not take turns: %v", order)
		}
	}
}

func TestFromTimeToTimeAllPartitionsOfASessionAreLookedAt(t *testing.T) {
	q := fetchOf(13, wire.Topic{ID: wire.TopicID{1}}, 0, 3)
	s := &fetchSession{waiter: wire.NewWaiter()}
	s.fill(q)
	s.due = s.due[:0]
	for i := range s.list {
		s.list[i].due = false
	}
	s.found(true, now())
	none := &kmsg.FetchRequest{Version: 13}
	s.begin(none, now().Add(sessionSweep-1))
	if len(s.due) != 0 {
		t.Errorf("%d are due too early", len(s.due))
	}
	s.begin(none, now().Add(sessionSweep))
	if len(s.due) != 3 {
		t.Errorf("%d are due", len(s.due))
	}
}

func TestSessionEpochsGoRoundWithoutTheSpecialOnes(t *testing.T) {
	for epoch, want := range map[int32]int32{0: 1, 1: 2, math.MaxInt32: 1} {
		if got := nextSessionEpoch(epoch); got != want {
			t.Errorf("after %d comes %d, want %d", epoch, got, want)
		}
	}
}

func TestAPartitionThatIsNamedTwiceIsInTheSessionOnce(t *testing.T) {
	backend := newFakeBackend()
	topic := backend.create("orders", 2)
	h := start(t, backend)
	h.produceTo(t, topic, 0, 10)
	f := newFetcher(h, t, 13, topic)
	f.fetch([]at{{0, 5}, {1, 0}, {0, 0}})
	f.expect(nil, "0+") // what was said last counts
	if n := valueOf(t, h.metrics.fetch.partitions); n != 2 {
		t.Errorf("%v partitions", n)
	}
}

// kept makes a session of n partitions out of nothing.
func (c *fetchSessions) kept(t *testing.T, n int, now time.Time) (*fetchSession, bool) {
	t.Helper()
	s := &fetchSession{waiter: wire.NewWaiter()}
	s.fill(fetchOf(13, wire.Topic{ID: wire.TopicID{1}}, 0, n))
	return s, c.keep(s, true, now) != noSession
}

func (c *fetchSessions) has(s *fetchSession) bool { return c.known[s.id] != nil && !s.closed }

// KIP-227: a new session takes the place of one that was not used for too long, or of a smaller one that has been there for
// long enough.
func TestWhichSessionMakesRoomForANewOne(t *testing.T) {
	begin := now()
	for name, c := range map[string]struct {
		sizes   []int           // of those that are there, made at the beginning
		used    []time.Duration // when, since then
		size    int
		at      time.Duration
		evicted int // -1: none, and the new one is declined
	}{
		"one that is smaller but new is safe":        {[]int{1, 1}, []time.Duration{0, 0}, 100, sessionIdle, -1},
		"one that was not used for long goes":        {[]int{50, 50}, []time.Duration{0, 1}, 1, sessionIdle + 1, 0},
		"the smallest one goes":                      {[]int{5, 4}, []time.Duration{time.Hour, time.Hour}, 6, time.Hour, 1},
		"one as large as the new one stays":          {[]int{6, 6}, []time.Duration{time.Hour, time.Hour}, 6, time.Hour, -1},
		"one that was not used goes before all else": {[]int{9, 1}, []time.Duration{0, time.Hour}, 9, time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := DefaultConfig()
			cfg.MaxFetchSessions = len(c.sizes)
			metrics := newFetchMetrics().sessionMetrics
			cache := newFetchSessions(cfg, metrics)
			var sessions []*fetchSession
			for i, n := range c.sizes {
				s, ok := cache.kept(t, n, begin)
				if !ok {
					t.Fatal("there is no place")
				}
				cache.touch(s, begin.Add(c.used[i]))
				sessions = append(sessions, s)
			}
			_, ok := cache.kept(t, c.size, begin.Add(c.at))
			if ok != (c.evicted >= 0) {
				t.Errorf("kept: %v", ok)
			}
			for i, s := range sessions {
				if cache.has(s) == (i == c.evicted) {
					t.Errorf("session %d is there: %v", i, cache.has(s))
				}
			}
			if n := valueOf(t, metrics.evictions); (n == 1) != ok {
				t.Errorf("%v evictions", n)
			}
		})
	}
}

func TestSessionsTakeNoMoreMemoryThanTheyMay(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxFetchSessionBytes = 10 * partBytes
	cache := newFetchSessions(cfg, newFetchMetrics().sessionMetrics)
	if _, ok := cache.kept(t, 11, now()); ok {
		t.Error("a session that is too large is kept")
	}
	first, ok := cache.kept(t, 6, now())
	if !ok {
		t.Fatal("there is no place")
	}
	if _, ok := cache.kept(t, 5, now()); ok {
		t.Error("both take more than there is")
	}
	// Forgetting partitions that the session began with gives nothing back: they lie in one piece.
	q := &kmsg.FetchRequest{Version: 13, SessionID: first.id, SessionEpoch: 1}
	q.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{TopicID: wire.TopicID{1}, Partitions: []int32{0, 1, 2, 3, 4}}}
	s, code := cache.next(q, now())
	if code != wire.None || cache.bytes != 6*partBytes || cache.parts != 1 {
		t.Errorf("%v: %d partitions take %d bytes", code, cache.parts, cache.bytes)
	}
	s.mu.Unlock()
	q = fetchOf(13, wire.Topic{ID: wire.TopicID{1}}, 0, 7) // six more
	q.SessionID, q.SessionEpoch = first.id, 2
	if _, code := cache.next(q, now()); code != wire.FetchSessionIDNotFound {
		t.Errorf("a session that grows too large is answered %v", code)
	}
	if cache.bytes != 0 || cache.parts != 0 || len(cache.known) != 0 {
		t.Errorf("%d sessions, %d partitions, %d bytes", len(cache.known), cache.parts, cache.bytes)
	}
	longer := wire.Topic{Name: string(make([]byte, 10*partBytes))}
	s = &fetchSession{waiter: wire.NewWaiter()}
	s.fill(fetchOf(12, longer, 0, 1))
	if cache.keep(s, false, now()) != noSession {
		t.Error("the names of topics take nothing")
	}
}

func TestWithoutSlotsSessionsAreDeclined(t *testing.T) {
	backend, topic := fakeBroker()
	h := start(t, backend, func(c *Config) { c.MaxFetchSessions = 0 })
	f := newFetcher(h, t, 12, topic)
	for range 3 {
		f.epoch = sessionInitial
		f.expect([]at{{0, 0}}, "0")
		if f.id != noSession {
			t.Errorf("session %d", f.id)
		}
	}
	backend.expectNobodyParked(t)
}

// What a session answers is compared with the rule said the plain way: look at every partition each time.
func TestSessionsAnswerAsIfTheyLookedAtEverything(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 0))
		const partitions = 6
		backend := newFakeBackend()
		topic := backend.create("orders", partitions)
		h := start(t, backend)
		f := newFetcher(h, t, []int16{7, 12, 13, 18}[random.IntN(4)], topic)
		ends := make([]int64, partitions)
		type known struct{ offset, highWatermark int64 }
		session := map[int32]*known{}
		for step := range 60 {
			for range random.IntN(3) {
				p := random.Int32N(partitions)
				h.produceTo(t, topic, p, 10)
				ends[p]++
			}
			var want []at
			var forget []int32
			for p := range int32(partitions) {
				switch {
				case random.IntN(3) == 0 || step == 0 && p == 0:
					offset := random.Int64N(ends[p] + 2)
					want = append(want, at{p, offset})
					if session[p] == nil {
						session[p] = &known{highWatermark: -1}
					}
					session[p].offset = offset
				case p > 0 && random.IntN(8) == 0 && step > 0:
					forget = append(forget, p)
					delete(session, p)
				}
			}
			expected := []string{}
			for p := range int32(partitions) {
				k := session[p]
				if k == nil {
					continue
				}
				switch {
				case k.offset > ends[p]:
					expected = append(expected, fmt.Sprint(p, " OFFSET_OUT_OF_RANGE"))
					k.highWatermark = -1
				case k.offset < ends[p]:
					expected = append(expected, fmt.Sprint(p, "+"))
					k.highWatermark = ends[p]
				case k.highWatermark != ends[p] || step == 0:
					expected = append(expected, fmt.Sprint(p))
					k.highWatermark = ends[p]
				}
			}
			f.expectAnswer(f.fetch(want, forget...), expected...)
			if t.Failed() {
				t.Fatalf("seed %d, step %d: fetched %v, forgot %v", seed, step, want, forget)
			}
		}
	}
}

// FuzzFetchSessions has two connections send fetches as the input says, of which some fit to a session that there is:
// none may crash, and whatever a session waits for and borrows is given back with it.
func FuzzFetchSessions(f *testing.F) {
	f.Add([]byte("a whole fetch, and on it goes"))
	f.Add([]byte{0, 0, 0x0f, 0, 1, 1, 0, 0, 1, 1, 0x10, 0x10, 2, 3, 1, 0, 4, 0, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) > 400 {
			return
		}
		const partitions = 4
		backend := newFakeBackend()
		topics := []wire.Topic{backend.create("one", partitions), backend.create("two", partitions), {Name: "none", ID: wire.TopicID{9}}}
		cfg := DefaultConfig()
		cfg.MaxFetchSessions, cfg.MaxFetchSessionBytes = 3, 20*partBytes
		clock := now()
		s := New(cfg, backend, quiet, NewMetrics(nil), func() time.Time { return clock })
		out := [2]*sink{{}, {}}
		conns := [2]*conn{newConn(s, out[0], nil), newConn(s, out[1], nil)}
		ids, epochs := []int32{0}, []int32{0}
		next := func() int {
			if len(input) == 0 {
				return 0
			}
			b := input[0]
			input = input[1:]
			return int(b)
		}
		for len(input) > 0 {
			kind, on, which, shape := next(), next()%2, next()%len(ids), next()
			version := []int16{6, 7, 11, 12, 13, 18}[next()%6]
			clock = clock.Add(time.Duration(next()) * time.Second)
			q := kmsg.NewPtrFetchRequest()
			q.SetVersion(version)
			q.MaxBytes, q.MinBytes, q.MaxWaitMillis = int32(next()*10), int32(next()%3), int32(kind&1)
			q.SessionID, q.SessionEpoch = ids[which], epochs[which]
			if kind&6 == 6 {
				q.SessionEpoch = int32(next()%4 - 1)
			}
			for i := range shape & 3 {
				topic := topics[(kind>>3+i)%len(topics)]
				asked := fetchOf(version, topic, int64(next()%3), next()%(partitions+2)).Topics[0]
				q.Topics = append(q.Topics, asked)
				if shape&(4<<i) != 0 {
					q.ForgottenTopics = append(q.ForgottenTopics, kmsg.FetchRequestForgottenTopic{
						Topic: topic.Name, TopicID: topic.ID, Partitions: []int32{int32(next()%partitions - 1)},
					})
				}
			}
			if shape&0x80 != 0 {
				batch := batchOf(1, 10)
				place := wire.TopicPartition{Topic: topics[next()%2].ID, Partition: int32(next() % partitions)}
				backend.mu.Lock()
				_ = backend.append(&wire.Produce{Topic: place.Topic, Partition: place.Partition, Batches: batch})
				backend.mu.Unlock()
			}
			out[on].Reset()
			c := conns[on]
			c.request = request{api: apiOf(keyFetch), version: version, body: q.AppendTo(nil), received: clock}
			if err := c.serveFetch(); err != nil {
				t.Fatal(err)
			}
			body := out[on].Bytes()[8:]
			a, err := decodeAnswer(q, body)
			if err != nil {
				t.Fatal(err)
			}
			switch answer := a.(*kmsg.FetchResponse); {
			case answer.ErrorCode != 0 || answer.SessionID == noSession:
			case answer.SessionID == ids[which]:
				epochs[which]++
			default:
				ids, epochs = append(ids, answer.SessionID), append(epochs, 1)
			}
			if s.sessions.bytes > cfg.MaxFetchSessionBytes || len(s.sessions.known) > cfg.MaxFetchSessions {
				t.Fatalf("%d sessions take %d bytes", len(s.sessions.known), s.sessions.bytes)
			}
		}
		for _, id := range ids {
			s.sessions.close(id)
		}
		if s.sessions.bytes != 0 || s.sessions.parts != 0 || len(s.sessions.known) != 0 {
			t.Errorf("%d sessions, %d partitions and %d bytes are left", len(s.sessions.known), s.sessions.parts, s.sessions.bytes)
		}
		backend.expectNobodyParked(t)
		if backend.lent != 0 {
			t.Errorf("%d files are kept", backend.lent)
		}
	})
}
