package groups

import (
	"fmt"
	"io"
	"time"

	"github.com/troupe-mq/troupe/cluster/group"
	"github.com/troupe-mq/troupe/cluster/sim/play"
	"github.com/troupe-mq/troupe/wire"
)

// World is three brokers, one partition of the offsets topic, and the groups in it, all moved by one schedule and one
// source of randomness.
type World struct {
	play.Stage
	mutant  Mutant
	profile Profile
	rules   group.Config

	brokers []*broker
	log     *offsetsLog
	image   *image
	images  []*image // by version
	truths  []*truth // of the groups that were ever asked for
	clients []*client
	names   int // of clients, and of all that needs another one each time

	calls     uint64
	open      map[group.Call]*call // handled, and neither answered nor cancelled
	cancelled map[group.Call]bool
	commits   map[string]*commit // all that were ever asked for, by their metadata

	vacant   map[seat]time.Duration // when somebody let go of it last
	patience time.Duration          // for how long nobody may consume a partition; 0: as long as it takes

	stats Stats
}

// Result is what became of a seed.
type Result = play.Result[Profile, Stats]

// Run plays one seed to its end, or to the first violation. What happens is written to trace, if there is one.
func Run(seed uint64, mutant Mutant, trace io.Writer) Result {
	w := &World{
		Stage: play.New(seed, 0x67_726f_7570_73, trace, traceColumn), mutant: mutant,
		open: make(map[group.Call]*call), cancelled: make(map[group.Call]bool),
		commits: make(map[string]*commit), vacant: make(map[seat]time.Duration),
	}
	w.profile = drawProfile(w.Random, mutant)
	w.rules = w.configure()
	w.Note("world", "profile %+v", w.profile)
	w.Guard(w.found)
	w.Until(w.profile.Faults)
	w.Guard(w.heal)
	w.Until(w.Now() + w.profile.settled())
	w.Guard(w.checkSettled)
	w.drill()
	return Result{Outcome: w.Outcome(), Profile: w.profile, Stats: w.stats}
}

// traceColumn is as wide as the names of clients are in a trace.
const traceColumn = 10

// faulty says whether something goes wrong that this seed knows of, this time.
func (w *World) faulty(enabled bool, percent int) bool {
	return enabled && !w.Calm && w.Chance(percent)
}

func (w *World) newMemberID(name string) wire.MemberID {
	w.names++
	return wire.MemberID(fmt.Sprintf("%s-%d", name, w.names))
}

// found makes the cluster: topics, brokers, a leader, and clients.
func (w *World) found() {
	w.image = &image{}
	w.images = []*image{w.image}
	w.setImage(w.image.create("orders", 1+int32(w.Random.IntN(6))))
	w.setImage(w.image.create("bills", 1+int32(w.Random.IntN(3))))
	for id := wire.BrokerID(1); id <= 3; id++ {
		b := &broker{w: w, id: id}
		if w.profile.Skew {
			b.skew = w.Between(-20*time.Second, 20*time.Second)
		}
		w.brokers = append(w.brokers, b)
		b.start()
	}
	w.log = &offsetsLog{w: w}
	w.elect(w.brokers[0])
	for g := range w.profile.Groups {
		for range w.profile.Clients {
			w.At(w.Between(0, 2*time.Second), nil, func() { w.newClient(g, "") })
		}
	}
	w.Faults(w.profile.FaultEvery, w.fault)
}

// setImage lets every broker know of a change to topics, each a while later.
func (w *World) setImage(next *image) {
	w.image = next
	w.images = append(w.images, next)
	for _, b := range w.brokers {
		w.At(w.Between(time.Millisecond, 300*time.Millisecond), nil, func() {
			if b.run != nil {
				w.At(0, b.run, func() { b.hears(next) })
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
		delay := w.Between(time.Millisecond, 50*time.Millisecond)
		if b != leader && w.faulty(w.profile.Move, 40) {
			delay = w.Between(100*time.Millisecond, 4*time.Second) // it goes on for a while as if it led
		}
		w.At(delay, b.run, func() { b.leads(epoch, leader) })
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
