package kafka

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

// The epochs that begin and end a fetch session; in between each request has the next one (KIP-227).
const (
	sessionInitial = 0
	sessionFinal   = -1
)

// noSession is the session id of requests and answers without a session.
const noSession = 0

// sessionSweep is how often all partitions of a session are looked at, also those of which nothing was
// heard: that another replica is preferred, or this one not in sync any more, wakes nobody.
const sessionSweep = 5 * time.Second

// partKey names a partition as the client does: by its topic's name, or from version 13 on by its id.
type partKey struct {
	id        wire.TopicID
	name      string
	partition int32
}

// fetchPart is one partition, as the client has asked for it last.
type fetchPart struct {
	key       partKey
	offset    wire.Offset
	epoch     wire.LeaderEpoch // that the client believes in
	lastEpoch wire.LeaderEpoch
	maxBytes  int32

	topic  wire.TopicID // as it was found last
	known  string       // the name that the topic of this id had then
	spot   wire.Spot    // where the fetch waits for it
	parked bool         // it waits there, for something that the client has not seen
	due    bool         // it is in due of its session
	gone   bool         // it is not in the session any more
	own    bool         // its memory is its own, and not a part of the list that the session began with
	look   int          // the look that the present request took, from 1 on

	// What an incremental answer would repeat. Below zero: nothing that the client knows.
	highWatermark, logStart wire.Offset
}

// fetchSession is what a client fetches from: for a single request, or from one request to the next
// (KIP-227), when the client names only what has changed and is answered only what is new.
//
// A request looks only at the partitions that are due. All others wait in their Parking, with nothing
// beyond what the client has seen; who moves there is due from then on. So a session of ten thousand quiet
// partitions costs nothing but its memory.
//
//	named by a request ───────────┐
//	moved, while parked ──────────┼──> due ──looked at: nothing new──> parked
//	had records, an error, ───────┘     the first in due is looked at first; what had records
//	or the limits left no room          goes to the end, so that none starves
type fetchSession struct {
	id     int32
	byID   bool // the client names topics by id
	waiter *wire.Waiter

	// mu is held but while a request waits: the client may have come back over another connection.
	mu     sync.Mutex
	epoch  int32 // of the next request
	parts  map[partKey]*fetchPart
	due    []*fetchPart
	swept  time.Time // when all were last due
	busy   bool      // a request waits, or is looking
	closed bool
	bytes  int64 // what it is counted to take

	list []fetchPart // of a single request
}

// fill makes a session that nobody knows yet out of a request that names all of its partitions.
func (s *fetchSession) fill(q *kmsg.FetchRequest) {
	n := 0
	for i := range q.Topics {
		n += len(q.Topics[i].Partitions)
	}
	s.list = slices.Grow(s.list[:0], n)[:n]
	s.due = slices.Grow(s.due[:0], n)[:n]
	slot := 0
	for i := range q.Topics {
		t := &q.Topics[i]
		for j := range t.Partitions {
			p := &s.list[slot]
			*p = fetchPart{key: keyOf(t, t.Partitions[j].Partition, q.Version), due: true}
			p.spot.Bind(s.waiter, p)
			p.ask(&t.Partitions[j])
			s.due[slot] = p
			slot++
		}
	}
}

// keyOf names a partition of a request.
func keyOf(t *kmsg.FetchRequestTopic, partition int32, version int16) partKey {
	if version >= fetchTopicIDs {
		return partKey{id: t.TopicID, partition: partition}
	}
	return partKey{name: t.Topic, partition: partition}
}

// ask takes over what the client wants of the partition now.
func (p *fetchPart) ask(q *kmsg.FetchRequestTopicPartition) {
	p.offset = wire.Offset(q.FetchOffset)
	p.epoch, p.lastEpoch = wire.LeaderEpoch(q.CurrentLeaderEpoch), wire.LeaderEpoch(q.LastFetchedEpoch)
	p.maxBytes = q.PartitionMaxBytes
}

// found makes a session that was filled and settled into one that goes on. Of a partition that the request named twice, what
// it said last counts.
func (s *fetchSession) found(byID bool, now time.Time) {
	s.byID, s.epoch, s.swept, s.bytes = byID, nextSessionEpoch(sessionInitial), now, 0
	s.parts = make(map[partKey]*fetchPart, len(s.list))
	for i := range s.list {
		p := &s.list[i]
		if twice := s.parts[p.key]; twice != nil {
			s.drop(twice)
		}
		s.parts[p.key] = p
		s.bytes += p.key.bytes()
	}
	if len(s.parts) < len(s.list) {
		s.due = slices.DeleteFunc(s.due, func(p *fetchPart) bool { return p.gone })
	}
}

