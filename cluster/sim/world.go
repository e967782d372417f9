package sim

import (
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"time"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/wire"
)

// epoch0 is when every world begins.
var epoch0 = time.Unix(1_700_000_000, 0)

// World is a cluster: machines with brokers on them, a network, a controller and clients, all moved
// by one schedule and one source of randomness.
type World struct {
	seed    uint64
	mutant  Mutant
	profile Profile
	random  *rand.Rand

	now    time.Duration
	seq    uint64
	events schedule

	machines   []*machine // by id, from 1 on
	links      []*link
	controller *controller
	topic      wire.TopicID
	truths     []*truth // by partition
	producers  []*producer
	calm       bool // no more faults: everything has to heal

	stats     Stats
	violation string
	trace     io.Writer
	digest    uint64
}

// Stats tell what a run has been through, so that a test can see that nothing was passed over.
type Stats struct {
	Events, Simulated                                    int64 // Simulated in milliseconds
	Appends, Commits, Acknowledged                       int64
	Elections, Unclean, Expansions, Shrinks, Refusals    int64
	Truncations, Resets, Duplicates                      int64
	Kills, PowerLosses, Wipes, Pauses, Partitions        int64
	ControllerFailovers, ActorRestarts, Fences, Shutdown int64
	Reassignments                                        int64
}

// Add sums up.
func (s *Stats) Add(o Stats) {
	s.Events += o.Events
	s.Simulated += o.Simulated
	s.Appends += o.Appends
	s.Commits += o.Commits
	s.Acknowledged += o.Acknowledged
	s.Elections += o.Elections
	s.Unclean += o.Unclean
	s.Expansions += o.Expansions
	s.Shrinks += o.Shrinks
	s.Refusals += o.Refusals
	s.Truncations += o.Truncations
	s.Resets += o.Resets
	s.Duplicates += o.Duplicates
	s.Kills += o.Kills
	s.PowerLosses += o.PowerLosses
	s.Wipes += o.Wipes
	s.Pauses += o.Pauses
	s.Partitions += o.Partitions
	s.ControllerFailovers += o.ControllerFailovers
	s.ActorRestarts += o.ActorRestarts
	s.Fences += o.Fences
	s.Shutdown += o.Shutdown
	s.Reassignments += o.Reassignments
}

// Result is what became of a seed.
type Result struct {
	Violation string // empty: every invariant held
	Profile   Profile
	Stats     Stats
	Digest    uint64 // of all that happened: the same seed gives the same
}

// Run plays one seed to its end, or to the first violation. What happens is written to trace, if
// there is one.
func Run(seed uint64, mutant Mutant, trace io.Writer) Result {
	w := &World{
		seed: seed, mutant: mutant, trace: trace,
		random: rand.New(rand.NewPCG(seed, 0x7269_6768_74)),
	}
	w.profile = drawProfile(w.random, mutant)
	w.note(nil, "profile %+v", w.profile)
	w.guard(w.found)
	w.until(w.profile.Faults)
	w.guard(w.heal)
	w.until(w.profile.Faults + w.profile.Calm)
	if w.violation == "" {
		w.guard(w.checkHealed)
	}
	w.stats.Simulated = w.now.Milliseconds()
	return Result{Violation: w.violation, Profile: w.profile, Stats: w.stats, Digest: w.digest}
}

// until lets everything happen up to a time.
func (w *World) until(end time.Duration) {
	for w.violation == "" && len(w.events.heap) > 0 && w.events.heap[0].at <= end {
		e := w.events.pop()
		w.now = e.at
		if p := e.of; p != nil {
			if p.dead {
				continue
			}
			if p.pausedUntil > w.now {
				e.at = p.pausedUntil
				w.events.push(e)
				continue
			}
		}
		w.stats.Events++
		w.digest = w.digest*1099511628211 ^ uint64(e.at) ^ e.seq<<40
		w.guard(e.do)
		if w.violation == "" {
			w.guard(w.checkInvariants)
		}
	}
	if w.violation == "" {
		w.now = end
	}
}

// guard turns a panic, by which the rules stop a replica rather than going on, into a violation.
func (w *World) guard(do func()) {
	defer func() {
		if cause := recover(); cause != nil {
			if err, ok := cause.(error); ok {
				panic(err) // a bug of the simulator: an index, a nil
			}
			w.violate("stopped: %v", cause)
		}
	}()
	do()
}

func (w *World) violate(format string, args ...any) {
	if w.violation == "" {
		w.violation = fmt.Sprintf(format, args...)
		w.note(nil, "VIOLATION: %s", w.violation)
	}
}

// at lets something happen after a time, as long as the process lives that it is of.
func (w *World) at(after time.Duration, of *process, do func()) {
	w.seq++
	w.events.push(event{at: w.now + after, seq: w.seq, of: of, do: do})
}

func (w *World) between(from, upTo time.Duration) time.Duration {
	return from + time.Duration(w.random.Int64N(int64(upTo-from)+1))
}

func (w *World) chance(percent int) bool { return w.random.IntN(100) < percent }

// note writes to the trace what happens, and on which machine.
func (w *World) note(m *machine, format string, args ...any) {
	if w.trace == nil {
		return
	}
	who := "      "
	if m != nil {
		who = fmt.Sprintf("broker %d", m.id)
	}
	fmt.Fprintf(w.trace, "%10.4f %-9s %s\n", w.now.Seconds(), who, fmt.Sprintf(format, args...))
}

// found makes the cluster: brokers register, are unfenced, and a topic is created.
func (w *World) found() {
	w.controller = &controller{w: w, up: true, live: metadata.NewLiveness(epoch0)}
	w.controller.begin()
	for id := 1; id <= w.profile.Brokers; id++ {
		w.machines = append(w.machines, newMachine(w, wire.BrokerID(id)))
	}
	for i, a := range w.machines {
		for _, b := range w.machines[i+1:] {
			l := &link{w: w, ends: [2]*machine{a, b}}
			w.links = append(w.links, l)
			a.links[b.id], b.links[a.id] = l, l
		}
	}
	for _, m := range w.machines {
		w.controller.foundingBroker(m)
	}
	w.topic = w.controller.createTopic(w.profile)
	for range w.profile.Partitions {
		w.truths = append(w.truths, newTruth(w))
	}
	for _, m := range w.machines {
		m.start(true)
	}
	for i := range w.profile.Producers {
		w.producers = append(w.producers, newProducer(w, i))
	}
	w.scheduleFaults()
}

// topicID is the same in every world.
func topicID() (id wire.TopicID) {
	h := fnv.New128a()
	_, _ = h.Write([]byte("orders"))
	copy(id[:], h.Sum(nil))
	return id
}
