package sim

import (
	"slices"
	"time"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/cluster/replica"
	"github.com/troupe-mq/troupe/wire"
)

// Mutant names a rule that is dropped. The rules themselves know of no mutants: what a mutant does
// wrong, the shell around them does, by what it tells them and what it makes of their effects.
type Mutant string

// The mutants.
const (
	None                        Mutant = "none"
	TruncateToHighWatermark     Mutant = "truncate-to-high-watermark"
	AcknowledgeFromPageCache    Mutant = "acknowledge-from-page-cache"
	CommitUnflushedLeader       Mutant = "commit-unflushed-leader"
	SameEpochResume             Mutant = "same-epoch-resume"
	NoEpochStartCheck           Mutant = "no-epoch-start-check"
	CountPendingISR             Mutant = "count-pending-isr"
	ForgetPendingISR            Mutant = "forget-pending-isr"
	SmallISRCommits             Mutant = "small-isr-commits"
	SyncWithoutGeneration       Mutant = "sync-without-generation"
	AcknowledgeOwnEnd           Mutant = "acknowledge-own-end"
	WatermarkToOwnEnd           Mutant = "watermark-to-own-end"
	JoinByLogEnd                Mutant = "join-by-log-end"
	TruncateAfterMatching       Mutant = "truncate-after-matching"
	TruncateByOffsetOnly        Mutant = "truncate-by-offset-only"
	ObeyLowerEpoch              Mutant = "obey-lower-epoch"
	RestartEmptiesISR           Mutant = "restart-empties-isr"
	RefusalClearsPending        Mutant = "refusal-clears-pending"
	EpochOnlyForChanges         Mutant = "epoch-only-for-changes"
	FenceFromStaleImage         Mutant = "fence-from-stale-image"
	OlderPartitionEpoch         Mutant = "older-partition-epoch"
	StaleISRProposal            Mutant = "stale-isr-proposal"
	WipeUnnoticed               Mutant = "wipe-unnoticed"
	RebootUnnoticed             Mutant = "reboot-unnoticed"
	IgnoreRun                   Mutant = "ignore-run"
	DuplicateAcknowledgedAtOnce Mutant = "duplicate-acknowledged-at-once"
)

// Description says what a mutant does, and how its seeds are chosen.
type Description struct {
	Name Mutant
	Does string
	// Focus turns on what the mutant needs to show itself, and off what hides it.
	Focus func(p *Profile)
}

