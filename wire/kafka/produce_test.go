package kafka

import (
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// The hand-written encoding is compared with kmsg's, in every version.
func TestProduceAnswersAreEncodedAsKmsgDoes(t *testing.T) {
	backend, _ := fakeBroker()
	backend.view.brokers = append(backend.view.brokers, wire.Broker{ID: 2, Host: "broker-2", Port: 9093, Rack: "r2"},
		wire.Broker{ID: 3, Host: "broker-3", Port: 9094})
	h := start(t, backend)
	c := newConn(h.Server, nil, nil)
	for version := int16(0); version <= 13; version++ {
		p := &production{
			conn: c, version: version, correlation: 77, acks: wire.AcksAll,
			topics: []producedTopic{{name: "one", id: wire.TopicID{1}, parts: 2}, {name: "two", id: wire.TopicID{2}, parts: 2}},
			parts: []producedPartition{
				{number: 4, appendTime: -1, reply: wire.ProduceReply{BaseOffset: 1 << 40, LogStartOffset: 5, Leader: wire.NoHint}},
				{number: 5, appendTime: 1234, reply: wire.ProduceReply{BaseOffset: 3}},
				{number: 0, appendTime: 1234, reply: wire.ProduceReply{Err: wire.NotLeaderOrFollower, Leader: wire.LeaderHint{Broker: 2, LeaderEpoch: 9}}},
				{
					number: 1, appendTime: -1, refused: []recordError{{3, "no key"}, {4, ""}},
					reply: wire.ProduceReply{Err: wire.Errorf(wire.InvalidRecord, "records without a key"), Leader: wire.NoHint},
				},
			},
		}
		want := kmsg.NewPtrProduceResponse()
		want.SetVersion(version)
		want.Topics = []kmsg.ProduceResponseTopic{{Topic: "one", TopicID: [16]byte{1}}, {Topic: "two", TopicID: [16]byte{2}}}
		add := func(topic int, partition int32, code wire.ErrorCode, base, logStart, appendTime int64) *kmsg.ProduceResponseTopicPartition {
			part := kmsg.NewProduceResponseTopicPartition()
			part.Partition, part.ErrorCode, part.BaseOffset, part.LogStartOffset, part.LogAppendTime = partition, int16(code), base, logStart, appendTime
			want.Topics[topic].Partitions = append(want.Topics[topic].Partitions, part)
			return &want.Topics[topic].Partitions[len(want.Topics[topic].Partitions)-1]
		}
		add(0, 4, wire.None, 1<<40, 5, -1)
		add(0, 5, wire.None, 3, 0, 1234)
		elsewhere := add(1, 0, wire.NotLeaderOrFollower, -1, -1, -1)
		if version >= 10 {
			elsewhere.CurrentLeader.LeaderID, elsewhere.CurrentLeader.LeaderEpoch = 2, 9
			broker := kmsg.NewProduceResponseBroker()
			broker.NodeID, broker.Host, broker.Port, broker.Rack = 2, "broker-2", 9093, kmsg.StringPtr("r2")
			want.Brokers = append(want.Brokers, broker)
		}
		bad := add(1, 1, wire.InvalidRecord, -1, -1, -1)
		bad.ErrorMessage = kmsg.StringPtr("records without a key")
		bad.ErrorRecords = []kmsg.ProduceResponseTopicPartitionErrorRecord{
			{RelativeOffset: 3, ErrorMessage: kmsg.StringPtr("no key")}, {RelativeOffset: 4},
		}

		encoded := beginAnswer(nil, 77, version >= produceFlexible)
		encoded = want.AppendTo(encoded)
		endAnswer(encoded, 0, 0)
		if got := c.encodeProduced(nil, p); !slices.Equal(got, encoded) {
			t.Errorf("version %d:\n got %x\nwant %x", version, got, encoded)
		}
	}
}

func TestAnswersComeInTheOrderOfTheRequests(t *testing.T) {
	backend, topic := fakeBroker()
	backend.hold, backend.produced = true, make(chan struct{}, 10)
	h := start(t, backend)
	client := h.dial(t)
	q := produceOf(9, topic, -1, batchOf(1, 10))
	for range 5 {
		client.send(q)
		<-backend.produced // each is with the backend while the ones before are unanswered
	}
	metadata := kmsg.NewPtrMetadataRequest()
	metadata.SetVersion(9)
	client.send(metadata)
	backend.release(4, 2, 1, 3, 0)
	for i := range int32(5) {
		answer := produced(t, client.receive(q, i+1))
		// The backend appended them in the order of release.
		if want := []int64{4, 2, 1, 3, 0}[i]; answer.BaseOffset != want {
			t.Errorf("request %d is answered with offset %d, want %d", i, answer.BaseOffset, want)
		}
	}
	client.receive(metadata, 6)
}

// In Kafka a connection's requests are handled one after the other; so whoever asks for the end
// after a Produce on the same connection sees it.
func TestARequestSeesWhatWasProducedBeforeIt(t *testing.T) {
	backend, topic := fakeBroker()
	backend.async = true
	h := start(t, backend)
	client := h.dial(t)
	for i := range int64(20) {
		q := produceOf(3, topic, int16(i%2), batchOf(1, 10)) // every other one without an answer
		client.send(q)
		list := requestFor(2, topic)
		list.SetVersion(4)
		client.send(list)
		if i%2 == 1 {
			client.receive(q, client.correlation-1)
		}
		answer := client.receive(list, client.correlation).(*kmsg.ListOffsetsResponse)
		if got := answer.Topics[0].Partitions[0].Offset; got != i+1 {
			t.Fatalf("after %d records the end is %d", i+1, got)
		}
	}
}

func TestProduceWithoutAcksIsNotAnswered(t *testing.T) {
	backend, topic := fakeBroker()
	h := start(t, backend)
	client := h.dial(t)
	client.send(produceOf(7, topic, 0, batchOf(1, 10)))
	q := produceOf(7, topic, 1, batchOf(1, 10))
	if answer := produced(t, client.ask(q)); answer.BaseOffset != 1 {
		t.Errorf("the second batch is at %d", answer.BaseOffset)
	}
}

func TestProduceWithoutAcksThatFailsClosesTheConnection(t *testing.T) {
	for _, async := range []bool{false, true} {
		backend, topic := fakeBroker()
		backend.fail, backend.async = wire.NotLeaderOrFollower, async
		h := start(t, backend)
		client := h.dial(t)
		client.send(produceOf(7, topic, 0, batchOf(1, 10)))
		client.expectClosed()
	}
}

func TestProduceTellsWhoLeads(t *testing.T) {
	backend, topic := fakeBroker()
	backend.fail, backend.hint = wire.NotLeaderOrFollower, wire.LeaderHint{Broker: 1, LeaderEpoch: 8}
	h := start(t, backend)
	a := h.dial(t).ask(produceOf(10, topic, -1, batchOf(1, 10))).(*kmsg.ProduceResponse)
	leader := a.Topics[0].Partitions[0].CurrentLeader
	if leader.LeaderID != 1 || leader.LeaderEpoch != 8 || len(a.Brokers) != 1 || a.Brokers[0].Host != "127.0.0.1" {
		t.Errorf("leader %+v, brokers %+v", leader, a.Brokers)
	}
}

func TestLogAppendTimeIsReturned(t *testing.T) {
	backend, _ := fakeBroker()
	topic := backend.create("stamped", 1)
	topic.Limits.LogAppendTime = true
	h := start(t, backend)
	before := time.Now().UnixMilli()
	answer := produced(t, h.dial(t).ask(produceOf(8, topic, -1, batchOf(2, 10))))
	if answer.LogAppendTime < before {
		t.Errorf("log append time is %d, the test began at %d", answer.LogAppendTime, before)
	}
	stored, err := record.ParseHeader(backend.stored(topic.ID, 0))
	if err != nil || !stored.LogAppendTime() || stored.MaxTimestamp != answer.LogAppendTime {
		t.Errorf("stored %+v, err %v", stored, err)
	}
}

// Each gets Kafka's error code, and nothing is appended.
func TestProduceRefusesAtTheDoor(t *testing.T) {
	batch := func(change func(b []byte)) []byte {
		b := batchOf(3, 20)
		change(b)
		return b
	}
	resealed := func(change func(b []byte)) []byte {
		return batch(func(b []byte) {
			change(b)
			var again record.Header
			again, _ = record.ParseHeader(b)
			record.SetProducer(b, again.Producer, again.ProducerEpoch, again.BaseSequence)
		})
	}
	for name, c := range map[string]struct {
		version int16
		change  func(q *kmsg.ProduceRequest)
		records []byte
		want    wire.ErrorCode
	}{
		"wrong checksum":     {records: batch(func(b []byte) { b[len(b)-1] ^= 1 }), want: wire.CorruptMessage},
		"no batch":           {records: []byte{}, want: wire.InvalidRecord},
		"null batch":         {records: nil, want: wire.InvalidRecord},
		"two batches":        {records: slices.Concat(batchOf(1, 5), batchOf(1, 5)), want: wire.InvalidRecord},
		"truncated batch":    {records: batchOf(3, 20)[:80], want: wire.CorruptMessage},
		"old magic":          {records: batch(func(b []byte) { b[record.MagicAt] = 1 }), want: wire.UnsupportedForMessageFormat},
		"control batch":      {records: resealed(func(b []byte) { b[record.AttributesAt+1] |= record.AttributeControl }), want: wire.InvalidRecord},
		"lying record count": {records: resealed(func(b []byte) { binary.BigEndian.PutUint32(b[57:], 9) }), want: wire.InvalidRecord},
		"negative sequence":  {records: resealed(func(b []byte) { record.SetProducer(b, 5, 0, -7) }), want: wire.InvalidRecord},
		"transactional batch": {records: resealed(func(b []byte) {
			record.SetProducer(b, 5, 0, 0)
			b[record.AttributesAt+1] |= record.AttributeTransactional
		}), want: wire.TransactionalIDAuthorizationFailed},
		"batch too large":    {records: batchOf(1, 3<<20), want: wire.MessageTooLarge},
		"acks of 2":          {change: func(q *kmsg.ProduceRequest) { q.Acks = 2 }, want: wire.InvalidRequiredAcks},
		"transactional id":   {change: func(q *kmsg.ProduceRequest) { q.TransactionID = kmsg.StringPtr("tx") }, want: wire.TransactionalIDAuthorizationFailed},
		"unknown topic":      {change: func(q *kmsg.ProduceRequest) { q.Topics[0].Topic = "nowhere" }, want: wire.UnknownTopicOrPartition},
		"unknown topic id":   {version: 13, change: func(q *kmsg.ProduceRequest) { q.Topics[0].TopicID = [16]byte{9} }, want: wire.UnknownTopicID},
		"unknown partition":  {change: func(q *kmsg.ProduceRequest) { q.Topics[0].Partitions[0].Partition = 2 }, want: wire.UnknownTopicOrPartition},
		"negative partition": {change: func(q *kmsg.ProduceRequest) { q.Topics[0].Partitions[0].Partition = -1 }, want: wire.UnknownTopicOrPartition},
		"partition twice": {change: func(q *kmsg.ProduceRequest) {
			q.Topics[0].Partitions = append(q.Topics[0].Partitions, q.Topics[0].Partitions[0])
		}, want: wire.InvalidRequest},
		"topic twice": {change: func(q *kmsg.ProduceRequest) { q.Topics = append(q.Topics[:1], q.Topics[0]) }, want: wire.InvalidRequest},
		"version 0":   {version: -1, want: wire.UnsupportedVersion},
	} {
		t.Run(name, func(t *testing.T) {
			backend, topic := fakeBroker()
			h := start(t, backend)
			client := h.dial(t)
			client.ask(kmsg.NewPtrApiVersionsRequest()) // a first request is limited to 64 KiB
			version := max(c.version, 0)
			if c.version == 0 {
				version = 9
			}
			if c.change == nil {
				c.change = func(*kmsg.ProduceRequest) {}
			}
			if c.records == nil && name != "null batch" {
				c.records = batchOf(1, 10)
			}
			q := produceOf(version, topic, -1, c.records)
			c.change(q)
			client.send(q)
			a, err := client.nextAnswer(q)
			if err != nil {
				t.Fatal(err)
			}
			r := a.(*kmsg.ProduceResponse)
			for _, asked := range r.Topics {
				for _, p := range asked.Partitions {
					if p.ErrorCode != int16(c.want) {
						t.Errorf("error %v, want %v", wire.ErrorCode(p.ErrorCode), c.want)
					}
				}
			}
			for i := range topic.Partitions {
				if len(backend.stored(topic.ID, i)) > 0 {
					t.Errorf("partition %d was appended to", i)
				}
			}
			if a := client.ask(produceOf(9, topic, -1, batchOf(1, 10))); produced(t, a).ErrorCode != 0 {
				t.Error("the connection does not go on")
			}
		})
	}
}

func (r *rawClient) nextAnswer(q kmsg.Request) (kmsg.Response, error) {
	_, body, err := r.read()
	if err != nil {
		return nil, err
	}
	return decodeAnswer(q, body)
}

func TestOneRefusedPartitionDoesNotHoldUpTheOthers(t *testing.T) {
	backend, topic := fakeBroker()
	h := start(t, backend)
	bad := batchOf(1, 10)
	bad[len(bad)-1] ^= 1
	a := h.dial(t).ask(produceOf(9, topic, -1, bad, batchOf(1, 10))).(*kmsg.ProduceResponse)
	parts := a.Topics[0].Partitions
	if parts[0].ErrorCode != int16(wire.CorruptMessage) || parts[1].ErrorCode != 0 || parts[1].BaseOffset != 0 {
		t.Errorf("answer %+v", parts)
	}
}

func TestRecordsWithoutAKeyAreNamed(t *testing.T) {
	backend, _ := fakeBroker()
	topic := backend.create("compacted", 1)
	topic.Limits.Compacted = true
	h := start(t, backend)
	answer := produced(t, h.dial(t).ask(produceOf(8, topic, -1, batchOf(2, 10))))
	if answer.ErrorCode != int16(wire.InvalidRecord) || len(answer.ErrorRecords) != 2 || answer.ErrorRecords[1].RelativeOffset != 1 {
		t.Errorf("answer %+v", answer)
	}
}

func TestReadingStopsWhileTooMuchIsInFlight(t *testing.T) {
	for name, tune := range map[string]func(*Config){
		"on the connection":  func(c *Config) { c.MaxConnectionBytes = 50_000 },
		"on all connections": func(c *Config) { c.MaxInFlightBytes = 50_000 },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(s *Server, n net.Conn) {
				backend := s.backend.(*fakeBackend)
				backend.hold = true
				topic, _ := backend.View().Topic("orders")
				client := &rawClient{t: t, net: n}
				q := produceOf(9, topic, -1, batchOf(1, 20_000))
				var sender sync.WaitGroup
				defer sender.Wait()
				sender.Go(func() {
					for i := range int32(6) {
						client.write(frameOf(q, i))
					}
				})
				for i := range 6 {
					synctest.Wait()
					// The third one overshoots the limit; then each answer lets one more in.
					if want := min(3+i, 6); len(backend.held) != want {
						t.Errorf("after %d answers the Backend has seen %d requests, want %d", i, len(backend.held), want)
					}
					backend.release(i)
					client.receive(q, int32(i))
				}
			}, tune)
		})
	}
}

