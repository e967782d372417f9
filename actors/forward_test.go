package actors

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/peer"
)

// forwardEnd hears of the links what forwarding needs.
type forwardEnd struct{ *Broker }

func (e forwardEnd) LinkUp(peer.Identity) {}
func (e forwardEnd) LinkDown(p peer.Identity, _ error) {
	e.tellNamed(forwardName, &linkDown{p.Broker, p.Incarnation})
}
func (e forwardEnd) Deliver(from peer.Identity, m wire.Envelope) { e.remotes.deliver(from, m) }
func (e forwardEnd) LinkRoom(peer.Identity)                      {}
func (e forwardEnd) Refused(wire.BrokerID, wire.Incarnation)     {}

// withForwarding runs a test with a broker that leads everything, and another one, of which there is
// no more than forwarding needs, that knows what the first does.
func withForwarding(t *testing.T, f func(t *testing.T, n *memoryNetwork, leader *company, other Forwarding, refresh func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := newMemoryNetwork()
		leader := start(t, crashfs.New())
		links := n.join(1, leader.cfg.Incarnation)
		leader.remotes.links = links
		links.Attach(forwardEnd{leader.Broker})

		logger := slog.New(slog.DiscardHandler)
		other := &Broker{cfg: Config{ID: 2, Incarnation: 77}, now: time.Now, logger: logger, ending: make(chan struct{})}
		other.system = newSystem(2, 77, nil, logger, func(string, any) {})
		other.root = other.system.Root
		links = n.join(2, 77)
		other.remotes = newRemotes(other.system, links, nil)
		other.forwards = newForwards(other)
		if err := other.forwards.start(); err != nil {
			t.Fatal(err)
		}
		links.Attach(forwardEnd{other})
		refresh := func() { other.image.Store(leader.image.Load().Local(2, nil)) }
		refresh()
		f(t, n, leader, other.Forwarding(), refresh)
		close(other.ending)
		other.forwards.close()
		other.work.Wait()
		leader.end()
		other.system.Shutdown()
		n.leave(1)
		n.leave(2)
		n.end(t)
	})
}

func produceTo(f Forwarding, r *replies, slot int, topic wire.TopicID, batch []byte) {
	f.Produce(&wire.Produce{Topic: topic, Acks: wire.AcksAll, Batches: batch, Done: r, Slot: slot, Deadline: time.Now().Add(time.Minute)})
}

func fetchFrom(offset wire.Offset, wait time.Duration, topics ...wire.TopicID) *wire.FetchRequest {
	req := &wire.FetchRequest{MaxWait: wait, MinBytes: 1, MaxBytes: 1 << 20}
	for _, id := range topics {
		req.Partitions = append(req.Partitions, wire.Fetch{
			Topic: id, FetchOffset: offset, MaxBytes: 1 << 20, CurrentEpoch: wire.NoEpoch, LastFetchedEpoch: wire.NoEpoch,
		})
	}
	return req
}

