package group

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// TestTheStateIsAlwaysAFoldOfTheLog does anything in any order, and the desk compares after each event: with the whole log
// and with what compaction leaves of it. In the end, each call has its answer.
func TestTheStateIsAlwaysAFoldOfTheLog(t *testing.T) {
	seeds := 60
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			c := newChaos(t, uint64(seed))
			for range 200 {
				c.step()
			}
			c.settle()
		})
	}
}

// chaos is a group's surroundings, where everything happens that can. It remembers what it was told, so that most of what it
// asks makes sense.
type chaos struct {
	*desk

	r          *rand.Rand
	ids        []wire.MemberID
	generation wire.GenerationID
	epochs     map[wire.MemberID]int32
}

func newChaos(t *testing.T, seed uint64) *chaos {
	c := &chaos{r: rand.New(rand.NewPCG(seed, 0)), epochs: map[wire.MemberID]int32{}}
	c.desk = newDesk(t, func(config *Config) {
		if c.r.IntN(2) == 0 {
			config.MaxSize = 4
		}
		if c.r.IntN(2) == 0 {
			config.InitialRebalanceDelay = 0
		}
	})
	return c
}

// member is a member that was heard of, or nobody.
func (c *chaos) member() wire.MemberID {
	if len(c.ids) == 0 || c.r.IntN(10) == 0 {
		return wire.MemberID(pick(c.r, "", "nobody"))
	}
	return c.ids[c.r.IntN(len(c.ids))]
}

func (c *chaos) instance() string { return pick(c.r, "", "", "", "a", "b") }

func pick[T any](r *rand.Rand, all ...T) T { return all[r.IntN(len(all))] }

// anyGeneration is most often the present one.
func (c *chaos) anyGeneration() wire.GenerationID {
	return c.generation + wire.GenerationID(pick(c.r, 0, 0, 0, 0, 0, -1, 1))
}

// step does one thing, and takes over what it is told.
func (c *chaos) step() {
	c.t.Helper()
	switch n := c.r.IntN(100); {
	case n < 25:
		c.call(c.anyJoin())
	case n < 45:
		c.call(c.anySync())
	case n < 52:
		c.call(&wire.GroupHeartbeat{Group: "g", Member: c.member(), Generation: c.anyGeneration()})
	case n < 58:
		c.call(&wire.LeaveGroup{Group: "g", Members: []wire.LeavingMember{{Member: c.member(), Instance: c.instance()}, {Member: c.member()}}})
	case n < 70:
		c.call(c.anyCommit())
	case n < 72:
		c.call(&wire.DeleteOffsets{Group: "g", Topics: []wire.NamedPartitions{{Topic: "payments", Partitions: []int32{0, 1}}, {Topic: "orders", Partitions: []int32{2}}}})
	case n < 73:
		c.call(&wire.DeleteGroup{Group: "g"})
	case n < 80:
		c.call(c.anyHeartbeat())
	case n < 83:
		c.cancel()
	case n < 85:
		c.move()
	case n < 88:
		c.changeTopics()
	case n < 90:
		c.pass(time.Duration(c.r.IntN(8*24)) * time.Hour)
	default:
		c.pass(time.Duration(c.r.IntN(15)) * time.Second)
	}
	c.learn()
}

func (c *chaos) anyJoin() *wire.JoinGroup {
	q := joining(c.member(), pick(c.r, []string{"range"}, []string{"sticky", "range"}, []string{"sticky"})...)
	if c.r.IntN(2) == 0 {
		q.Member = ""
	}
	q.Instance = c.instance()
	q.MustKnowID = q.Instance == "" && c.r.IntN(2) == 0
	q.MaySkipAssignment = c.r.IntN(2) == 0
	q.ProtocolType = pick(c.r, "consumer", "consumer", "consumer", "consumer", "connect")
	for i := range q.Protocols {
		q.Protocols[i].Metadata = pick(c.r, subscribing("orders"), subscribing("payments"), owning(topicPartitions{"orders", []int32{0, 3}}), []byte("?"))
	}
	return q
}