func TestShutdownAnswersWhatIsInFlight(t *testing.T) {
	backend, topic := fakeBroker()
	backend.hold, backend.produced = true, make(chan struct{}, 1)
	h := start(t, backend)
	client := h.dial(t)
	q := produceOf(9, topic, -1, batchOf(1, 10))
	client.send(q)
	<-backend.produced
	done := make(chan error, 1)
	go func() { done <- h.Shutdown(t.Context()) }()
	<-h.stopping
	backend.release(0)
	client.receive(q, 1)
	if err := <-done; err != nil {
		t.Error(err)
	}
	client.expectClosed()
	backend.forget()
}

func TestShutdownThatLosesItsPatienceClosesConnections(t *testing.T) {
	backend, topic := fakeBroker()
	backend.hold, backend.produced = true, make(chan struct{}, 1)
	h := start(t, backend)
	client := h.dial(t)
	client.send(produceOf(9, topic, -1, batchOf(1, 10)))
	<-backend.produced
	ctx, cancel := cancelled(t)
	defer cancel()
	if err := h.Shutdown(ctx); !errors.Is(err, ctx.Err()) {
		t.Errorf("shutdown: %v", err)
	}
	client.expectClosed()
	backend.release(0) // completes into a connection that is gone
}

func TestManyPartitionsInOneRequest(t *testing.T) {
	backend, _ := fakeBroker()
	topic := backend.create("wide", 200)
	backend.async = true
	h := start(t, backend)
	client := h.dial(t)
	for round := range int64(3) {
		batches := make([][]byte, 200)
		for i := range batches {
			batches[i] = batchOf(1, 100)
		}
		a := client.ask(produceOf(13, topic, -1, batches...)).(*kmsg.ProduceResponse)
		for i, p := range a.Topics[0].Partitions {
			if p.Partition != int32(i) || p.ErrorCode != 0 || p.BaseOffset != round {
				t.Fatalf("partition %d is answered %+v", i, p)
			}
		}
	}
}

func TestSmallAndLargeRequestsMixInOneStream(t *testing.T) {
	backend, topic := fakeBroker()
	backend.async = true
	h := start(t, backend)
	client := h.dial(t)
	sizes := []int{1, 100, 7000, 9000, 60_000, 65_300, 65_400, 65_536, 200_000, 1_000_000, 3}
	var stream []byte
	for i := range 44 {
		stream = append(stream, frameOf(produceOf(9, topic, -1, batchOf(1, sizes[i%len(sizes)])), int32(i))...)
	}
	go client.write(stream)
	q := produceOf(9, topic, -1)
	for i := range int32(44) {
		a := produced(t, client.receive(q, i))
		if a.ErrorCode != 0 {
			t.Fatalf("request %d of %d bytes: %v", i, sizes[int(i)%len(sizes)], wire.ErrorCode(a.ErrorCode))
		}
	}
	stored := 0
	for rest := backend.stored(topic.ID, 0); len(rest) > 0; stored++ {
		_, batch, more, err := record.Next(rest)
		if err != nil || !record.VerifyCRC(batch) {
			t.Fatalf("batch %d was damaged on its way: %v", stored, err)
		}
		rest = more
	}
	if stored != 44 {
		t.Errorf("%d batches", stored)
	}
}
