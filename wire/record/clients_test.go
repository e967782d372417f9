package record

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

// What the clients in testdata wrote: twenty records each. Java (kafka-clients 4.0.0) and franz-go
// (1.22.2) were given sent(i); librdkafka (2.0.2, by kcat) has one key and two headers throughout.
func sent(i int) Record {
	r := Record{
		Offset: wire.Offset(i), Timestamp: now + int64(i),
		Key: fmt.Appendf(nil, "key-%d", i), Value: []byte(strings.Repeat(fmt.Sprintf("value %d ", i), i)),
	}
	if i%3 == 0 {
		r.Key = nil
	}
	if i%7 == 3 {
		r.Value = nil
	}
	if i%4 == 1 {
		r.Headers = []RecordHeader{{"h", []byte("v")}, {"empty", []byte{}}, {"null", nil}}
	}
	return r
}

func TestBatchesOfRealClientsAreUnderstood(t *testing.T) {
	files, err := filepath.Glob("testdata/*.batch")
	if err != nil || len(files) != 14 {
		t.Fatalf("%d files in testdata, %v", len(files), err)
	}
	for _, file := range files {
		client, rest, _ := strings.Cut(filepath.Base(file), "-")
		codec, err := ParseCodec(strings.TrimSuffix(rest, ".batch"))
		if err != nil {
			t.Fatal(err)
		}
		batch, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(client+"/"+codec.String(), func(t *testing.T) {
			// A topic that wants another codec makes Check open every batch.
			for _, limits := range []*wire.RecordLimits{
				with(func(l *wire.RecordLimits) { l.TimestampAfter = -1 }),
				with(func(l *wire.RecordLimits) { l.TimestampAfter, l.Compression = -1, "uncompressed" }),
				with(func(l *wire.RecordLimits) { l.TimestampAfter, l.Compression = -1, "zstd" }),
			} {
				c, err := Check(bytes.Clone(batch), limits, now)
				if err != nil || c.Records != 20 {
					t.Fatalf("%d records, %v", c.Records, err)
				}
				checkClientRecords(t, client, all(t, c.Batches))
			}
			if h, _ := ParseHeader(batch); h.Codec() != codec {
				t.Errorf("the batch is %v", h.Codec())
			}
		})
	}
}

func checkClientRecords(t *testing.T, client string, records []Record) {
	t.Helper()
	if len(records) != 20 {
		t.Fatalf("%d records", len(records))
	}
	for i, r := range records {
		want := sent(i)
		if client == "librdkafka" {
			want = Record{
				Offset: wire.Offset(i), Timestamp: r.Timestamp, Key: []byte("key"),
				Value:   []byte(strings.Repeat(fmt.Sprintf("value %d ", i), i+1)),
				Headers: []RecordHeader{{"h", []byte("v")}, {"e", []byte{}}},
			}
		}
		if !reflect.DeepEqual(r, want) {
			t.Errorf("record %d is\n%+v, want\n%+v", i, r, want)
		}
	}
}

// The uncompressed batch of each Java and franz-go is rebuilt from its records, byte for byte.
func TestBuilderWritesTheBytesThatClientsWrite(t *testing.T) {
	for _, client := range []string{"java", "franzgo"} {
		theirs, err := os.ReadFile("testdata/" + client + "-none.batch")
		if err != nil {
			t.Fatal(err)
		}
		h, _ := ParseHeader(theirs)
		var b Builder
		for i := range 20 {
			r := sent(i)
			b.Append(r.Timestamp, r.Key, r.Value, r.Headers)
		}
		ours := b.Finish(h.Producer, h.ProducerEpoch, h.BaseSequence)
		SetLeaderEpoch(ours, h.LeaderEpoch)
		if !bytes.Equal(ours, theirs) {
			t.Errorf("%s: the batches differ", client)
		}
	}
}

func TestFranzGoReadsWhatWeWrite(t *testing.T) {
	for codec := None; codec <= Zstd; codec++ {
		lowest, highest, _ := codec.Levels()
		for _, level := range []int{lowest, 0, highest} {
			var b Builder
			b.Reset(codec, level, false)
			for i := range 5000 { // several of the 32 and 64 KiB blocks of snappy and LZ4
				r := sent(i % 100)
				b.Append(r.Timestamp, r.Key, r.Value, r.Headers)
			}
			partition := kmsg.NewFetchResponseTopicPartition()
			partition.RecordBatches = b.Finish(7, 0, 0)
			got, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{}, &partition, kgo.DefaultDecompressor(), nil)
			if got.Err != nil || len(got.Records) != 5000 {
				t.Fatalf("%v level %d: %d records, %v", codec, level, len(got.Records), got.Err)
			}
			for i, r := range got.Records {
				want := sent(i % 100)
				if r.Offset != int64(i) || r.Timestamp.UnixMilli() != want.Timestamp ||
					!bytes.Equal(r.Key, want.Key) || !bytes.Equal(r.Value, want.Value) || len(r.Headers) != len(want.Headers) {
					t.Fatalf("%v level %d: record %d is %+v", codec, level, i, r)
				}
			}
		}
	}
}

func TestWhatFranzGoCompressesIsDecompressed(t *testing.T) {
	plain := bytes.Repeat([]byte("so much the same, and then not: "), 200_000) // two of LZ4's largest blocks
	for i := range len(plain) / 100 {
		plain[i*100] = byte(i * i >> 3)
	}
	for codec, theirs := range map[Codec]kgo.CompressionCodec{
		Gzip: kgo.GzipCompression(), Snappy: kgo.SnappyCompression(), LZ4: kgo.Lz4Compression(), Zstd: kgo.ZstdCompression(),
	} {
		for _, size := range []int{0, 1, 100, 70_000, len(plain)} {
			compressor, err := kgo.DefaultCompressor(theirs)
			if err != nil {
				t.Fatal(err)
			}
			compressed, used := compressor.Compress(new(bytes.Buffer), plain[:size])
			if Codec(used) != codec {
				t.Fatalf("%v compressed as %d", codec, used)
			}
			got, err := decompress(codec, compressed, size)
			if err != nil || !bytes.Equal(got.Bytes, plain[:size]) {
				t.Fatalf("%v, %d bytes: %v", codec, size, err)
			}
			got.Release()
			if size > 0 {
				if _, err := decompress(codec, compressed, size-1); !errors.Is(err, ErrDecompressed) {
					t.Errorf("%v, %d bytes, one too many: %v", codec, size, err)
				}
			}
		}
	}
}
