package group

import (
	"errors"
	"fmt"
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

// KIP-848: an application changes from the classic protocol to the new one, one process after the other, and back.
func TestAGroupMovesToTheConsumerProtocolAndBack(t *testing.T) {
	for _, cooperative := range []bool{false, true} {
		t.Run(fmt.Sprint("cooperative=", cooperative), func(t *testing.T) {
			b := newConsumerBench(t, map[string]int{"t": 6})
			one, two := b.oldClient(cooperative, "t"), b.oldClient(cooperative, "t")
			b.classicGroup(one, two)
			b.checkShares([]*oldClient{one, two})

			young := b.client("young", "t").join()
			b.folds = true
			if young.err != nil || b.g.consumer == nil || b.g.classic != nil {
				t.Fatalf("the group did not change: %v", young.err)
			}
			young.has() // the others have everything, and do not know yet
			b.turns([]*oldClient{one, two}, young)
			b.checkShares([]*oldClient{one, two}, young)
			if young.assigned.count() != 2 || len(one.owned) != 2 {
				t.Errorf("shared out as %v, %v, %v", one.owned, two.owned, young.assigned)
			}
			b.restart()
			b.turns([]*oldClient{one, two}, young)
			b.checkShares([]*oldClient{one, two}, young)

			// One of the old ones becomes a new one.
			b.ask(&wire.LeaveGroup{Group: "g", Members: []wire.LeavingMember{{Member: two.id}}})
			young2 := b.client("young-2", "t").join()
			b.turns([]*oldClient{one}, young, young2)
			b.checkShares([]*oldClient{one}, young, young2)

			// And all go back.
			three := b.oldClient(cooperative, "t")
			young.send(young.request(wire.MemberLeaves))
			three.join()
			b.turns([]*oldClient{one, three}, young2)
			b.checkShares([]*oldClient{one, three}, young2)
			b.folds = false
			young2.send(young2.request(wire.MemberLeaves))
			if b.g.classic == nil || b.g.consumer != nil {
				t.Fatal("the last of the consumer protocol left, and the group is no classic one")
			}
			b.turns([]*oldClient{one, three})
			b.checkShares([]*oldClient{one, three})

			b.restart()
			b.turns([]*oldClient{one, three})
			b.checkShares([]*oldClient{one, three})
		})
	}
}

func TestTheMigrationPolicyIsKept(t *testing.T) {
	for policy, want := range map[MigrationPolicy]struct{ up, down bool }{
		MigrateBoth: {true, true}, MigrateUp: {true, false}, MigrateDown: {false, true}, MigrateNever: {false, false},
	} {
		t.Run(string(policy), func(t *testing.T) {
			b := newConsumerBench(t, map[string]int{"t": 2})
			b.configure(func(c *Config) { c.MigrationPolicy = policy })
			old := b.oldClient(true, "t")
			b.classicGroup(old)
			young := b.client("young", "t").join()
			if up := young.err == nil; up != want.up {
				t.Errorf("up: %v, told %v", up, young.err)
			}
			if !want.up {
				young.wants(wire.GroupIDNotFound)
				b.turns([]*oldClient{old})
				b.checkShares([]*oldClient{old})
			}

			b = newConsumerBench(t, map[string]int{"t": 2})
			b.configure(func(c *Config) { c.MigrationPolicy = policy })
			young = b.client("young", "t").join()
			old = b.oldClient(true, "t")
			old.join() // a group of the consumer protocol takes members of the classic one whatever the policy
			if old.err != nil {
				t.Fatal(old.err)
			}
			b.folds = false
			young.send(young.request(wire.MemberLeaves))
			if down := b.g.classic != nil; down != want.down {
				t.Errorf("down: %v", down)
			}
			b.turns([]*oldClient{old})
			b.checkShares([]*oldClient{old})
		})
	}
}

// An empty group of either type is that of whoever joins first.
func TestAnEmptyGroupIsWhateverItsNextMemberSpeaks(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 2})
	b.configure(func(c *Config) { c.MigrationPolicy = MigrateNever })
	young := b.client("young", "t").join()
	young.send(young.request(wire.MemberLeaves))
	if got := b.g.Listed(); got.Type != wire.ConsumerGroup || got.State != wire.GroupEmpty {
		t.Fatalf("the group is %+v", got)
	}
	old := b.oldClient(false, "t")
	b.classicGroup(old)
	if got := b.g.Listed(); got.Type != wire.ClassicGroup || got.State != wire.GroupStable {
		t.Fatalf("the group is %+v", got)
	}
	b.ask(&wire.LeaveGroup{Group: "g", Members: []wire.LeavingMember{{Member: old.id}}})
	young = b.client("young", "t").join()
	if got := b.g.Listed(); young.err != nil || got.Type != wire.ConsumerGroup || got.State != wire.GroupStable {
		t.Fatalf("the group is %+v: %v", got, young.err)
	}
	b.checkFold()
}

