package storage

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// kept is a record as a test remembers it.
type kept struct {
	offset     wire.Offset
	key, value string
	timestamp  int64
	tombstone  bool
	keyless    bool
	epoch      wire.LeaderEpoch
}

// keyedLog is a log of a compacted topic, and all that was ever appended to it.
type keyedLog struct {
	*Log
	t     testing.TB
	dir   *Dir
	now   time.Time
	all   []kept
	codec record.Codec
	epoch wire.LeaderEpoch
}

func compactedConfig() LogConfig {
	cfg := testLogConfig()
	cfg.Compact, cfg.Delete, cfg.MinDirtyRatio = true, false, 0.01
	return cfg
}

func openKeyedLog(t testing.TB, path string, fsys FS, cfg LogConfig) *keyedLog {
	t.Helper()
	k := &keyedLog{t: t, now: testNow, epoch: 1}
	dirCfg := testDirConfig()
	dirCfg.CleanInterval = 0 // the tests call the cleaner themselves
	dirCfg.Now = func() time.Time { return k.now }
	var err error
	if k.dir, err = OpenDir(fsys, path, dirCfg, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.dir.Close() })
	k.Log = openLog(t, k.dir, cfg)
	return k
}

// put appends a batch; "key=value" is a record, "key" a tombstone, "=value" a record without a key.
func (k *keyedLog) put(records ...string) {
	k.t.Helper()
	var b record.Builder
	b.Reset(k.codec, 0, false)
	base := k.EndOffset()
	for i, r := range records {
		key, value, has := bytes.Cut([]byte(r), []byte("="))
		e := kept{
			offset: base + wire.Offset(i), key: string(key), value: string(value), timestamp: k.now.UnixMilli() + int64(i),
			tombstone: !has, keyless: len(key) == 0, epoch: k.epoch,
		}
		if len(key) == 0 {
			key = nil
		}
		if !has {
			value = nil
		}
		b.Append(e.timestamp, key, value, []record.RecordHeader{{Key: "n", Value: fmt.Appendf(nil, "%d", e.offset)}})
		k.all = append(k.all, e)
	}
	appendBatch(k.t, k.Log, bytes.Clone(b.Finish(wire.NoProducer, -1, -1)), k.epoch)
}

// settleAll makes all that was appended durable and committed, and the last segment a sealed one.
func (k *keyedLog) settleAll() {
	k.t.Helper()
	if k.active().size > 0 {
		if err := k.roll(k.EndOffset()); err != nil {
			k.t.Fatal(err)
		}
	}
	k.commitAll()
}

func (k *keyedLog) commitAll() {
	k.t.Helper()
	syncLog(k.t, k.Log)
	k.SetHighWatermark(k.EndOffset())
	k.dir.keeper.tick()
}

func unpaced(int64) bool { return true }

func (k *keyedLog) clean(memory int64) {
	k.t.Helper()
	if err := k.compact(k.now, memory, unpaced); err != nil {
		k.t.Fatal(err)
	}
}

// read returns all records as a consumer gets them.
func (k *keyedLog) read() (list []kept) {
	k.t.Helper()
	for rest := readAll(k.t, k.Log, 700); len(rest) > 0; {
		h, batch, after, err := record.Next(rest)
		if err != nil || !record.VerifyCRC(batch) {
			k.t.Fatalf("batch at %d: %v", h.BaseOffset, err)
		}
		err = record.Iterate(batch, 1<<20, func(r record.Record) error {
			if len(r.Headers) != 1 || string(r.Headers[0].Value) != fmt.Sprint(r.Offset) {
				k.t.Fatalf("the record at %d has other headers: %v", r.Offset, r.Headers)
			}
			list = append(list, kept{r.Offset, string(r.Key), string(r.Value), r.Timestamp, r.Value == nil, r.Key == nil, h.LeaderEpoch})
			return nil
		})
		if err != nil {
			k.t.Fatal(err)
		}
		rest = after
	}
	return list
}

// check compares what is read with what was appended.
func (k *keyedLog) check() {
	k.t.Helper()
	got := k.read()
	start, cleaned, end := k.StartOffset(), k.CleanedOffset(), k.EndOffset()
	at := map[wire.Offset]kept{}
	for i, r := range got {
		if i > 0 && r.offset <= got[i-1].offset {
			k.t.Fatalf("offset %d comes after %d", r.offset, got[i-1].offset)
		}
		at[r.offset] = r
	}
	last, seen := map[string]kept{}, map[string]wire.Offset{}
	for _, want := range k.all {
		have, there := at[want.offset]
		delete(at, want.offset)
		if there && have != want {
			k.t.Fatalf("at %d is %+v, appended was %+v", want.offset, have, want)
		}
		if !there && want.offset >= k.checkpointed() && want.offset >= start {
			k.t.Fatalf("%+v is gone, which was not to be compacted", want)
		}
		if want.offset < end && !want.keyless {
			last[want.key] = want
		}
		if before, twice := seen[want.key]; there && !want.keyless && want.offset < cleaned && twice {
			k.t.Fatalf("key %s is at %d and at %d, below the cleaned offset %d", want.key, before, want.offset, cleaned)
		}
		if there && want.offset < cleaned {
			seen[want.key] = want.offset
		}
	}
	for offset := range at {
		k.t.Fatalf("at %d is a record that was never appended", offset)
	}
	present := map[string]kept{}
	for _, r := range got {
		present[r.key] = r
	}
	for key, want := range last {
		have, there := present[key]
		switch {
		case want.offset < start:
		case want.tombstone && there && have != want, !want.tombstone && have != want:
			k.t.Fatalf("key %s is %+v, want %+v; the log is %d to %d, cleaned to %d", key, have, want, start, end, cleaned)
		}
	}
	damage, err := Verify(k.dir.fsys, k.dir.path)
	if err != nil || len(damage) > 0 {
		k.t.Fatalf("%v: %v", err, damage)
	}
}

