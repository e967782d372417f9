package actors

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/wire"
)

// This file is what a broker tells the controller of its logs, where the metadata alone cannot say who
// has what: after a recovery of the cluster, before an unclean election, and when a log has lost its end.

// reported ends a report to the controller.
type reported struct{ err error }

// reportTick has the broker actor look again who waits for its report.
type reportTick struct{}

// tailLost tells the broker actor that a log ends before what was durable.
type tailLost struct{ tp wire.TopicPartition }

const (
	// maxReported is how many replicas go into one report, and so into one entry of the metadata log.
	maxReported = 2_000
	reportPause = 500 * time.Millisecond
)

// report tells how far the replicas are that the image waits for. Nobody leads them, so their logs stay as
// they are meanwhile.
func (b *brokerActor) report(image *metadata.Local) {
	if b.reporting || !b.registered || b.stopping != nil {
		return
	}
	b.unreported = false
	command := metadata.ReportReplicas{Broker: b.cfg.ID, Incarnation: b.cfg.Incarnation}
	for tp := range image.Awaited(b.cfg.ID) {
		part := b.routes.find(tp.Topic, tp.Partition)
		if part == nil || part.view.Load() != nil {
			continue
		}
		log := part.current()
		b.unreported = b.unreported || log == nil
		if log != nil && len(command.Replicas) < maxReported {
			command.Replicas = append(command.Replicas, metadata.ReportedReplica{
				Topic: tp.Topic, Partition: tp.Partition, LastEpoch: log.LastEpoch(), End: log.EndOffset(),
			})
		}
	}
	if len(command.Replicas) == 0 {
		return
	}
	b.reporting = true
	b.request(command, func(reply any, err error) {
		if refusal, ok := reply.(error); ok && err == nil {
			err = refusal
		}
		b.send(b.actor, &reported{err: err})
	})
}

// reportSoon reports a replica whose log is open now, behind all those in the mailbox whose logs are too.
func (b *brokerActor) reportSoon() {
	if b.unreported && !b.reporting {
		b.unreported, b.reporting = false, true
		b.send(b.actor, &reportTick{})
	}
}

// onReported goes on with who still waits, after a pause if the report did not arrive.
func (b *brokerActor) onReported(msg *reported) {
	if msg.err == nil {
		b.reporting = false
		b.report(b.image.Load())
		return
	}
	b.logger.Warn("replicas could not be reported", "err", msg.err)
	time.AfterFunc(reportPause, func() { b.send(b.actor, &reportTick{}) })
}

func (b *brokerActor) onReportTick() {
	b.reporting = false
	b.report(b.image.Load())
}

// onTailLost has the cluster know that a replica is not complete, before it is counted for anything.
func (b *brokerActor) onTailLost(ctx actor.Context, msg *tailLost) {
	self := ctx.Self()
	b.tell(metadata.LoseTails{
		Broker: b.cfg.ID, Incarnation: b.cfg.Incarnation, Replicas: []wire.TopicPartition{msg.tp},
	}, func() { b.send(self, &partitionReady{tp: msg.tp}) })
}