// A member that is not one of consumers, or whose words cannot be read, has no place in a group of KIP-848, and changes nothing.
func TestOnlyConsumersMayJoinAGroupOfTheConsumerProtocol(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 2})
	b.client("young", "t").join()
	good := b.oldClient(false, "t").protocols()
	for name, change := range map[string]func(*wire.JoinGroup){
		"other protocol type":    func(q *wire.JoinGroup) { q.ProtocolType = "connect" },
		"no protocols":           func(q *wire.JoinGroup) { q.Protocols = nil },
		"malformed subscription": func(q *wire.JoinGroup) { q.Protocols[0].Metadata = []byte{0, 1, 0x7f} },
	} {
		t.Run(name, func(t *testing.T) {
			q := &wire.JoinGroup{
				Group: "g", SessionTimeout: 10 * time.Second, RebalanceTimeout: 10 * time.Second,
				ProtocolType: consumerProtocolType, Protocols: slices.Clone(good),
			}
			change(q)
			before := persisted(b.g)
			if reply := b.ask(q); wire.Code(reply.Failure()) != wire.InconsistentGroupProtocol {
				t.Errorf("told %v", reply.Failure())
			}
			if persisted(b.g) != before {
				t.Error("the group has changed")
			}
		})
	}
}

func TestAGroupWhoseAssignmentsCannotBeReadStaysClassic(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 2})
	old := b.oldClient(false, "t")
	b.classicGroup(old)
	b.g.classic.members[0].assignment = []byte{0}
	young := b.client("young", "t").join()
	young.wants(wire.GroupIDNotFound)
	if b.g.consumer != nil || len(b.last.Records) > 0 {
		t.Error("the group has changed")
	}
	if old.beat(); old.err != nil {
		t.Error(old.err)
	}
}

// Members of the classic protocol have generations: the errors are those that they know.
func TestAClassicMemberIsFencedByItsGeneration(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 2})
	young := b.client("young", "t").join()
	old := b.oldClient(true, "t")
	old.join()
	b.turns([]*oldClient{old}, young)
	g := old.generation
	for name, test := range map[string]struct {
		q    wire.GroupRequest
		want wire.ErrorCode
	}{
		"heartbeat of an old generation": {&wire.GroupHeartbeat{Group: "g", Member: old.id, Generation: g - 1}, wire.IllegalGeneration},
		"sync of an old generation":      {&wire.SyncGroup{Group: "g", Member: old.id, Generation: g - 1}, wire.IllegalGeneration},
		"sync of another protocol":       {&wire.SyncGroup{Group: "g", Member: old.id, Generation: g, Protocol: "x"}, wire.InconsistentGroupProtocol},
		"heartbeat of nobody":            {&wire.GroupHeartbeat{Group: "g", Member: "x", Generation: g}, wire.UnknownMemberID},
		"heartbeat of a new member":      {&wire.GroupHeartbeat{Group: "g", Member: "young", Generation: g}, wire.UnknownMemberID},
		"commit of an old generation":    {&wire.CommitOffsets{Group: "g", Member: old.id, Generation: g - 1, Modern: true}, wire.IllegalGeneration},
		"fetch of an old generation":     {&wire.FetchOffsets{Group: "g", Member: old.id, MemberEpoch: int32(g) - 1}, wire.IllegalGeneration},
		"fetch of an old epoch":          {&wire.FetchOffsets{Group: "g", Member: "young", MemberEpoch: 0}, wire.StaleMemberEpoch},
		"fetch of nobody":                {&wire.FetchOffsets{Group: "g", Member: "x", MemberEpoch: 1}, wire.UnknownMemberID},
		"fetch of a tool":                {&wire.FetchOffsets{Group: "g", MemberEpoch: -1}, wire.None},
		"commit of a new member by an old request": {
			&wire.CommitOffsets{Group: "g", Member: "young", Generation: wire.GenerationID(young.epoch)}, wire.UnsupportedVersion,
		},
		"commit of a tool": {&wire.CommitOffsets{Group: "g", Generation: -1}, wire.UnknownMemberID},
	} {
		t.Run(name, func(t *testing.T) {
			if reply := b.ask(test.q); wire.Code(reply.Failure()) != test.want {
				t.Errorf("told %v, want %s", reply.Failure(), test.want.Name())
			}
		})
	}
}