// Mutants are all of them.
var Mutants = []Description{
	{TruncateToHighWatermark, "a follower truncates to its high watermark (KIP-101)", nil},
	{AcknowledgeFromPageCache, "a follower acknowledges what it has not flushed", losingPower},
	{CommitUnflushedLeader, "the leader's own log counts up to its end", losingPower},
	{SameEpochResume, "a broker that restarts goes on as before (KAFKA-10527)", func(p *Profile) { p.Kill, p.Wipe = true, false }},
	{NoEpochStartCheck, "a follower joins the ISR below the epoch's start", nil},
	{CountPendingISR, "a pending expansion counts for min.insync.replicas", nil},
	{ForgetPendingISR, "a pending expansion does not hold the high watermark", nil},
	{SmallISRCommits, "the high watermark moves whatever the size of the ISR (KIP-966)", nil},
	{SyncWithoutGeneration, "a sync from before a truncation counts after it", func(p *Profile) {
		*p = quiet(p)
		p.Producers, p.FaultEvery, p.LateCallbacks, p.SlowDisks = 5, 300*time.Millisecond, true, true
		p.FalseHints, p.CutOff, p.Failover = true, true, true
	}},
	{AcknowledgeOwnEnd, "an Append inside the log is accepted, and the log's own end acknowledged", nil},
	{WatermarkToOwnEnd, "a Probe brings the high watermark, up to the log's own end", nil},
	{JoinByLogEnd, "a follower joins the ISR by its log end", losingPower},
	{TruncateAfterMatching, "a Truncate is obeyed after an Append that applied", hostile},
	{TruncateByOffsetOnly, "a Truncate does not say which epochs are to go (KIP-279)", func(p *Profile) {
		*p = quiet(p)
		p.MinISR, p.Producers, p.FaultEvery = 3, 5, 300*time.Millisecond // much is appended that is not committed
		p.Kill, p.Pause, p.CutOff, p.Failover, p.Partition = true, true, true, true, true
	}},
	{ObeyLowerEpoch, "a leader of a lower epoch is obeyed", func(p *Profile) {
		*p = quiet(p)
		p.Producers, p.FaultEvery, p.CutOff, p.Partition, p.SlowImages = 5, time.Second, true, true, true
	}},
	{RestartEmptiesISR, "a restarted broker leaves the ELR too", func(p *Profile) { p.Kill = true }},
	{RefusalClearsPending, "a refused proposal is forgotten, and raises no partition epoch", func(p *Profile) {
		p.HoldProposals, p.FalseHints, p.CutOff = true, true, true
	}},
	{EpochOnlyForChanges, "what changes nothing else raises no partition epoch", func(p *Profile) { p.HoldProposals, p.Kill = true, true }},
	{FenceFromStaleImage, "a broker is fenced by what was decided a while ago", nil},
	{OlderPartitionEpoch, "a proposal for an older partition epoch is accepted", nil},
	{StaleISRProposal, "a proposal names the incarnation that is registered, not the one that qualified (KIP-903)", func(p *Profile) {
		wiping(p)
		p.Hostile, p.FaultEvery = true, time.Second // the wiped one is heard of late
	}},
	{WipeUnnoticed, "a disk that was replaced goes by the old one's name", wiping},
	{RebootUnnoticed, "a machine that lost power is taken for one whose process died", func(p *Profile) { p.Power, p.Replicated = true, true }},
	{IgnoreRun, "a follower obeys what was meant for the actor before", func(p *Profile) {
		p.Hostile, p.ActorRestart, p.FalseHints, p.Producers, p.FaultEvery = true, true, true, 4, 300*time.Millisecond
		p.Wipe, p.Power, p.Unclean, p.Pause = false, false, false, false
	}},
	{DuplicateAcknowledgedAtOnce, "a duplicate is acknowledged though its original is not committed", nil},
}

// quiet is a profile without any faults.
func quiet(p *Profile) Profile {
	return Profile{
		Brokers: 3, Partitions: 1, Replicas: 3, MinISR: 2, Producers: p.Producers,
		Faults: p.Faults, Calm: p.Calm, MaxLag: p.MaxLag, Window: p.Window, FaultEvery: p.FaultEvery,
	}
}

func losingPower(p *Profile) { p.Power, p.Replicated = true, false }
func hostile(p *Profile)     { p.Hostile = true }
func wiping(p *Profile)      { p.Wipe, p.ChangeMinISR, p.MinISR = true, false, 2 }

func (m Mutant) focus(p *Profile) {
	for _, d := range Mutants {
		if d.Name == m && d.Focus != nil {
			d.Focus(p)
		}
	}
}

// mutation is what a mutant keeps of a leader epoch.
type mutation struct {
	shift   wire.PartitionEpoch // how far the rules are ahead of the image
	last    replica.Leadership
	matched map[wire.BrokerID]wire.Incarnation
}

// mutateLeadership is what the rules are told of the image.
func (r *replicaShell) mutateLeadership(l replica.Leadership) replica.Leadership {
	switch r.w.mutant {
	case SmallISRCommits:
		l.MinISR = 1
	case RefusalClearsPending:
		r.mutated.last = l
		l.PartitionEpoch += r.mutated.shift
		l.Eligible = slices.Repeat([]bool{true}, len(l.Replicas))
	case ForgetPendingISR:
		r.mutated.last = l
		l.PartitionEpoch += r.mutated.shift
	case StaleISRProposal:
		l.Incarnations = slices.Clone(l.Incarnations)
		for i, b := range l.Replicas {
			if known, ok := r.mutated.matched[b]; ok {
				l.Incarnations[i] = known
			}
		}
		r.mutated.last = l
	}
	return l
}

