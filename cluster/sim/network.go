package sim

import (
	"fmt"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// link is the connection between two machines. Each time that it comes up is an era: in one, what is
// sent in one direction on bulk, or on control, arrives in that order, and nothing of it arrives
// once the era is over.
//
// In a hostile world messages are lost, repeated and held up for seconds, into later eras and to
// later processes. The rules have to be safe in it, though the real links are kinder.
type link struct {
	w     *World
	ends  [2]*machine
	procs [2]*process // which processes this era connects
	up    bool
	cut   bool // by a fault: it does not come up
	era   int
	ready time.Duration       // when both ends know of the era
	last  [2][2]time.Duration // when the last message arrives, by direction and by class
}

func (l *link) side(m *machine) int {
	if l.ends[0] == m {
		return 0
	}
	return 1
}

// down breaks the link, if it is up. The ends notice sooner or later.
func (l *link) down() {
	if !l.up {
		return
	}
	l.up = false
	l.w.note(nil, "link %d-%d broke", l.ends[0].id, l.ends[1].id)
	for side, p := range l.procs {
		era, other := l.era, l.ends[1-side].id
		l.w.At(l.w.Between(time.Millisecond, 400*time.Millisecond), &p.Process, func() {
			if p.linked[other] == era {
				p.linkDown(other)
			}
		})
	}
	l.dial()
}

// dial tries again and again to bring the link up.
func (l *link) dial() {
	l.w.At(l.w.Between(10*time.Millisecond, 250*time.Millisecond), nil, func() {
		if l.up {
			return
		}
		a, b := l.ends[0].process, l.ends[1].process
		if l.cut || a == nil || b == nil || a.PausedUntil > l.w.Now() || b.PausedUntil > l.w.Now() {
			l.dial()
			return
		}
		l.era++
		l.up, l.procs = true, [2]*process{a, b}
		l.w.note(nil, "link %d-%d is up", l.ends[0].id, l.ends[1].id)
		for side, p := range l.procs {
			era, other := l.era, l.ends[1-side].id
			delay := l.w.Between(0, 5*time.Millisecond)
			l.ready = max(l.ready, l.w.Now()+delay)
			l.w.At(delay, &p.Process, func() { p.linkUp(other, era) })
		}
	})
}

// send hands a message to the link, and says whether there is one.
func (p *process) send(to wire.BrokerID, m wire.PeerMessage, batches []batch) bool {
	l, w := p.machine.links[to], p.machine.w
	era := p.linked[to]
	if l == nil || era == 0 {
		return false
	}
	side := l.side(p.machine)
	class := 0
	switch m := m.(type) {
	case *wire.Probe:
		m.Sender = p.machine.id
	case *wire.Truncate:
		m.Sender = p.machine.id
	case *wire.Append:
		m.Sender = p.machine.id
	default:
		class = 1 // answers go on control
	}
	if w.profile.Hostile && !w.Calm {
		p.sendHostile(l, side, m, batches)
		return true
	}
	at := max(w.Now()+w.Between(100*time.Microsecond, 2*time.Millisecond), l.ready, l.last[side][class]) + 1
	l.last[side][class] = at
	w.At(at-w.Now(), nil, func() {
		if l.up && l.era == era {
			l.arrive(l.procs[1-side], side, m, batches)
		}
	})
	return true
}

func (p *process) sendHostile(l *link, side int, m wire.PeerMessage, batches []batch) {
	w := p.machine.w
	if w.Chance(4) {
		w.note(p.machine, "%T is lost", m)
		return
	}
	delay := w.Between(100*time.Microsecond, 3*time.Millisecond)
	switch {
	case w.Chance(2):
		delay = w.Between(0, 5*time.Second)
	case w.Chance(10):
		delay = w.Between(0, 100*time.Millisecond)
	}
	l.bring(delay, side, m, batches)
	// A Truncate takes something away: it matters most when it comes again.
	if _, cuts := m.(*wire.Truncate); w.Chance(4) || cuts && w.Chance(40) {
		l.bring(w.Between(0, 3*time.Second), side, m, batches)
	}
}

// bring lets a message arrive after a time, at whatever process there is then.
func (l *link) bring(after time.Duration, side int, m wire.PeerMessage, batches []batch) {
	l.w.At(after, nil, func() {
		if q := l.ends[1-side].process; q != nil {
			l.arrive(q, side, m, batches)
		}
	})
}

func (l *link) arrive(at *process, side int, m wire.PeerMessage, batches []batch) {
	l.w.At(0, &at.Process, func() {
		if l.w.Traced() {
			l.w.note(at.machine, "from %d: %s", l.ends[side].id, describe(m, batches))
		}
		at.receive(m, batches)
	})
}

// describe is a message as a line of the trace shows it.
func describe(m wire.PeerMessage, batches []batch) string {
	switch m := m.(type) {
	case *wire.Probe:
		return fmt.Sprintf("Probe p%d epoch %d", m.Partition, m.LeaderEpoch)
	case *wire.Position:
		return fmt.Sprintf("Position p%d epoch %d, %d/%d: last epoch %d, log [%d, %d), flushed %d",
			m.Partition, m.LeaderEpoch, m.Incarnation, m.Run, m.LastEpoch, m.LogStartOffset, m.LogEndOffset, m.FlushedOffset)
	case *wire.Truncate:
		return fmt.Sprintf("Truncate p%d epoch %d, %d/%d: to %d, epochs above %d, reset %v, unclean %v",
			m.Partition, m.LeaderEpoch, m.Incarnation, m.Run, m.To, m.LastEpoch, m.Reset, m.Unclean)
	case *wire.Append:
		upTo := m.PrevOffset
		if len(batches) > 0 {
			upTo = batches[len(batches)-1].next()
		}
		return fmt.Sprintf("Append p%d epoch %d, %d/%d: [%d, %d) after epoch %d, high watermark %d, log start %d",
			m.Partition, m.LeaderEpoch, m.Incarnation, m.Run, m.PrevOffset, upTo, m.PrevEpoch, m.HighWatermark, m.LogStartOffset)
	case *wire.Appended:
		return fmt.Sprintf("Appended p%d epoch %d, %d/%d: end %d, flushed %d",
			m.Partition, m.LeaderEpoch, m.Incarnation, m.Run, m.LogEndOffset, m.FlushedOffset)
	}
	return fmt.Sprintf("%T", m)
}
