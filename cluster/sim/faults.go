package sim

import (
	"strconv"
	"time"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/wire"
)

// calmProducing is how long producers go on when faults have ended; what is left of the time is for
// everything to come to rest.
const calmProducing = 12 * time.Second

// stopped says that nothing new is produced any more.
func (w *World) stopped() bool { return w.Now() > w.profile.Faults+calmProducing }

// fault lets something go wrong that the seed knows of.
func (w *World) fault() {
	p := &w.profile
	var kinds []func(*machine)
	for _, k := range []struct {
		enabled bool
		happens func(*machine)
	}{
		{p.Kill, w.kill},
		{p.Power, w.powerLoss},
		{p.Wipe, w.wipe},
		{p.Pause, w.pause},
		{p.Partition, w.partition},
		{p.CutOff, w.cutOff},
		{p.Failover, func(*machine) { w.controller.failOver() }},
		{p.ActorRestart, w.restartActor},
		{p.Shutdown, w.shutdown},
		{p.FalseHints, w.falseHint},
		{p.ChangeMinISR, w.changeMinISR},
		{p.DeleteRecords, w.deleteRecords},
		{p.SlowImages, w.slowImages},
		{p.Reassign, w.reassign},
	} {
		if k.enabled {
			kinds = append(kinds, k.happens)
		}
	}
	if len(kinds) > 0 {
		kinds[w.Random.IntN(len(kinds))](w.machines[w.Random.IntN(len(w.machines))])
	}
}

// scheduleRestart brings a machine back: often sooner than its session runs out.
func (w *World) scheduleRestart(m *machine) {
	after := w.Between(20*time.Millisecond, 2*time.Second)
	if w.Chance(30) {
		after = w.Between(2*time.Second, 9*time.Second)
	}
	w.At(after, nil, func() { m.start(false) })
}

// hint tells the controller that a process may be gone, as its peers do when its link broke.
func (w *World) hint(m *machine, after time.Duration) {
	h := &wire.Hint{Broker: m.id, Incarnation: m.lives, Refused: w.Chance(70), Failed: w.Chance(50)}
	w.At(after, nil, func() { w.controller.live.Hint(h) })
}

func (w *World) everyone(percent int, one *machine) []*machine {
	if w.Chance(percent) {
		return w.machines
	}
	return []*machine{one}
}

func (w *World) kill(m *machine) {
	for _, m := range w.everyone(8, m) {
		if m.process == nil {
			continue
		}
		w.stats.Kills++
		if w.Chance(60) {
			w.hint(m, w.Between(50*time.Millisecond, 500*time.Millisecond))
		}
		m.stop("is killed")
		w.scheduleRestart(m)
	}
}

func (w *World) powerLoss(m *machine) {
	for _, m := range w.everyone(20, m) {
		if m.process == nil || w.profile.Replicated && !w.mayLose(m) {
			continue
		}
		w.stats.PowerLosses++
		m.losePower()
		w.scheduleRestart(m)
	}
}

// mayLose says that a machine may lose what it has without anything committed being lost: all others
// are whole.
func (w *World) mayLose(m *machine) bool {
	if !w.profile.mayLose() {
		return false
	}
	for _, other := range w.machines {
		if other != m && other.damaged && !other.whole() {
			return false
		}
	}
	m.damaged = true
	return true
}

// whole says that a machine has got back all that it lost: it is in sync everywhere.
func (m *machine) whole() bool {
	if m.lost || m.process == nil {
		return false
	}
	for i := range m.disks {
		state := m.w.controller.partition(i)
		if contains(state.Replicas, m.id) && !contains(state.ISR, m.id) {
			return false
		}
	}
	m.damaged = false
	return true
}

func (w *World) wipe(m *machine) {
	if !w.mayLose(m) {
		return
	}
	w.stats.Wipes++
	m.stop("is stopped")
	w.note(m, "its disk is replaced")
	m.replaceDisks()
	m.lost = true
	w.scheduleRestart(m)
}

