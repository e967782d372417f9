package kafka

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

// Versions of Fetch at which its layout changes.
const (
	fetchZstd      = 10
	fetchFlexible  = 12
	fetchTopicIDs  = 13
	fetchEndpoints = 16
)

var fetchShape = shape{
	flexible: fetchFlexible,
	fields: []field{
		bytesOf(4).upTo(14),    // replica id
		bytesOf(4),             // max wait
		bytesOf(4),             // min bytes
		bytesOf(4),             // max bytes
		bytesOf(1),             // isolation level
		bytesOf(4 + 4).from(7), // session id and epoch
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
		str().from(11), // rack
	},
	tags: []field{inTag(1, bytesOf(4), bytesOf(8))}, // replica state
}

// The epochs of a fetch session that ask for all partitions of the request (KIP-227).
const (
	sessionInitial = 0
	sessionFinal   = -1
)

// fetchState is what a connection keeps for its fetches.
type fetchState struct {
	request kmsg.FetchRequest
	parts   []fetchedPartition // of all topics of the request, in their order
	records int                // bytes of records in parts
	urgent  bool               // something in parts must not wait: an error, or a diverging log
	waiter  *wire.Waiter       // made at the first fetch that has to wait
	timer   *time.Timer        // likewise
}

// fetchedPartition is one partition of a fetch, looked at once or several times.
type fetchedPartition struct {
	topic   wire.TopicID
	failed  error       // found before the Backend was asked
	beyond  wire.Offset // where the waiter is parked
	parked  bool
	fetched wire.Fetched
}

// serveFetch answers with what is there, once that is enough or the client's patience is over.
func (c *conn) serveFetch() error {
	q := &c.fetch.request
	topics := q.Topics[:0]
	*q = kmsg.FetchRequest{Topics: topics}
	if err := c.decode(q); err != nil {
		return err
	}
	if code := refuseSession(q); code != wire.None {
		return c.answerFetchError(code)
	}
	defer c.fetch.shrink()
	defer c.fetch.release()
	c.resolveFetch(q)
	c.collect(q)
	if !c.fetch.enough(q, c.server.config.MaxFetchBytes) && q.MaxWaitMillis > 0 {
		c.awaitMore(q)
	}
	return c.answerFetch(q)
}

// refuseSession answers a client that believes in a fetch session of another broker process. New
// sessions are declined by answering with session id 0, which is always legal.
func refuseSession(q *kmsg.FetchRequest) wire.ErrorCode {
	switch {
	case q.SessionEpoch == sessionInitial || q.SessionEpoch == sessionFinal:
		return wire.None // all partitions are named
	case q.SessionID == 0:
		return wire.InvalidFetchSessionEpoch
	default:
		return wire.FetchSessionIDNotFound
	}
}

// resolveFetch finds the topics of the request.
func (c *conn) resolveFetch(q *kmsg.FetchRequest) {
	f := &c.fetch
	f.parts = f.parts[:0]
	view := c.server.backend.View()
	for i := range q.Topics {
		t := &q.Topics[i]
		topic, err := fetchTopic(view, t, q.Version)
		for j := range t.Partitions {
			part := fetchedPartition{topic: topic.ID, failed: err}
			if number := t.Partitions[j].Partition; err == nil && (number < 0 || number >= topic.Partitions) {
				part.failed = wire.UnknownTopicOrPartition
			}
			f.parts = append(f.parts, part)
		}
	}
}

func fetchTopic(view wire.View, t *kmsg.FetchRequestTopic, version int16) (wire.Topic, error) {
	if version >= fetchTopicIDs {
		topic, ok := view.TopicByID(t.TopicID)
		if !ok {
			return topic, wire.UnknownTopicID
		}
		return topic, nil
	}
	topic, ok := view.Topic(t.Topic)
	switch {
	case !ok:
		return topic, wire.UnknownTopicOrPartition
	case version < fetchZstd && topic.Limits != nil && topic.Limits.Compression == "zstd":
		return topic, wire.UnsupportedCompressionType
	}
	return topic, nil
}

