package group

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// TestNoPartitionOfAClassicGroupHasTwoOwnersWhoseCommitsAreAccepted lets clients join, pause, die and come back while the
// coordinator moves. After each step no partition has two clients that believe that it is theirs and whose commits would be
// accepted; what was committed last is what is fetched; and once all is quiet, each partition has an owner.
func TestNoPartitionOfAClassicGroupHasTwoOwnersWhoseCommitsAreAccepted(t *testing.T) {
	seeds := 60
	if testing.Short() {
		seeds = 20
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			m := newClassicModel(t, uint64(seed))
			for range 300 {
				m.step()
			}
			m.quiet()
		})
	}
}

const modelPartitions = 6

// classicModel is a group and its clients.
type classicModel struct {
	*desk

	r           *rand.Rand
	cooperative bool
	clients     []*classicClient
	committed   [modelPartitions]wire.Offset // accepted last
	last        wire.Offset
}

// classicClient is a consumer as client libraries have it. What it believes may be out of date: that is the point.
type classicClient struct {
	name       int
	instance   string
	dead       bool
	wakes      time.Time // it is paused until then
	busy       time.Time // until then it sends heartbeats, and does nothing else: its records take long
	session    time.Duration
	id         wire.MemberID
	generation wire.GenerationID
	owned      map[int32]bool
	members    []wire.JoinedMember // told to the leader
	leads      bool
	joined     bool // it knows its generation, and asks for its assignment next
	stable     bool
	call       Call // that it waits for
}

func newClassicModel(t *testing.T, seed uint64) *classicModel {
	m := &classicModel{desk: newDesk(t), r: rand.New(rand.NewPCG(seed, 1))}
	m.unfolded = true
	m.cooperative = m.r.IntN(2) == 0
	for p := range m.committed {
		m.committed[p] = wire.NoOffset
	}
	for i := range 2 + m.r.IntN(4) {
		c := &classicClient{name: i, owned: map[int32]bool{}, session: 10 * time.Second}
		if m.r.IntN(2) == 0 {
			c.instance = fmt.Sprintf("i%d", i)
			c.session = pick(m.r, 10*time.Second, 80*time.Second) // it may outlast a rebalance that it sleeps through
		}
		m.clients = append(m.clients, c)
	}
	return m
}

func (m *classicModel) step() {
	m.t.Helper()
	c := m.clients[m.r.IntN(len(m.clients))]
	switch n := m.r.IntN(100); {
	case n < 70:
		m.act(c)
	case n < 74:
		c.wakes = m.now.Add(time.Duration(m.r.IntN(90)) * time.Second)
	case n < 76:
		c.busy = m.now.Add(time.Duration(m.r.IntN(90)) * time.Second)
	case n < 78:
		m.die(c)
	case n < 79 && c.instance != "" && !c.dead: // by mistake, the same instance is started once more
		m.clients = append(m.clients, &classicClient{name: len(m.clients), instance: c.instance, session: c.session, owned: map[int32]bool{}})
	case n < 82:
		m.coordinatorDies()
	default:
		m.pass(time.Duration(m.r.IntN(6000)) * time.Millisecond)
	}
	m.hear()
	m.check()
}

// act lets a client do what is next for it.
func (m *classicModel) act(c *classicClient) {
	m.t.Helper()
	if c.dead { // another process takes its place, unless one has
		if c.instance != "" && slices.ContainsFunc(m.clients, func(o *classicClient) bool { return !o.dead && o.instance == c.instance }) {
			return
		}
		*c = classicClient{name: c.name, instance: c.instance, session: c.session, owned: map[int32]bool{}}
	}
	switch {
	case m.now.Before(c.wakes), c.call != 0:
	case c.stable && m.r.IntN(2) == 0:
		m.commitOwned(c)
	case c.stable || m.now.Before(c.busy) && c.id != "":
		c.call = m.call(&wire.GroupHeartbeat{Group: "g", Member: c.id, Instance: c.instance, Generation: c.generation})
	case c.joined:
		c.call = m.call(m.assignment(c))
	default:
		c.call = m.call(m.joinOf(c))
	}
}

func (m *classicModel) joinOf(c *classicClient) *wire.JoinGroup {
	q := static(c.instance, joining(c.id))
	q.SessionTimeout, q.RebalanceTimeout = c.session, 15*time.Second
	q.MustKnowID = c.instance == ""
	q.MaySkipAssignment = true
	if m.cooperative {
		q.Protocols[0].Metadata = owning(topicPartitions{"orders", slices.Sorted(maps.Keys(c.owned))})
	} else {
		clear(c.owned) // it stops before it joins
	}
	return q
}

// assignment is a client's SyncGroup. The leader shares out evenly; cooperatively, what somebody else still owns has to wait
// for another rebalance.
func (m *classicModel) assignment(c *classicClient) *wire.SyncGroup {
	q := syncing(c.id, c.generation)
	if !c.leads {
		return q
	}
	owner := map[int32]wire.MemberID{}
	for _, j := range c.members {
		s, err := readSubscription(j.Metadata)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, tp := range s.owned {
			for _, p := range tp.partitions {
				owner[p] = j.Member
			}
		}
	}
	for i, j := range c.members {
		var share []int32
		for p := int32(i); p < modelPartitions; p += int32(len(c.members)) {
			if o := owner[p]; o == "" || o == j.Member {
				share = append(share, p)
			}
		}
		q.Assignments = append(q.Assignments, wire.MemberAssignment{Member: j.Member, Assignment: assigning(share...)})
	}
	return q
}

