package storage

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

func TestRecordsThatAreTooYoungAreNotCompacted(t *testing.T) {
	cfg := compactedConfig()
	cfg.MinCompactionLag = time.Hour
	k := openKeyedLog(t, t.TempDir(), OSFS{}, cfg)
	k.put("a=1", "a=2")
	k.settleAll()
	boundary := k.EndOffset()
	k.now = k.now.Add(50 * time.Minute)
	k.put("a=3", "a=4")
	k.settleAll()
	k.dir.cleaner.pass(unpaced)
	if k.CleanedOffset() != 0 || len(k.read()) != 4 {
		t.Fatalf("cleaned to %d", k.CleanedOffset())
	}
	k.now = k.now.Add(11 * time.Minute)
	k.dir.cleaner.pass(unpaced)
	k.check()
	if k.CleanedOffset() != boundary || len(k.read()) != 3 {
		t.Fatalf("cleaned to %d, want %d; %v", k.CleanedOffset(), boundary, k.read())
	}
}

func TestALogIsCompactedWhenItIsDirtyEnoughOrOldEnough(t *testing.T) {
	cfg := compactedConfig()
	cfg.MinDirtyRatio, cfg.MaxCompactionLag = 0.5, time.Hour
	k := openKeyedLog(t, t.TempDir(), OSFS{}, cfg)
	for i := range 30 {
		k.put(fmt.Sprintf("key-%d=%d", i, i))
	}
	k.settleAll()
	k.dir.cleaner.pass(unpaced)
	if k.CleanedOffset() != 30 {
		t.Fatalf("cleaned to %d of a log that is all dirty", k.CleanedOffset())
	}
	k.put("key-1=new")
	k.settleAll()
	k.dir.cleaner.pass(unpaced)
	if k.CleanedOffset() != 30 {
		t.Fatal("compacted for a single record")
	}
	k.now = k.now.Add(61 * time.Minute)
	k.dir.cleaner.pass(unpaced)
	if k.CleanedOffset() != 31 {
		t.Fatalf("cleaned to %d, an hour after the record came", k.CleanedOffset())
	}
	k.check()
}

func TestWhatIsNotCommittedDurableAndSealedIsNotTouched(t *testing.T) {
	k := openKeyedLog(t, t.TempDir(), OSFS{}, compactedConfig())
	for i := range 40 {
		k.put(fmt.Sprintf("a=%d", i))
	}
	k.SetHighWatermark(k.EndOffset()) // as with durability=replicated
	k.clean(1 << 20)
	if len(k.read()) != 40 {
		t.Fatal("records went that are not durable")
	}
	k.commitAll()
	k.hw.Store(20)
	k.clean(1 << 20)
	k.check()
	if c := k.CleanedOffset(); c == 0 || c > 20 {
		t.Fatalf("cleaned to %d, the high watermark is 20", c)
	}
	k.SetHighWatermark(40)
	k.SetStableOffset(30)
	k.clean(1 << 20)
	k.check()
	if c := k.CleanedOffset(); c <= 20 || c > 30 {
		t.Fatalf("cleaned to %d, the stable offset is 30", c)
	}
	k.SetStableOffset(1 << 62)
	k.clean(1 << 20)
	k.check()
	if c := k.CleanedOffset(); c <= 30 || c != k.active().base {
		t.Fatalf("cleaned to %d, the active segment begins at %d", c, k.active().base)
	}
}

func TestADamagedSegmentIsNotCompacted(t *testing.T) {
	k := openKeyedLog(t, t.TempDir(), OSFS{}, compactedConfig())
	for i := range 60 {
		k.put(fmt.Sprintf("a=%d", i))
	}
	k.settleAll()
	name := k.file(k.segments[1].base, logSuffix)
	content, err := os.ReadFile(name)
	if err == nil {
		err = os.WriteFile(name, flip(content, 100), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		k.dir.cleaner.pass(unpaced)
	}
	if k.CleanedOffset() != 0 || k.dir.Err() != nil {
		t.Fatalf("cleaned to %d; the directory: %v", k.CleanedOffset(), k.dir.Err())
	}
	if err := k.compact(k.now, 1<<20, unpaced); !errors.Is(err, wire.CorruptMessage) {
		t.Fatalf("compact: %v", err)
	}
}

// smallVolumeFS says how much is free.
type smallVolumeFS struct {
	quickFS
	free *int64
}

func (f smallVolumeFS) Space(string) (total, free int64, err error) { return 1 << 40, *f.free, nil }

func TestCompactionKeepsToTheReserveUnlessItIsFull(t *testing.T) {
	free := int64(1 << 40)
	k := openKeyedLog(t, t.TempDir(), smallVolumeFS{free: &free}, compactedConfig())
	for i := range 60 {
		k.put(fmt.Sprintf("a=%d", i))
	}
	k.settleAll()
	const reserve = 1 << 20
	k.dir.cfg.ReserveBytes = reserve
	free = reserve + 100
	k.dir.cleaner.pass(unpaced)
	if k.CleanedOffset() != 0 || k.dir.Err() != nil {
		t.Fatalf("cleaned to %d where there is no room; %v", k.CleanedOffset(), k.dir.Err())
	}
	k.now = k.now.Add(cleanAgainAfter)
	k.dir.full.Store(true) // nobody is kept from appending any more
	k.dir.cleaner.pass(unpaced)
	if k.CleanedOffset() != 60 {
		t.Fatalf("cleaned to %d, with a reserve to make room from", k.CleanedOffset())
	}
	k.dir.full.Store(false)
	k.check()
}