func TestEveryRequestReachesTheBrokerThatLeads(t *testing.T) {
	withForwarding(t, func(t *testing.T, _ *memoryNetwork, leader *company, other Forwarding, refresh func()) {
		topic := leader.topic("events", 1)
		refresh()
		var r replies
		for slot := range 3 {
			produceTo(other, &r, slot, topic, recordsOf(2, 9, wire.Sequence(2*slot)))
		}
		for slot := range 3 {
			if reply := r.one(t, slot); reply.Err != nil || reply.BaseOffset != wire.Offset(2*slot) {
				t.Errorf("produce %d: %+v", slot, reply)
			}
		}
		fetched := other.FetchElsewhere(t.Context(), fetchFrom(2, 0, topic))[0]
		own := leader.Fetch(&fetchFrom(2, 0, topic).Partitions[0])
		if fetched.Err != nil || fetched.HighWatermark != 6 || fetched.Records.Length != own.Records.Length || own.Records.Length == 0 {
			t.Errorf("fetched %+v, the leader has %+v", fetched, own)
		}
		got, want := make([]byte, fetched.Records.Length), make([]byte, own.Records.Length)
		if err := errors.Join(fetched.Records.ReadInto(got), own.Records.ReadInto(want)); err != nil || string(got) != string(want) {
			t.Errorf("the records differ, %v", err)
		}
		fetched.Records.Release()
		own.Records.Release()
		listed := other.ListOffsetsElsewhere(t.Context(), []wire.ListOffsets{
			{Topic: topic, Timestamp: wire.LatestTimestamp, CurrentEpoch: wire.NoEpoch},
			{Topic: topic, Partition: 7, Timestamp: wire.LatestTimestamp, CurrentEpoch: wire.NoEpoch},
		})
		if listed[0].Err != nil || listed[0].Offset != 6 || !errors.Is(listed[1].Err, wire.UnknownTopicOrPartition) {
			t.Errorf("listed %+v", listed)
		}
		epoch := leader.epochOf(topic)
		ends := other.OffsetsForEpochsElsewhere(t.Context(), []wire.OffsetForEpoch{{Topic: topic, CurrentEpoch: wire.NoEpoch, LeaderEpoch: epoch}})
		if ends[0].Err != nil || ends[0].End != (wire.EpochEnd{LeaderEpoch: epoch, EndOffset: 6}) {
			t.Errorf("epoch %d ends %+v", epoch, ends[0])
		}
		if start, err := other.DeleteRecords(t.Context(), &wire.DeleteRecords{Topic: topic, Before: 4}); err != nil || start != 4 {
			t.Errorf("deleted up to %d, %v", start, err)
		}
		if _, err := other.DeleteRecords(t.Context(), &wire.DeleteRecords{Topic: topic, Before: 40}); !errors.Is(err, wire.OffsetOutOfRange) {
			t.Errorf("deleting beyond the end: %v", err)
		}
	})
}

func TestAForwardedFetchWaitsForRecordsAtTheLeader(t *testing.T) {
	withForwarding(t, func(t *testing.T, _ *memoryNetwork, leader *company, other Forwarding, refresh func()) {
		topic := leader.topic("events", 1)
		refresh()
		began := time.Now()
		if got := other.FetchElsewhere(t.Context(), fetchFrom(0, 3*time.Second, topic))[0]; got.Err != nil || got.Records.Length != 0 {
			t.Errorf("fetched %+v", got)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("an empty partition was waited for for %s", took)
		}
		answered := make(chan []wire.Fetched, 1)
		go func() { answered <- other.FetchElsewhere(t.Context(), fetchFrom(0, time.Hour, topic)) }()
		synctest.Wait()
		var r replies
		leader.produce(&r, 1, topic, wire.AcksAll, recordsOf(1, wire.NoProducer, 0))
		got := <-answered
		if got[0].Err != nil || got[0].HighWatermark != 1 || got[0].Records.Length == 0 {
			t.Errorf("fetched %+v", got[0])
		}
		got[0].Records.Release()
	})
}

func TestAFetchOfSeveralLeadersIsAnsweredByTheFirstThatHasNews(t *testing.T) {
	withForwarding(t, func(t *testing.T, _ *memoryNetwork, leader *company, other Forwarding, refresh func()) {
		far := leader.topic("far", 1)
		refresh()
		// The other broker leads nothing: what nobody leads is answered here, at once.
		got := other.FetchElsewhere(t.Context(), fetchFrom(0, time.Hour, far, wire.TopicID{1}))
		if got[0].Err != nil || !errors.Is(got[1].Err, wire.UnknownTopicOrPartition) {
			t.Errorf("fetched %+v", got)
		}
	})
}

