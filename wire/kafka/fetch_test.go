package kafka

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

// goldenFetch is an answer with everything in it, as this package and as kmsg would say it.
func goldenFetch(version int16, isolation wire.IsolationLevel, records []byte) (*kmsg.FetchRequest, []look, *kmsg.FetchResponse) {
	q := kmsg.NewPtrFetchRequest()
	q.SetVersion(version)
	q.IsolationLevel = int8(isolation)
	ask := func(name string, id byte, partitions ...int32) {
		t := kmsg.FetchRequestTopic{Topic: name, TopicID: [16]byte{id}}
		for _, p := range partitions {
			t.Partitions = append(t.Partitions, kmsg.FetchRequestTopicPartition{Partition: p})
		}
		q.Topics = append(q.Topics, t)
	}
	ask("one", 1, 4, 5)
	ask("two", 2, 0, 1)
	lend := func() wire.Records {
		return wire.Records{File: &fakeFile{Reader: bytes.NewReader(records), release: func() {}}, Length: len(records)}
	}
	other := wire.BrokerID(3)
	parts := []look{
		{fetched: wire.Fetched{HighWatermark: 1 << 40, LastStableOffset: 99, LogStartOffset: 5, Leader: wire.NoHint, Records: lend()}},
		{fetched: wire.Fetched{HighWatermark: 7, LastStableOffset: 6, Aborted: []wire.AbortedTransaction{{Producer: 8, FirstOffset: 3}}, Preferred: &other}},
		{fetched: wire.Fetched{Err: wire.NotLeaderOrFollower, HighWatermark: -1, LastStableOffset: -1, LogStartOffset: -1, Leader: wire.LeaderHint{Broker: 1, LeaderEpoch: 9}}},
		{fetched: wire.Fetched{Diverging: &wire.EpochEnd{LeaderEpoch: 2, EndOffset: 55}, HighWatermark: 60, LastStableOffset: 60, Leader: wire.NoHint, Records: lend()}},
	}
	a := kmsg.NewPtrFetchResponse()
	a.SetVersion(version)
	if version >= fetchHasSessions {
		a.SessionID = 1234
	}
	slot := 0
	for i, t := range q.Topics {
		a.Topics = append(a.Topics, kmsg.FetchResponseTopic{Topic: t.Topic, TopicID: t.TopicID})
		for _, asked := range t.Partitions {
			parts[slot].part = &fetchPart{key: keyOf(&t, asked.Partition, version)}
			f := &parts[slot].fetched
			p := kmsg.NewFetchResponseTopicPartition()
			p.Partition, p.ErrorCode = asked.Partition, int16(wire.Code(f.Err))
			p.HighWatermark, p.LastStableOffset, p.LogStartOffset = int64(f.HighWatermark), int64(f.LastStableOffset), int64(f.LogStartOffset)
			p.RecordBatches = []byte{}
			if f.Records.Length > 0 {
				p.RecordBatches = records
			}
			if isolation == wire.ReadCommitted {
				p.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
				for _, x := range f.Aborted {
					p.AbortedTransactions = append(p.AbortedTransactions, kmsg.FetchResponseTopicPartitionAbortedTransaction{
						ProducerID: int64(x.Producer), FirstOffset: int64(x.FirstOffset),
					})
				}
			}
			if f.Preferred != nil && version >= fetchRack {
				p.PreferredReadReplica = int32(*f.Preferred)
			}
			if f.Diverging != nil && version >= fetchFlexible {
				p.DivergingEpoch.Epoch, p.DivergingEpoch.EndOffset = int32(f.Diverging.LeaderEpoch), int64(f.Diverging.EndOffset)
			}
			if f.Err != nil && version >= fetchFlexible {
				p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = int32(f.Leader.Broker), int32(f.Leader.LeaderEpoch)
			}
			a.Topics[i].Partitions = append(a.Topics[i].Partitions, p)
			slot++
		}
	}
	if version >= fetchEndpoints {
		broker := kmsg.NewFetchResponseBroker()
		broker.NodeID, broker.Host, broker.Port = 1, "127.0.0.1", 9092
		a.Brokers = append(a.Brokers, broker)
	}
	return q, parts, a
}

// sink is a connection that keeps what is written to it.
type sink struct {
	net.Conn
	bytes.Buffer
}

