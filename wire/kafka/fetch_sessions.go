package kafka

import (
	"math/rand/v2"
	"sync"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

// sessionIdle is how long a session is safe from larger ones after it was made, and after how long
// without a request anybody's new session may take its place.
const sessionIdle = 2 * time.Minute

// fetchSessions are the sessions that clients may go on with. They are not tied to a connection, as in
// Kafka. There are at most slots of them, and they take at most room bytes; when there is no place, a
// client is answered without one, which costs it only that it names all partitions again.
//
// Locks: no session is locked while mu is held.
type fetchSessions struct {
	slots   int
	room    int64
	metrics sessionMetrics

	mu    sync.Mutex
	known map[int32]*keptSession
	bytes int64
	parts int
}

// keptSession is what decides whether a session is kept.
type keptSession struct {
	session *fetchSession
	parts   int
	bytes   int64
	made    time.Time
	used    time.Time // at the last request
}

func newFetchSessions(cfg Config, metrics sessionMetrics) *fetchSessions {
	return &fetchSessions{
		slots: cfg.MaxFetchSessions, room: cfg.MaxFetchSessionBytes, metrics: metrics, known: make(map[int32]*keptSession),
	}
}

// partBytes is what a partition takes in a session, but for its topic's name: itself, its entry in the
// map, which is half empty at worst, its place in due.
const partBytes = int64(unsafe.Sizeof(fetchPart{}) + 2*(unsafe.Sizeof(partKey{})+8) + 8)

// bytes is what a partition of this name adds to a session.
func (k *partKey) bytes() int64 { return partBytes + int64(len(k.name)) }

// next finds the session that a request goes on with, and locks it. The request is the next one of the
// session, or the code says what is wrong with it.
func (c *fetchSessions) next(q *kmsg.FetchRequest, now time.Time) (*fetchSession, wire.ErrorCode) {
	c.mu.Lock()
	kept := c.known[q.SessionID]
	c.mu.Unlock()
	if kept == nil {
		return nil, wire.FetchSessionIDNotFound
	}
	s := kept.session
	s.mu.Lock()
	code := s.check(q)
	if code == wire.None {
		if c.grow(q.SessionID, s.growth(q)) {
			s.begin(q, now)
			c.touch(s, now)
			if len(s.parts) == 0 {
				s.id, s.closed = noSession, true
			}
			return s, wire.None
		}
		code = wire.FetchSessionIDNotFound // it has grown too large to be kept
	}
	s.mu.Unlock()
	if code == wire.FetchSessionIDNotFound {
		c.close(q.SessionID)
	}
	return nil, code
}

// grow takes room for a session that is kept; false if there is none.
func (c *fetchSessions) grow(id int32, bytes int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := c.known[id]
	if kept == nil || c.bytes+bytes > c.room {
		return false
	}
	kept.bytes += bytes
	c.bytes += bytes
	return true
}

// touch notes that a session was used, and what it has become; an empty one is over. The caller holds its lock.
func (c *fetchSessions) touch(s *fetchSession, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := c.known[s.id]
	switch {
	case kept == nil:
	case len(s.parts) == 0:
		c.remove(kept)
	default:
		c.resize(kept, len(s.parts), s.bytes)
		kept.used = now
	}
}

func (c *fetchSessions) resize(kept *keptSession, parts int, bytes int64) {
	c.parts += parts - kept.parts
	c.bytes += bytes - kept.bytes
	kept.parts, kept.bytes = parts, bytes
	c.metrics.sessions.Set(float64(len(c.known)))
	c.metrics.partitions.Set(float64(c.parts))
}

// keep makes what a client has just fetched from a session that it may go on with, and returns its id; noSession if
// there is no place.
func (c *fetchSessions) keep(s *fetchSession, byID bool, now time.Time) int32 {
	if c.slots == 0 || int64(len(s.list))*partBytes > c.room {
		return noSession
	}
	s.found(byID, now)
	c.mu.Lock()
	evicted, ok := c.makeRoom(len(s.parts), s.bytes, now)
	if ok {
		s.id = c.unusedID()
		kept := &keptSession{session: s, made: now, used: now}
		c.known[s.id] = kept
		c.resize(kept, len(s.parts), s.bytes)
	}
	id := s.id
	c.mu.Unlock()
	for _, e := range evicted {
		e.close()
	}
	if !ok {
		s.parts = nil
	}
	return id
}

// makeRoom takes out of the cache what a new session may displace, until there is a place for it: the session
// that was not used for longest, if that is long enough; else the smallest one, if it is smaller than the new one and
// has had its time. It looks at all of them, which at the default number takes some microseconds.
//
// Kafka: also prefers the sessions of followers, which fetch nothing here; and does not count bytes.
func (c *fetchSessions) makeRoom(parts int, bytes int64, now time.Time) (evicted []*fetchSession, ok bool) {
	if bytes > c.room {
		return nil, false
	}
	for len(c.known) >= c.slots || c.bytes+bytes > c.room {
		var oldest, smallest *keptSession
		for _, k := range c.known {
			if oldest == nil || k.used.Before(oldest.used) {
				oldest = k
			}
			if now.Sub(k.made) > sessionIdle && (smallest == nil || k.parts < smallest.parts) {
				smallest = k
			}
		}
		victim := oldest
		if oldest == nil || now.Sub(oldest.used) <= sessionIdle {
			if victim = smallest; smallest == nil || smallest.parts >= parts {
				return evicted, false
			}
		}
		c.remove(victim)
		c.metrics.evictions.Inc()
		evicted = append(evicted, victim.session)
	}
	return evicted, true
}

func (c *fetchSessions) remove(kept *keptSession) {
	delete(c.known, kept.session.id)
	c.resize(kept, 0, 0)
}

// unusedID returns an id that is hard to guess, so that no client comes to another's session by
// counting.
func (c *fetchSessions) unusedID() int32 {
	for {
		if id := rand.Int32(); id != noSession && c.known[id] == nil {
			return id
		}
	}
}

// close ends a session, if there is one of that id.
func (c *fetchSessions) close(id int32) {
	c.mu.Lock()
	kept := c.known[id]
	if kept != nil {
		c.remove(kept)
	}
	c.mu.Unlock()
	if kept != nil {
		kept.session.close()
	}
}
