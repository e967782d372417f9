package group

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

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
			b.sharedOut([]*oldClient{one, two}, young)
			if young.assigned.count() != 2 || len(one.owned) != 2 {
				t.Errorf("shared out as %v, %v, %v", one.owned, two.owned, young.assigned)
			}
			b.restart()
			b.sharedOut([]*oldClient{one, two}, young)

			// One of the old ones becomes a new one.
			two.leave()
			young2 := b.client("young-2", "t").join()
			b.sharedOut([]*oldClient{one}, young, young2)

			// And all go back.
			three := b.oldClient(cooperative, "t")
			young.leave()
			three.join()
			b.sharedOut([]*oldClient{one, three}, young2)
			b.folds = false
			young2.leave()
			if b.g.classic == nil || b.g.consumer != nil {
				t.Fatal("the last of the consumer protocol left, and the group is no classic one")
			}
			b.sharedOut([]*oldClient{one, three})

			b.restart()
			b.sharedOut([]*oldClient{one, three})
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
				b.sharedOut([]*oldClient{old})
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
			young.leave()
			if down := b.g.classic != nil; down != want.down {
				t.Errorf("down: %v", down)
			}
			b.sharedOut([]*oldClient{old})
		})
	}
}

// An empty group of either type is that of whoever joins first.
func TestAnEmptyGroupIsWhateverItsNextMemberSpeaks(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 2})
	b.configure(func(c *Config) { c.MigrationPolicy = MigrateNever })
	young := b.client("young", "t").join()
	young.leave()
	if got := b.g.Listed(); got.Type != wire.ConsumerGroup || got.State != wire.GroupEmpty {
		t.Fatalf("the group is %+v", got)
	}
	old := b.oldClient(false, "t")
	b.classicGroup(old)
	if got := b.g.Listed(); got.Type != wire.ClassicGroup || got.State != wire.GroupStable {
		t.Fatalf("the group is %+v", got)
	}
	old.leave()
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
			old.generation = old.rejoins().Generation
			q := &wire.SyncGroup{Group: "g", Member: old.id, Generation: old.generation}
			a := &embeddedAssignment{partitions: []topicPartitions{{"t", test.assigned}}}
			q.Assignments = []wire.MemberAssignment{{Member: old.id, Assignment: newAssignment(a)}}
			if err := b.ask(q).Failure(); err != nil {
				t.Fatal(err)
			}
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
			b.sharedOut([]*oldClient{old}, young)
		})
	}
}

// What was sent in an epoch before, and comes late, must not pass for something of the group that has no one of those members.
func TestAnEmptyGroupGoesOnCountingWhenItChangesItsProtocol(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 2})
	young := b.client("young", "t").join()
	epoch := young.epoch
	young.leave()
	old := b.oldClient(false, "t")
	b.classicGroup(old)
	if int32(old.generation) <= epoch {
		t.Fatalf("the classic group begins with %d after epoch %d", old.generation, epoch)
	}
	old.leave()
	if young = b.client("young", "t").join(); young.epoch <= int32(old.generation) {
		t.Fatalf("the group of KIP-848 begins with %d after generation %d", young.epoch, old.generation)
	}
}

// A static member may change its protocol: the next with its instance takes its place. The last one that does makes the group a classic
// one.
func TestAStaticMemberChangesItsProtocol(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 2})
	old := b.oldClient(true, "t")
	old.instance = "i"
	b.classicGroup(old)
	young := b.client("young", "t").as("i").join()
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
	b.sharedOut([]*oldClient{other, back})
}
