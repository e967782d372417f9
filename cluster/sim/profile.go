package sim

import (
	"math/rand/v2"
	"time"
)

// Profile is what a seed's world is like, and what may happen in it. Each seed has some kinds of
// faults and not others: a uniform mix of all hides what needs some of them and the absence of others.
type Profile struct {
	Brokers, Partitions, Replicas, MinISR, Producers int

	Replicated bool // durability=replicated
	Unclean    bool // unclean.leader.election.enable

	Faults, Calm time.Duration // how long faults are made, and how long all has to heal then
	MaxLag       time.Duration
	Window       int           // records that a follower may be sent beyond what it acknowledged
	FaultEvery   time.Duration // on average

	Kill, Power, Wipe, Pause, Partition, CutOff     bool
	Failover, ActorRestart, Shutdown, FalseHints    bool
	ChangeMinISR, DeleteRecords, Hostile, SlowDisks bool
	SlowImages, HoldProposals, Skew, Full           bool
	LateCallbacks, Reassign                         bool
}

func drawProfile(random *rand.Rand, mutant Mutant) Profile {
	half := func() bool { return random.IntN(2) == 0 }
	often := func() bool { return random.IntN(4) != 0 }
	seldom := func() bool { return random.IntN(4) == 0 }
	p := Profile{
		Brokers: 3, Partitions: 1, Replicas: 3, MinISR: 2, Producers: 1 + random.IntN(3),
		Faults: 20*time.Second + time.Duration(random.IntN(20))*time.Second,
		Calm:   25 * time.Second,
		MaxLag: []time.Duration{time.Second, 3 * time.Second, 10 * time.Second}[random.IntN(3)],
		Window: []int{3, 20, 1000}[random.IntN(3)],

		FaultEvery: []time.Duration{300 * time.Millisecond, time.Second, 3 * time.Second}[random.IntN(3)],

		Kill: often(), Power: half(), Wipe: seldom(), Pause: half(), Partition: half(), CutOff: half(),
		Failover: half(), ActorRestart: seldom(), Shutdown: seldom(), FalseHints: seldom(),
		ChangeMinISR: seldom(), DeleteRecords: half(), Hostile: seldom(), SlowDisks: half(),
		SlowImages: half(), HoldProposals: half(), Skew: half(), Full: half(), LateCallbacks: seldom(),
		Replicated: seldom(), Unclean: random.IntN(10) == 0,
	}
	if seldom() {
		p.Partitions = 2
	}
	if seldom() {
		p.Brokers = 4
		p.Reassign = half()
	}
	switch random.IntN(8) {
	case 0:
		p.MinISR = 1
	case 1:
		p.MinISR = 3
	}
	Mutants.Focus(mutant, &p)
	return p
}

// mayLose says whether a machine may lose what it had, one at a time: the minimum of in-sync replicas has to
// leave a copy for that, all the time.
func (p *Profile) mayLose() bool {
	return p.MinISR >= 2 && !p.ChangeMinISR && !p.Reassign
}
