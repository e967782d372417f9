package client_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/troupe-mq/troupe/wire/client"
	"github.com/troupe-mq/troupe/wire/native/nativetest"
)

// outcomes collects what callbacks are told.
type outcomes struct {
	mu      sync.Mutex
	records []client.Record
	errs    []error
}

func (o *outcomes) done(r client.Record, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.records = append(o.records, r)
	o.errs = append(o.errs, err)
}

func (o *outcomes) values() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var values []string
	for _, r := range o.records {
		values = append(values, string(r.Value))
	}
	return values
}

func (o *outcomes) err() error { return errors.Join(o.errs...) }

func numbered(n int) []string {
	values := make([]string, n)
	for i := range values {
		values[i] = fmt.Sprintf("record %d", i)
	}
	return values
}

func TestRecordsAreWrittenInOrderAndCallbacksFollow(t *testing.T) {
	b := nativetest.New()
	b.CreateTopic("t", 1)
	c := connect(t, serve(t, b))
	p, err := c.NewProducer(client.WithBatchBytes(1000))
	if err != nil {
		t.Fatal(err)
	}
	var o outcomes
	want := numbered(2000)
	for _, v := range want {
		if err := p.Produce(t.Context(), client.Record{Topic: "t", Value: []byte(v)}, o.done); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := o.err(); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(b.Values("t", 0), want) {
		t.Error("the log has other records, or another order")
	}
	if !slices.Equal(o.values(), want) {
		t.Error("callbacks came in another order")
	}
	for i, r := range o.records {
		if r.Offset != client.Offset(i) {
			t.Fatalf("record %d has offset %d", i, r.Offset)
		}
	}
	if n := b.Batches("t", 0); n < 30 || n > 200 {
		t.Errorf("%d batches", n)
	}
	got, err := c.Fetch(t.Context(), "t", 0, 1990, client.FetchOptions{})
	if err != nil || len(got.Records) != 10 || string(got.Records[0].Value) != want[1990] {
		t.Errorf("Fetch = %+v, %v", got, err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := p.Produce(t.Context(), client.Record{Topic: "t"}, nil); !errors.Is(err, client.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
