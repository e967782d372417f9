package sim

import "time"

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
	JoinBeforeImage             Mutant = "join-before-image"
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
	{JoinBeforeImage, "a follower joins the ISR before its image has reached the leader's epoch", func(p *Profile) {
		*p = quiet(p)
		p.Brokers, p.MinISR, p.Producers, p.FaultEvery = 4, 1, 3, 100*time.Millisecond
		p.Reassign, p.SlowImages = true, true
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
