package clients

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/bench/testbed"
)

// The broker that all tests share.
var (
	bootstrap string
	process   *testbed.Process // nil when it is another's broker
)

func TestMain(m *testing.M) {
	os.Exit(withBroker(m.Run))
}

func withBroker(run func() int) int {
	if bootstrap = os.Getenv("TROUPE_CLIENTS_BOOTSTRAP"); bootstrap != "" {
		return run()
	}
	work, err := os.MkdirTemp("", "clients-")
	if err == nil {
		defer os.RemoveAll(work) //nolint:errcheck // a temporary directory
		err = startBroker(work)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "clients:", err)
		return 1
	}
	defer process.Kill()
	code := run()
	if code != 0 {
		fmt.Fprintf(os.Stderr, "the broker said last:\n%s", process.Log())
	}
	return code
}

// groupSettings have groups come together, and miss who died, sooner than they would by default.
var groupSettings = []string{
	"--set", "group.initial.rebalance.delay.ms=500",
	"--set", "group.consumer.heartbeat.interval.ms=500", "--set", "group.consumer.session.timeout.ms=6000",
}

// chaosToken lets tests end actors of the broker.
const chaosToken = "7e57c0de7e57c0de7e57c0de7e57c0de"

func startBroker(work string) error {
	ctx := context.Background()
	binary, err := testbed.Build(ctx, work, "cmd/troupe")
	if err != nil {
		return err
	}
	token := filepath.Join(work, "token")
	if err := os.WriteFile(token, []byte(chaosToken), 0o600); err != nil {
		return err
	}
	flags := append(testbed.BrokerArgs(work+"/data", "--chaos-token-file", token), groupSettings...)
	process, err = testbed.StartProcess(ctx, binary, flags...)
	if err != nil {
		return err
	}
	bootstrap = process.Kafka()
	return nil
}

// written is what a client wrote, by partition. Partition i has codec i.
type written struct {
	by      kind
	topic   string
	records [][]record
	since   time.Time
}

func TestEveryClientReadsWhatEveryOtherWrote(t *testing.T) {
	var mu sync.Mutex
	var all []*written
	t.Run("write", func(t *testing.T) {
		eachClient(t, nil, func(t *testing.T, k kind) {
			w := write(t, k, k.open(t, bootstrap))
			verifyCodecs(t, w)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, w)
		})
	})
	t.Run("read", func(t *testing.T) {
		eachClient(t, needs{consumes}, func(t *testing.T, k kind) {
			reader := k.open(t, bootstrap)
			for _, w := range all {
				t.Run("from/"+w.by.name, func(t *testing.T) {
					for partition, want := range w.records {
						got, err := reader.do(t.Context(), request{
							Op: "consume", Topic: w.topic, Partition: int32(partition), From: "beginning", Count: len(want),
						})
						if err != nil {
							t.Fatalf("%s: %v", codecs[partition], err)
						}
						compare(t, codecs[partition], w, k, want, got.Records)
					}
				})
			}
		})
	})
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

