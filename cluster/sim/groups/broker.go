package groups

import (
	"time"

	"github.com/troupe-mq/troupe/cluster/sim/play"
	"github.com/troupe-mq/troupe/wire"
)

// broker is a machine, and the process on it while there is one. Its clock is not that of the others.
type broker struct {
	w    *World
	id   wire.BrokerID
	skew time.Duration
	run  *play.Process    // nil: it is down
	view *image           // as it has heard of it
	told wire.LeaderEpoch // the latest that it has heard of
	led  *shard           // what it leads, or takes itself to lead
}

func (b *broker) clock() time.Time { return play.Epoch.Add(b.w.Now() + b.skew) }

func (b *broker) start() {
	if b.run != nil {
		return
	}
	b.run = &play.Process{}
	b.view, b.told = b.w.image, 0
	b.w.Note(b.name(), "starts")
}

func (b *broker) name() string { return "broker " + string('0'+rune(b.id)) }

// stop kills the process: all that it knew and had not appended is gone, and its connections end.
func (b *broker) stop() {
	b.w.Note(b.name(), "is killed")
	b.run.Dead = true
	b.run = nil
	if b.led != nil {
		b.led.end(nil)
		b.led = nil
	}
}

// hears brings an image: the topics of another time, or a new leader of the log.
func (b *broker) hears(view *image) {
	if b.run == nil || view.version <= b.view.version {
		return
	}
	b.view = view
	if b.led != nil {
		b.led.topicsChanged()
	}
}

// leads tells a broker that it leads in an epoch, or that another one does.
func (b *broker) leads(epoch wire.LeaderEpoch, leader *broker) {
	if b.run == nil || b.told >= epoch {
		return
	}
	b.told = epoch
	if b.led != nil {
		b.led.end(wire.NotCoordinator)
		b.led = nil
	}
	if leader == b {
		b.load(epoch)
	}
}

// load begins to lead, or begins anew what had to be given up.
func (b *broker) load(epoch wire.LeaderEpoch) {
	b.led = newShard(b, epoch)
	b.led.load()
}

// receive is a request that has arrived.
func (b *broker) receive(c *call) {
	switch {
	case b.led == nil:
		b.w.stats.Misdirected++
		c.fail(b, wire.NotCoordinator)
	case b.led.loading && b.w.mutant != AnswersWhileLoading:
		b.w.stats.AskedWhileLoading++
		c.fail(b, wire.CoordinatorLoadInProgress)
	default:
		b.led.coordinator(c.request.Of()).handle(c)
	}
}
