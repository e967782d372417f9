package sim

import (
	"slices"
	"time"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/wire"
)

// mutateCommand is what the controller is asked.
func (c *controller) mutateCommand(cmd metadata.Command) metadata.Command {
	if a, ok := cmd.(metadata.AlterPartitions); ok && c.w.mutant == OlderPartitionEpoch {
		p := a.Proposals[0]
		state, _ := c.speculative.Partition(p.Topic, p.Partition)
		p.PartitionEpoch = state.PartitionEpoch
		a.Proposals = []metadata.ISRProposal{p}
		return a
	}
	return cmd
}

// mutateDecision is what the controller makes of it.
func (c *controller) mutateDecision(cmd metadata.Command, d *metadata.Decision) {
	switch c.w.mutant {
	case RefusalClearsPending:
		if _, ok := cmd.(metadata.AlterPartitions); ok && d.Reply.([]error)[0] != nil {
			d.Records = nil
		}
	case EpochOnlyForChanges:
		c.dropEpochs(d)
	case RestartEmptiesISR:
		if cmd, ok := cmd.(metadata.RegisterBroker); ok {
			c.emptyELR(cmd.ID, d.Records)
		}
	default:
	}
}

// dropEpochs takes out the new states of partitions that are the same but for their epoch.
func (c *controller) dropEpochs(d *metadata.Decision) {
	d.Records = slices.DeleteFunc(d.Records, func(rec metadata.Record) bool {
		changed, ok := rec.(*metadata.PartitionsChanged)
		if !ok {
			return false
		}
		changed.Changes = slices.DeleteFunc(changed.Changes, func(p metadata.PartitionChange) bool {
			is, _ := c.speculative.Partition(c.w.topic, p.Partition)
			same := func(set metadata.ReplicaSet, brokers []wire.BrokerID) bool {
				for i, b := range is.Replicas {
					if set&(1<<i) != 0 != contains(brokers, b) {
						return false
					}
				}
				return true
			}
			return p.LeaderEpoch == is.LeaderEpoch && p.Leader == is.Leader && same(p.ISR, is.ISR) && same(p.ELR, is.ELR)
		})
		return len(changed.Changes) == 0
	})
}

func (c *controller) emptyELR(id wire.BrokerID, records []metadata.Record) {
	for _, rec := range records {
		changed, ok := rec.(*metadata.PartitionsChanged)
		if !ok {
			continue
		}
		for i := range changed.Changes {
			state, _ := c.speculative.Partition(c.w.topic, changed.Changes[i].Partition)
			changed.Changes[i].ELR &^= 1 << slices.Index(state.Replicas, id)
		}
	}
}

// fenceLate decides about a fence now, and writes it a while later, with epochs that fit.
func (c *controller) fenceLate(cmd metadata.Command) bool {
	if c.stale {
		return true
	}
	d := cmd.Decide(c.speculative, c.env())
	if len(d.Records) == 0 {
		return false
	}
	c.stale = true
	term := c.term
	c.w.At(c.w.Between(0, 2*time.Second), nil, func() {
		c.stale = false
		if !c.up || c.term != term {
			return
		}
		for _, rec := range d.Records {
			if changed, ok := rec.(*metadata.PartitionsChanged); ok {
				for i := range changed.Changes {
					state, _ := c.speculative.Partition(c.w.topic, changed.Changes[i].Partition)
					changed.Changes[i].PartitionEpoch = state.PartitionEpoch + 1
					changed.Changes[i].LeaderEpoch = state.LeaderEpoch + 1
				}
			}
		}
		c.write(d.Records, func() {})
	})
	return true
}