func (s *sink) Write(b []byte) (int, error)     { return s.Buffer.Write(b) }
func (s *sink) Read([]byte) (int, error)        { return 0, io.EOF }
func (s *sink) Close() error                    { return nil }
func (s *sink) RemoteAddr() net.Addr            { return &net.TCPAddr{} }
func (s *sink) SetReadDeadline(time.Time) error { return nil }

// The hand-written encoding is compared with kmsg's, in every version, with records that are copied
// into the answer and records that are sent behind it.
func TestFetchAnswersAreEncodedAsKmsgDoes(t *testing.T) {
	backend := newFakeBackend()
	h := New(DefaultConfig(), backend, quiet, NewMetrics(nil), time.Now)
	for version := int16(4); version <= 18; version++ {
		for _, isolation := range []wire.IsolationLevel{wire.ReadUncommitted, wire.ReadCommitted} {
			for _, size := range []int{10, 300_000, inlineBytes + 1} {
				q, parts, answer := goldenFetch(version, isolation, bytes.Repeat([]byte{7}, size))
				out := &sink{}
				c := newConn(h, out, nil)
				c.request = request{api: apiOf(keyFetch), version: version, correlation: 5}
				c.fetch.looks, c.fetch.records = parts, 2*size
				if err := c.answerFetch(q, 1234); err != nil {
					t.Fatal(err)
				}
				want := answer.AppendTo(beginAnswer(nil, 5, version >= fetchFlexible))
				endAnswer(want, 0, 0)
				if got := out.Bytes(); !bytes.Equal(got, want) {
					t.Errorf("version %d, isolation %d, %d bytes: %d bytes differ from the %d of kmsg", version, isolation, size, len(got), len(want))
				}
			}
		}
	}
}

func TestAFetchReturnsWhatWasProduced(t *testing.T) {
	for _, size := range []int{100, 100_000, 900_000} {
		for _, files := range []bool{false, true} {
			backend, _ := fakeBroker()
			if files {
				backend.directory = t.TempDir()
			}
			topic := backend.create("stored", 3)
			h := start(t, backend)
			client := h.dial(t)
			client.ask(kmsg.NewPtrApiVersionsRequest())
			batches := [][]byte{batchOf(1, size), batchOf(2, size/2), batchOf(3, size/3)}
			client.ask(produceOf(9, topic, -1, batches...))
			for _, version := range []int16{4, 11, 12, 13, 18} {
				a := client.ask(fetchOf(version, topic, 0, 3)).(*kmsg.FetchResponse)
				for i, p := range a.Topics[0].Partitions {
					want := backend.stored(topic.ID, int32(i))
					if !bytes.Equal(p.RecordBatches, want) {
						t.Errorf("size %d, files %v, version %d, partition %d: %d bytes, want %d", size, files, version, i, len(p.RecordBatches), len(want))
					}
					if p.HighWatermark != int64(i+1) {
						t.Errorf("high watermark %d", p.HighWatermark)
					}
				}
			}
		}
	}
}

// A consumer whose limits are smaller than one batch gets that batch, or it would never go on.
func TestTheFirstBatchIsReturnedWhole(t *testing.T) {
	backend, topic := fakeBroker()
	h := start(t, backend)
	client := h.dial(t)
	client.ask(produceOf(9, topic, -1, batchOf(1, 1000), batchOf(1, 1000)))
	q := fetchOf(11, topic, 0, 2)
	q.MaxBytes, q.Topics[0].Partitions[0].PartitionMaxBytes = 10, 10
	a := client.ask(q).(*kmsg.FetchResponse)
	parts := a.Topics[0].Partitions
	if len(parts[0].RecordBatches) < 1000 || len(parts[1].RecordBatches) != 0 || parts[1].HighWatermark != 1 {
		t.Errorf("%d and %d bytes, high watermark %d", len(parts[0].RecordBatches), len(parts[1].RecordBatches), parts[1].HighWatermark)
	}
}

func TestALongPollEndsWhenSomethingIsProduced(t *testing.T) {
	backend, topic := fakeBroker()
	backend.parked = make(chan struct{}, 10)
	h := start(t, backend)
	consumer, producer := h.dial(t), h.dial(t)
	for round := range int64(3) {
		q := fetchOf(12, topic, round, 1)
		q.MaxWaitMillis = 60_000
		consumer.send(q)
		<-backend.parked
		producer.ask(produceOf(9, topic, -1, batchOf(1, 50)))
		a := consumer.receive(q, consumer.correlation).(*kmsg.FetchResponse)
		if p := a.Topics[0].Partitions[0]; len(p.RecordBatches) == 0 || p.HighWatermark != round+1 {
			t.Errorf("round %d: %d bytes, high watermark %d", round, len(p.RecordBatches), p.HighWatermark)
		}
	}
}

