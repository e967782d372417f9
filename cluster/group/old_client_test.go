package group

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// oldClient is a member of the classic protocol, as a client library has it. An eager one gives everything up before it joins; a
// cooperative one tells what it has, and gives up what it is not assigned again.
type oldClient struct {
	b           *consumerBench
	id          wire.MemberID
	instance    string
	topics      []string
	cooperative bool
	generation  wire.GenerationID
	owned       []int32 // of topic t
	joining     Call    // a parked JoinGroup, or SyncGroup
	syncing     Call
	leads       []wire.JoinedMember // of a classic group, to be shared out by it
	err         error
}

func (b *consumerBench) oldClient(cooperative bool, topics ...string) *oldClient {
	return &oldClient{b: b, cooperative: cooperative, topics: topics}
}

func (m *oldClient) protocols() []wire.GroupProtocol {
	s := &embeddedSubscription{version: 1, topics: m.topics}
	name := "range"
	if m.cooperative {
		name = "cooperative-sticky"
		if len(m.owned) > 0 {
			s.owned = []topicPartitions{{"t", m.owned}}
		}
	}
	return []wire.GroupProtocol{{Name: name, Metadata: newSubscription(s)}}
}

// join sends JoinGroup and takes the answer, if there is one at once.
func (m *oldClient) join() {
	m.b.t.Helper()
	if !m.cooperative {
		m.owned = nil
	}
	m.answered(m.b.ask(&wire.JoinGroup{
		Group: "g", Member: m.id, Instance: m.instance, ClientID: "old", ClientHost: "/127.0.0.1",
		SessionTimeout: 45 * time.Second, RebalanceTimeout: time.Minute,
		ProtocolType: consumerProtocolType, Protocols: m.protocols(), MustKnowID: m.instance == "",
	}))
	if errors.Is(m.err, wire.MemberIDRequired) {
		m.join()
	}
}

// answered takes an answer; nil: it is still awaited.
func (m *oldClient) answered(reply wire.GroupReply) {
	m.b.t.Helper()
	switch r := reply.(type) {
	case nil:
		m.joining, m.err = m.b.call, nil
	case *wire.JoinedGroup:
		m.joining, m.err = 0, r.Err
		if r.Member != "" {
			m.id = r.Member
		}
		if r.Err != nil {
			return
		}
		m.generation, m.leads = r.Generation, r.Members
		m.sync()
	case *wire.SyncedGroup:
		m.syncing, m.err = 0, r.Err
		if r.Err != nil {
			return
		}
		a, err := readAssignment(r.Assignment)
		if err != nil {
			m.b.t.Fatal(err)
		}
		before := m.owned
		m.owned = nil
		for _, tp := range a.partitions {
			if tp.topic == "t" {
				m.owned = tp.partitions
			}
		}
		if m.cooperative && slices.ContainsFunc(before, func(p int32) bool { return !slices.Contains(m.owned, p) }) {
			m.join() // it has given something up, which others wait for
		}
	}
}

// sync sends SyncGroup, with the assignments when it leads: a leader of a classic group shares out one by one.
func (m *oldClient) sync() {
	m.b.t.Helper()
	q := &wire.SyncGroup{Group: "g", Generation: m.generation, Member: m.id, Instance: m.instance}
	for i, other := range m.leads {
		topic, _ := m.b.view.Topic("t")
		a := &embeddedAssignment{partitions: []topicPartitions{{topic: "t"}}}
		for p := i; p < int(topic.Partitions); p += len(m.leads) {
			a.partitions[0].partitions = append(a.partitions[0].partitions, int32(p))
		}
		q.Assignments = append(q.Assignments, wire.MemberAssignment{Member: other.Member, Assignment: newAssignment(a)})
	}
	reply := m.b.ask(q)
	if reply == nil {
		m.syncing, m.err = m.b.call, nil
		return
	}
	m.answered(reply)
}

// beat sends Heartbeat, and joins when it is told to.
func (m *oldClient) beat() {
	m.b.t.Helper()
	if m.joining != 0 || m.syncing != 0 {
		return
	}
	reply := m.b.ask(&wire.GroupHeartbeat{Group: "g", Generation: m.generation, Member: m.id, Instance: m.instance})
	m.err = reply.Failure()
	switch wire.Code(m.err) {
	case wire.RebalanceInProgress:
		m.join()
	case wire.UnknownMemberID:
		m.id, m.owned = "", nil
		m.join()
	case wire.IllegalGeneration:
		m.owned = nil
		m.join()
	default:
	}
}

// rejoins sends a member's JoinGroup, and leaves the rest to the test.
func (m *oldClient) rejoins() *wire.JoinedGroup {
	m.b.t.Helper()
	return m.b.ask(&wire.JoinGroup{
		Group: "g", Member: m.id, SessionTimeout: 45 * time.Second, RebalanceTimeout: time.Minute,
		ProtocolType: consumerProtocolType, Protocols: m.protocols(),
	}).(*wire.JoinedGroup)
}