func TestALostLinkAnswersWhatWasForwardedOnce(t *testing.T) {
	withForwarding(t, func(t *testing.T, n *memoryNetwork, leader *company, other Forwarding, refresh func()) {
		topic := leader.topic("events", 1)
		refresh()
		gate := leader.disk.Hold("/data")
		var r replies
		produceTo(other, &r, 1, topic, recordsOf(1, 9, 0))
		fetched := make(chan []wire.Fetched, 1)
		go func() { fetched <- other.FetchElsewhere(t.Context(), fetchFrom(0, time.Hour, topic)) }()
		r.none(t, 1)
		n.cut(1, 2)
		if reply := r.one(t, 1); !errors.Is(reply.Err, wire.RequestTimedOut) {
			t.Errorf("a produce of unknown outcome: %+v", reply)
		}
		if got := <-fetched; !errors.Is(got[0].Err, wire.RequestTimedOut) {
			t.Errorf("a fetch under way: %+v", got[0])
		}
		produceTo(other, &r, 2, topic, recordsOf(1, 9, 0))
		if reply := r.one(t, 2); !errors.Is(reply.Err, wire.LeaderNotAvailable) {
			t.Errorf("a produce without a link: %+v", reply)
		}
		gate.Release()
		n.heal(1, 2)
		produceTo(other, &r, 3, topic, recordsOf(1, 9, 0))
		if reply := r.one(t, 3); reply.Err != nil || reply.BaseOffset != 0 {
			t.Errorf("the same batch again: %+v, want the offset of the first", reply)
		}
		r.one(t, 1)
	})
}

func TestALeaderThatDoesNotAnswerIsNotWaitedForForEver(t *testing.T) {
	withForwarding(t, func(t *testing.T, _ *memoryNetwork, leader *company, other Forwarding, refresh func()) {
		topic := leader.topic("events", 1)
		refresh()
		leader.root.Stop(leader.root.ActorSystem().NewLocalPID(forwardName)) // who would answer
		synctest.Wait()
		var r replies
		produceTo(other, &r, 1, topic, recordsOf(1, wire.NoProducer, 0))
		time.Sleep(time.Minute)
		r.none(t, 1)
		time.Sleep(2 * forwardGrace)
		if reply := r.one(t, 1); !errors.Is(reply.Err, wire.RequestTimedOut) {
			t.Errorf("after its deadline: %+v", reply)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := other.DeleteRecords(ctx, &wire.DeleteRecords{Topic: topic}); !errors.Is(err, wire.RequestTimedOut) {
			t.Errorf("a call: %v", err)
		}
	})
}

func TestABrokerThatDoesNotLeadAnyMoreSaysWhoDoes(t *testing.T) {
	withForwarding(t, func(t *testing.T, _ *memoryNetwork, leader *company, other Forwarding, refresh func()) {
		topic := leader.topic("events", 1)
		refresh()
		leader.DeleteTopics(t.Context(), []wire.TopicRef{{Name: "events"}})
		var r replies
		produceTo(other, &r, 1, topic, recordsOf(1, wire.NoProducer, 0))
		if reply := r.one(t, 1); !errors.Is(reply.Err, wire.UnknownTopicID) {
			t.Errorf("a topic that is gone: %+v", reply)
		}
	})
}

func TestWhatIsNoRequestIsAnsweredByAnError(t *testing.T) {
	withForwarding(t, func(t *testing.T, _ *memoryNetwork, leader *company, other Forwarding, refresh func()) {
		to := owner{1, leader.cfg.Incarnation}
		leader.topic("events", 1)
		refresh()
		for _, kind := range []wire.Kind{wire.KindProduce, wire.KindFetch, wire.KindListOffsets, wire.KindOffsetForEpoch, wire.KindDeleteRecords, wire.KindMetadata, 200} {
			answered := make(chan error, 2)
			other.forwards.ask(to, kind, &wire.Empty{}, nil, nil, time.Second, func(a *wire.Forwarded, err error) {
				var reply wire.ProduceReply
				if err == nil {
					err = parseForwarded(a, wire.KindProduce, &reply)
				}
				answered <- errors.Join(err, reply.Err)
			})
			synctest.Wait()
			select {
			case err := <-answered:
				if err == nil {
					t.Errorf("a broken %s succeeded", kind)
				}
			default:
				t.Errorf("a broken %s has no answer", kind)
			}
		}
	})
}