func TestALongPollWaitsForMinBytes(t *testing.T) {
	backend, topic := fakeBroker()
	backend.parked = make(chan struct{}, 10)
	h := start(t, backend)
	consumer, producer := h.dial(t), h.dial(t)
	q := fetchOf(12, topic, 0, 2)
	q.MaxWaitMillis, q.MinBytes = 60_000, 1500
	consumer.send(q)
	<-backend.parked
	<-backend.parked
	producer.ask(produceOf(9, topic, -1, batchOf(1, 1000)))
	<-backend.parked // only the partition that moved is parked in again
	producer.ask(produceOf(9, topic, -1, batchOf(1, 1000)))
	a := consumer.receive(q, 1).(*kmsg.FetchResponse)
	if n := len(a.Topics[0].Partitions[0].RecordBatches); n < 2000 {
		t.Errorf("%d bytes", n)
	}
	if len(backend.parked) != 0 {
		t.Errorf("parked %d times more", len(backend.parked))
	}
}

func TestALongPollEndsWithItsTime(t *testing.T) {
	backend, topic := fakeBroker()
	h := start(t, backend)
	q := fetchOf(12, topic, 0, 1)
	q.MaxWaitMillis = 1
	a := h.dial(t).ask(q).(*kmsg.FetchResponse)
	if p := a.Topics[0].Partitions[0]; len(p.RecordBatches) != 0 || p.ErrorCode != 0 {
		t.Errorf("answer %+v", p)
	}
}

func TestALongPollEndsWithTheServer(t *testing.T) {
	backend, topic := fakeBroker()
	backend.parked = make(chan struct{}, 1)
	h := start(t, backend)
	client := h.dial(t)
	q := fetchOf(12, topic, 0, 1)
	q.MaxWaitMillis = 60_000
	client.send(q)
	<-backend.parked
	if err := h.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	client.receive(q, 1)
	client.expectClosed()
	backend.expectNobodyParked(t)
}

func TestAFetchWithAnErrorDoesNotWait(t *testing.T) {
	for name, c := range map[string]struct {
		version int16
		change  func(q *kmsg.FetchRequest)
		want    wire.ErrorCode
	}{
		"unknown topic":       {11, func(q *kmsg.FetchRequest) { q.Topics[0].Topic = "nowhere" }, wire.UnknownTopicOrPartition},
		"unknown topic id":    {13, func(q *kmsg.FetchRequest) { q.Topics[0].TopicID[0] = 9 }, wire.UnknownTopicID},
		"unknown partition":   {11, func(q *kmsg.FetchRequest) { q.Topics[0].Partitions[0].Partition = 5 }, wire.UnknownTopicOrPartition},
		"offset out of range": {11, func(q *kmsg.FetchRequest) { q.Topics[0].Partitions[0].FetchOffset = 5 }, wire.OffsetOutOfRange},
	} {
		t.Run(name, func(t *testing.T) {
			backend, topic := fakeBroker()
			h := start(t, backend)
			q := fetchOf(c.version, topic, 0, 1)
			q.MaxWaitMillis = 60_000
			c.change(q)
			a := h.dial(t).ask(q).(*kmsg.FetchResponse)
			if code := a.Topics[0].Partitions[0].ErrorCode; code != int16(c.want) {
				t.Errorf("error %v, want %v", wire.ErrorCode(code), c.want)
			}
		})
	}
}

// What is missing at the end of a file cannot be told in an answer whose length is sent already.
func TestAFileThatIsTooShortClosesTheConnection(t *testing.T) {
	backend, _ := fakeBroker()
	backend.directory = t.TempDir()
	topic := backend.create("cut", 1)
	h := start(t, backend)
	client := h.dial(t)
	client.ask(kmsg.NewPtrApiVersionsRequest())
	client.ask(produceOf(9, topic, -1, batchOf(1, 500_000)))
	if err := os.Truncate(filepath.Join(backend.directory, "cut0"), 100_000); err != nil {
		t.Fatal(err)
	}
	client.send(fetchOf(11, topic, 0, 1))
	if _, _, err := client.read(); err == nil {
		t.Error("the answer is whole")
	}
	if !strings.Contains(h.log.String(), "records cannot be read") {
		t.Error("it is not logged")
	}
}