// heartbeats sends a member's heartbeat, and nothing follows from the answer.
func (m *oldClient) heartbeats(want wire.ErrorCode) {
	m.b.t.Helper()
	reply := m.b.ask(&wire.GroupHeartbeat{Group: "g", Generation: m.generation, Member: m.id})
	if wire.Code(reply.Failure()) != want {
		m.b.t.Fatalf("a heartbeat in generation %d hears %v, want %s", m.generation, reply.Failure(), want.Name())
	}
}

// syncs asks for the member's assignment, and does not do what it is told by that.
func (m *oldClient) syncs() error {
	m.b.t.Helper()
	return m.b.ask(&wire.SyncGroup{Group: "g", Generation: m.generation, Member: m.id}).Failure()
}

// beatsFor lets time pass in which all are heard.
func (m *oldClient) beatsFor(wait time.Duration, want wire.ErrorCode, others ...*consumerClient) {
	m.b.t.Helper()
	for ; wait > 0; wait -= 5 * time.Second {
		m.b.pass(5 * time.Second)
		for _, other := range others {
			other.beat()
			other.adopt()
		}
		m.heartbeats(want)
	}
}

// joinsAnew joins as one that had no part in the group.
func (m *oldClient) joinsAnew() {
	m.b.t.Helper()
	m.id, m.owned, m.generation = "", nil, wire.NoGeneration
	m.join()
}

func (m *oldClient) leave() {
	m.b.t.Helper()
	m.b.ask(&wire.LeaveGroup{Group: "g", Members: []wire.LeavingMember{{Member: m.id}}})
}

func (m *oldClient) commit() error {
	m.b.t.Helper()
	reply := m.b.ask(&wire.CommitOffsets{
		Group: "g", Member: m.id, Generation: m.generation, Instance: m.instance,
		Offsets: []wire.OffsetCommit{{Topic: "t", Offset: 1}},
	}).(*wire.CommittedOffsets)
	if reply.Err != nil {
		return reply.Err
	}
	return reply.Errs[0]
}

// deliver gives members the answers that they wait for.
func (b *consumerBench) deliver(members ...*oldClient) {
	b.t.Helper()
	for again := true; again; {
		again = false
		for _, m := range members {
			for _, call := range []Call{m.joining, m.syncing} {
				if reply := b.take(call); reply != nil {
					m.joining, m.syncing = 0, 0
					m.answered(reply)
					again = true
				}
			}
		}
	}
}

// classicGroup brings members of the classic protocol to a stable generation.
func (b *consumerBench) classicGroup(members ...*oldClient) {
	b.t.Helper()
	b.folds = false // a classic group folds to its last stable generation: that is tested elsewhere
	for _, m := range members {
		m.join()
	}
	for range 10 {
		b.pass(3 * time.Second)
		b.deliver(members...)
		if b.g.state() == wire.GroupStable {
			break
		}
	}
	for _, m := range members {
		if m.err != nil {
			b.t.Fatalf("%s: %v", m.id, m.err)
		}
	}
}

// checkShares proves that every partition of t has one owner, who may commit it.
func (b *consumerBench) checkShares(old []*oldClient, young ...*consumerClient) {
	b.t.Helper()
	owners := map[int32]string{}
	note := func(who string, partitions []int32, commit error) {
		if commit != nil {
			b.t.Fatalf("the commit of %s gets %v", who, commit)
		}
		for _, p := range partitions {
			if other, twice := owners[p]; twice {
				b.t.Fatalf("%d belongs to %s and %s", p, other, who)
			}
			owners[p] = who
		}
	}
	for _, m := range old {
		note(string(m.id), m.owned, m.commit())
	}
	for _, m := range young {
		note(string(m.id), m.owned.partitionsOf(topicID("t")), m.commit())
	}
	topic, _ := b.view.Topic("t")
	if len(owners) != int(topic.Partitions) {
		b.t.Fatalf("only %v have owners", owners)
	}
}

// turns lets everybody do what they should, until the group is stable.
func (b *consumerBench) turns(old []*oldClient, young ...*consumerClient) {
	b.t.Helper()
	for range 30 {
		for _, m := range old {
			m.beat()
			b.deliver(old...)
		}
		for _, m := range young {
			if m.beat(); m.err != nil {
				b.t.Fatalf("%s: %v", m.id, m.err)
			}
			m.adopt()
		}
		b.pass(3 * time.Second)
		b.deliver(old...)
	}
	if got := b.g.state(); got != wire.GroupStable {
		b.t.Fatalf("the group is %s\n%s", got, persisted(b.g))
	}
}

// sharedOut lets everybody do what they should, and proves what checkShares does.
func (b *consumerBench) sharedOut(old []*oldClient, young ...*consumerClient) {
	b.t.Helper()
	b.turns(old, young...)
	b.checkShares(old, young...)
}

// mixedGroup is a group of KIP-848 that a cooperative member of the classic protocol has joined. It is stable.
func mixedGroup(t *testing.T, partitions int) (*consumerBench, *oldClient, *consumerClient) {
	t.Helper()
	b := newConsumerBench(t, map[string]int{"t": partitions})
	young := b.client("young", "t").join()
	old := b.oldClient(true, "t")
	old.join()
	b.turns([]*oldClient{old}, young)
	return b, old, young
}
