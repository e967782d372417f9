package groups

import (
	"container/heap"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/troupe-mq/troupe/cluster/group"
	"github.com/troupe-mq/troupe/wire"
)

// epoch0 is when every world begins.
var epoch0 = time.Unix(1_700_000_000, 0)

// World is three brokers, one partition of the offsets topic, and the groups in it, all moved by one schedule and one
// source of randomness.
type World struct {
	seed    uint64
	mutant  Mutant
	profile Profile
	rules   group.Config
	random  *rand.Rand

	now    time.Duration
	seq    uint64
	events schedule

	brokers []*broker
	log     *offsetsLog
	image   *image
	images  []*image // by version
	truths  []*truth // of the groups that were ever asked for
	clients []*client
	names   int // of clients, and of all that needs another one each time
	calm    bool

	calls     uint64
	open      map[group.Call]*call // handled, and neither answered nor cancelled
	cancelled map[group.Call]bool
	commits   map[string]*commit // all that were ever asked for, by their metadata

	stats     Stats
	violation string
	trace     io.Writer
	digest    uint64
}

// Result is what became of a seed.
type Result struct {
	Violation string // empty: every invariant held
	Profile   Profile
	Stats     Stats
	Digest    uint64 // of all that happened: the same seed gives the same
}

// Run plays one seed to its end, or to the first violation. What happens is written to trace, if there is one.
func Run(seed uint64, mutant Mutant, trace io.Writer) Result {
	w := &World{
		seed: seed, mutant: mutant, trace: trace,
		random:  rand.New(rand.NewPCG(seed, 0x67_726f_7570_73)),
		open:    make(map[group.Call]*call),
		commits: make(map[string]*commit), cancelled: make(map[group.Call]bool),
	}
	w.profile = drawProfile(w.random, mutant)
	w.rules = w.configure()
	w.note("world", "profile %+v", w.profile)
	w.guard(w.found)
	w.until(w.profile.Faults)
	w.guard(w.heal)
	w.until(w.now + w.profile.settled())
	w.guard(w.checkSettled)
	w.drill()
	w.stats.Simulated = w.now.Milliseconds()
	return Result{Violation: w.violation, Profile: w.profile, Stats: w.stats, Digest: w.digest}
}

// until lets everything happen up to a time.
func (w *World) until(end time.Duration) {
	for w.violation == "" && w.events.Len() > 0 && w.events.next().at <= end {
		e := w.events.pop()
		w.now = e.at
		if p := e.of; p != nil {
			if p.dead {
				continue
			}
			if p.pausedUntil > w.now {
				e.at = p.pausedUntil
				heap.Push(&w.events, e)
				continue
			}
		}
		w.stats.Events++
		w.digest = w.digest*1099511628211 ^ uint64(e.at) ^ e.seq<<40
		w.guard(e.do)
	}
	if w.violation == "" {
		w.now = end
	}
}

// guard turns a panic, by which rules stop a coordinator rather than going on, into a violation.
func (w *World) guard(do func()) {
	if w.violation != "" {
		return
	}
	defer func() {
		if cause := recover(); cause != nil {
			if err, ok := cause.(error); ok {
				panic(err) // a bug: an index, a nil
			}
			w.violate("stopped: %v", cause)
		}
	}()
	do()
}

func (w *World) violate(format string, args ...any) {
	if w.violation == "" {
		w.violation = fmt.Sprintf(format, args...)
		w.note("world", "VIOLATION: %s", w.violation)
	}
}

// at lets something happen after a time, as long as the process lives that it is of.
func (w *World) at(after time.Duration, of *process, do func()) {
	w.seq++
	heap.Push(&w.events, event{at: w.now + after, seq: w.seq, of: of, do: do})
}

func (w *World) between(from, upTo time.Duration) time.Duration {
	return from + time.Duration(w.random.Int64N(int64(upTo-from)+1))
}

func (w *World) chance(percent int) bool { return w.random.IntN(100) < percent }

// faulty says whether something goes wrong that this seed knows of, this time.
func (w *World) faulty(enabled bool, percent int) bool {
	return enabled && !w.calm && w.chance(percent)
}

// note writes to the trace what happens, and to whom.
func (w *World) note(who, format string, args ...any) {
	if w.trace != nil {
		fmt.Fprintf(w.trace, "%10.4f %-10s %s\n", w.now.Seconds(), who, fmt.Sprintf(format, args...))
	}
}

func (w *World) newMemberID(name string) wire.MemberID {
	w.names++
	return wire.MemberID(fmt.Sprintf("%s-%d", name, w.names))
}

// found makes the cluster: topics, brokers, a leader, and clients.
func (w *World) found() {
	w.image = &image{}
	w.images = []*image{w.image}
	w.setImage(w.image.create("orders", 1+int32(w.random.IntN(6))))
	w.setImage(w.image.create("bills", 1+int32(w.random.IntN(3))))
	for id := wire.BrokerID(1); id <= 3; id++ {
		b := &broker{w: w, id: id}
		if w.profile.Skew {
			b.skew = w.between(-20*time.Second, 20*time.Second)
		}
		w.brokers = append(w.brokers, b)
		b.start()
	}
	w.log = &offsetsLog{w: w}
	w.elect(w.brokers[0])
	for g := range w.profile.Groups {
		for range w.profile.Clients {
			w.at(w.between(0, 2*time.Second), nil, func() { w.newClient(g, "") })
		}
	}
	w.scheduleFaults()
}

// setImage lets every broker know of a change to topics, each a while later.
func (w *World) setImage(next *image) {
	w.image = next
	w.images = append(w.images, next)
	for _, b := range w.brokers {
		w.at(w.between(time.Millisecond, 300*time.Millisecond), nil, func() {
			if b.run != nil {
				w.at(0, b.run, func() { b.hears(next) })
			}
		})
	}
}

// elect makes a broker the leader of the log, and lets all know.
func (w *World) elect(leader *broker) {
	w.log.elect(leader)
	epoch := w.log.epoch
	for _, b := range w.brokers {
		if b.run == nil {
			continue
		}
		delay := w.between(time.Millisecond, 50*time.Millisecond)
		if b != leader && w.faulty(w.profile.Move, 40) {
			delay = w.between(100*time.Millisecond, 4*time.Second) // it goes on for a while as if it led
		}
		w.at(delay, b.run, func() { b.leads(epoch, leader) })
	}
}

// truth is what was ever promised in a group.
func (w *World) truth(id wire.GroupID) *truth {
	for _, t := range w.truths {
		if t.id == id {
			return t
		}
	}
	t := newTruth(w, id)
	w.truths = append(w.truths, t)
	return t
}
