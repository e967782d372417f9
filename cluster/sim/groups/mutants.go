package groups

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/troupe-mq/troupe/cluster/group"
	"github.com/troupe-mq/troupe/cluster/sim/play"
	"github.com/troupe-mq/troupe/wire"
)

// Mutant names a rule that is dropped.
type Mutant = play.Mutant

// The mutants.
const (
	AnswersAtOnce       Mutant = "answers-at-once"
	GenerationNotLogged Mutant = "generation-not-logged"
	OldEpochAppends     Mutant = "old-epoch-appends"
	LoadToWatermark     Mutant = "load-to-watermark"
	AnswersWhileLoading Mutant = "answers-while-loading"
	TornBatches         Mutant = "torn-batches"
	ParkedForgotten     Mutant = "parked-forgotten"
	SessionsNotRenewed  Mutant = "sessions-not-renewed"
	SessionsNotWatched  Mutant = "sessions-not-watched"
	SessionsNeverEnd    Mutant = "sessions-never-end"
	RebalancesNeverEnd  Mutant = "rebalances-never-end"
	OldGenerations      Mutant = "old-generations"
	UnknownMembers      Mutant = "unknown-members"
	UnknownHeartbeats   Mutant = "unknown-heartbeats"
	OldStaticMembers    Mutant = "old-static-members"
	SameGeneration      Mutant = "same-generation"
	GivenTooEarly       Mutant = "given-too-early"
	TombstonesSkipped   Mutant = "tombstones-skipped"
	ExpiresWithMembers  Mutant = "expires-with-members"
	EpochsLost          Mutant = "epochs-lost"
	UpgradeForgets      Mutant = "upgrade-forgets"
	UpgradeLeavesTraces Mutant = "upgrade-leaves-traces"
	TopicsUntold        Mutant = "topics-untold"
)

// Mutants are all of them.
var Mutants = play.Mutants[Profile]{
	{Name: AnswersAtOnce, Does: "answers go out before what they rest on is committed", Focus: moving},
	{Name: GenerationNotLogged, Does: "a generation is told before it is in the log (as Kafka does)", Focus: classicMoving},
	{Name: OldEpochAppends, Does: "the log accepts what a leader of an older epoch appends", Focus: moving},
	{Name: LoadToWatermark, Does: "a coordinator begins with what was committed when it was elected", Focus: moving},
	{Name: AnswersWhileLoading, Does: "a coordinator answers before it has loaded all", Focus: moving},
	{Name: TornBatches, Does: "of what a rule emits only the first record is appended", Focus: moving},
	{Name: ParkedForgotten, Does: "a coordinator that gives up does not answer those who wait", Focus: moving},
	{Name: SessionsNotRenewed, Does: "sessions go on while nobody can be heard", Focus: moving},
	{Name: SessionsNotWatched, Does: "after loading nobody looks whether members are still there", Focus: moving},
	{Name: SessionsNeverEnd, Does: "members that are gone stay"},
	{Name: RebalancesNeverEnd, Does: "a rebalance waits for everybody for ever", Focus: func(p *Profile) {
		p.Kinds = [2]Kind{Eager, Consumer}
		p.SlowPolls, p.SlowCallbacks, p.Session = true, true, 6*time.Second
	}},
	{Name: OldGenerations, Does: "a commit counts whatever its generation or epoch", Focus: zombies},
	{Name: UnknownMembers, Does: "a commit counts whoever it is of", Focus: zombies},
	{Name: UnknownHeartbeats, Does: "heartbeats of those who are no members are answered as if they were", Focus: classicMoving},
	{Name: OldStaticMembers, Does: "a static member may go on though another has its instance", Focus: func(p *Profile) {
		p.Static, p.Zombies, p.Churn, p.Clients, p.Kinds = true, true, true, 5, [2]Kind{Eager, Cooperative}
	}},
	{Name: SameGeneration, Does: "a rebalance does not lead to a new generation", Focus: func(p *Profile) {
		zombies(p)
		p.Kinds = [2]Kind{Eager, Cooperative}
	}},
	{Name: GivenTooEarly, Does: "a partition is given to a member while another has it (KIP-848)", Focus: consumers},
	{Name: TombstonesSkipped, Does: "tombstones do not count when the log is loaded", Focus: func(p *Profile) {
		moving(p)
		p.Tools, p.Topics, p.Retention = true, true, 5*time.Second
	}},
	{Name: ExpiresWithMembers, Does: "offsets expire though the group has members (KAFKA-13636)", Focus: func(p *Profile) { p.Retention = 5 * time.Second }},
	{Name: EpochsLost, Does: "what members have is forgotten when the coordinator moves (KIP-848)", Focus: func(p *Profile) {
		consumers(p)
		moving(p)
	}},
	{Name: UpgradeForgets, Does: "members that speak the classic protocol are not written down when their group changes to the other", Focus: migrating},
	{Name: UpgradeLeavesTraces, Does: "the classic group stays in the log when it changes to the other protocol", Focus: migrating},
	{Name: TopicsUntold, Does: "nobody tells coordinators of topics", Focus: consumers},
}