// newTopic creates a topic that no other test uses.
func newTopic(t *testing.T, partitions int32) string {
	t.Helper()
	name := topicName(t)
	if _, err := (franz{bootstrap}).do(t.Context(), request{Op: "create", Topic: name, Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
	return name
}

func topicName(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("%s-%08x", strings.ToLower(strings.NewReplacer("/", ".", " ", "-").Replace(t.Name())), rand.Uint32())
}

func produce(t *testing.T, c client, r request) {
	t.Helper()
	r.Op = "produce"
	if _, err := c.do(t.Context(), r); err != nil {
		t.Fatalf("codec %s, acks %s, idempotent %v: %v", r.Codec, r.Acks, r.Idempotent, err)
	}
}

func TestEveryClientProducesWithEveryAcks(t *testing.T) {
	eachClient(t, nil, func(t *testing.T, k kind) {
		c := k.open(t, bootstrap)
		for _, acks := range []string{"0", "1", "all"} {
			topic := newTopic(t, 1)
			want := someRecords(k, 0, 20)
			for i := range want {
				want[i].Offset = int64(i)
			}
			w := &written{by: k, since: time.Now()}
			produce(t, c, request{Topic: topic, Codec: "none", Acks: acks, Records: want})
			got, err := franz{bootstrap}.do(t.Context(), request{Op: "consume", Topic: topic, From: "beginning", Count: len(want)})
			if err != nil {
				t.Fatalf("acks=%s: %v", acks, err)
			}
			compare(t, "acks="+acks, w, kinds[0], want, got.Records)
		}
	})
}

func TestEveryClientSpreadsRecordsOverManyPartitions(t *testing.T) {
	const partitions = 16
	eachClient(t, nil, func(t *testing.T, k kind) {
		c := k.open(t, bootstrap)
		topic := newTopic(t, partitions)
		w := &written{by: k, since: time.Now()}
		var all []record
		for partition := range int32(partitions) {
			some := someRecords(k, partition, 5)
			for i := range some {
				some[i].Offset = int64(i)
			}
			all = append(all, some...)
		}
		produce(t, c, request{Topic: topic, Codec: "none", Acks: "all", Records: all})
		for partition := range partitions {
			got, err := franz{bootstrap}.do(t.Context(), request{Op: "consume", Topic: topic, Partition: int32(partition), From: "beginning", Count: 5})
			if err != nil {
				t.Fatalf("partition %d: %v", partition, err)
			}
			compare(t, fmt.Sprint("partition ", partition), w, kinds[0], all[5*partition:5*partition+5], got.Records)
		}
	})
}

func TestEveryClientFindsItsPlaceInAPartition(t *testing.T) {
	const n = 60
	writer := kinds[0]
	topic := newTopic(t, 1)
	w := &written{by: writer}
	want := someRecords(writer, 0, n)
	for i := range want {
		want[i].Offset = int64(i)
		produce(t, franz{bootstrap}, request{Topic: topic, Codec: codecs[i%len(codecs)], Acks: "all", Idempotent: true, Records: want[i : i+1]})
	}
	eachClient(t, needs{consumes}, func(t *testing.T, k kind) {
		c := k.open(t, bootstrap)
		for _, from := range []struct {
			name  string
			at    int64
			first int
		}{
			{"beginning", 0, 0},
			{"offset", 0, 0},
			{"offset", 17, 17},
			{"offset", n - 1, n - 1},
			{"timestamp", firstTimestamp + 20_000, 20},
			{"timestamp", firstTimestamp + 20_001, 21},
			{"timestamp", firstTimestamp - 5000, 0},
		} {
			if from.name == "timestamp" && !k.can(seeksTime) {
				continue
			}
			got, err := c.do(t.Context(), request{Op: "consume", Topic: topic, From: from.name, At: from.at, Count: min(5, n-from.first)})
			if err != nil {
				t.Fatalf("from %s %d: %v", from.name, from.at, err)
			}
			compare(t, fmt.Sprintf("from %s %d", from.name, from.at), w, k, want[from.first:from.first+len(got.Records)], got.Records)
		}
	})
}

func TestEveryClientThatBeginsAtTheEndReadsOnlyWhatComesAfter(t *testing.T) {
	eachClient(t, needs{consumes}, func(t *testing.T, k kind) {
		c := k.open(t, bootstrap)
		topic := newTopic(t, 1)
		produce(t, franz{bootstrap}, request{Topic: topic, Codec: "none", Acks: "all", Records: someRecords(k, 0, 10)})
		done := make(chan error, 1)
		var got answer
		go func() {
			var err error
			got, err = c.do(t.Context(), request{Op: "consume", Topic: topic, From: "end", Count: 1})
			done <- err
		}()
		// Nobody can see when the client has found the end, so new records come until it reads one.
		late := []byte("late")
		var err error
		for reading := true; reading; {
			produce(t, franz{bootstrap}, request{Topic: topic, Codec: "none", Acks: "all", Records: []record{{Timestamp: firstTimestamp, Value: &late}}})
			select {
			case err = <-done:
				reading = false
			case <-time.After(50 * time.Millisecond):
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Records) != 1 || !sameBytes(got.Records[0].Value, &late) || got.Records[0].Offset < 10 {
			t.Fatalf("read %s", show(got.Records[0]))
		}
	})
}

func TestEveryAdministratorCreatesDescribesAltersGrowsAndDeletesATopic(t *testing.T) {
	eachClient(t, needs{administers}, func(t *testing.T, k kind) {
		c := k.open(t, bootstrap)
		do := func(r request) answer {
			t.Helper()
			a, err := c.do(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		topic := topicName(t)
		do(request{Op: "create", Topic: topic, Partitions: 3, Configs: map[string]string{"retention.ms": "3600000", "cleanup.policy": "delete"}})
		if _, err := c.do(t.Context(), request{Op: "create", Topic: topic, Partitions: 3}); err == nil {
			t.Error("a topic was created twice")
		}
		if a := do(request{Op: "describe", Topic: topic}); a.Partitions != 3 || a.Configs["retention.ms"] != "3600000" {
			t.Fatalf("created with 3 partitions and retention.ms=3600000, described with %d and %s", a.Partitions, a.Configs["retention.ms"])
		}
		do(request{Op: "alter", Topic: topic, Configs: map[string]string{"retention.ms": "7200000"}})
		if a := do(request{Op: "describe", Topic: topic}); a.Configs["retention.ms"] != "7200000" {
			t.Fatalf("altered to retention.ms=7200000, described with %s", a.Configs["retention.ms"])
		}
		if k.can(grows) {
			do(request{Op: "grow", Topic: topic, Partitions: 5})
			if a := do(request{Op: "describe", Topic: topic}); a.Partitions != 5 {
				t.Fatalf("grown to 5 partitions, described with %d", a.Partitions)
			}
		}
		if _, err := c.do(t.Context(), request{Op: "create", Topic: "no/such name", Partitions: 1}); err == nil {
			t.Error("a topic with a bad name was created")
		}
		if _, err := c.do(t.Context(), request{Op: "create", Topic: topicName(t), Partitions: 1, Configs: map[string]string{"no.such.config": "1"}}); err == nil {
			t.Error("a topic with an unknown config was created")
		}
		do(request{Op: "delete", Topic: topic})
		if a, err := (franz{bootstrap}).do(t.Context(), request{Op: "describe", Topic: topic}); err == nil {
			t.Fatalf("deleted, described with %d partitions", a.Partitions)
		}
	})
}

func TestARecordOfAlmostTheLargestSizePassesThroughEveryClient(t *testing.T) {
	large := bytes.Repeat([]byte("0123456789abcdef"), 900_000/16)
	key := []byte("large")
	eachClient(t, nil, func(t *testing.T, k kind) {
		c := k.open(t, bootstrap)
		topic := newTopic(t, 1)
		w := &written{by: k, since: time.Now()}
		want := []record{{Timestamp: firstTimestamp, Key: &key, Value: &large}}
		produce(t, c, request{Topic: topic, Codec: "none", Acks: "all", Records: want})
		reader, by := c, k
		if !k.can(consumes) {
			reader, by = franz{bootstrap}, kinds[0]
		}
		got, err := reader.do(t.Context(), request{Op: "consume", Topic: topic, From: "beginning", Count: 1})
		if err != nil {
			t.Fatal(err)
		}
		compare(t, "large", w, by, want, got.Records)
	})
}
