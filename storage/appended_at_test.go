package storage

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// timedLog is a log with a clock, and when each batch was appended to it.
type timedLog struct {
	*Log
	dir   *Dir
	now   time.Time
	times []appended
}

type appended struct {
	base, next wire.Offset
	at         time.Time
}

func openTimedLog(t *testing.T, path string, times []appended, now time.Time) *timedLog {
	t.Helper()
	l := &timedLog{now: now, times: times}
	cfg := testDirConfig()
	cfg.Now = func() time.Time { return l.now }
	var err error
	if l.dir, err = OpenDir(quickFS{}, path, cfg, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.dir.Close() })
	l.Log = openLog(t, l.dir, testLogConfig())
	return l
}

func (l *timedLog) append(t *testing.T, pause time.Duration) {
	t.Helper()
	l.now = l.now.Add(pause)
	base := appendBatch(t, l.Log, batch(2, testNow.UnixMilli(), "x"), 1)
	l.times = append(l.times, appended{base, l.EndOffset(), l.now})
}

// check asks for every offset.
func (l *timedLog) check(t *testing.T) {
	t.Helper()
	for _, a := range l.times {
		for offset := a.base; offset < a.next; offset++ {
			got, ok := l.AppendedAt(offset)
			if gone := offset < l.StartOffset() || offset >= l.EndOffset(); gone != !ok {
				t.Fatalf("offset %d: known: %t; the log is %d to %d", offset, ok, l.StartOffset(), l.EndOffset())
			}
			if off := a.at.Sub(got); ok && (off < -time.Millisecond || off > 500*time.Millisecond) {
				t.Fatalf("offset %d: %v, was %v", offset, got, a.at)
			}
		}
	}
}

func TestWhenRecordsWereAppendedIsKnownToHalfASecond(t *testing.T) {
	path := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 1))
	l := openTimedLog(t, path, nil, testNow)
	for range 5 {
		for range 40 {
			l.append(t, time.Duration(rng.IntN(300))*time.Millisecond)
		}
		l.append(t, time.Hour)
		l.check(t)
		if err := l.AdvanceStart(l.StartOffset() + 20); err != nil {
			t.Fatal(err)
		}
		l.dir.keeper.tick()
		l.check(t)
		if err := l.dir.Close(); err != nil {
			t.Fatal(err)
		}
		l = openTimedLog(t, path, l.times, l.now.Add(time.Minute))
		l.check(t)
	}
	if _, ok := l.AppendedAt(l.EndOffset()); ok {
		t.Error("the end was appended")
	}
}

func TestTimesOfAppendsAreFew(t *testing.T) {
	l := openTimedLog(t, t.TempDir(), nil, testNow)
	cfg := testLogConfig()
	cfg.SegmentBytes = 1 << 20
	l.SetConfig(cfg)
	for range 1000 {
		l.append(t, 10*time.Millisecond)
	}
	l.check(t)
	if n := len(l.readStamps(0, l.EndOffset())); n < 20 || n > 26 {
		t.Errorf("%d entries in ten seconds", n)
	}
}

func TestAClockThatGoesBackIsBelieved(t *testing.T) {
	l := openTimedLog(t, t.TempDir(), nil, testNow)
	l.append(t, 0)
	l.append(t, -time.Hour)
	l.append(t, 100*time.Millisecond)
	l.check(t)
}

func TestACutForgetsTheTimesOfWhatItTakesAway(t *testing.T) {
	path := t.TempDir()
	l := openTimedLog(t, path, nil, testNow)
	cuts := make(chan Cut, 1)
	cfg := testLogConfig()
	cfg.SegmentBytes, cfg.Cut = 1<<20, func(c Cut) { cuts <- c }
	l.SetConfig(cfg)
	for range 10 {
		l.append(t, time.Second)
	}
	l.RequestCut(10, false)
	if c := <-cuts; c.Err != nil || c.End != 10 {
		t.Fatalf("%+v", c)
	}
	l.times = l.times[:5]
	l.check(t)
	if err := l.dir.Close(); err != nil {
		t.Fatal(err)
	}
	// The segment that was cut may grow again in the next run.
	l = openTimedLog(t, path, l.times, l.now)
	for range 3 {
		l.append(t, time.Second)
	}
	l.check(t)
}

func TestDamagedTimesAreNotBelieved(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"torn":    func(b []byte) []byte { return b[:len(b)-5] },
		"zeros":   func(b []byte) []byte { return append(b[:36:36], make([]byte, 24)...) },
		"a flip":  func(b []byte) []byte { b[29] ^= 8; return b },
		"nothing": func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			l := openTimedLog(t, path, nil, testNow)
			for range 6 {
				l.append(t, time.Second)
			}
			file := l.file(0, appendedSuffix)
			if err := l.dir.Close(); err != nil {
				t.Fatal(err)
			}
			content, err := os.ReadFile(file)
			if err == nil {
				err = os.WriteFile(file, damage(content), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
			l = openTimedLog(t, path, l.times, l.now)
			for i, a := range l.times { // what is lost is told by what is before it
				if got, ok := l.AppendedAt(a.base); ok && (got.After(a.at) || got.Before(testNow) || i < 2 && !got.Equal(a.at)) {
					t.Errorf("offset %d: %v, was %v", a.base, got, a.at)
				}
			}
			l.append(t, time.Second)
			last := l.times[len(l.times)-1]
			if got, ok := l.AppendedAt(last.base); !ok || !got.Equal(last.at) {
				t.Errorf("what was appended since: %v, want %v", got, last.at)
			}
		})
	}
}

func TestCompactionKeepsTheTimesOfAppends(t *testing.T) {
	k := openKeyedLog(t, t.TempDir(), OSFS{}, compactedConfig())
	at := map[wire.Offset]time.Time{}
	for i := range 100 {
		k.now = k.now.Add(time.Second)
		at[k.EndOffset()] = k.now
		k.put(fmt.Sprintf("key-%d=%d", i%30, i))
	}
	k.settleAll()
	before := len(k.segments)
	k.clean(1 << 20)
	k.put("x=1")
	k.settleAll()
	k.clean(1 << 20)
	if len(k.segments) >= before {
		t.Fatal("no segments were merged")
	}
	for offset, want := range at {
		if got, ok := k.AppendedAt(offset); !ok || !got.Equal(want) {
			t.Errorf("offset %d: %v, want %v", offset, got, want)
		}
	}
}

func FuzzTimesOfAppends(f *testing.F) {
	f.Add([]byte{}, int64(0))
	f.Add(appendStamp(appendStamp(nil, 7, stamp{7, 1000}), 7, stamp{9, 2000}), int64(7))
	f.Add(make([]byte, 25), int64(1))
	f.Fuzz(func(t *testing.T, content []byte, base int64) {
		list := parseStamps(content, wire.Offset(base), 1<<62)
		var again []byte
		for i, e := range list {
			if i > 0 && e.offset <= list[i-1].offset {
				t.Fatal("the offsets do not ascend")
			}
			again = appendStamp(again, wire.Offset(base), e)
		}
		if !bytes.HasPrefix(content, again) {
			t.Fatal("what was read is not what is written")
		}
	})
}

func FuzzSwapNames(f *testing.F) {
	f.Add("00000000000000000900.log.00000000000000002500.swap")
	f.Add("00000000000000000900.log.swap")
	f.Add(".log..swap")
	f.Fuzz(func(t *testing.T, name string) {
		l := &Log{}
		if base, next, ok := parseSwap(name); ok && l.swapName(base, next) != name {
			t.Fatalf("%q is %d to %d, which is %q", name, base, next, l.swapName(base, next))
		}
	})
}
