package kafka

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

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
