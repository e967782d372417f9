package kafka

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

// KIP-227: an incremental answer has a partition in it only for new data, another high watermark or log start, or an
// error.
func TestASessionIsAnsweredOnlyWhatIsNew(t *testing.T) {
	for _, version := range []int16{7, 11, 12, 13, 18} {
		h, f := fetching(t, version, 4)
		f.expect([]at{{0, 0}, {1, 0}, {2, 0}}, "0", "1", "2")
		if f.id <= 0 {
			t.Fatalf("version %d: session %d", version, f.id)
		}
		f.expect(nil)
		h.produceTo(t, f.topic, 1, 10)
		f.expect(nil, "1+")
		f.expect(nil, "1+") // the client has not gone on
		f.expect([]at{{1, 1}})
		f.expect(nil)
		f.expect([]at{{3, 0}}, "3") // one more, of which the client knows nothing yet
		h.produceTo(t, f.topic, 0, 10)
		h.produceTo(t, f.topic, 3, 10)
		f.expect(nil, "0+", "3+")
		f.expect([]at{{0, 1}, {3, 9}}, "3 OFFSET_OUT_OF_RANGE")
		f.expect(nil, "3 OFFSET_OUT_OF_RANGE")
		f.expect([]at{{3, 1}}, "3") // no error any more: that is news
		f.expect(nil)
	}
}

func TestForgottenPartitionsAreNotAnswered(t *testing.T) {
	for _, version := range []int16{7, 12, 13} {
		h, f := fetching(t, version, 3)
		f.expect([]at{{0, 0}, {1, 0}, {2, 0}}, "0", "1", "2")
		for p := range int32(3) {
			h.produceTo(t, f.topic, p, 10)
		}
		f.expectAnswer(f.fetch(nil, 1, 7), "0+", "2+") // nobody knows 7
		// A session that has no partition is over.
		if a := f.fetch(nil, 0, 2); a.ErrorCode != 0 || a.SessionID != 0 || len(a.Topics) > 0 {
			t.Errorf("version %d: %+v", version, a)
		}
		f.id, f.epoch = 1, 1
		f.expectError(f.fetch(nil), wire.FetchSessionIDNotFound)
		h.backend.expectNobodyParked(t)
	}
}

func TestARequestThatIsNotTheNextOfItsSessionIsRefused(t *testing.T) {
	h, f := fetching(t, 12, 2)
	f.expect([]at{{0, 0}, {1, 0}}, "0", "1")
	wrong := func(version int16, id, epoch int32, want wire.ErrorCode) {
		t.Helper()
		other := &fetcher{rawClient: f.rawClient, version: version, topic: f.topic, id: id, epoch: epoch}
		other.expectError(other.fetch([]at{{1, 5}}), want)
	}
	wrong(12, f.id, 2, wire.InvalidFetchSessionEpoch)
	wrong(12, f.id, -2, wire.InvalidFetchSessionEpoch)
	wrong(12, f.id^1, 1, wire.FetchSessionIDNotFound)
	wrong(12, 0, 1, wire.FetchSessionIDNotFound)
	wrong(13, f.id, 1, wire.FetchSessionTopicIDError) // KIP-516: a session names its topics in one way
	f.expect(nil)                                     // and all that changes nothing
	wrong(12, f.id, 1, wire.InvalidFetchSessionEpoch)
	h.produceTo(t, f.topic, 0, 1)
	f.expect(nil, "0+")
}

func TestAWholeRequestEndsTheSessionItNames(t *testing.T) {
	for _, epoch := range []int32{sessionInitial, sessionFinal} {
		h, f := fetching(t, 13, 1)
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
	h, f := fetching(t, 13, partitions)
	f.ask(kmsg.NewPtrApiVersionsRequest())
	f.fetch(f.all())
	touched := func() int {
		h.backend.mu.Lock()
		defer h.backend.mu.Unlock()
		return h.backend.parkings + h.backend.fetches
	}
	before := touched()
	for range 10 {
		f.expect(nil)
	}
	h.produceTo(t, f.topic, 4711, 10)
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
	h, f := fetching(t, 13, 3)
	f.expect([]at{{0, 0}, {1, 0}, {2, 0}}, "0", "1", "2")
	f.wait = 60_000
	for round := range int64(3) {
		f.send(f.request([]at{{1, round}})) // the others have been parked since the beginning
		h.produceTo(t, f.topic, 1, 10)
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
	h, f := fetching(t, 13, partitions)
	f.fetch(f.all())
	next := make([]int64, partitions)
	for p := range int32(partitions) {
		for range 3 {
			h.produceTo(t, f.topic, p, 1000)
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
	h, f := fetching(t, 13, 2)
	h.produceTo(t, f.topic, 0, 10)
	f.fetch([]at{{0, 5}, {1, 0}, {0, 0}})
	f.expect(nil, "0+") // what was said last counts
	if n := valueOf(t, h.metrics.fetch.partitions); n != 2 {
		t.Errorf("%v partitions", n)
	}
}

// What a session answers is compared with the rule said the plain way: look at every partition each time.
func TestSessionsAnswerAsIfTheyLookedAtEverything(t *testing.T) {
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 0))
		const partitions = 6
		h, f := fetching(t, []int16{7, 12, 13, 18}[random.IntN(4)], partitions)
		ends := make([]int64, partitions)
		type known struct{ offset, highWatermark int64 }
		session := map[int32]*known{}
		for step := range 60 {
			for range random.IntN(3) {
				p := random.Int32N(partitions)
				h.produceTo(t, f.topic, p, 10)
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
