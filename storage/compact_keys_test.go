package storage

import (
	"encoding/binary"
	"fmt"
	"testing"
)

func TestAKeySetHoldsWhatWasPutIntoIt(t *testing.T) {
	for _, keys := range []int64{0, 1, 10, 1000, 100_000} {
		s := newKeySet(keys, 1<<30)
		n := 0
		for ; !s.full() && n < 200_000; n++ {
			if f := s.of(fmt.Appendf(nil, "key-%d", n)); s.has(f) || !s.add(f) || s.add(f) || !s.has(f) {
				t.Fatalf("key %d of %d", n, s.limit)
			}
		}
		if int64(n) < keys || s.n != n {
			t.Errorf("made for %d keys, it took %d", keys, n)
		}
		for i := range n {
			if !s.has(s.of(fmt.Appendf(nil, "key-%d", i))) {
				t.Fatalf("key %d of %d was forgotten", i, n)
			}
		}
	}
}

func TestAKeySetWithNextToNoMemoryStillAnswers(t *testing.T) {
	for memory := range int64(3 * slotBytes) {
		s := newKeySet(10, memory)
		if !s.add(s.of([]byte("a"))) || !s.full() || s.has(s.of([]byte("b"))) || !s.has(s.of([]byte("a"))) {
			t.Errorf("%d bytes", memory)
		}
	}
}

func TestTenMillionKeysGoInto128MiB(t *testing.T) {
	const memory = 128 << 20
	s := newKeySet(1<<40, memory)
	if len(s.slots) > memory || s.limit < 10_000_000 {
		t.Errorf("%d bytes hold %d keys", len(s.slots), s.limit)
	}
}

func TestFingerprintsOfTwoSetsDiffer(t *testing.T) {
	a, b := newKeySet(1, 1<<20), newKeySet(1, 1<<20)
	if a.of([]byte("key")) == b.of([]byte("key")) {
		t.Error("the salt is the same")
	}
	if a.of(nil) == a.of([]byte{0}) {
		t.Error("the length does not count")
	}
}

// BenchmarkKeySet fills a set of 128 MiB with ten million keys, as a compaction would.
func BenchmarkKeySet(b *testing.B) {
	for b.Loop() {
		s := newKeySet(1<<40, 128<<20)
		var key [20]byte
		for i := range uint64(10_000_000) {
			binary.BigEndian.PutUint64(key[:], i)
			s.add(s.of(key[:]))
		}
		if s.n != 10_000_000 {
			b.Fatal(s.n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000_000, "ns/key")
}