func (w *World) pause(m *machine) {
	if m.process != nil {
		w.stats.Pauses++
		d := w.Between(50*time.Millisecond, 6*time.Second)
		w.note(m, "is paused for %v", d)
		m.process.PausedUntil = w.Now() + d
	}
}

// partition cuts a machine off from one other, or from all.
func (w *World) partition(m *machine) {
	w.stats.Partitions++
	all, d := w.Chance(30), w.Between(100*time.Millisecond, 8*time.Second)
	for _, other := range w.machines {
		l := m.links[other.id]
		if l == nil || !all && w.Random.IntN(len(w.machines)) > 0 {
			continue
		}
		l.cut = true
		l.down()
		w.At(d, nil, func() { l.cut = false })
	}
}

// cutOff keeps a broker and the controller from hearing of each other.
func (w *World) cutOff(m *machine) {
	w.note(m, "hears nothing of the controller, nor that of it")
	m.cutOff = true
	w.At(w.Between(200*time.Millisecond, 7*time.Second), nil, func() { m.cutOff = false })
}

func (w *World) slowImages(m *machine) {
	if m.process != nil {
		m.process.imagesHeld = w.Now() + w.Between(100*time.Millisecond, 5*time.Second)
	}
}

func (w *World) restartActor(m *machine) {
	if m.process != nil {
		m.process.restartActor(w.Random.IntN(w.profile.Partitions))
	}
}

// shutdown is a controlled one: it ends when others have taken over, or after a while.
func (w *World) shutdown(m *machine) {
	p := m.process
	if p == nil {
		return
	}
	w.stats.Shutdown++
	w.note(m, "wants to stop")
	p.stopping = true
	w.At(5*time.Second, &p.Process, func() {
		m.stop("stops, though nobody has taken over")
		w.scheduleRestart(m)
	})
}

func (w *World) falseHint(m *machine) { w.hint(m, 0) }

func (w *World) changeMinISR(*machine) {
	value := strconv.Itoa(1 + w.Random.IntN(w.profile.Replicas))
	w.note(nil, "min.insync.replicas becomes %s", value)
	w.controller.decide(metadata.AlterConfigs{Changes: []wire.AlterConfigs{{
		Resource: wire.ConfigResource{Type: wire.ConfigTopic, Name: "orders"},
		Changes:  []wire.ConfigChange{{Name: "min.insync.replicas", Op: wire.OpSet, Value: &value}},
	}}}, func(any) {})
}

// reassign moves a partition: to three of four brokers in another order, or to fewer.
func (w *World) reassign(*machine) {
	to := wire.Reassignment{Topic: "orders", Partition: int32(w.Random.IntN(w.profile.Partitions))}
	for _, i := range w.Random.Perm(len(w.machines))[:1+w.Random.IntN(w.profile.Replicas)] {
		to.Replicas = append(to.Replicas, w.machines[i].id)
	}
	if w.Chance(15) {
		to.Replicas = nil // what is under way is cancelled
	}
	w.stats.Reassignments++
	w.note(nil, "p%d goes to %v", to.Partition, to.Replicas)
	w.controller.decide(metadata.AlterReassignments{Partitions: []wire.Reassignment{to}}, func(any) {})
}

func (w *World) deleteRecords(*machine) {
	t := w.truths[w.Random.IntN(len(w.truths))]
	leader := w.controller.partition(t.number).Leader
	if leader == wire.NoBroker || w.machines[leader-1].process == nil {
		return
	}
	r := w.machines[leader-1].process.replicas[t.number]
	if r == nil || r.leader == nil {
		return
	}
	start := r.leader.LogStartOffset()
	r.deleteRecords(start + wire.Offset(w.Random.Int64N(int64(r.leader.HighWatermark()-start)+1)))
}

// heal ends all faults. What is under way still has to be dealt with.
func (w *World) heal() {
	w.note(nil, "no more faults")
	w.Calm = true
	for _, l := range w.links {
		l.cut = false
	}
	for _, m := range w.machines {
		m.cutOff = false
		if p := m.process; p != nil {
			p.PausedUntil, p.imagesHeld = 0, 0
		}
		m.start(false)
	}
}