func (c *chaos) anySync() *wire.SyncGroup {
	q := &wire.SyncGroup{Group: "g", Member: c.member(), Generation: c.anyGeneration()}
	if classic := c.g.classic; classic != nil && c.r.IntN(2) == 0 {
		q.Member = classic.leader
		for i, m := range classic.members {
			q.Assignments = append(q.Assignments, wire.MemberAssignment{Member: m.id, Assignment: assigning(int32(i % 6))})
		}
	}
	return q
}

func (c *chaos) anyCommit() *wire.CommitOffsets {
	q := &wire.CommitOffsets{Group: "g", Member: c.member(), Generation: c.anyGeneration()}
	if c.r.IntN(3) == 0 {
		q.Member, q.Generation = "", wire.NoGeneration
	}
	for range 1 + c.r.IntN(4) {
		q.Offsets = append(q.Offsets, wire.OffsetCommit{
			Topic: pick(c.r, "orders", "payments", "nothing"), Partition: int32(c.r.IntN(7)), Offset: wire.Offset(c.r.IntN(100)),
			LeaderEpoch: wire.LeaderEpoch(c.r.IntN(3) - 1), Metadata: pick(c.r, "", "", "some"),
			ExpiresAfter: time.Duration(pick(c.r, 0, 0, 0, 2)) * time.Hour,
		})
	}
	return q
}

func (c *chaos) anyHeartbeat() *wire.ConsumerHeartbeat {
	id := wire.MemberID(fmt.Sprintf("modern-%d", c.r.IntN(3)))
	epoch := c.epochs[id]
	if c.r.IntN(5) == 0 {
		epoch = int32(pick(c.r, 0, -1, 7))
	}
	q := &wire.ConsumerHeartbeat{Group: "g", Member: id, MemberEpoch: epoch, ClientID: "client", ClientHost: "/127.0.0.1"}
	if epoch == 0 {
		q.RebalanceTimeout = 30 * time.Second
		q.Subscribed, q.Topics, q.OwnedTold = true, []string{pick(c.r, "orders", "payments")}, true
	}
	return q
}

func (c *chaos) cancel() {
	for _, call := range slices.Sorted(maps.Keys(c.parked)) {
		if c.r.IntN(2) == 0 {
			delete(c.parked, call)
			c.effect(c.g.Cancel(call, c.now))
		}
	}
}

// changeTopics deletes a topic, or makes it again under the same name.
func (c *chaos) changeTopics() {
	next := map[string]int{"orders": 6, "__internal": 1}
	if c.r.IntN(2) == 0 {
		next["payments"] = 3
	}
	before, existed := c.view.Topic("payments")
	c.view = clusterOf(next)
	if topic, exists := c.view.topics["payments"]; exists {
		topic.ID = before.ID
		if !existed {
			topic.ID = topicID(fmt.Sprintf("payments%d", c.r.IntN(1000)))
		}
		c.view.topics["payments"] = topic
	}
	c.effect(c.g.TopicsChanged(c.view, c.now))
}

// learn takes over what the last answers say.
func (c *chaos) learn() {
	for call, reply := range c.answers {
		delete(c.answers, call)
		switch reply := reply.(type) {
		case *wire.JoinedGroup:
			if reply.Member != "" && !slices.Contains(c.ids, reply.Member) {
				c.ids = append(c.ids, reply.Member)
				slices.Sort(c.ids)
			}
			if reply.Err == nil {
				c.generation = max(c.generation, reply.Generation)
			}
		case *wire.ConsumerHeartbeatReply:
			if reply.Err == nil && reply.Member != "" {
				c.epochs[reply.Member] = max(reply.MemberEpoch, 0)
			}
		}
	}
	if c.gone {
		c.generation = 0
	}
}

// settle lets everything come to its end: nobody waits for ever, and nothing stays of a group that nobody uses.
func (c *chaos) settle() {
	c.t.Helper()
	c.pass(time.Hour)
	if len(c.parked) > 0 {
		c.t.Errorf("calls that are never answered: %v", c.parked)
	}
	if !c.g.empty() {
		c.t.Errorf("members that were not heard of for an hour: %+v", ask[*wire.GroupDescription](c.desk, &wire.DescribeGroup{Group: "g"}))
	}
	c.pass(60 * 24 * time.Hour)
	if !c.gone || !c.replayed().gone() {
		c.t.Errorf("the group is not forgotten: %+v, %d offsets, due %v, now %v", c.g.Listed(), c.g.offsets.count, c.due, c.now)
	}
}
