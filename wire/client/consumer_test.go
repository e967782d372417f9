package client_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
)

// fill produces values to a partition.
func fill(t testing.TB, c *client.Client, topic string, partition int32, values ...string) {
	t.Helper()
	p, err := c.NewProducer(client.WithPartitioner(client.Explicit), client.WithBatchBytes(2000))
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range values {
		r := client.Record{
			Topic: topic, Partition: partition, Value: []byte(v), Key: fmt.Append(nil, i),
			Timestamp: time.UnixMilli(1000 + int64(i)), Headers: []client.Header{{Key: "h", Value: []byte(v)}},
		}
		if err := p.Produce(context.Background(), r, func(_ client.Record, err error) {
			if err != nil {
				t.Errorf("fill: %v", err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

// read polls until it has n records.
func read(t testing.TB, r *client.Consumer, n int) []client.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []client.Record
	for len(got) < n {
		records, err := r.Poll(ctx)
		if err != nil {
			t.Fatalf("after %d of %d records: %v", len(got), n, err)
		}
		got = append(got, records...)
	}
	return got
}

func consumer(t testing.TB, c *client.Client, options ...client.ConsumerOption) *client.Consumer {
	t.Helper()
	r, err := c.NewConsumer(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func valuesOf(records []client.Record, partition int32) []string {
	var values []string
	for _, r := range records {
		if r.Partition == partition {
			values = append(values, string(r.Value))
		}
	}
	return values
}

func TestEveryPartitionIsReadInItsOrder(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 3)
	c := connect(t, serve(t, b))
	want := numbered(500)
	for p := range int32(3) {
		fill(t, c, "t", p, want...)
	}
	got := read(t, consumer(t, c, client.Topics("t"), client.WithMaxPollRecords(17)), 1500)
	for p := range int32(3) {
		if !slices.Equal(valuesOf(got, p), want) {
			t.Errorf("partition %d has other records, or another order", p)
		}
	}
	r := got[0]
	if string(r.Headers[0].Value) != string(r.Value) || r.Headers[0].Key != "h" || r.Timestamp.UnixMilli() != 1000+int64(r.Offset) ||
		string(r.Key) != fmt.Sprint(int64(r.Offset)) {
		t.Errorf("a record came back as %+v", r)
	}
}

func TestReadingBeginsWhereItIsTold(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 1)
	c := connect(t, serve(t, b))
	fill(t, c, "t", 0, numbered(100)...)
	for name, test := range map[string]struct {
		start client.Start
		first string
	}{
		"the beginning":            {client.Beginning(), "record 0"},
		"an offset":                {client.AtOffset(42), "record 42"},
		"a time":                   {client.AtTime(time.UnixMilli(1077)), "record 77"},
		"the end":                  {client.End(), "late"},
		"a time behind every time": {client.AtTime(time.Now().Add(time.Hour)), "late"},
	} {
		t.Run(name, func(t *testing.T) {
			r := consumer(t, c, client.Partition("t", 0, test.start))
			if test.first == "late" {
				locate(t, r)
				fill(t, c, "t", 0, "late")
			}
			if got := read(t, r, 1); string(got[0].Value) != test.first {
				t.Errorf("the first record is %q", got[0].Value)
			}
		})
	}
}

// locate waits until the consumer knows where it begins in its first partition. It must begin at the end.
func locate(t *testing.T, r *client.Consumer) {
	t.Helper()
	for at := r.Positions(); len(at) == 0 || at[0].Next < 0; at = r.Positions() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		records, err := r.Poll(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Poll = %v, %v", records, err)
		}
	}
}

func TestAPatternFindsTopicsThatAreCreatedLater(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("log-a", 1)
	b.CreateTopic("other", 1)
	addr := serve(t, b)
	c, err := client.NewWith(client.Config{Addrs: []string{addr}, MetadataMaxAge: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	fill(t, c, "log-a", 0, "a")
	fill(t, c, "other", 0, "not this")
	r := consumer(t, c, client.Pattern(regexp.MustCompile("^log-")))
	if got := valuesOf(read(t, r, 1), 0); !slices.Equal(got, []string{"a"}) {
		t.Errorf("read %q", got)
	}
	b.CreateTopic("log-b", 1)
	fill(t, c, "log-b", 0, "b")
	if got := valuesOf(read(t, r, 1), 0); !slices.Equal(got, []string{"b"}) {
		t.Errorf("read %q", got)
	}
}

func TestAnOffsetThatIsGoneFollowsThePolicy(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 1)
	c := connect(t, serve(t, b))
	fill(t, c, "t", 0, numbered(10)...)
	if _, err := c.DeleteRecords(t.Context(), "t", 0, 5); err != nil {
		t.Fatal(err)
	}
	strict := consumer(t, c, client.Partition("t", 0, client.AtOffset(2)))
	if _, err := strict.Poll(t.Context()); !errors.Is(err, client.ErrOffsetOutOfRange) {
		t.Errorf("Poll = %v", err)
	}
	if err := strict.Seek("t", 0, client.AtOffset(7)); err != nil {
		t.Error(err)
	}
	if got := read(t, strict, 3); got[0].Offset != 7 {
		t.Errorf("after Seek the first record is %d", got[0].Offset)
	}
	earliest := consumer(t, c, client.Partition("t", 0, client.AtOffset(2)), client.WhenOutOfRange(client.OutOfRangeEarliest))
	if got := read(t, earliest, 5); got[0].Offset != 5 {
		t.Errorf("with OutOfRangeEarliest the first record is %d", got[0].Offset)
	}
}

func TestADamagedBatchStopsItsPartitionAlone(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 2)
	c := connect(t, serve(t, b))
	for p := range int32(2) {
		fill(t, c, "t", p, "one")
		fill(t, c, "t", p, "two")
	}
	b.Corrupt("t", 0, 1)
	r := consumer(t, c, client.Topics("t"))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []client.Record
	var failed error
	for len(got) < 3 || failed == nil {
		records, err := r.Poll(ctx)
		got = append(got, records...)
		if err != nil && failed != nil {
			t.Fatal(err)
		}
		if err != nil {
			failed = err
		}
	}
	if !errors.Is(failed, wire.CorruptMessage) {
		t.Errorf("Poll = %v", failed)
	}
	if !slices.Equal(valuesOf(got, 0), []string{"one"}) || !slices.Equal(valuesOf(got, 1), []string{"one", "two"}) {
		t.Errorf("read %q and %q", valuesOf(got, 0), valuesOf(got, 1))
	}
}

func TestDamageThatTheBrokerFindsIsToldBehindTheRecordsBeforeIt(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 1)
	c := connect(t, serve(t, b))
	fill(t, c, "t", 0, "one")
	fill(t, c, "t", 0, "two")
	b.FailFetch(func(f *wire.Fetch) error {
		if f.FetchOffset > 0 {
			return wire.CorruptMessage
		}
		return nil
	})
	cfg := client.DefaultConsumerConfig()
	cfg.MaxPartitionBytes = 1 // a batch at a time
	r := consumer(t, c, client.WithConsumerConfig(cfg), client.Topics("t"))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []client.Record
	var err error
	for err == nil {
		var records []client.Record
		records, err = r.Poll(ctx)
		got = append(got, records...)
	}
	if !errors.Is(err, wire.CorruptMessage) {
		t.Errorf("Poll = %v", err)
	}
	if !slices.Equal(valuesOf(got, 0), []string{"one"}) {
		t.Errorf("read %q, want the batch before the damage", valuesOf(got, 0))
	}
}

func TestATopicThatDoesNotExistIsToldOnce(t *testing.T) {
	b := nativetest.New()
	c := connect(t, serve(t, b))
	r := consumer(t, c, client.Topics("nothing"))
	if _, err := r.Poll(t.Context()); !errors.Is(err, client.ErrUnknownTopic) {
		t.Errorf("Poll = %v", err)
	}
}

func TestAReaderAtTheEndGetsWhatIsWrittenNext(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 1)
	c := connect(t, serve(t, b))
	r := consumer(t, c, client.Topics("t"))
	for i := range 5 {
		value := fmt.Sprintf("value %d", i)
		fill(t, c, "t", 0, value)
		if got := valuesOf(read(t, r, 1), 0); !slices.Equal(got, []string{value}) {
			t.Fatalf("read %q", got)
		}
	}
}

func TestAPausedPartitionIsKeptBackAndGoesOn(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 2)
	c := connect(t, serve(t, b))
	r := consumer(t, c, client.Topics("t"))
	fill(t, c, "t", 0, "first")
	read(t, r, 1)
	if err := r.Pause("t", 0); err != nil {
		t.Fatal(err)
	}
	fill(t, c, "t", 0, "kept back")
	fill(t, c, "t", 1, "read")
	if got := read(t, r, 1); got[0].Partition != 1 {
		t.Errorf("read %q of the paused partition", got[0].Value)
	}
	if err := r.Resume("t", 0); err != nil {
		t.Fatal(err)
	}
	if got := read(t, r, 1); string(got[0].Value) != "kept back" {
		t.Errorf("read %q", got[0].Value)
	}
}