func moving(p *Profile) {
	p.Move, p.Kill, p.SlowAppends, p.FaultEvery = true, true, true, 300*time.Millisecond
}

func classicMoving(p *Profile) {
	moving(p)
	p.Kinds = [2]Kind{Eager, Cooperative}
}

func zombies(p *Profile) {
	p.Zombies, p.Churn, p.PauseClient, p.Clients, p.Static = true, true, true, 5, false
}

func consumers(p *Profile) {
	p.Kinds, p.Clients, p.SlowCallbacks = [2]Kind{Consumer, Consumer}, 4, true
}

func migrating(p *Profile) {
	moving(p)
	p.Kinds, p.Churn = [2]Kind{Migrating, EagerMigrating}, true
}

// mutation is what a mutant keeps of a group.
type mutation struct {
	generation wire.GenerationID                   // the present one
	epochs     map[wire.MemberID]wire.GenerationID // of members
	instances  map[wire.MemberID]string            // of members
	current    map[string]wire.MemberID            // of instances
	keys       map[place][]byte                    // of offsets
}

// mutateRequest is what the rules are told.
func (c *coordinator) mutateRequest(q wire.GroupRequest) wire.GroupRequest {
	w := c.world()
	switch q := q.(type) {
	case *wire.JoinGroup:
		changed := *q
		switch w.mutant {
		case RebalancesNeverEnd:
			changed.RebalanceTimeout = time.Hour
		case SessionsNeverEnd:
			changed.SessionTimeout = 20 * time.Minute
		default:
			return q
		}
		return &changed
	case *wire.ConsumerHeartbeat:
		changed := *q
		switch {
		case w.mutant == RebalancesNeverEnd && q.RebalanceTimeout != 0:
			changed.RebalanceTimeout = time.Hour
		case w.mutant == GivenTooEarly && q.MemberEpoch > 0:
			changed.OwnedTold, changed.Owned = true, nil
		default:
			return q
		}
		return &changed
	case *wire.CommitOffsets:
		changed := *q
		changed.Member, changed.Generation = c.mutateCommitter(q.Member, q.Generation)
		return &changed
	case *wire.SyncGroup:
		changed := *q
		changed.Member, changed.Generation = c.mutateMember(q.Member, q.Generation)
		return &changed
	case *wire.GroupHeartbeat:
		changed := *q
		changed.Member, changed.Generation = c.mutateMember(q.Member, q.Generation)
		return &changed
	}
	return q
}

// mutateMember is who a request is taken to be of.
func (c *coordinator) mutateMember(m wire.MemberID, g wire.GenerationID) (wire.MemberID, wire.GenerationID) {
	k := &c.mutated
	switch c.world().mutant {
	case SameGeneration:
		return m, k.generation
	case OldStaticMembers:
		if now, ok := k.current[k.instances[m]]; ok {
			return now, g
		}
	default:
	}
	return m, g
}

// mutateCommitter is who a commit is taken to be of.
func (c *coordinator) mutateCommitter(m wire.MemberID, g wire.GenerationID) (wire.MemberID, wire.GenerationID) {
	k := &c.mutated
	epoch, known := k.epochs[m]
	switch mutant := c.world().mutant; {
	case g < 0:
	case mutant == OldGenerations && known:
		return m, epoch
	case mutant == UnknownMembers && !known:
		for _, id := range c.world().truth(c.id).order {
			if epoch, ok := k.epochs[id]; ok {
				return id, epoch
			}
		}
	default:
		return c.mutateMember(m, g)
	}
	return m, g
}

