package storage

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/record"
)

// follow copies what a leader's log has and the follower's has not.
func follow(t *testing.T, leader, follower *Log, maxBytes int) {
	t.Helper()
	for follower.EndOffset() < leader.EndOffset() {
		from := follower.EndOffset()
		b, next, epoch, err := leader.ReadBuffer(from, leader.EndOffset(), maxBytes)
		if err != nil || b == nil {
			t.Fatalf("read at %d of %d: %v", from, leader.EndOffset(), err)
		}
		end, err := follower.AppendReplicated(b.Bytes)
		b.Release()
		if err != nil || end != next || follower.LastEpoch() != epoch {
			t.Fatalf("replicated from %d to %d in epoch %d, want %d in %d: %v", from, end, follower.LastEpoch(), next, epoch, err)
		}
	}
}

// compactedLeader is a log with gaps, and something behind them that is not compacted.
func compactedLeader(t *testing.T, rng *rand.Rand) *keyedLog {
	t.Helper()
	k := openKeyedLog(t, t.TempDir(), quickFS{}, compactedConfig())
	for i := range 120 {
		k.codec = record.Codec(rng.IntN(5))
		k.put(fmt.Sprintf("k%d=%d", rng.IntN(9), i), fmt.Sprintf("k%d=%d", rng.IntN(9), i))
		if rng.IntN(20) == 0 {
			k.epoch++
		}
	}
	k.settleAll()
	k.clean(1 << 20)
	k.put("k1=last", "k2=last")
	return k
}

func TestAFollowerGetsACompactedLogWithItsGapsAndEpochs(t *testing.T) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 2))
		leader := compactedLeader(t, rng)
		path := t.TempDir()
		cfg := testLogConfig()
		cfg.SegmentBytes = 300 + rng.Int64N(3000)
		d := openDir(t, path)
		follower := openLog(t, d, cfg)
		follow(t, leader.Log, follower, 1+rng.IntN(900))
		want := readAll(t, leader.Log, 1<<20)
		if got := readAll(t, follower, 1<<20); !bytes.Equal(got, want) {
			t.Fatal("the follower has other bytes")
		}
		if got, want := follower.Epochs(), leader.Epochs(); !slices.Equal(got, want) {
			t.Fatalf("the follower's epochs are %v, the leader's %v", got, want)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		follower = openLog(t, openDir(t, path), cfg)
		if got := readAll(t, follower, 1<<20); !bytes.Equal(got, want) {
			t.Fatal("the follower has other bytes when it is opened again")
		}
		if damage, err := Verify(OSFS{}, path); err != nil || len(damage) > 0 {
			t.Fatalf("%v: %v", damage, err)
		}
	}
}

func TestAFetchInAGapGetsTheNextBatch(t *testing.T) {
	k := compactedLeader(t, rand.New(rand.NewPCG(3, 3)))
	type extent struct{ base, next wire.Offset }
	var batches []extent
	for rest := readAll(t, k.Log, 1<<20); len(rest) > 0; {
		h, _, after, err := record.Next(rest)
		if err != nil {
			t.Fatal(err)
		}
		batches = append(batches, extent{h.BaseOffset, h.NextOffset()})
		rest = after
	}
	gaps, i := 0, 0
	for offset := wire.Offset(0); offset < k.EndOffset(); offset++ {
		if offset >= batches[i].next {
			i++
		}
		if offset < batches[i].base {
			gaps++
		}
		b, _, _, err := k.ReadBuffer(offset, k.EndOffset(), 1)
		if err != nil {
			t.Fatal(err)
		}
		if h, err := record.ParseHeader(b.Bytes); err != nil || h.BaseOffset != batches[i].base {
			t.Fatalf("at %d is the batch at %d, want %d: %v", offset, h.BaseOffset, batches[i].base, err)
		}
		b.Release()
	}
	if gaps == 0 {
		t.Fatal("there are no gaps")
	}
}

func TestACutInACompactedLogEndsAtABatchAndItCanBeFilledAgain(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 4))
		leader := compactedLeader(t, rng)
		cuts := make(chan Cut, 1)
		cfg := compactedConfig()
		cfg.Cut = func(c Cut) { cuts <- c }
		d := openDir(t, t.TempDir())
		follower := openLog(t, d, cfg)
		follow(t, leader.Log, follower, 500)
		syncLog(t, follower)
		follower.SetHighWatermark(follower.EndOffset())
		d.keeper.tick()
		if err := follower.compact(testNow, 1<<20, unpaced); err != nil { // on its own
			t.Fatal(err)
		}
		to := 1 + wire.Offset(rng.Int64N(int64(leader.EndOffset())))
		follower.RequestCut(to, false)
		c := <-cuts
		if c.Err != nil || c.End > to || follower.CleanedOffset() > c.End {
			t.Fatalf("cut to %d: %+v, cleaned to %d", to, c, follower.CleanedOffset())
		}
		if epoch := leader.EpochEnd(c.LastEpoch); epoch.EndOffset < c.End || epoch.LeaderEpoch != c.LastEpoch {
			t.Fatalf("cut to %+v, the leader's epoch is %+v", c, epoch)
		}
		follow(t, leader.Log, follower, 500)
		present := map[string]string{}
		for rest := readAll(t, follower, 1<<20); len(rest) > 0; {
			_, batch, after, err := record.Next(rest)
			if err == nil {
				err = record.Iterate(batch, 1<<20, func(r record.Record) error {
					present[string(r.Key)] = string(r.Value)
					return nil
				})
			}
			if err != nil {
				t.Fatal(err)
			}
			rest = after
		}
		for _, want := range leader.read() {
			if want.value != present[want.key] && want.offset >= leader.CleanedOffset() {
				t.Fatalf("%s is %s at the follower, %s at the leader", want.key, present[want.key], want.value)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
