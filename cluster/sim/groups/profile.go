package groups

import (
	"math/rand/v2"
	"time"

	"github.com/troupe-mq/troupe/cluster/group"
)

// Kind is the protocols that the members of a group speak.
type Kind int

// The kinds of groups.
const (
	Eager       Kind = iota // classic
	Cooperative             // classic
	Rolling                 // classic, from eager to cooperative
	Consumer                // KIP-848
	Migrating               // between classic, cooperative, and KIP-848
	EagerMigrating
)

// Profile is what a seed draws before it begins: the times that its groups live by, and what may go wrong.
type Profile struct {
	Groups, Clients int
	Kinds           [2]Kind

	Session, RebalanceTimeout, Heartbeat time.Duration
	InitialDelay, Retention              time.Duration

	Faults     time.Duration // how long they are made
	FaultEvery time.Duration // on average

	// What is wrong all the time.
	Lossy, Duplicates, Skew, SlowAppends, AppendsFail bool
	SlowPolls, SlowCallbacks, Zombies                 bool
	// What happens now and then.
	Kill, Move, Restart, PauseBroker, PauseClient bool
	Churn, Topics, Compact, Tools                 bool

	KnownIDs, Static, Range bool
}

func drawProfile(random *rand.Rand, mutant Mutant) Profile {
	half := func() bool { return random.IntN(2) == 0 }
	often := func() bool { return random.IntN(4) != 0 }
	seldom := func() bool { return random.IntN(4) == 0 }
	pick := func(of ...time.Duration) time.Duration { return of[random.IntN(len(of))] }
	p := Profile{
		Groups: 1, Clients: 1 + random.IntN(5),
		Session:          pick(2*time.Second, 4*time.Second, 6*time.Second),
		RebalanceTimeout: pick(2*time.Second, 4*time.Second, 6*time.Second),
		Heartbeat:        pick(200*time.Millisecond, 400*time.Millisecond),
		InitialDelay:     pick(0, 300*time.Millisecond),
		// Longer than anything is late: a group that is forgotten counts from the beginning when it comes again, and a commit from its
		// former life could count then. Kafka: the same.
		Retention:  pick(20*time.Second, time.Hour, time.Hour),
		Faults:     20*time.Second + time.Duration(random.IntN(30))*time.Second,
		FaultEvery: pick(300*time.Millisecond, time.Second, 3*time.Second),

		Lossy: half(), Duplicates: half(), Skew: half(), SlowAppends: half(), AppendsFail: seldom(),
		SlowPolls: half(), SlowCallbacks: half(), Zombies: half(),
		Kill: half(), Move: half(), Restart: seldom(), PauseBroker: seldom(), PauseClient: half(),
		Churn: often(), Topics: half(), Compact: half(), Tools: half(),
		KnownIDs: often(), Static: half(), Range: half(),
	}
	for i := range p.Kinds {
		p.Kinds[i] = Kind(random.IntN(6))
	}
	if seldom() {
		p.Groups = 2
	}
	Mutants.Focus(mutant, &p)
	return p
}

// rules is the configuration of the coordinators.
func (w *World) configure() group.Config {
	p := &w.profile
	c := group.Default()
	c.MinSessionTimeout = time.Second
	c.InitialRebalanceDelay = p.InitialDelay
	c.NewMemberJoinTimeout = p.RebalanceTimeout + 5*time.Second
	c.NewMemberID = w.newMemberID
	c.ConsumerSessionTimeout = p.Session
	c.ConsumerHeartbeatInterval = p.Heartbeat
	c.OffsetsRetention = p.Retention
	c.OffsetsCheckInterval = time.Second
	if p.Range {
		c.ConsumerAssignors = []string{"range", "uniform"}
	}
	return c
}

// heartbeat is when a classic member sends the next one.
func (p *Profile) heartbeat(w *World) time.Duration {
	return w.Between(p.Heartbeat*9/10, p.Heartbeat)
}

// settled is how long everything may take to come to rest once nothing goes wrong any more: what clients had begun is
// still slow.
func (p *Profile) settled() time.Duration {
	return 5*time.Second + 2*p.Session + 4*p.RebalanceTimeout
}
