package actors

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/storage/crashfs"
	"github.com/troupe-mq/troupe/wire"
)

// member is a client of a classic group, as far as the coordinator is concerned.
type member struct {
	c          *company
	group      wire.GroupID
	id         wire.MemberID
	generation wire.GenerationID
	leads      bool
	others     []wire.MemberID // while it leads
}

// join joins, again and again, until a rebalance has ended with this member in it.
func (m *member) join() error {
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) { // virtual
		reply, err := m.c.AskGroup(m.c.t.Context(), &wire.JoinGroup{
			Group: m.group, Member: m.id, ClientID: "test", ClientHost: "/127.0.0.1",
			SessionTimeout: 10 * time.Second, RebalanceTimeout: 10 * time.Second, ProtocolType: "consumer",
			Protocols: []wire.GroupProtocol{{Name: "range", Metadata: []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}}, MustKnowID: true,
		})
		var joined *wire.JoinedGroup
		if err == nil {
			joined, err = reply.(*wire.JoinedGroup), reply.Failure()
		}
		switch {
		case errors.Is(err, wire.MemberIDRequired):
			m.id = joined.Member
		case errors.Is(err, wire.UnknownMemberID):
			m.id = ""
		case err == nil:
			m.generation, m.leads, m.others = joined.Generation, joined.Leader == m.id, nil
			for _, other := range joined.Members {
				m.others = append(m.others, other.Member)
			}
			return nil
		case !wire.Code(err).Retriable() || time.Since(began) > time.Minute:
			return err
		}
	}
}

// sync gets the member's assignment, which a leader brings: each member's own name.
func (m *member) sync() error {
	q := &wire.SyncGroup{Group: m.group, Generation: m.generation, Member: m.id}
	for _, other := range m.others {
		q.Assignments = append(q.Assignments, wire.MemberAssignment{Member: other, Assignment: []byte(other)})
	}
	reply, err := m.c.asks(q)
	if err == nil {
		err = reply.Failure()
	}
	if err == nil && string(reply.(*wire.SyncedGroup).Assignment) != string(m.id) {
		err = errors.New("the assignment is another one")
	}
	return err
}

func (m *member) commit(offset wire.Offset) error {
	q := commitOf(m.group, "orders", offset)
	q.Generation, q.Member = m.generation, m.id
	reply, err := m.c.asks(q)
	if err == nil {
		err = errors.Join(reply.Failure(), reply.(*wire.CommittedOffsets).Errs[0])
	}
	return err
}

// together does something with all members at once.
func together(members []*member, do func(*member) error) error {
	outcomes := make(chan error)
	for _, m := range members {
		go func() { outcomes <- do(m) }()
	}
	var err error
	for range members {
		err = errors.Join(err, <-outcomes)
	}
	return err
}

func TestACoordinatorThatIsKilledInTheMiddleOfARebalanceGoesOnFromTheLog(t *testing.T) {
	for _, at := range []string{"joining", "syncing", "stable"} {
		for _, how := range []string{"panic", "stop"} {
			t.Run(at+"/"+how, func(t *testing.T) {
				withOrders(t, func(t *testing.T, c *company) { killWhile(t, c, at, how) })
			})
		}
	}
}

func killWhile(t *testing.T, c *company, at, how string) {
	c.commits("billing", "orders", 1)
	members := []*member{{c: c, group: "billing"}, {c: c, group: "billing"}, {c: c, group: "billing"}}
	kill := func() {
		synctest.Wait()
		if err := c.Kill("group/billing", how); err != nil {
			t.Error(err)
		}
	}
	joined := make(chan error, 1)
	go func() { joined <- together(members, (*member).join) }()
	if at == "joining" {
		time.Sleep(time.Second) // they are parked until the initial delay is over
		kill()
	}
	if err := <-joined; err != nil {
		t.Fatal(err)
	}
	leaders := 0
	for _, m := range members {
		if m.leads {
			leaders++
		}
		if m.generation != members[0].generation {
			t.Fatalf("generations %d and %d", m.generation, members[0].generation)
		}
	}
	if leaders != 1 {
		t.Fatalf("%d members lead", leaders)
	}
	if at == "syncing" { // the followers wait for the leader's assignment, and what they wait for is lost
		parked := make(chan error, 2)
		for _, m := range members {
			if !m.leads {
				go func() {
					_, err := c.AskGroup(t.Context(), &wire.SyncGroup{Group: m.group, Generation: m.generation, Member: m.id})
					parked <- err
				}()
			}
		}
		kill()
		for range cap(parked) {
			if err := <-parked; !errors.Is(err, wire.CoordinatorNotAvailable) {
				t.Errorf("a parked SyncGroup: %v, want COORDINATOR_NOT_AVAILABLE", err)
			}
		}
		// A generation that was not assigned is not in the log: all join again.
		if err := together(members, (*member).join); err != nil {
			t.Fatal(err)
		}
	}
	if err := together(members, (*member).sync); err != nil {
		t.Fatal(err)
	}
	if at == "stable" {
		kill()
	}
	// Whoever was a member of the last generation that is in the log still is.
	for i, m := range members {
		if err := m.commit(wire.Offset(10 + i)); err != nil {
			t.Errorf("a commit of member %d in generation %d: %v", i, m.generation, err)
		}
	}
	stranger := &member{c: c, group: "billing", id: members[0].id, generation: members[0].generation - 1}
	if err := stranger.commit(99); !errors.Is(err, wire.IllegalGeneration) {
		t.Errorf("a commit of an older generation: %v, want ILLEGAL_GENERATION", err)
	}
	c.expectCommitted("billing", "orders", 12)
}

