package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/troupe-mq/troupe/wire/client"
)

const (
	// troublePatience is how long something may fail before a person is told.
	troublePatience = 2500 * time.Millisecond
	// troubleRepeat is how long it may go on then before that is said again.
	troubleRepeat = 10 * time.Second
	// troubleInterval is how often it is looked at.
	troubleInterval = 500 * time.Millisecond
)

// troubles says on stderr why a command does not move once that has lasted, and when it goes on. It
// hears of it by client.Config.OnRetry.
type troubles struct {
	out io.Writer
	now func() time.Time
	// open, if set, returns how much was done and whether more is wanted: that nothing is done may
	// be the only sign of a broker that is silent.
	open func() (done int64, more bool)

	mu   sync.Mutex
	done int64
	by   map[place]trouble
	said time.Time // zero when there is nothing to take back
}

// place is a partition, or with -1 what concerns none.
type place struct {
	topic     string
	partition int32
}

func (p place) String() string { return fmt.Sprintf("%s/%d", p.topic, p.partition) }

// silence is where the trouble is of which nothing is heard.
var silence = place{"", -2}

var errSilence = errors.New("no answer yet")

type trouble struct {
	since time.Time
	err   error // the latest
}

func newTroubles(std streams) *troubles {
	return &troubles{out: std.err, now: std.now, by: make(map[place]trouble)}
}

// retry is what the client calls.
func (t *troubles) retry(topic string, partition int32, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := place{topic, partition}
	if err == nil {
		delete(t.by, at)
		return
	}
	since := t.now()
	if before, ok := t.by[at]; ok {
		since = before.since
	}
	t.by[at] = trouble{since, err}
}

// lasting returns what is wrong with a partition and for how long; nil and 0 when nothing is.
func (t *troubles) lasting(topic string, partition int32) (time.Duration, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	found, ok := t.by[place{topic, partition}]
	if !ok {
		return 0, nil
	}
	return t.now().Sub(found.since), found.err
}

// watch says what has lasted until end is called.
func (t *troubles) watch() (end func()) {
	ended := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		ticker := time.NewTicker(troubleInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				t.tell()
			case <-ended:
				return
			}
		}
	})
	return func() {
		close(ended)
		watching.Wait()
	}
}

// tell writes a line if it is time for one.
func (t *troubles) tell() {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.now()
	t.listen(at)
	var line string
	switch lasting := t.old(at); {
	case len(lasting) == 0 && len(t.by) == 0 && !t.said.IsZero():
		t.said = time.Time{}
		line = "going on"
	case len(lasting) > 0 && (t.said.IsZero() || at.Sub(t.said) >= troubleRepeat):
		t.said = at
		line = t.line(lasting)
	default:
		return
	}
	if isTerminal(t.out) {
		line = clearLine + line // which may show progress
	}
	_, _ = fmt.Fprintf(t.out, "%s\n", line) // a lost terminal loses nothing else
}

// listen notes that nothing is heard.
func (t *troubles) listen(at time.Time) {
	if t.open == nil {
		return
	}
	done, more := t.open()
	_, silent := t.by[silence]
	switch {
	case !more || done != t.done:
		delete(t.by, silence)
	case !silent:
		t.by[silence] = trouble{at, errSilence}
	}
	t.done = done
}

// old returns the places whose trouble has lasted long enough, sorted.
func (t *troubles) old(at time.Time) []place {
	lasting := slices.SortedFunc(maps.Keys(t.by), func(a, b place) int {
		return cmp.Or(strings.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
	})
	return slices.DeleteFunc(lasting, func(p place) bool { return at.Sub(t.by[p].since) < troublePatience })
}

// line names the first of the places, and what is wrong there.
func (t *troubles) line(lasting []place) string {
	if len(lasting) > 1 && lasting[0] == silence {
		lasting = lasting[1:] // which says more
	}
	first := t.by[lasting[0]]
	if errors.Is(first.err, client.ErrConnection) {
		return fmt.Sprintf("%v; trying again", first.err)
	}
	var where string
	if lasting[0].topic != "" {
		where = lasting[0].String()
		if more := len(lasting) - 1; more > 0 {
			where += fmt.Sprintf(" and %d more", more)
		}
		where += ": "
	}
	return fmt.Sprintf("still trying: %s%v", where, first.err)
}
