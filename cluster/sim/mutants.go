package sim

import (
	"time"

	"github.com/troupe-mq/troupe/cluster/sim/play"
)

// Mutant names a rule that is dropped.
type Mutant = play.Mutant

// The mutants.
const (
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
	JoinBeforeImage             Mutant = "join-before-image"
	DuplicateAcknowledgedAtOnce Mutant = "duplicate-acknowledged-at-once"
)

// Mutants are all of them.
var Mutants = play.Mutants[Profile]{
	{Name: TruncateToHighWatermark, Does: "a follower truncates to its high watermark (KIP-101)"},
	{Name: AcknowledgeFromPageCache, Does: "a follower acknowledges what it has not flushed", Focus: losingPower},
	{Name: CommitUnflushedLeader, Does: "the leader's own log counts up to its end", Focus: losingPower},
	{Name: SameEpochResume, Does: "a broker that restarts goes on as before (KAFKA-10527)", Focus: func(p *Profile) { p.Kill, p.Wipe = true, false }},
	{Name: NoEpochStartCheck, Does: "a follower joins the ISR below the epoch's start"},
	{Name: CountPendingISR, Does: "a pending expansion counts for min.insync.replicas"},
	{Name: ForgetPendingISR, Does: "a pending expansion does not hold the high watermark"},
	{Name: SmallISRCommits, Does: "the high watermark moves whatever the size of the ISR (KIP-966)"},
	{Name: SyncWithoutGeneration, Does: "a sync from before a truncation counts after it", Focus: func(p *Profile) {
		*p = quiet(p)
		p.Producers, p.FaultEvery, p.LateCallbacks, p.SlowDisks = 5, 300*time.Millisecond, true, true
		p.FalseHints, p.CutOff, p.Failover = true, true, true
	}},
	{Name: AcknowledgeOwnEnd, Does: "an Append inside the log is accepted, and the log's own end acknowledged"},
	{Name: WatermarkToOwnEnd, Does: "a Probe brings the high watermark, up to the log's own end"},
	{Name: JoinByLogEnd, Does: "a follower joins the ISR by its log end", Focus: losingPower},
	{Name: TruncateAfterMatching, Does: "a Truncate is obeyed after an Append that applied", Focus: hostile},
	{Name: TruncateByOffsetOnly, Does: "a Truncate does not say which epochs are to go (KIP-279)", Focus: func(p *Profile) {
		*p = quiet(p)
		p.MinISR, p.Producers, p.FaultEvery = 3, 5, 300*time.Millisecond // much is appended that is not committed
		p.Kill, p.Pause, p.CutOff, p.Failover, p.Partition = true, true, true, true, true
	}},
	{Name: ObeyLowerEpoch, Does: "a leader of a lower epoch is obeyed", Focus: func(p *Profile) {
		*p = quiet(p)
		p.Producers, p.FaultEvery, p.CutOff, p.Partition, p.SlowImages = 5, time.Second, true, true, true
	}},
	{Name: RestartEmptiesISR, Does: "a restarted broker leaves the ELR too", Focus: func(p *Profile) { p.Kill = true }},
	{Name: RefusalClearsPending, Does: "a refused proposal is forgotten, and raises no partition epoch", Focus: func(p *Profile) {
		p.HoldProposals, p.FalseHints, p.CutOff = true, true, true
	}},
	{Name: EpochOnlyForChanges, Does: "what changes nothing else raises no partition epoch", Focus: func(p *Profile) { p.HoldProposals, p.Kill = true, true }},
	{Name: FenceFromStaleImage, Does: "a broker is fenced by what was decided a while ago"},
	{Name: OlderPartitionEpoch, Does: "a proposal for an older partition epoch is accepted"},
	{Name: StaleISRProposal, Does: "a proposal names the incarnation that is registered, not the one that qualified (KIP-903)", Focus: func(p *Profile) {
		wiping(p)
		p.Hostile, p.FaultEvery = true, time.Second // the wiped one is heard of late
	}},
	{Name: WipeUnnoticed, Does: "a disk that was replaced goes by the old one's name", Focus: wiping},
	{Name: RebootUnnoticed, Does: "a machine that lost power is taken for one whose process died", Focus: func(p *Profile) { p.Power, p.Replicated = true, true }},
	{Name: IgnoreRun, Does: "a follower obeys what was meant for the actor before", Focus: func(p *Profile) {
		p.Hostile, p.ActorRestart, p.FalseHints, p.Producers, p.FaultEvery = true, true, true, 4, 300*time.Millisecond
		p.Wipe, p.Power, p.Unclean, p.Pause = false, false, false, false
	}},
	{Name: JoinBeforeImage, Does: "a follower joins the ISR before its image has reached the leader's epoch", Focus: func(p *Profile) {
		*p = quiet(p)
		p.Brokers, p.MinISR, p.Producers, p.FaultEvery = 4, 1, 3, 100*time.Millisecond
		p.Reassign, p.SlowImages = true, true
	}},
	{Name: DuplicateAcknowledgedAtOnce, Does: "a duplicate is acknowledged though its original is not committed"},
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
