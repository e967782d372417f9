package kafka

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

// Versions of Fetch at which its layout changes.
const (
	fetchHasSessions = 7
	fetchZstd        = 10
	fetchRack        = 11
	fetchFlexible    = 12
	fetchTopicIDs    = 13
	fetchEndpoints   = 16
)

var fetchShape = shape{
	flexible: fetchFlexible,
	fields: []field{
		bytesOf(4).upTo(14),                   // replica id
		bytesOf(4),                            // max wait
		bytesOf(4),                            // min bytes
		bytesOf(4),                            // max bytes
		bytesOf(1),                            // isolation level
		bytesOf(4 + 4).from(fetchHasSessions), // session id and epoch
		list(
			str().upTo(12),
			bytesOf(16).from(13),
			list(
				bytesOf(4),          // partition
				bytesOf(4).from(9),  // current leader epoch
				bytesOf(8),          // fetch offset
				bytesOf(4).from(12), // last fetched epoch
				bytesOf(8).from(5),  // log start offset
				bytesOf(4),          // max bytes
			),
		),
		list(str().upTo(12), bytesOf(16).from(13), listOf(bytesOf(4))).from(7), // forgotten
		str().from(fetchRack),
	},
	tags: []field{inTag(1, bytesOf(4), bytesOf(8))}, // replica state
}

// fetchState is what a connection keeps for its fetches.
type fetchState struct {
	request kmsg.FetchRequest
	single  *fetchSession // what fetches without a session use, one after the other
	looks   []look        // at partitions, for the present request
	records int           // bytes of records in looks
	urgent  bool          // something in looks must not wait: an error, a diverging log, another replica
	timer   *time.Timer   // made at the first fetch that has to wait
	ask     wire.Fetch
	ready   []*wire.Spot
	width   int   // how much the present request enumerates
	share   share // of the memory for all of this
}

// look is what a partition had when the request looked at it last.
type look struct {
	part    *fetchPart
	fetched wire.Fetched
	again   bool // that is over
}

// quiet says that there was nothing for the client, and that more will wake whoever is parked.
func (l *look) quiet() bool {
	f := &l.fetched
	return !l.again && f.Err == nil && f.Diverging == nil && f.Preferred == nil && f.HighWatermark <= l.part.offset
}

// serveFetch answers with what is there, once that is enough or the client's patience is over.
func (c *conn) serveFetch() error {
	q := &c.fetch.request
	topics := q.Topics[:0]
	*q = kmsg.FetchRequest{Topics: topics}
	var err error
	if c.fetch.width, err = c.measure(); err != nil {
		return err
	}
	if !c.fetch.share.grow(int64(c.fetch.width)*fetchedBytes + int64(len(c.request.body))) {
		return c.throttle()
	}
	defer c.fetch.reset()
	if err := c.read(q); err != nil {
		return err
	}
	if q.Version < fetchHasSessions || q.SessionEpoch == sessionInitial || q.SessionEpoch == sessionFinal {
		return c.fetchWhole(q)
	}
	s, code := c.server.sessions.next(q, c.request.received)
	if code != wire.None {
		return c.answerFetchError(code)
	}
	return c.fetchIncrement(s, q)
}

// fetchWhole serves a request that names all of its partitions. If it is to begin a session, the partitions are
// what the session begins with.
func (c *conn) fetchWhole(q *kmsg.FetchRequest) error {
	f := &c.fetch
	if q.Version >= fetchHasSessions && q.SessionID != noSession {
		c.server.sessions.close(q.SessionID)
	}
	if f.single == nil {
		f.single = &fetchSession{waiter: wire.NewWaiter()}
	}
	s := f.single
	s.mu.Lock()
	s.fill(q)
	c.gather(s, q, true)
	s.mu.Unlock() // nobody else knows it
	id := int32(noSession)
	if q.Version >= fetchHasSessions && q.SessionEpoch == sessionInitial {
		id = c.beginSession(s, q)
	}
	if id == noSession {
		f.ready = s.empty(f.ready)
	} else {
		f.single = nil
	}
	return c.answerFetch(q, id)
}