// mutateReply is what clients are told.
func (c *coordinator) mutateReply(q *call, reply wire.GroupReply) wire.GroupReply {
	k := &c.mutated
	switch reply := reply.(type) {
	case *wire.JoinedGroup:
		if reply.Err != nil {
			break
		}
		k.generation = reply.Generation
		k.note(reply.Member, reply.Generation, q.request.(*wire.JoinGroup).Instance)
		if c.world().mutant == SameGeneration {
			changed := *reply
			changed.Generation = 1
			return &changed
		}
	case *wire.ConsumerHeartbeatReply:
		if reply.Err == nil {
			k.note(reply.Member, wire.GenerationID(reply.MemberEpoch), "")
		}
	case *wire.GroupHeartbeatReply:
		if c.world().mutant == UnknownHeartbeats && (errors.Is(reply.Err, wire.UnknownMemberID) || errors.Is(reply.Err, wire.IllegalGeneration)) {
			return &wire.GroupHeartbeatReply{}
		}
	}
	return reply
}

func (k *mutation) note(m wire.MemberID, g wire.GenerationID, instance string) {
	if k.epochs == nil {
		k.epochs, k.instances = make(map[wire.MemberID]wire.GenerationID), make(map[wire.MemberID]string)
		k.current = make(map[string]wire.MemberID)
	}
	k.epochs[m] = g
	if instance != "" {
		k.instances[m], k.current[instance] = instance, m
	}
}

// The kinds of records that mutants tell apart, by the version of their keys.
const (
	classicKey           = 2
	memberKey            = 5
	currentAssignmentKey = 8
)

func kindOf(r group.Record) uint16 { return binary.BigEndian.Uint16(r.Key) }

// mutateEffects is what comes of a turn of the rules.
func (c *coordinator) mutateEffects(e group.Effects) group.Effects {
	w := c.world()
	switch w.mutant {
	case ExpiresWithMembers:
		if c.mutated.keys == nil {
			c.mutated.keys = make(map[place][]byte)
		}
		for _, r := range e.Records {
			if _, p, ok := readOffsetKey(r.Key); ok {
				c.mutated.keys[p] = r.Key
			}
		}
		for _, r := range w.truth(c.id).registers {
			if key := c.mutated.keys[r.place]; key != nil && r.latest != nil && w.Now()-r.latest.when > w.profile.Retention {
				delete(c.mutated.keys, r.place)
				e.Records = append(e.Records, group.Record{Key: key})
			}
		}
	case UpgradeForgets, UpgradeLeavesTraces:
		e.Records = c.mutateUpgrade(e.Records)
	case GenerationNotLogged:
		if c.rules.Listed().State == wire.GroupCompletingRebalance {
			e.Records = slices.DeleteFunc(e.Records, func(r group.Record) bool { return kindOf(r) == classicKey })
		}
	default:
	}
	return e
}

// mutateUpgrade drops something of the records by which a classic group becomes one of KIP-848.
func (c *coordinator) mutateUpgrade(records []group.Record) []group.Record {
	upgrade := false
	for _, r := range records {
		upgrade = upgrade || kindOf(r) == classicKey && r.Value == nil && len(records) > 2
	}
	if !upgrade {
		return records
	}
	var kept []group.Record
	member := ""
	for _, r := range records {
		forgotten := c.world().mutant == UpgradeLeavesTraces && kindOf(r) == classicKey
		if k := kindOf(r); c.world().mutant == UpgradeForgets && k >= memberKey && k <= currentAssignmentKey {
			id := string(r.Key[len(r.Key)-4:])
			if member == "" && k == memberKey {
				member = id
			}
			forgotten = id == member
		}
		if !forgotten {
			kept = append(kept, r)
		}
	}
	return kept
}

// mutateReplay is what a coordinator finds in the log.
func (w *World) mutateReplay(r group.Record) (_ group.Record, drop bool) {
	switch w.mutant {
	case TombstonesSkipped:
		return r, r.Value == nil
	case EpochsLost:
		return r, kindOf(r) == currentAssignmentKey
	default:
		return r, false
	}
}

func (c *coordinator) mutantAnswersAtOnce() bool { return c.world().mutant == AnswersAtOnce }

func (c *coordinator) mutantForgetsAlarm() bool {
	return c.world().mutant == SessionsNotWatched && c.fromLog
}