// collect asks the Backend for every partition of the request, in the client's order, as far as the
// limits of the request go. The first batch of all is returned whole, or a consumer with a small
// limit would stop for ever.
func (c *conn) collect(q *kmsg.FetchRequest) {
	f := &c.fetch
	f.release()
	room := min(int(q.MaxBytes), c.server.config.MaxFetchBytes)
	slot := 0
	for i := range q.Topics {
		for j := range q.Topics[i].Partitions {
			asked, part := &q.Topics[i].Partitions[j], &f.parts[slot]
			slot++
			if part.failed != nil {
				part.fetched = failedFetch(part.failed)
				f.urgent = true
				continue
			}
			part.fetched = c.server.backend.Fetch(&wire.Fetch{
				Topic: part.topic, Partition: asked.Partition,
				CurrentEpoch:     wire.LeaderEpoch(asked.CurrentLeaderEpoch),
				LastFetchedEpoch: wire.LeaderEpoch(asked.LastFetchedEpoch),
				FetchOffset:      wire.Offset(asked.FetchOffset),
				MaxBytes:         max(0, min(int(asked.PartitionMaxBytes), room)),
				AtLeastOne:       f.records == 0,
				Isolation:        wire.IsolationLevel(q.IsolationLevel),
			})
			if part.fetched.Err != nil || part.fetched.Diverging != nil {
				f.urgent = true
			}
			f.records += part.fetched.Records.Length
			room -= part.fetched.Records.Length
		}
	}
}

func failedFetch(err error) wire.Fetched {
	return wire.Fetched{
		Err: err, HighWatermark: wire.NoOffset, LastStableOffset: wire.NoOffset,
		LogStartOffset: wire.NoOffset, Leader: wire.NoHint,
	}
}

// enough says that the answer need not wait. A client that wants more than one answer may carry gets
// a full one.
func (f *fetchState) enough(q *kmsg.FetchRequest, most int) bool {
	return f.urgent || len(f.parts) == 0 || f.records >= min(int(q.MinBytes), int(q.MaxBytes), most)
}

// awaitMore waits until there is enough, the time is over or the server stops; parts then holds
// what there is.
func (c *conn) awaitMore(q *kmsg.FetchRequest) {
	f := &c.fetch
	wait := time.Duration(q.MaxWaitMillis) * time.Millisecond
	if f.waiter == nil {
		f.waiter, f.timer = wire.NewWaiter(), time.NewTimer(wait)
	} else {
		f.timer.Reset(wait)
	}
	defer f.timer.Stop()
	for {
		f.release() // hold no file while waiting
		c.park(q)
		select {
		case <-f.waiter.C():
			c.collect(q)
			if f.enough(q, c.server.config.MaxFetchBytes) {
				return
			}
		case <-f.timer.C:
			c.collect(q)
			return
		case <-c.server.stopping:
			c.collect(q)
			return
		}
	}
}

// park asks to be woken when a partition has more than was seen of it. Where nothing moved since
// the last time, the waiter is still parked.
func (c *conn) park(q *kmsg.FetchRequest) {
	f := &c.fetch
	slot := 0
	for i := range q.Topics {
		for j := range q.Topics[i].Partitions {
			asked, part := &q.Topics[i].Partitions[j], &f.parts[slot]
			slot++
			beyond := part.fetched.HighWatermark
			if wire.IsolationLevel(q.IsolationLevel) == wire.ReadCommitted {
				beyond = part.fetched.LastStableOffset
			}
			beyond = max(beyond, wire.Offset(asked.FetchOffset))
			if part.parked && part.beyond == beyond {
				continue
			}
			part.parked, part.beyond = true, beyond
			c.server.backend.Park(f.waiter, part.topic, asked.Partition, beyond)
		}
	}
}

// release gives back the files that the answer held.
func (f *fetchState) release() {
	for i := range f.parts {
		f.parts[i].fetched.Records.Release()
	}
	f.records, f.urgent = 0, false
}

// shrink gives the memory of an unusually wide request back.
func (f *fetchState) shrink() {
	if cap(f.parts) > partsKept {
		f.parts, f.request = nil, kmsg.FetchRequest{}
	}
}

// end forgets the waiter.
func (f *fetchState) end(c *conn) {
	if f.waiter != nil {
		c.server.backend.Unpark(f.waiter)
	}
}