// beginSession makes what was fetched from a session and returns its id, or noSession if it is not to be kept.
func (c *conn) beginSession(s *fetchSession, q *kmsg.FetchRequest) int32 {
	f := &c.fetch
	c.park(s, q)
	for i := range f.looks {
		f.looks[i].part.news(&f.looks[i].fetched) // the answer tells everything
	}
	s.settle(f.looks)
	return c.server.sessions.keep(s, q.Version >= fetchTopicIDs, c.request.received)
}

// fetchIncrement serves a request of a session, which is locked.
func (c *conn) fetchIncrement(s *fetchSession, q *kmsg.FetchRequest) error {
	id := s.id
	if !c.takeTurn(s, q) {
		return c.answerFetchError(wire.InvalidFetchSessionEpoch)
	}
	return c.answerFetch(q, id)
}

// takeTurn gathers what is new in a session, and unlocks it. It is false when the client has gone on with another
// request meanwhile.
func (c *conn) takeTurn(s *fetchSession, q *kmsg.FetchRequest) bool {
	defer s.mu.Unlock()
	f, turn := &c.fetch, s.epoch
	c.gather(s, q, false)
	if s.epoch != turn {
		s.waiter.Wake() // the other may have lost a wake-up to this one
		return false
	}
	c.park(s, q)
	s.settle(f.looks)
	s.busy = false
	f.looks = slices.DeleteFunc(f.looks, func(l look) bool { return !l.part.news(&l.fetched) })
	return true
}

// gather looks, and looks again at what has moved, until there is enough, the client's patience is over or the
// server stops. Looks then holds what there is. The session is locked, but while nothing is done.
func (c *conn) gather(s *fetchSession, q *kmsg.FetchRequest, whole bool) {
	f := &c.fetch
	c.look(s, q, whole)
	if len(f.looks) == 0 && len(s.parts) == 0 || f.enough(q, c.server.config.MaxFetchBytes) || q.MaxWaitMillis <= 0 {
		return
	}
	// A connection that is idle for longer is closed. Nobody would notice that before the wait is over.
	wait := min(time.Duration(q.MaxWaitMillis)*time.Millisecond, c.server.config.IdleTimeout)
	if f.timer == nil {
		f.timer = time.NewTimer(wait)
	} else {
		f.timer.Reset(wait)
	}
	defer f.timer.Stop()
	for last, turn := false, s.epoch; ; {
		f.letGo() // hold no file while waiting
		if c.park(s, q) {
			s.mu.Unlock()
			last = !c.await(s)
			s.mu.Lock()
		}
		if s.epoch != turn || s.closed {
			last = true
		}
		if s.epoch == turn {
			c.look(s, q, whole)
		}
		if last || f.enough(q, c.server.config.MaxFetchBytes) {
			return
		}
	}
}

// await is true once a partition has moved, and false when there is no more time.
func (c *conn) await(s *fetchSession) bool {
	select {
	case <-s.waiter.C():
		return true
	case <-c.fetch.timer.C:
	case <-c.server.stopping:
	}
	return false
}

// enough says that the answer need not wait. A client that wants more than one answer may carry gets
// a full one.
func (f *fetchState) enough(q *kmsg.FetchRequest, most int) bool {
	return f.urgent || f.records >= min(int(q.MinBytes), int(q.MaxBytes), most)
}

// look asks the Backend for every partition that is due and was not looked at since it moved, in order, as far
// as the limits of the request go. The first batch of all is returned whole, or a consumer with a small
// limit would stop for ever. A partition of a session that the limits leave no room for comes first next time.
func (c *conn) look(s *fetchSession, q *kmsg.FetchRequest, whole bool) {
	f := &c.fetch
	c.noteReady(s)
	topics := resolver{view: c.server.backend.View(), version: q.Version}
	room := min(int(q.MaxBytes), c.server.config.MaxFetchBytes)
	f.records = 0
	for _, p := range s.due {
		if p.look == 0 {
			if !whole && room <= 0 && f.records > 0 {
				continue
			}
			f.looks = append(f.looks, look{part: p, again: true})
			p.look = len(f.looks)
		}
		l := &f.looks[p.look-1]
		if !l.again {
			continue
		}
		l.again = false
		if err := topics.resolve(p); err != nil {
			l.fetched = failedFetch(err)
			f.urgent = true
			continue
		}
		f.ask = wire.Fetch{
			Topic: p.topic, Partition: p.key.partition, CurrentEpoch: p.epoch, LastFetchedEpoch: p.lastEpoch, FetchOffset: p.offset,
			MaxBytes: max(0, min(int(p.maxBytes), room)), AtLeastOne: f.records == 0,
			Isolation: wire.IsolationLevel(q.IsolationLevel), Rack: q.Rack,
		}
		l.fetched = c.server.backend.Fetch(&f.ask)
		if l.fetched.Err != nil || l.fetched.Diverging != nil || l.fetched.Preferred != nil {
			f.urgent = true
		}
		f.records += l.fetched.Records.Length
		room -= l.fetched.Records.Length
	}
}

