package kafka

import (
	"fmt"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

// fetcher is a client in a fetch session.
type fetcher struct {
	*rawClient
	version int16
	topic   wire.Topic
	id      int32
	epoch   int32
	wait    int32
}

func newFetcher(h *harness, t *testing.T, version int16, topic wire.Topic) *fetcher {
	return &fetcher{rawClient: h.dial(t), version: version, topic: topic}
}

// fetching starts a broker with one topic, and a client that fetches from it.
func fetching(t *testing.T, version int16, partitions int32) (*harness, *fetcher) {
	t.Helper()
	backend := newFakeBackend()
	topic := backend.create("orders", partitions)
	h := start(t, backend)
	return h, newFetcher(h, t, version, topic)
}

// at is a partition and the offset to fetch from.
type at struct {
	partition int32
	offset    int64
}

// all is every partition of the topic, from its beginning.
func (f *fetcher) all() []at {
	var all []at
	for p := range f.topic.Partitions {
		all = append(all, at{p, 0})
	}
	return all
}

func (f *fetcher) request(want []at, forget ...int32) *kmsg.FetchRequest {
	q := kmsg.NewPtrFetchRequest()
	q.SetVersion(f.version)
	q.MaxBytes, q.MinBytes, q.MaxWaitMillis = 50<<20, 1, f.wait
	q.SessionID, q.SessionEpoch = f.id, f.epoch
	if len(want) > 0 {
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = f.topic.Name, f.topic.ID
		for _, w := range want {
			p := kmsg.NewFetchRequestTopicPartition()
			p.Partition, p.FetchOffset, p.PartitionMaxBytes = w.partition, w.offset, 1<<20
			t.Partitions = append(t.Partitions, p)
		}
		q.Topics = append(q.Topics, t)
	}
	if len(forget) > 0 {
		t := kmsg.NewFetchRequestForgottenTopic()
		t.Topic, t.TopicID, t.Partitions = f.topic.Name, f.topic.ID, forget
		q.ForgottenTopics = append(q.ForgottenTopics, t)
	}
	return q
}

// fetch sends a request of the session and takes note of its answer.
func (f *fetcher) fetch(want []at, forget ...int32) *kmsg.FetchResponse {
	f.t.Helper()
	a := f.ask(f.request(want, forget...)).(*kmsg.FetchResponse)
	f.answered(a)
	return a
}

func (f *fetcher) answered(a *kmsg.FetchResponse) {
	if a.ErrorCode == 0 {
		f.id, f.epoch = a.SessionID, f.epoch+1
	}
}

// expect fetches, and fails unless these partitions are answered, with records where there is a +.
func (f *fetcher) expect(want []at, answered ...string) {
	f.t.Helper()
	f.expectAnswer(f.fetch(want), answered...)
}

func (f *fetcher) expectAnswer(a *kmsg.FetchResponse, answered ...string) {
	f.t.Helper()
	got := []string{}
	for _, t := range a.Topics {
		for _, p := range t.Partitions {
			s := fmt.Sprint(p.Partition)
			if len(p.RecordBatches) > 0 {
				s += "+"
			}
			if p.ErrorCode != 0 {
				s += " " + wire.ErrorCode(p.ErrorCode).Name()
			}
			got = append(got, s)
		}
	}
	slices.Sort(got)
	if a.ErrorCode != 0 || !slices.Equal(got, answered) {
		f.t.Errorf("version %d: error %v, %q are answered, want %q", f.version, wire.ErrorCode(a.ErrorCode), got, answered)
	}
}

func (f *fetcher) expectError(a *kmsg.FetchResponse, want wire.ErrorCode) {
	f.t.Helper()
	if wire.ErrorCode(a.ErrorCode) != want || a.SessionID != 0 || len(a.Topics) > 0 {
		f.t.Errorf("version %d: error %v, session %d, %d topics; want %v", f.version, wire.ErrorCode(a.ErrorCode), a.SessionID, len(a.Topics), want)
	}
}

func (h *harness) produceTo(t *testing.T, topic wire.Topic, partition int32, size int) {
	t.Helper()
	q := produceOf(9, topic, -1, batchOf(1, size))
	q.Topics[0].Partitions[0].Partition = partition
	if p := produced(t, h.dial(t).ask(q)); p.ErrorCode != 0 {
		t.Fatal(wire.ErrorCode(p.ErrorCode))
	}
}

// valueOf reads a gauge or a counter.
func valueOf(t *testing.T, m prometheus.Metric) float64 {
	t.Helper()
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.GetGauge().GetValue() + out.GetCounter().GetValue()
}