func TestAMemberThatIsSilentIsGoneWithItsSession(t *testing.T) {
	withOrders(t, func(t *testing.T, c *company) {
		m := &member{c: c, group: "billing"}
		if err := errors.Join(m.join(), m.sync()); err != nil {
			t.Fatal(err)
		}
		state := func() wire.GroupState {
			list := c.ListGroups(t.Context(), &wire.ListGroups{})
			if list.Err != nil || len(list.Groups) != 1 || list.Groups[0].Coordinator != 1 {
				t.Fatalf("%+v", list)
			}
			return list.Groups[0].State
		}
		beats := func() error {
			reply, err := c.asks(&wire.GroupHeartbeat{Group: "billing", Member: m.id, Generation: m.generation})
			if err == nil {
				err = reply.Failure()
			}
			return err
		}
		for range 10 { // each session is extended
			time.Sleep(9 * time.Second)
			if err := beats(); err != nil || state() != wire.GroupStable {
				t.Fatal(err, state())
			}
		}
		time.Sleep(10*time.Second + 100*time.Millisecond)
		if state() != wire.GroupEmpty {
			t.Errorf("it is %s when the session is over", state())
		}
		if err := beats(); !errors.Is(err, wire.UnknownMemberID) {
			t.Errorf("a heartbeat afterwards: %v, want UNKNOWN_MEMBER_ID", err)
		}
	})
}

func TestGroupsAreConfiguredWhileTheyLive(t *testing.T) {
	withOrders(t, func(t *testing.T, c *company) {
		c.commits("billing", "orders", 1)
		c.alter(wire.ConfigResource{Type: wire.ConfigBroker}, "offset.metadata.max.bytes=3")
		for _, group := range []wire.GroupID{"billing", "new"} {
			q := commitOf(group, "orders", 2)
			q.Offsets[0].Metadata = "long"
			reply, err := c.asks(q)
			if err != nil {
				t.Fatal(err)
			}
			if err := reply.(*wire.CommittedOffsets).Errs[0]; !errors.Is(err, wire.OffsetMetadataTooLarge) {
				t.Errorf("group %s: %v, want OFFSET_METADATA_TOO_LARGE", group, err)
			}
		}
	})
}

func TestConsumersHearOfTopicsThatComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, crashfs.New())
		defer c.end()
		c.topic("orders", 2)
		heartbeat := &wire.ConsumerHeartbeat{
			Group: "billing", Member: "m", MemberEpoch: wire.MemberJoins, RebalanceTimeout: time.Minute,
			Subscribed: true, Topics: []string{"orders", "returns"}, OwnedTold: true,
		}
		assigned := func() (partitions int) {
			t.Helper()
			for range 5 {
				reply, err := c.asks(heartbeat)
				if err != nil || reply.Failure() != nil {
					t.Fatal(err, reply)
				}
				beat := reply.(*wire.ConsumerHeartbeatReply)
				heartbeat = &wire.ConsumerHeartbeat{Group: "billing", Member: "m", MemberEpoch: beat.MemberEpoch}
				if beat.Assigned {
					partitions = 0
					for _, topic := range beat.Assignment {
						partitions += len(topic.Partitions)
					}
					heartbeat.OwnedTold, heartbeat.Owned = true, beat.Assignment
				}
				time.Sleep(time.Second)
			}
			return partitions
		}
		if got := assigned(); got != 2 {
			t.Fatalf("%d partitions, want the 2 of orders", got)
		}
		c.topic("returns", 3)
		if got := assigned(); got != 5 {
			t.Errorf("%d partitions, want also the 3 of a topic that was created", got)
		}
		more := c.CreatePartitions(t.Context(), []wire.MorePartitions{{Topic: "orders", Count: 4}}, false)
		if more[0] != nil {
			t.Fatal(more[0])
		}
		if got := assigned(); got != 7 {
			t.Errorf("%d partitions, want also 2 that were added", got)
		}
		c.DeleteTopics(t.Context(), []wire.TopicRef{{Name: "returns"}})
		if got := assigned(); got != 4 {
			t.Errorf("%d partitions, want those of orders", got)
		}
	})
}

// Ten thousand idle groups are not woken because a topic has got another in-sync replica, or because one is created that
// can concern consumers of KIP-848 alone.
func TestIdleGroupsAreNotWokenForNothing(t *testing.T) {
	before := metadata.NewImage().Local(1, nil)
	for _, tc := range []struct {
		name             string
		delta            metadata.Delta
		changed, deleted bool
	}{
		{"nothing", metadata.Delta{}, false, false},
		{"a partition's state", metadata.Delta{Topics: []metadata.TopicDelta{{Partitions: []int32{0}}}}, false, false},
		{"a topic is configured", metadata.Delta{Topics: []metadata.TopicDelta{{Configured: true}}}, false, false},
		{"a topic is created", metadata.Delta{Topics: []metadata.TopicDelta{{Created: true, Partitions: []int32{0}}}}, true, false},
		{"a topic is deleted", metadata.Delta{Topics: []metadata.TopicDelta{{Created: true}, {Deleted: true}}}, true, true},
	} {
		if changed, deleted := topicsDiffer(before, before, &tc.delta); changed != tc.changed || deleted != tc.deleted {
			t.Errorf("%s: changed %t, deleted %t", tc.name, changed, deleted)
		}
	}
}