// clearPending makes the rules believe in a higher partition epoch, so that nothing is pending.
func (r *replicaShell) clearPending() {
	r.mutated.shift++
	l := r.mutated.last
	l.PartitionEpoch += r.mutated.shift
	if r.w.mutant == ForgetPendingISR {
		l.Eligible = make([]bool, len(l.Replicas)) // nor is it asked for again, before the image changes
	}
	r.perform(r.leader.Changed(l, r.machine().clock()))
}

func (r *replicaShell) mutateProposal(p *replica.Proposal, m *metadata.ISRProposal) {
	switch r.w.mutant {
	case CountPendingISR:
		r.perform(r.leader.Configure(r.w.profile.MinISR - len(p.Joining)))
	case RefusalClearsPending:
		m.PartitionEpoch -= r.mutated.shift
	case ForgetPendingISR:
		m.PartitionEpoch -= r.mutated.shift
		r.w.at(time.Microsecond, r.process, func() {
			if r.leader != nil && r.leader.Pending() == p {
				r.clearPending()
			}
		})
	case StaleISRProposal:
		for i := range m.ISR {
			if reg, ok := r.process.image.Registration(m.ISR[i].Broker); ok {
				m.ISR[i].Incarnation = reg.Incarnation
			}
		}
	}
}

func (r *replicaShell) mutateRefusal(p *replica.Proposal) {
	if r.w.mutant == RefusalClearsPending && r.leader != nil && r.leader.Pending() == p {
		r.clearPending()
	}
}

// mutateAppended follows an append of the leader's own.
func (r *replicaShell) mutateAppended() {
	if r.w.mutant == CommitUnflushedLeader && r.leader != nil {
		r.perform(r.leader.Synced(r.log.cache.end))
	}
}

// mutatePosition is what a leader hears of where a follower ends.
func (r *replicaShell) mutatePosition(m *wire.Position) *wire.Position {
	changed := *m
	switch r.w.mutant {
	case AcknowledgeOwnEnd:
		// Whatever the follower has beyond what both have in common stays.
		theirs := &r.w.machines[m.Sender-1].disks[r.partition].cache
		own := &r.log.cache
		end := commonEnd(own, theirs)
		if end < own.start || end < m.LogStartOffset {
			return m
		}
		changed.LogEndOffset, changed.FlushedOffset = end, min(end, m.FlushedOffset)
		changed.LastEpoch = wire.NoEpoch
		if i := own.from(end); i > 0 && end > own.start {
			changed.LastEpoch = own.batches[i-1].epoch
		}
	case JoinByLogEnd:
		if !contains(r.leader.ISR(), m.Sender) {
			changed.FlushedOffset = m.LogEndOffset
		}
	case StaleISRProposal:
		if r.mutated.matched == nil {
			r.mutated.matched = make(map[wire.BrokerID]wire.Incarnation)
		}
		r.mutated.matched[m.Sender] = m.Incarnation
		for i, b := range r.mutated.last.Replicas {
			if b == m.Sender && r.mutated.last.Incarnations[i] != m.Incarnation {
				r.perform(r.leader.Changed(r.mutateLeadership(r.mutated.last), r.machine().clock()))
			}
		}
	default:
		return m
	}
	return &changed
}

func (r *replicaShell) mutateAcknowledgement(m *wire.Appended) *wire.Appended {
	if r.w.mutant == JoinByLogEnd && !contains(r.leader.ISR(), m.Sender) {
		changed := *m
		changed.FlushedOffset = m.LogEndOffset
		return &changed
	}
	return m
}

