package actors

import (
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/cluster/group"
	"github.com/troupe-mq/troupe/wire"
)

// This file is what connections' goroutines know of the groups that are coordinated here: a table of
// the shards, in each a table of the groups, in each the way to the coordinator actor. Each entry stands for
// one run of an actor. Who waits for an answer waits for the end of that run too: what is queued in an actor that
// stops vanishes without a trace.

// groupTable is the shards of this broker.
type groupTable struct {
	calls  atomic.Uint64 // so many requests were made: their numbers
	shards atomic.Pointer[shardTable]
	config atomic.Pointer[group.Config]

	creating sync.Mutex
	creation *topicCreation // of the offsets topic, under way
}

// shardTable is immutable: the groups actor publishes a new one whenever a shard begins or ends.
type shardTable struct {
	runs []*shardRun // by partition of the offsets topic; nil: not coordinated here
}

// shardOf returns the shard that a group belongs to, if it is here and knows its groups.
func (t *groupTable) shardOf(id wire.GroupID) (*shardRun, error) {
	table := t.shards.Load()
	if table == nil || len(table.runs) == 0 {
		return nil, wire.NotCoordinator
	}
	run := table.runs[group.PartitionOf(id, int32(len(table.runs)))]
	if run == nil || run.over() || !run.leads() {
		return nil, wire.NotCoordinator
	}
	if !run.loaded.Load() {
		return nil, wire.CoordinatorLoadInProgress
	}
	return run, nil
}

// ending is how those who wait for an actor hear that it has ended, and what that means for them.
type ending struct {
	once sync.Once
	gone chan struct{} // closed by end
	why  error         // to be read once gone is closed
}

func newEnding() ending { return ending{gone: make(chan struct{})} }

func (e *ending) end(why error) {
	e.once.Do(func() {
		e.why = why
		close(e.gone)
	})
}

func (e *ending) over() bool {
	select {
	case <-e.gone:
		return true
	default:
		return false
	}
}

// shardRun is one run of a shard.
type shardRun struct {
	ending
	part   *partition
	epoch  wire.LeaderEpoch // that its partition was led in when it began; it ends with it
	pid    *actor.PID
	loaded atomic.Bool
	// flight is the last append, which may outlive the shard.
	flight atomic.Pointer[appending]
	// waiting is the requests without an answer, queued the bytes of records that are not appended yet. Both are
	// bounded at the door (Broker.AskGroup).
	waiting atomic.Int64
	queued  atomic.Int64

	mu     sync.RWMutex
	groups map[wire.GroupID]*groupRun // changed by the shard actor alone
}

// leads says that the partition is still led in the epoch of this run, as far as is known here.
func (s *shardRun) leads() bool {
	view := s.part.view.Load()
	return view != nil && view.leaderEpoch == s.epoch
}

func (s *shardRun) find(id wire.GroupID) *groupRun {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.groups[id]
}

func (s *shardRun) put(id wire.GroupID, run *groupRun) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if run == nil {
		delete(s.groups, id)
	} else {
		s.groups[id] = run
	}
}

// each calls f for every group. It is not to take long.
func (s *shardRun) each(f func(*groupRun)) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, run := range s.groups {
		f(run)
	}
}

// groupRun is one run of a group's coordinator, or of what stands in its place.
type groupRun struct {
	ending
	id    wire.GroupID
	state groupRunState
	pid   *actor.PID // while state is groupAwake

	waiting   atomic.Int64  // requests without an answer
	committed atomic.Uint64 // how many of its emissions of records are committed: the shard says so
	stale     atomic.Bool   // it has been told to look at the topics, and has not yet
	leaving   atomic.Bool   // it stops because nothing is left of it
	listed    atomic.Pointer[wire.ListedGroup]

	// What follows is the shard's.
	lastBatch uint64 // the last one with records of it
	place     int    // in that batch's list
	since     int64  // when it began, in milliseconds
	failures  int    // runs in a row, before this one, that ended by themselves
}

type groupRunState int8

const (
	// groupAwake has an actor.
	groupAwake groupRunState = iota
	// groupAsleep was found in the log, and nobody has asked for it since.
	groupAsleep
	// groupRefolding has lost its actor; what it was is being read from the log.
	groupRefolding
)

func newGroupRun(id wire.GroupID, state groupRunState, listed wire.ListedGroup) *groupRun {
	run := &groupRun{ending: newEnding(), id: id, state: state}
	run.listed.Store(&listed)
	return run
}
