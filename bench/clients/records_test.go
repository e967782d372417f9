package clients

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// written is what a client wrote, by partition. Partition i has codec i.
type written struct {
	by      kind
	topic   string
	records [][]record
	since   time.Time
}

func produce(t *testing.T, c client, r request) {
	t.Helper()
	r.Op = "produce"
	if _, err := c.do(t.Context(), r); err != nil {
		t.Fatalf("codec %s, acks %s, idempotent %v: %v", r.Codec, r.Acks, r.Idempotent, err)
	}
}

// write has the client write to a topic of its own, each codec to a partition of its own.
func write(t *testing.T, k kind, c client) *written {
	t.Helper()
	w := &written{by: k, topic: newTopic(t, int32(len(codecs))), records: make([][]record, len(codecs)), since: time.Now()}
	for partition, codec := range codecs {
		// Two requests, so that there is more than one batch.
		for range 2 {
			some := someRecords(k, int32(partition), 25)
			produce(t, c, request{Topic: w.topic, Codec: codec, Acks: "all", Idempotent: k.can(idempotent), Records: some})
			w.records[partition] = append(w.records[partition], some...)
		}
		for i := range w.records[partition] {
			w.records[partition][i].Offset = int64(i)
		}
	}
	return w
}

// verifyCodecs makes sure that the client compressed as it was told, and was idempotent: some
// leave out in silence what they believe the broker cannot do.
func verifyCodecs(t *testing.T, w *written) {
	t.Helper()
	for partition, want := range w.records {
		got, err := franz{bootstrap}.consume(t.Context(), request{Topic: w.topic, Partition: int32(partition), From: "beginning", Count: len(want)})
		if err != nil {
			t.Fatalf("%s: %v", codecs[partition], err)
		}
		for _, r := range got {
			if codec := codecs[r.Attrs.CompressionType()]; codec != codecs[partition] {
				t.Fatalf("offset %d of the partition for %s is compressed with %s", r.Offset, codecs[partition], codec)
			}
			if isIdempotent := r.ProducerID >= 0; isIdempotent != w.by.can(idempotent) {
				t.Fatalf("%s: offset %d has producer id %d", codecs[partition], r.Offset, r.ProducerID)
			}
		}
	}
}

// compare fails when what was read is not what was written.
func compare(t *testing.T, label string, w *written, reader kind, want, got []record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d records were read, %d written", label, len(got), len(want))
	}
	for i := range want {
		a, b := want[i], got[i]
		same := sameBytes
		if !reader.can(tellsNulls) {
			same = sameContent
		}
		if b.Offset != a.Offset || !same(a.Key, b.Key) || !same(a.Value, b.Value) || !slices.EqualFunc(a.Headers, b.Headers, sameHeader) {
			t.Fatalf("%s: record %d was read as\n%s\nand written as\n%s", label, i, show(b), show(a))
		}
		if w.by.can(stamps) && a.Timestamp != b.Timestamp {
			t.Fatalf("%s: record %d has timestamp %d, written with %d", label, i, b.Timestamp, a.Timestamp)
		}
		if at := time.UnixMilli(b.Timestamp); !w.by.can(stamps) && (at.Before(w.since.Add(-time.Second)) || at.After(time.Now().Add(time.Second))) {
			t.Fatalf("%s: record %d has timestamp %s, written after %s", label, i, at, w.since)
		}
	}
}

func sameBytes(a, b *[]byte) bool {
	if a == nil || b == nil {
		return a == b
	}
	return bytes.Equal(*a, *b)
}

func sameContent(a, b *[]byte) bool {
	var none []byte
	if a == nil {
		a = &none
	}
	if b == nil {
		b = &none
	}
	return bytes.Equal(*a, *b)
}

func show(r record) string {
	text := fmt.Sprintf("offset %d, timestamp %d, key %s, value %s", r.Offset, r.Timestamp, showBytes(r.Key), showBytes(r.Value))
	for _, h := range r.Headers {
		text += fmt.Sprintf(", header %s=%s", h.Key, showBytes(h.Value))
	}
	return text
}

func showBytes(b *[]byte) string {
	if b == nil {
		return "null"
	}
	return fmt.Sprintf("%q", *b)
}

// firstTimestamp is of the first record of someRecords; each next one is 1 s later. It lies in the
// past, but not so far that retention takes the records away.
var firstTimestamp = time.Now().Add(-time.Hour).UnixMilli()

// someRecords are n records of all shapes that the client can write: bytes of any value, and
// enough text for a codec to be worth its while.
func someRecords(k kind, partition int32, n int) []record {
	var records []record
	for i := range n {
		key := fmt.Appendf(nil, "key %d \x00\xff é", i)
		value := append(bytes.Repeat([]byte("the same words again and again, "), 4+i%3), randomBytes(i)...)
		r := record{Partition: partition, Timestamp: firstTimestamp + int64(i)*1000, Key: &key, Value: &value}
		if i%10 < 5 {
			first, second := []byte("application/json"), []byte("größer")
			r.Headers = []header{{"content-type", &first}, {"mot", &second}, {"mot", &first}}
		}
		if k.can(nulls) {
			switch empty := []byte{}; i % 12 {
			case 8:
				r.Key = nil
			case 9:
				r.Key = &empty
			case 10:
				r.Value = nil
			case 11:
				r.Value = &empty
			}
		}
		if k.can(nullHeaders) && i%10 == 3 {
			r.Headers = append(r.Headers, header{Key: "nothing"})
		}
		records = append(records, r)
	}
	return records
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.IntN(256))
	}
	return b
}
