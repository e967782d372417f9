package storage

import (
	"errors"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// cutLog cuts a log and waits until it is done.
func cutLog(t testing.TB, l *Log, to wire.Offset, reset bool) Cut {
	t.Helper()
	done := make(chan Cut, 1)
	cfg := l.Config()
	before := cfg
	cfg.Cut = func(c Cut) { done <- c }
	l.SetConfig(cfg)
	l.RequestCut(to, reset)
	c := <-done
	if c.Err != nil {
		t.Fatal(c.Err)
	}
	l.SetConfig(before)
	return c
}

func TestACutTakesAwayWhatLiesAtOrBehindTheOffset(t *testing.T) {
	for name, test := range map[string]struct{ to, end wire.Offset }{
		"nothing":             {100, 100},
		"beyond the end":      {500, 100},
		"the last batch":      {98, 98},
		"in the last batch":   {99, 98},
		"several segments":    {42, 42},
		"within a batch":      {43, 42},
		"all but the first":   {2, 2},
		"all":                 {0, 0},
		"all, within a batch": {1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			d := openDir(t, path)
			l := openLog(t, d, testLogConfig())
			want := fill(t, l, 50, 7)
			syncLog(t, l)
			d.keeper.tick()
			generation := l.Generation()
			c := cutLog(t, l, test.to, false)
			if c.End != test.end || c.Flushed != test.end || c.Start != 0 || l.EndOffset() != test.end || c.Generation == generation || c.Generation != l.Generation() {
				t.Fatalf("%+v", c)
			}
			want = want[:test.end/2]
			expectLog(t, l, want)
			killed := openLog(t, openDir(t, crashed(t, path)), testLogConfig())
			if killed.EndOffset() != test.end {
				t.Fatalf("after a kill it ends at %d", killed.EndOffset())
			}
			expectLog(t, killed, want)
			want = append(want, fill(t, l, 30, 8)...)
			expectLog(t, l, want)
			syncLog(t, l)
			d.keeper.tick()
			killed = openLog(t, openDir(t, crashed(t, path)), testLogConfig())
			expectLog(t, killed, want)
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if found, err := Verify(OSFS{}, path); err != nil || len(found) > 0 {
				t.Fatalf("found %v, %v", found, err)
			}
			expectLog(t, openLog(t, openDir(t, path), testLogConfig()), want)
		})
	}
}

func TestAResetLeavesAnEmptyLogThatStartsElsewhere(t *testing.T) {
	for _, to := range []wire.Offset{0, 10, 51, 100, 4711} {
		path := t.TempDir()
		d := openDir(t, path)
		l := openLog(t, d, testLogConfig())
		fill(t, l, 50, 7)
		syncLog(t, l)
		if err := l.AdvanceStart(60); err != nil {
			t.Fatal(err)
		}
		d.keeper.tick()
		if c := cutLog(t, l, to, true); c.Start != to || c.End != to || c.Flushed != min(to, 100) || c.LastEpoch != wire.NoEpoch {
			t.Fatalf("%+v", c)
		}
		killed := openLog(t, openDir(t, crashed(t, path)), testLogConfig())
		if killed.StartOffset() != to || killed.EndOffset() != to {
			t.Fatalf("after a kill it is %d to %d, want %d", killed.StartOffset(), killed.EndOffset(), to)
		}
		want := fill(t, l, 30, 8)
		expectLog(t, l, want)
		syncLog(t, l)
		d.keeper.tick()
		expectLog(t, openLog(t, openDir(t, crashed(t, path)), testLogConfig()), want)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		expectLog(t, openLog(t, openDir(t, path), testLogConfig()), want)
	}
}

func TestALogThatWasCutCanBeEmptiedByRetentionOrDeletion(t *testing.T) {
	for name, empty := range map[string]func(l *Log) error{
		"delete-records": func(l *Log) error { return l.AdvanceStart(l.EndOffset()) },
		"retention": func(l *Log) error {
			_, removed, err := l.ApplyRetention(testNow.Add(1000*time.Hour), l.EndOffset())
			if err == nil && removed == 0 {
				err = errors.New("nothing was removed")
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir()
			d := openDir(t, path)
			l := openLog(t, d, testLogConfig())
			fill(t, l, 50, 7)
			cutLog(t, l, 42, false)
			if err := empty(l); err != nil {
				t.Fatal(err)
			}
			syncLog(t, l)
			d.keeper.tick()
			d.keeper.tick()
			l = openLog(t, openDir(t, crashed(t, path)), testLogConfig())
			if l.StartOffset() != 42 || l.EndOffset() != 42 {
				t.Fatalf("the log is %d to %d", l.StartOffset(), l.EndOffset())
			}
		})
	}
}

func TestManyLogsOfADirectoryAreCutAtOnce(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path)
	const logs = 20
	cuts := make(chan Cut, logs)
	cfg := testLogConfig()
	cfg.Cut = func(c Cut) { cuts <- c }
	ref := func(partition int32) LogRef { return LogRef{Topic: "many", Partition: partition, ID: testTopic} }
	var all []*Log
	for partition := range int32(logs) {
		l, err := d.OpenLog(ref(partition), cfg)
		if err != nil {
			t.Fatal(err)
		}
		fill(t, l, 20, 1)
		syncLog(t, l)
		all = append(all, l)
	}
	d.keeper.tick()
	for i, l := range all {
		l.RequestCut(wire.Offset(2*i), i%3 == 0)
	}
	for range all {
		if c := <-cuts; c.Err != nil {
			t.Fatal(c.Err)
		}
	}
	copied := openDir(t, crashed(t, path))
	for i := range all {
		l, err := copied.OpenLog(ref(int32(i)), cfg)
		if err != nil {
			t.Fatal(err)
		}
		start, end := wire.Offset(0), wire.Offset(2*i)
		if i%3 == 0 {
			start = end
		}
		if l.StartOffset() != start || l.EndOffset() != end {
			t.Errorf("log %d is %d to %d, want %d to %d", i, l.StartOffset(), l.EndOffset(), start, end)
		}
	}
}
