package storage

import "testing"

func TestABatchThatIsLargerThanASegmentHasOneOfItsOwn(t *testing.T) {
	cfg := testLogConfig()
	cfg.LargeBatches = true
	d := openDir(t, t.TempDir())
	l := openLog(t, d, cfg)
	fill(t, l, 1, 4)
	before := len(l.segments)
	base, next, err := l.Append(batch(200, 1, "x"), 4)
	if err != nil || next-base != 200 {
		t.Fatalf("%d to %d: %v", base, next, err)
	}
	if n := len(l.segments); n != before+1 || l.active().base != base {
		t.Errorf("%d segments, the last from %d on; the batch is at %d", n, l.active().base, base)
	}
	fill(t, l, 1, 4)
	if l.active().base != next {
		t.Errorf("the next batch is in the segment from %d on, not in one of its own", l.active().base)
	}
}
