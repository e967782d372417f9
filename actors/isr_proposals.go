package actors

import (
	"log/slog"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/cluster/replica"
	"github.com/troupe-mq/troupe/wire"
)

// isrProposals collects what the leaders on this broker propose and asks the controller for all of
// it at once: when a broker goes or comes back, thousands have something to propose in the same
// moment. While one request is on its way the next gathers; of a partition only the latest proposal
// counts. Nobody is told the outcome: a leader goes by its image, and proposes again.
type isrProposals struct {
	self        wire.BrokerID
	incarnation wire.Incarnation
	request     func(metadata.Command, func(any, error))
	send        func(to *actor.PID, message any)
	logger      *slog.Logger

	waiting map[wire.TopicPartition]*replica.Proposal
	order   []wire.TopicPartition
	asked   map[wire.TopicPartition]*replica.Proposal // in the request that is on its way; nil if none is
	queued  bool                                      // a flushProposals is in the mailbox
}

const proposalsName = "isr-proposals"

// proposeISR is what a leader asks for.
type proposeISR struct {
	tp       wire.TopicPartition
	proposal *replica.Proposal
}

// flushProposals goes to the end of the mailbox, so that what is queued by then goes along.
type flushProposals struct{}

// proposalsAnswered ends a request.
type proposalsAnswered struct{ err error }

// maxProposals is how many go into one request, and so into one entry of the metadata log.
const maxProposals = 2_000

// Receive implements actor.Actor.
func (p *isrProposals) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *proposeISR:
		if p.asked[msg.tp] == msg.proposal {
			return // it is on its way: leaders repeat themselves
		}
		if p.waiting == nil {
			p.waiting = make(map[wire.TopicPartition]*replica.Proposal)
		}
		if _, known := p.waiting[msg.tp]; !known {
			p.order = append(p.order, msg.tp)
		}
		p.waiting[msg.tp] = msg.proposal
	case *flushProposals:
		p.queued = false
		p.flush(ctx)
	case *proposalsAnswered:
		p.asked = nil
		if msg.err != nil {
			p.logger.Warn("no answer to proposals of in-sync replicas", "err", msg.err)
		}
	}
	if len(p.order) > 0 && p.asked == nil && !p.queued {
		p.queued = true
		ctx.Send(ctx.Self(), &flushProposals{})
	}
}

func (p *isrProposals) flush(ctx actor.Context) {
	if p.asked != nil || len(p.order) == 0 {
		return
	}
	n := min(len(p.order), maxProposals)
	p.asked = make(map[wire.TopicPartition]*replica.Proposal, n)
	command := metadata.AlterPartitions{Broker: p.self, Incarnation: p.incarnation}
	for _, tp := range p.order[:n] {
		proposal := p.waiting[tp]
		delete(p.waiting, tp)
		p.asked[tp] = proposal
		one := metadata.ISRProposal{
			Topic: tp.Topic, Partition: tp.Partition,
			LeaderEpoch: proposal.LeaderEpoch, PartitionEpoch: proposal.PartitionEpoch,
		}
		for _, m := range proposal.ISR {
			one.ISR = append(one.ISR, metadata.ISRMember{Broker: m.Broker, Incarnation: m.Incarnation})
		}
		command.Proposals = append(command.Proposals, one)
	}
	if p.order = p.order[n:]; len(p.order) == 0 {
		p.order = nil
	}
	self, send := ctx.Self(), p.send
	p.request(command, func(_ any, err error) { send(self, &proposalsAnswered{err: err}) })
}