// checkpointed is where what cannot be compacted begins.
func (k *keyedLog) checkpointed() wire.Offset { return k.dir.recoveryPoint(k.Log) }

func TestOfEachKeyTheLastRecordStays(t *testing.T) {
	for codec := record.None; codec <= record.Zstd; codec++ {
		t.Run(codec.String(), func(t *testing.T) {
			k := openKeyedLog(t, t.TempDir(), OSFS{}, compactedConfig())
			k.codec = codec
			for i := range 60 {
				k.put(fmt.Sprintf("a=%d", i), fmt.Sprintf("b=%d", i), fmt.Sprintf("only-%d=x", i))
			}
			k.settleAll()
			before := k.Size()
			k.clean(1 << 20)
			k.check()
			if got := len(k.read()); got != 62 || k.CleanedOffset() != k.EndOffset() || k.Size() >= before {
				t.Errorf("%d records are left, cleaned to %d of %d; %d bytes of %d", got, k.CleanedOffset(), k.EndOffset(), k.Size(), before)
			}
			k.put("a=new", "b=new")
			k.settleAll()
			k.clean(1 << 20)
			k.check()
			if got := len(k.read()); got != 62 {
				t.Errorf("%d records are left", got)
			}
		})
	}
}

func TestTombstonesStayForTheirTimeAndNoValueComesBack(t *testing.T) {
	cfg := compactedConfig()
	cfg.DeleteRetention = time.Hour
	k := openKeyedLog(t, t.TempDir(), OSFS{}, cfg)
	k.put("a=1", "b=1")
	k.put("a=2", "b")
	k.put("c=1", "a=3")
	k.settleAll()
	steps := []struct {
		after time.Duration
		want  string
	}{
		{0, "3:b 4:c 5:a"},
		{59 * time.Minute, "3:b 4:c 5:a"},
		{2 * time.Minute, "4:c 5:a"},
		{time.Hour, "4:c 5:a"},
	}
	for _, step := range steps {
		k.now = k.now.Add(step.after)
		k.dir.cleaner.pass(unpaced)
		k.check()
		var got []string
		for _, r := range k.read() {
			got = append(got, fmt.Sprintf("%d:%s", r.offset, r.key))
		}
		if fmt.Sprint(got) != "["+step.want+"]" {
			t.Errorf("after %s: %v, want %s", step.after, got, step.want)
		}
	}
}

func TestRandomLogsKeepTheLastValueOfEveryKey(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			cfg := compactedConfig()
			cfg.SegmentBytes = 400 + rng.Int64N(2000)
			cfg.DeleteRetention = time.Duration(rng.IntN(20)) * time.Minute
			path := t.TempDir()
			k := openKeyedLog(t, path, quickFS{}, cfg)
			keys := 1 + rng.IntN(60)
			for range 12 {
				for range rng.IntN(40) {
					k.codec = record.Codec(rng.IntN(5))
					k.put(randomRecords(rng, keys)...)
					k.now = k.now.Add(time.Duration(rng.IntN(60)) * time.Second)
				}
				if rng.IntN(4) == 0 {
					k.epoch++
				}
				switch rng.IntN(4) {
				case 0:
					k.commitAll()
				case 1, 2:
					k.settleAll()
				default:
				}
				// Memory for a handful of keys, so that there are many rounds.
				k.clean([]int64{12 * 5, 12 * 30, 1 << 20}[rng.IntN(3)])
				k.check()
				switch rng.IntN(6) {
				case 0:
					if err := k.AdvanceStart(k.StartOffset() + wire.Offset(rng.Int64N(int64(k.EndOffset()-k.StartOffset())+1))/3); err != nil {
						t.Fatal(err)
					}
				case 1:
					if err := k.dir.Close(); err != nil {
						t.Fatal(err)
					}
					again := openKeyedLog(t, path, quickFS{}, cfg)
					again.all, again.now, again.epoch = k.all, k.now, k.epoch
					k = again
				default:
				}
				k.check()
			}
		})
	}
}

// randomRecords returns a batch for put.
func randomRecords(rng *rand.Rand, keys int) (list []string) {
	for range 1 + rng.IntN(6) {
		key := fmt.Sprintf("k%d", rng.IntN(keys))
		switch rng.IntN(8) {
		case 0:
			list = append(list, key)
		case 1:
			list = append(list, "=keyless")
		default:
			list = append(list, fmt.Sprintf("%s=%x", key, rng.Uint64()>>rng.IntN(64)))
		}
	}
	return list
}
