package sim

import (
	"fmt"
	"hash/fnv"
	"io"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/cluster/sim/play"
	"github.com/troupe-mq/troupe/wire"
)

// World is a cluster: machines with brokers on them, a network, a controller and clients, all moved
// by one schedule and one source of randomness.
type World struct {
	play.Stage
	mutant  Mutant
	profile Profile

	machines   []*machine // by id, from 1 on
	links      []*link
	controller *controller
	topic      wire.TopicID
	truths     []*truth // by partition
	producers  []*producer
	stats      Stats
}

// Stats tell what a run has been through, so that a test can see that nothing was passed over.
type Stats struct {
	Appends, Commits, Acknowledged                       int64
	Elections, Unclean, Expansions, Shrinks, Refusals    int64
	Truncations, Resets, Duplicates                      int64
	Kills, PowerLosses, Wipes, Pauses, Partitions        int64
	ControllerFailovers, ActorRestarts, Fences, Shutdown int64
	Reassignments                                        int64
}

// Result is what became of a seed.
type Result = play.Result[Profile, Stats]

// Run plays one seed to its end, or to the first violation. What happens is written to trace, if
// there is one.
func Run(seed uint64, mutant Mutant, trace io.Writer) Result {
	w := &World{Stage: play.New(seed, 0x7269_6768_74, trace, traceColumn), mutant: mutant}
	w.profile = drawProfile(w.Random, mutant)
	w.note(nil, "profile %+v", w.profile)
	w.Guard(w.found)
	w.Until(w.profile.Faults)
	w.Guard(w.heal)
	w.Until(w.profile.Faults + w.profile.Calm)
	w.Guard(w.checkHealed)
	return Result{Outcome: w.Outcome(), Profile: w.profile, Stats: w.stats}
}

// traceColumn is as wide as the names of brokers are in a trace.
const traceColumn = 9

// note writes to the trace what happens, and on which machine.
func (w *World) note(m *machine, format string, args ...any) {
	if !w.Traced() {
		return
	}
	who := ""
	if m != nil {
		who = fmt.Sprintf("broker %d", m.id)
	}
	w.Note(who, format, args...)
}

// found makes the cluster: brokers register, are unfenced, and a topic is created.
func (w *World) found() {
	w.controller = &controller{w: w, up: true, live: metadata.NewLiveness(play.Epoch)}
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
	w.Faults(w.profile.FaultEvery, w.fault)
	w.Check = w.checkInvariants
}

// topicID is the same in every world.
func topicID() (id wire.TopicID) {
	h := fnv.New128a()
	_, _ = h.Write([]byte("orders"))
	copy(id[:], h.Sum(nil))
	return id
}
