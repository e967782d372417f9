package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// rawClient writes requests and reads answers without believing anything.
type rawClient struct {
	t           testing.TB
	net         net.Conn
	correlation int32
}

// dial connects; whatever does not come within ten seconds fails the test instead of hanging it.
func (h *harness) dial(t testing.TB) *rawClient {
	t.Helper()
	n, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	_ = n.SetDeadline(time.Now().Add(10 * time.Second))
	return &rawClient{t: t, net: n}
}

// frameOf encodes a request whole.
func frameOf(q kmsg.Request, correlation int32) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, q, correlation)
}

func (r *rawClient) send(q kmsg.Request) {
	r.t.Helper()
	r.correlation++
	r.write(frameOf(q, r.correlation))
}

func (r *rawClient) write(b []byte) {
	r.t.Helper()
	if _, err := r.net.Write(b); err != nil {
		r.t.Fatal(err)
	}
}

// read returns the correlation id and what follows it.
func (r *rawClient) read() (int32, []byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(r.net, head[:]); err != nil {
		return 0, nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:4])-4)
	_, err := io.ReadFull(r.net, body)
	return int32(binary.BigEndian.Uint32(head[4:])), body, err
}

// receive decodes the answer to q and checks that kmsg encodes it to the same bytes.
func (r *rawClient) receive(q kmsg.Request, correlation int32) kmsg.Response {
	r.t.Helper()
	got, body, err := r.read()
	if err != nil {
		r.t.Fatalf("answer to %T version %d: %v", q, q.GetVersion(), err)
	}
	if got != correlation {
		r.t.Fatalf("answer to %T has correlation id %d, want %d", q, got, correlation)
	}
	a, err := decodeAnswer(q, body)
	if err != nil {
		r.t.Fatal(err)
	}
	return a
}

func decodeAnswer(q kmsg.Request, body []byte) (kmsg.Response, error) {
	if q.IsFlexible() && q.Key() != keyAPIVersions {
		if len(body) == 0 || body[0] != 0 {
			return nil, fmt.Errorf("answer to %T version %d: the header has no empty tags", q, q.GetVersion())
		}
		body = body[1:]
	}
	a := q.ResponseKind()
	if err := a.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("answer to %T version %d: %w", q, q.GetVersion(), err)
	}
	if again := a.AppendTo(nil); string(again) != string(body) {
		return nil, fmt.Errorf("answer to %T version %d is not what kmsg would encode:\n got %x\nwant %x", q, q.GetVersion(), body, again)
	}
	return a, nil
}

// ask sends q and returns its answer.
func (r *rawClient) ask(q kmsg.Request) kmsg.Response {
	r.t.Helper()
	r.send(q)
	return r.receive(q, r.correlation)
}

// expectClosed fails unless the server closes the connection without another byte.
func (r *rawClient) expectClosed() {
	r.t.Helper()
	n, err := r.net.Read(make([]byte, 1))
	var timeout net.Error
	if n > 0 || err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		r.t.Fatalf("the connection is open: read %d bytes, err %v", n, err)
	}
}

// batchOf makes an uncompressed batch of n records of that many bytes.
func batchOf(n, size int) []byte {
	var b record.Builder
	b.Reset(record.None, 0, false)
	value := make([]byte, size)
	for i := range n {
		b.Append(1_700_000_000_000+int64(i), nil, value, nil)
	}
	return slices.Clone(b.Finish(wire.NoProducer, -1, -1))
}

// produceOf asks to append the batch to partition 0 and so on of one topic.
func produceOf(version int16, topic wire.Topic, acks int16, batches ...[]byte) *kmsg.ProduceRequest {
	q := kmsg.NewPtrProduceRequest()
	q.SetVersion(version)
	q.Acks, q.TimeoutMillis = acks, 5000
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = topic.Name, topic.ID
	for i, batch := range batches {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = int32(i), batch
		t.Partitions = append(t.Partitions, p)
	}
	q.Topics = append(q.Topics, t)
	return q
}

// fetchOf asks for partitions 0 to n-1 of one topic from an offset on.
func fetchOf(version int16, topic wire.Topic, offset int64, n int) *kmsg.FetchRequest {
	q := kmsg.NewPtrFetchRequest()
	q.SetVersion(version)
	q.MaxBytes, q.MinBytes = 50<<20, 1
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = topic.Name, topic.ID
	for i := range n {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = int32(i), offset, 1<<20
		t.Partitions = append(t.Partitions, p)
	}
	q.Topics = append(q.Topics, t)
	return q
}

func produced(t testing.TB, a kmsg.Response) kmsg.ProduceResponseTopicPartition {
	t.Helper()
	r := a.(*kmsg.ProduceResponse)
	if len(r.Topics) != 1 || len(r.Topics[0].Partitions) == 0 {
		t.Fatalf("answer names no partition: %+v", r)
	}
	return r.Topics[0].Partitions[0]
}

func cancelled(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx, cancel
}

// now and noDeadline are the clock of tests that have no use for one.
func now() time.Time { return time.Unix(1_700_000_000, 0) }

var noDeadline time.Time