// mutateOrder is what a follower hears from a leader.
func (r *replicaShell) mutateOrder(m wire.PeerMessage) wire.PeerMessage {
	switch r.w.mutant {
	case ObeyLowerEpoch:
		return r.readdress(m)
	case IgnoreRun:
		return r.readdress(m)
	case TruncateAfterMatching:
		if t, ok := m.(*wire.Truncate); ok && r.follower != nil && !r.log.cutting &&
			t.LeaderEpoch == r.epoch && t.Incarnation == r.process.incarnation && t.Run == r.run && !t.Reset {
			r.followAnew()
		}
	case TruncateByOffsetOnly:
		if t, ok := m.(*wire.Truncate); ok && !t.Reset {
			changed := *t
			changed.LastEpoch = 1 << 30
			return &changed
		}
	case WatermarkToOwnEnd:
		if p, ok := m.(*wire.Probe); ok && r.follower != nil && p.LeaderEpoch == r.epoch && !r.log.cutting {
			leader := r.w.machines[p.Sender-1].process
			if leader != nil && leader.replicas[r.partition] != nil {
				r.watermark = max(r.watermark, min(r.log.cache.end, leader.replicas[r.partition].watermark))
				r.followAnew()
			}
		}
	}
	return m
}

// readdress makes a message one of the present epoch, or one that is meant for this run.
func (r *replicaShell) readdress(m wire.PeerMessage) wire.PeerMessage {
	if r.follower == nil {
		return m
	}
	change := func(epoch *wire.LeaderEpoch, incarnation *wire.Incarnation, run *uint64) {
		if r.w.mutant == ObeyLowerEpoch {
			*epoch = max(*epoch, r.epoch)
		} else {
			*incarnation, *run = r.process.incarnation, r.run
		}
	}
	switch m := m.(type) {
	case *wire.Truncate:
		changed := *m
		change(&changed.LeaderEpoch, &changed.Incarnation, &changed.Run)
		return &changed
	case *wire.Append:
		changed := *m
		change(&changed.LeaderEpoch, &changed.Incarnation, &changed.Run)
		return &changed
	}
	return m
}

// mutateReply is what a follower tells its leader.
func (r *replicaShell) mutateReply(m wire.PeerMessage) wire.PeerMessage {
	if r.w.mutant != AcknowledgeFromPageCache {
		return m
	}
	switch m := m.(type) {
	case *wire.Position:
		m.FlushedOffset = m.LogEndOffset
	case *wire.Appended:
		m.FlushedOffset = m.LogEndOffset
	}
	return m
}

// acknowledgeOwnEnd takes an Append as Raft does: what is inside the log is known already, and
// what is not replaces the tail.
func (r *replicaShell) acknowledgeOwnEnd(m *wire.Append, batches []batch) bool {
	c := &r.log.cache
	if r.log.cutting || m.LeaderEpoch != r.epoch || m.Incarnation != r.process.incarnation || m.Run != r.run ||
		m.PrevOffset >= c.end || m.PrevOffset < c.start {
		return false
	}
	if i := c.from(m.PrevOffset); i > 0 && m.PrevOffset > c.start && c.batches[i-1].epoch != m.PrevEpoch {
		return false
	}
	if len(batches) == 0 || batches[len(batches)-1].next() <= c.end {
		r.process.send(r.leaderID, &wire.Appended{
			Sender: r.machine().id, Topic: m.Topic, Partition: m.Partition, LeaderEpoch: m.LeaderEpoch,
			Incarnation: m.Incarnation, Run: m.Run, LogEndOffset: c.end, FlushedOffset: r.log.flushed,
		}, nil)
		return true
	}
	r.log.cutAtOnce(m.PrevOffset)
	r.followAnew()
	return false
}

// commonEnd is where two logs part.
func commonEnd(a, b *content) wire.Offset {
	from := max(a.start, b.start)
	i, j := a.from(from), b.from(from)
	for i < len(a.batches) && j < len(b.batches) && a.batches[i] == b.batches[j] {
		from = a.batches[i].next()
		i, j = i+1, j+1
	}
	return min(from, a.end, b.end)
}

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
	c.w.at(c.w.between(0, 2*time.Second), nil, func() {
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