// noteReady makes the partitions due that have moved while they were parked.
func (c *conn) noteReady(s *fetchSession) {
	f := &c.fetch
	f.ready = s.waiter.Ready(f.ready[:0])
	for _, spot := range f.ready {
		p := spot.Of.(*fetchPart)
		if p.gone {
			continue
		}
		p.parked = false
		s.makeDue(p)
		if p.look != 0 {
			f.looks[p.look-1].again = true
		}
	}
	clear(f.ready)
}

func failedFetch(err error) wire.Fetched {
	return wire.Fetched{
		Err: err, HighWatermark: wire.NoOffset, LastStableOffset: wire.NoOffset,
		LogStartOffset: wire.NoOffset, Leader: wire.NoHint,
	}
}

// park has the session woken when a partition has more than was seen of it, for all that were looked at and of
// which nothing is in the answer. False says that one has moved meanwhile.
func (c *conn) park(s *fetchSession, q *kmsg.FetchRequest) bool {
	if s.closed {
		return true
	}
	f, all := &c.fetch, true
	for i := range f.looks {
		l := &f.looks[i]
		p, got := l.part, &l.fetched
		if p.parked || got.Records.Length > 0 || got.Err != nil || got.Diverging != nil || got.Preferred != nil {
			continue
		}
		f.ask = wire.Fetch{Topic: p.topic, Partition: p.key.partition, Rack: q.Rack}
		if p.parked = c.server.backend.ParkAt(&p.spot, &f.ask, max(got.HighWatermark, p.offset)); !p.parked {
			l.again, all = true, false
		}
	}
	return all
}

// letGo gives back the files that the answer held; they are looked at again.
func (f *fetchState) letGo() {
	for i := range f.looks {
		if l := &f.looks[i]; l.fetched.Records.Length > 0 {
			l.fetched.Records.Release()
			l.again = true
		}
	}
}

// reset gives the files back after the answer, and the memory of an unusually wide request.
func (f *fetchState) reset() {
	f.letGo()
	clear(f.looks)
	f.looks, f.records, f.urgent = f.looks[:0], 0, false
	if max(f.width, cap(f.looks), cap(f.ready)) <= partsKept && f.share.holds(int64(cap(f.looks))*lookBytes) {
		return
	}
	f.looks, f.ready, f.request = nil, nil, kmsg.FetchRequest{}
	if f.single != nil {
		f.single.empty(nil)
		f.single = nil
	}
	f.share.giveBack()
}

// resolver finds topics, and remembers the last: partitions of one topic mostly come together.
type resolver struct {
	view    wire.View
	version int16
	last    partKey
	topic   wire.Topic
	err     error
}

// resolve finds the topic of a partition.
func (r *resolver) resolve(p *fetchPart) error {
	key := p.key
	key.partition = 0
	if r.topic.ID == (wire.TopicID{}) && r.err == nil || key != r.last {
		r.last = key
		r.topic, r.err = fetchTopic(r.view, &key, r.version)
	}
	switch {
	case r.err == nil && (p.key.partition < 0 || p.key.partition >= r.topic.Partitions):
		return wire.UnknownTopicOrPartition
	case r.err == nil:
		p.topic, p.known = r.topic.ID, r.topic.Name
	case p.known != "" && r.version >= fetchTopicIDs:
		if _, another := r.view.Topic(p.known); another {
			return wire.InconsistentTopicID // deleted, and made anew
		}
	}
	return r.err
}

func fetchTopic(view wire.View, key *partKey, version int16) (wire.Topic, error) {
	topic, err := topicOf(view, version >= fetchTopicIDs, key.id, key.name)
	if err == nil && version < fetchZstd && topic.Limits != nil && topic.Limits.Compression == "zstd" {
		err = wire.UnsupportedCompressionType
	}
	return topic, err
}
