package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
)

// watched are troubles with a clock that the test moves.
type watched struct {
	*troubles

	out bytes.Buffer
	at  time.Time
}

func newWatched() *watched {
	w := &watched{at: time.Unix(1e9, 0)}
	w.troubles = newTroubles(streams{err: &w.out, now: func() time.Time { return w.at }})
	return w
}

// after moves the clock and returns what is told then.
func (w *watched) after(d time.Duration) string {
	w.at = w.at.Add(d)
	w.out.Reset()
	w.tell()
	return w.out.String()
}

func TestTroubleIsToldOnceItLastsAgainEveryTenSecondsAndWhenItEnds(t *testing.T) {
	w := newWatched()
	full := wire.Errorf(wire.KafkaStorageError, "disk full")
	w.retry("t", 0, full)
	if got := w.after(2 * time.Second); got != "" {
		t.Errorf("after 2 s: %q", got)
	}
	w.retry("t", 0, full)
	w.retry("t", 1, full)
	if got := w.after(time.Second); got != "still trying: t/0: KAFKA_STORAGE_ERROR: disk full\n" {
		t.Errorf("after 3 s: %q", got)
	}
	if got := w.after(9 * time.Second); got != "" {
		t.Errorf("after 12 s: %q", got)
	}
	if got := w.after(time.Second); got != "still trying: t/0 and 1 more: KAFKA_STORAGE_ERROR: disk full\n" {
		t.Errorf("after 13 s: %q", got)
	}
	w.retry("t", 0, nil)
	if got := w.after(time.Second); got != "" {
		t.Errorf("while t/1 still fails: %q", got)
	}
	w.retry("t", 1, nil)
	if got := w.after(time.Second); got != "going on\n" {
		t.Errorf("at the end: %q", got)
	}
	if got := w.after(time.Hour); got != "" {
		t.Errorf("later: %q", got)
	}
}

func TestALostBrokerIsNamedAndAShortAbsenceIsNot(t *testing.T) {
	w := newWatched()
	w.retry("t", 0, fmt.Errorf("%w: b:9092: EOF", client.ErrConnection))
	w.retry("t", 0, nil)
	if got := w.after(time.Minute); got != "" {
		t.Errorf("a short absence: %q", got)
	}
	w.retry("t", 0, fmt.Errorf("%w: b:9092: EOF", client.ErrConnection))
	if got := w.after(3 * time.Second); got != "connection lost: b:9092: EOF; trying again\n" {
		t.Errorf("a long one: %q", got)
	}
}

func TestThatNothingIsHeardIsToldWhileSomethingIsWanted(t *testing.T) {
	w := newWatched()
	done, more := int64(0), false
	w.open = func() (int64, bool) { return done, more }
	w.after(0)
	if got := w.after(time.Minute); got != "" {
		t.Errorf("nothing is wanted: %q", got)
	}
	more = true
	w.after(time.Second)
	if got := w.after(3 * time.Second); got != "still trying: no answer yet\n" {
		t.Errorf("something is: %q", got)
	}
	done = 1
	if got := w.after(time.Second); got != "going on\n" {
		t.Errorf("something has come: %q", got)
	}
}

func TestWithoutOneOfThreePartitionsTheOthersAreWrittenToTheirEnd(t *testing.T) {
	dir := t.TempDir()
	broker := startBroker(t, dir)
	bootstrap := "--bootstrap=" + broker.ready["kafka"]
	must(t, "", "topic", "create", "kh", "--partitions=3", bootstrap)
	for _, partition := range []string{"0", "1", "2"} {
		for _, line := range []string{"first", "last"} {
			must(t, line+" of "+partition+"\n", "produce", "kh", "--partition="+partition, bootstrap)
		}
	}
	broker.stop(t, syscall.SIGTERM)
	segment := filepath.Join(dir, "kh-1", "00000000000000000000.log")
	log, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	log[bytes.Index(log, []byte("last of 1"))]++
	if err := os.WriteFile(segment, log, 0o600); err != nil {
		t.Fatal(err)
	}

	bootstrap = "--bootstrap=" + startBroker(t, dir).ready["kafka"]
	got := inProcess(t, "", "consume", "kh", "--from-beginning", "--exit-at-end", bootstrap)
	if want := "first of 0\nfirst of 1\nfirst of 2\nlast of 0\nlast of 2\n"; sortedLines(got.out) != want {
		t.Errorf("written: %q", got.out)
	}
	if got.code != exitFailed || !strings.HasPrefix(got.err, "troupe: kh/1 at offset 1: CORRUPT_MESSAGE: ") ||
		!strings.Contains(got.err, `"troupe log verify DIR"`) || strings.Count(got.err, "\n") != 1 {
		t.Errorf("exit code %d, %q", got.code, got.err)
	}
}

func TestAPartitionThatFailsForLongIsGivenUp(t *testing.T) {
	w := newWatched()
	c := &consumption{
		topic: "t", troubles: w.troubles, failed: make(map[int32]error),
		pending: map[int32]wire.Offset{0: 1, 1: 1, 2: 1},
	}
	w.retry("t", 0, wire.LeaderNotAvailable)
	w.retry("t", 1, client.ErrConnection)
	c.giveUp()
	if len(c.pending) != 3 {
		t.Errorf("given up at once: %v", c.failures())
	}
	w.after(patience)
	c.giveUp()
	if err := c.failures(); len(c.pending) != 2 || !errors.Is(err, wire.LeaderNotAvailable) || !strings.HasPrefix(err.Error(), "t/0: ") {
		t.Errorf("after %v: %v", patience, err)
	}
	w.after(patienceForBrokers - patience)
	c.giveUp()
	if _, reading := c.pending[2]; len(c.pending) != 1 || !reading {
		t.Errorf("after %v: %v", patienceForBrokers, c.failures())
	}
}

func TestTheAdminPortIsToldFromThatOfClients(t *testing.T) {
	admin := startBroker(t, t.TempDir()).ready["admin"]
	for _, args := range [][]string{{"topic", "list"}, {"consume", "t"}, {"produce", "t"}} {
		got := inProcess(t, "", append(args, "--bootstrap="+admin)...)
		if got.code != exitFailed || !strings.HasPrefix(got.err, "troupe: "+admin+" speaks HTTP") || strings.Count(got.err, "\n") != 1 {
			t.Errorf("%v: exit code %d, %q", args, got.code, got.err)
		}
	}
}

func TestATopicThatProducingCreatesIsTold(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir()).ready["kafka"]
	for range 2 {
		if got := inProcess(t, "", "produce", "nope", bootstrap); got.err != "0 records acknowledged\n" {
			t.Errorf("without a record: %q", got.err)
		}
	}
	var told []string
	for range 2 {
		told = append(told, inProcess(t, "x\n", "produce", "nope", bootstrap).err)
	}
	want := []string{"created topic nope (1 partition)\n1 record acknowledged\n", "1 record acknowledged\n"}
	if !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

func TestAFullDiskBehindStdoutIsToldOnce(t *testing.T) {
	bootstrap := "--bootstrap=" + startBroker(t, t.TempDir()).ready["kafka"]
	must(t, "x\n", "produce", "t", bootstrap)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer func() { _ = full.Close() }()
	var errs bytes.Buffer
	code := run([]string{"consume", "t", "--from-beginning", "--exit-at-end", bootstrap}, streams{in: strings.NewReader(""), out: full, err: &errs, now: time.Now})
	if code != exitFailed || strings.Count(errs.String(), "\n") != 1 {
		t.Errorf("exit code %d, %q", code, errs.String())
	}
}