// check says whether a request is the next one of the session.
func (s *fetchSession) check(q *kmsg.FetchRequest) wire.ErrorCode {
	switch {
	case s.closed:
		return wire.FetchSessionIDNotFound
	case q.SessionEpoch != s.epoch:
		return wire.InvalidFetchSessionEpoch
	case s.byID != (q.Version >= fetchTopicIDs):
		return wire.FetchSessionTopicIDError
	}
	return wire.None
}

// nextSessionEpoch goes round: 0 and what is below it have meanings of their own.
func nextSessionEpoch(epoch int32) int32 {
	if epoch == math.MaxInt32 {
		return 1
	}
	return epoch + 1
}

// growth is what a request would add to the memory of the session, at most.
func (s *fetchSession) growth(q *kmsg.FetchRequest) (bytes int64) {
	for i := range q.Topics {
		t := &q.Topics[i]
		for j := range t.Partitions {
			if key := keyOf(t, t.Partitions[j].Partition, q.Version); s.parts[key] == nil {
				bytes += key.bytes()
			}
		}
	}
	return bytes
}

// begin takes over what a request changes, after check.
func (s *fetchSession) begin(q *kmsg.FetchRequest, now time.Time) {
	if s.busy { // with an earlier request, over a connection that the client has given up
		for _, p := range s.parts {
			p.look = 0
		}
		s.waiter.Wake()
	}
	s.busy, s.epoch = true, nextSessionEpoch(s.epoch)
	for i := range q.Topics {
		t := &q.Topics[i]
		for j := range t.Partitions {
			key := keyOf(t, t.Partitions[j].Partition, q.Version)
			p := s.parts[key]
			if p == nil {
				p = &fetchPart{key: key, own: true, highWatermark: wire.NoOffset, logStart: wire.NoOffset}
				p.spot.Bind(s.waiter, p)
				s.parts[key] = p
				s.bytes += key.bytes()
			}
			p.ask(&t.Partitions[j])
			s.makeDue(p)
		}
	}
	s.forget(q)
	if now.Sub(s.swept) >= sessionSweep {
		s.swept = now
		for _, p := range s.parts {
			s.makeDue(p)
		}
	}
}

// forget takes out of the session what the client does not fetch any more.
func (s *fetchSession) forget(q *kmsg.FetchRequest) {
	forgotten := false
	for i := range q.ForgottenTopics {
		t := &q.ForgottenTopics[i]
		for _, number := range t.Partitions {
			key := keyOf(&kmsg.FetchRequestTopic{Topic: t.Topic, TopicID: t.TopicID}, number, q.Version)
			if p := s.parts[key]; p != nil {
				s.drop(p)
				if p.own { // the memory of others is there as long as any of them is
					s.bytes -= key.bytes()
				}
				forgotten = forgotten || p.due
			}
		}
	}
	if forgotten {
		s.due = slices.DeleteFunc(s.due, func(p *fetchPart) bool { return p.gone })
	}
}

func (s *fetchSession) drop(p *fetchPart) {
	delete(s.parts, p.key)
	p.gone, p.parked = true, false
	p.spot.Leave()
}

func (s *fetchSession) makeDue(p *fetchPart) {
	if !p.due {
		p.due = true
		s.due = append(s.due, p)
	}
}

// news says whether an incremental answer mentions the partition, and notes that the client knows then.
func (p *fetchPart) news(f *wire.Fetched) bool {
	news := f.Records.Length > 0 || f.Err != nil || f.Diverging != nil || f.Preferred != nil ||
		f.HighWatermark != p.highWatermark || f.LogStartOffset != p.logStart
	p.highWatermark, p.logStart = f.HighWatermark, f.LogStartOffset
	if f.Err != nil {
		p.highWatermark = wire.NoOffset // when the error is over, that is news
	}
	return news
}

// settle decides after a request which partitions are due at the next one, and in what order.
func (s *fetchSession) settle(looks []look) {
	var last []*fetchPart
	due := s.due[:0]
	for _, p := range s.due {
		if p.look == 0 { // there was no room for it
			due = append(due, p)
			continue
		}
		l := &looks[p.look-1]
		p.look = 0
		switch {
		case l.fetched.Records.Length > 0:
			last = append(last, p)
		case p.parked && l.quiet():
			p.due = false
		default:
			due = append(due, p)
		}
	}
	clear(s.due[len(due):])
	s.due = append(due, last...)
}

// empty ends the waiting for the partitions of a single request, whose memory is for the next one.
func (s *fetchSession) empty(ready []*wire.Spot) []*wire.Spot {
	for i := range s.list {
		s.list[i].spot.Leave()
	}
	ready = s.waiter.Ready(ready[:0])
	clear(ready)
	if cap(s.list) > partsKept {
		s.list, s.due = nil, nil
	}
	return ready
}

// close ends the waiting for all of its partitions. Whoever is answered from it at the moment goes on.
func (s *fetchSession) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, p := range s.parts {
		p.parked = false
		p.spot.Leave()
	}
	s.waiter.Wake()
}