func TestAClassicMemberThatDoesNotRejoinIsFenced(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 2})
	young := b.client("young", "t").join()
	old := b.oldClient(true, "t")
	old.join()
	b.turns([]*oldClient{old}, young)
	b.topics(map[string]int{"t": 4})
	young.beat()
	for i := range 20 { // it sends heartbeats, is told to join, and does not
		reply := b.ask(&wire.GroupHeartbeat{Group: "g", Member: old.id, Generation: old.generation})
		want := wire.RebalanceInProgress
		if i*5 >= 60 {
			want = wire.UnknownMemberID
		}
		if wire.Code(reply.Failure()) != want {
			t.Fatalf("after %d s: %v", i*5, reply.Failure())
		}
		young.beat()
		young.adopt()
		b.pass(5 * time.Second)
	}
	young.has(0, 1, 2, 3)
}

// Its partitions may be another member's by now, and it would commit them once more as a member in good standing.
func TestAClassicMemberThatWasTakenOutComesBackAsANewOneOnly(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 2})
	young := b.client("young", "t").join()
	old := b.oldClient(true, "t")
	old.join()
	b.turns([]*oldClient{old}, young)
	if len(old.owned) == 0 {
		t.Fatal("it has nothing to lose")
	}
	for range 10 { // it is not heard of
		b.pass(5 * time.Second)
		young.beat()
		young.adopt()
	}
	young.has(0, 1)
	old.join()
	if !errors.Is(old.err, wire.UnknownMemberID) {
		t.Fatalf("it joins with what it had and hears %v", old.err)
	}
	old.id, old.owned, old.generation = "", nil, wire.NoGeneration
	old.join()
	if old.err != nil {
		t.Fatalf("it joins as a new one and hears %v", old.err)
	}
}

func TestAClassicMemberThatDoesNotSyncIsFenced(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 2})
	young := b.client("young", "t").join()
	old := b.oldClient(true, "t")
	old.join()
	b.turns([]*oldClient{old}, young)
	b.ask(&wire.JoinGroup{
		Group: "g", Member: old.id, SessionTimeout: 45 * time.Second, RebalanceTimeout: time.Minute,
		ProtocolType: consumerProtocolType, Protocols: old.protocols(),
	})
	for i := range 13 {
		reply := b.ask(&wire.GroupHeartbeat{Group: "g", Member: old.id, Generation: old.generation})
		want := wire.None
		if i == 12 {
			want = wire.UnknownMemberID
		}
		if wire.Code(reply.Failure()) != want {
			t.Fatalf("after %d s: %v", i*5, reply.Failure())
		}
		young.beat()
		b.pass(5 * time.Second)
	}
}

// A group that has another epoch by the time that a member syncs has it join once more.
func TestASyncThatComesTooLateIsARebalanceInProgress(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 2})
	young := b.client("young", "t").join()
	old := b.oldClient(true, "t")
	old.join()
	b.turns([]*oldClient{old}, young)
	b.topics(map[string]int{"t": 4})
	young.beat()
	reply := b.ask(&wire.SyncGroup{Group: "g", Member: old.id, Generation: old.generation})
	if wire.Code(reply.Failure()) != wire.RebalanceInProgress {
		t.Errorf("told %v", reply.Failure())
	}
	b.turns([]*oldClient{old}, young)
	b.checkShares([]*oldClient{old}, young)
}

