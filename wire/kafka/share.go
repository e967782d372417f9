package kafka

import (
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

// share is what one connection takes of the memory for wide requests, which is one budget for all connections. A fetch may
// name a quarter of a million partitions, of which the broker holds some hundred bytes each for as long as the client likes to wait;
// an answer may have as many offsets. Who finds no room is told to come again, and nobody else waits for that.
//
// Kafka: has no such bound.
type share struct {
	room   *budget
	wanted int64 // by add
	taken  int64
}

// freeShare is what every connection may take without being counted.
const freeShare = 128 << 10

// grow has the share be n bytes at least. It is false when there is no room.
func (s *share) grow(n int64) bool {
	more := n - freeShare - s.taken
	if more <= 0 {
		return true
	}
	if !s.room.tryTake(more) {
		return false
	}
	s.taken += more
	return true
}

// add has the share be n bytes more than what was added before. When there is no room it stays as it was.
func (s *share) add(n int64) bool {
	if !s.grow(s.wanted + n) {
		return false
	}
	s.wanted += n
	return true
}

// shrink undoes what was added since so much was wanted.
func (s *share) shrink(wanted int64) {
	s.wanted = wanted
	if spare := s.taken - max(wanted-freeShare, 0); spare > 0 {
		s.taken -= spare
		s.room.give(spare)
	}
}

// holds says that n bytes need not be given back: they are counted, and others have room.
func (s *share) holds(n int64) bool {
	return n <= freeShare+s.taken && (s.taken == 0 || s.room.used.Load() <= s.room.limit/2)
}

// giveBack ends the share.
func (s *share) giveBack() {
	if s.taken > 0 {
		s.room.give(s.taken)
	}
	s.wanted, s.taken = 0, 0
}

// What a partition takes while it is fetched: as it was decoded, in the list of a single request, as it was looked at, and in the
// answer.
const (
	decodedBytes  = int64(unsafe.Sizeof(kmsg.FetchRequestTopicPartition{}))
	lookBytes     = int64(unsafe.Sizeof(look{}))
	answeredBytes = 128
	fetchedBytes  = decodedBytes + int64(unsafe.Sizeof(fetchPart{})) + 8 + lookBytes + answeredBytes
)

// throttleTime is how long a client that found no room waits for that to be told. Not every client waits before it asks again.
const throttleTime = 500 * time.Millisecond

// throttle answers a fetch for which there is no room. Versions without an error of the whole are answered without partitions.
func (c *conn) throttle() error {
	c.refuse(tooWide, errNoRoom)
	timer := time.NewTimer(throttleTime)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.server.stopping:
	}
	return c.answerFetchError(wire.ThrottlingQuotaExceeded)
}

var errNoRoom = wire.Errorf(wire.ThrottlingQuotaExceeded, "there is no room for a request as wide as this one")