func (m *classicModel) commitOwned(c *classicClient) {
	m.t.Helper()
	for _, p := range slices.Sorted(maps.Keys(c.owned)) {
		m.last++
		reply := ask[*wire.CommittedOffsets](m.desk, &wire.CommitOffsets{
			Group: "g", Member: c.id, Instance: c.instance, Generation: c.generation,
			Offsets: []wire.OffsetCommit{{Topic: "orders", Partition: p, Offset: m.last}},
		})
		if reply.Err == nil {
			m.committed[p] = m.last
		}
	}
}

// die ends a client's process. Half of them leave, as a consumer that is closed does; static ones never do.
func (m *classicModel) die(c *classicClient) {
	m.t.Helper()
	if c.call != 0 {
		m.forget(c)
	} else if c.instance == "" && c.id != "" && m.r.IntN(2) == 0 {
		ask[*wire.LeftGroup](m.desk, &wire.LeaveGroup{Group: "g", Members: []wire.LeavingMember{{Member: c.id}}})
	}
	c.dead = true
	clear(c.owned)
}

func (m *classicModel) forget(c *classicClient) {
	delete(m.parked, c.call)
	m.effect(m.g.Cancel(c.call, m.now))
	c.call = 0
}

// coordinatorDies lets another one load the group. Whoever waited asks it again.
func (m *classicModel) coordinatorDies() {
	m.t.Helper()
	m.hear()
	for _, c := range m.clients {
		c.call = 0
	}
	m.move()
}

// hear gives the answers that have come to the clients that wait for them.
func (m *classicModel) hear() {
	m.t.Helper()
	for _, c := range m.clients {
		reply, answered := m.answers[c.call]
		if c.call == 0 || !answered || m.now.Before(c.wakes) {
			continue
		}
		c.call = 0
		m.take(c, reply)
	}
}

func (m *classicModel) take(c *classicClient, reply wire.GroupReply) {
	m.t.Helper()
	if err := reply.Failure(); err != nil {
		m.refused(c, reply, err)
		return
	}
	switch reply := reply.(type) {
	case *wire.JoinedGroup:
		c.id, c.generation, c.joined, c.stable = reply.Member, reply.Generation, true, false
		c.leads, c.members = reply.Leader == reply.Member && !reply.SkipAssignment && len(reply.Members) > 0, reply.Members
	case *wire.SyncedGroup:
		a, err := readAssignment(reply.Assignment)
		if err != nil {
			m.t.Fatal(err)
		}
		before := maps.Clone(c.owned)
		clear(c.owned)
		for _, tp := range a.partitions {
			for _, p := range tp.partitions {
				c.owned[p] = true
				delete(before, p)
			}
		}
		c.joined, c.stable = false, true
		if m.cooperative && len(before) > 0 { // it gave something up: another rebalance gives that to somebody
			c.stable = false
		}
	}
}

// refused does what a client does with an error.
func (m *classicModel) refused(c *classicClient, reply wire.GroupReply, err error) {
	m.t.Helper()
	c.joined, c.stable = false, false
	switch {
	case errors.Is(err, wire.MemberIDRequired):
		c.id = reply.(*wire.JoinedGroup).Member
	case errors.Is(err, wire.RebalanceInProgress): // it keeps what it has until it joins
	case errors.Is(err, wire.IllegalGeneration):
		clear(c.owned)
	case errors.Is(err, wire.UnknownMemberID):
		clear(c.owned)
		c.id = ""
	case errors.Is(err, wire.FencedInstanceID):
		c.dead = true
		clear(c.owned)
	default:
		m.t.Fatalf("client %d is told %v", c.name, err)
	}
}

// check looks at what every client believes.
func (m *classicModel) check() {
	m.t.Helper()
	owners := map[int32]*classicClient{}
	for _, c := range m.clients {
		if c.dead || !m.wouldAccept(c) {
			continue
		}
		for p := range c.owned {
			if other := owners[p]; other != nil {
				m.t.Fatalf("partition %d has two owners: clients %d and %d, both of generation %d", p, other.name, c.name, c.generation)
			}
			owners[p] = c
		}
	}
	for p, want := range m.committed {
		if got := m.desk.committed(int32(p)); got != want {
			m.t.Fatalf("offset %d of partition %d is fetched, and %d was committed last", got, p, want)
		}
	}
}

// wouldAccept says whether a commit of the client would be accepted now, without being a sign of life.
func (m *classicModel) wouldAccept(c *classicClient) bool {
	group := m.g.classic
	if group == nil || c.id == "" {
		return false
	}
	sessions := map[*classicMember]time.Time{}
	for _, member := range group.members {
		sessions[member] = member.session
	}
	err := group.mayCommit(&turn{view: m.view, now: m.now}, &wire.CommitOffsets{Member: c.id, Instance: c.instance, Generation: c.generation})
	for member, session := range sessions {
		member.session = session
	}
	return err == nil
}

// quiet lets all clients live and do their work, until nothing changes: then each partition has an owner.
func (m *classicModel) quiet() {
	m.t.Helper()
	for _, c := range m.clients {
		c.wakes, c.busy = time.Time{}, time.Time{}
	}
	for range 120 { // seconds: the rebalance timeout and the session timeout, and some
		for range 4 {
			for _, c := range m.clients {
				m.act(c)
				m.hear()
				m.check()
			}
			m.pass(250 * time.Millisecond)
			m.hear()
		}
	}
	owners := map[int32]int{}
	for _, c := range m.clients {
		for p := range c.owned {
			owners[p]++
		}
	}
	for p := range int32(modelPartitions) {
		if owners[p] != 1 {
			m.t.Fatalf("partition %d has %d owners when all is quiet: %s", p, owners[p], m.g.Listed().State)
		}
	}
	m.wantState(wire.GroupStable)
}