// What a leader took from a cooperative member is the member's until it joins again, and what a leader knows of that this
// broker does not is nobody else's: a group that moves must not give either away.
func TestNothingIsFreeThatAMemberMayHaveWhenItsGroupMoves(t *testing.T) {
	for name, test := range map[string]struct {
		known    int     // partitions of the topic, when the group moves
		assigned []int32 // of the three that the leader had and knows
	}{
		"given up, and not done with": {known: 3, assigned: []int32{0}},
		"not known here yet":          {known: 1, assigned: []int32{0, 1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newConsumerBench(t, map[string]int{"t": 3})
			old := b.oldClient(true, "t")
			b.classicGroup(old)
			q := &wire.SyncGroup{Group: "g", Member: old.id}
			q.Generation = b.ask(&wire.JoinGroup{
				Group: "g", Member: old.id, SessionTimeout: 45 * time.Second, RebalanceTimeout: time.Minute,
				ProtocolType: consumerProtocolType, Protocols: old.protocols(),
			}).(*wire.JoinedGroup).Generation
			a := &embeddedAssignment{partitions: []topicPartitions{{"t", test.assigned}}}
			q.Assignments = []wire.MemberAssignment{{Member: old.id, Assignment: newAssignment(a)}}
			if err := b.ask(q).Failure(); err != nil {
				t.Fatal(err)
			}
			old.generation = q.Generation
			b.topics(map[string]int{"t": test.known})
			young := b.client("young", "t").join()
			b.topics(map[string]int{"t": 3})
			for range 3 {
				young.beat()
				young.adopt()
				young.has()
				b.pass(5 * time.Second)
			}
			old.owned = test.assigned
			b.turns([]*oldClient{old}, young)
			b.checkShares([]*oldClient{old}, young)
		})
	}
}

// What was sent in an epoch before, and comes late, must not pass for something of the group that has no one of those members.
func TestAnEmptyGroupGoesOnCountingWhenItChangesItsProtocol(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 2})
	young := b.client("young", "t").join()
	epoch := young.epoch
	young.send(young.request(wire.MemberLeaves))
	old := b.oldClient(false, "t")
	b.classicGroup(old)
	if int32(old.generation) <= epoch {
		t.Fatalf("the classic group begins with %d after epoch %d", old.generation, epoch)
	}
	b.ask(&wire.LeaveGroup{Group: "g", Members: []wire.LeavingMember{{Member: old.id}}})
	if young = b.client("young", "t").join(); young.epoch <= int32(old.generation) {
		t.Fatalf("the group of KIP-848 begins with %d after generation %d", young.epoch, old.generation)
	}
}

func TestLeavingByTheClassicProtocol(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 3})
	young, static, gone := b.client("young", "t").join(), b.client("static", "t"), b.client("gone", "t").join()
	static.instance = "i"
	static.join()
	old := b.oldClient(true, "t")
	old.join()
	b.turns([]*oldClient{old}, young, static, gone)
	reply := b.ask(&wire.LeaveGroup{Group: "g", Members: []wire.LeavingMember{
		{Member: "gone"},                 // an operator takes it out
		{Member: "x", Instance: "i"},     // is not the member with the instance
		{Member: "x"},                    // is nobody
		{Instance: "i"},                  // so is this one
		{Member: old.id, Reason: "done"}, // leaves
		{Member: old.id},
	}}).(*wire.LeftGroup)
	var got []string
	for _, m := range reply.Members {
		got = append(got, wire.Code(m.Err).Name())
	}
	want := []string{"NONE", "FENCED_INSTANCE_ID", "UNKNOWN_MEMBER_ID", "NONE", "NONE", "UNKNOWN_MEMBER_ID"}
	if !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
	b.settle(young)
	young.has(0, 1, 2)
}

// A static member may change its protocol: the next with its instance takes its place. The last one that does makes the group a classic
// one.
func TestAStaticMemberChangesItsProtocol(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 2})
	old := b.oldClient(true, "t")
	old.instance = "i"
	b.classicGroup(old)
	young := b.client("young", "t")
	young.instance = "i"
	young.join()
	b.folds = true
	b.settle(young)
	young.has(0, 1)
	if len(b.g.consumer.members) != 1 {
		t.Fatalf("the members are\n%s", persisted(b.g))
	}
	other := b.oldClient(true, "t")
	other.join()
	b.turns([]*oldClient{other}, young)
	b.folds = false
	back := b.oldClient(true, "t")
	back.instance = "i"
	back.join()
	if b.g.classic == nil {
		t.Fatal("all speak the classic protocol, and the group is no classic one")
	}
	b.turns([]*oldClient{other, back})
	b.checkShares([]*oldClient{other, back})
}
