package group

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// consumerBench drives one group by hand: it keeps the log, a clock, and the cluster's metadata.
type consumerBench struct {
	t    testing.TB
	g    *Group
	view *cluster
	now  time.Time
	log  []Record
	call Call
	last Effects
	ids  int
	// answers are those that were not taken yet.
	answers map[Call]wire.GroupReply
	// folds says that after each event the log is folded again and compared.
	folds bool
}

func newConsumerBench(t testing.TB, topics map[string]int) *consumerBench {
	b := &consumerBench{
		t: t, view: clusterOf(topics), now: time.UnixMilli(1_700_000_000_000), folds: true,
		answers: map[Call]wire.GroupReply{},
	}
	b.g = New("g", b.config(nil))
	return b
}

func (b *consumerBench) config(change func(*Config)) Config {
	c := Default()
	c.NewMemberID = func(name string) wire.MemberID {
		b.ids++
		return wire.MemberID(fmt.Sprintf("%s-%d", name, b.ids))
	}
	if change != nil {
		change(&c)
	}
	return c
}

func (b *consumerBench) configure(change func(*Config)) { b.g.Configure(b.config(change)) }

// took notes what an event came to.
func (b *consumerBench) took(e Effects) {
	b.t.Helper()
	b.last = e
	for _, a := range e.Answers {
		b.answers[a.Call] = a.Reply
	}
	for _, r := range e.Records {
		b.log = append(b.log, Record{Key: slices.Clone(r.Key), Value: slices.Clone(r.Value)})
	}
	if b.folds {
		b.checkFold()
	}
}

// ask asks the group and returns the one answer.
func (b *consumerBench) ask(q wire.GroupRequest) wire.GroupReply {
	b.t.Helper()
	b.call++
	b.took(b.g.Handle(q, b.call, b.view, b.now))
	return b.take(b.call)
}

// take returns the answer of a call, or nil when it is awaited.
func (b *consumerBench) take(call Call) wire.GroupReply {
	reply := b.answers[call]
	delete(b.answers, call)
	return reply
}

// pass lets time pass, with all the ticks that become due, and one at the end.
func (b *consumerBench) pass(d time.Duration) {
	b.t.Helper()
	end := b.now.Add(d)
	for due := b.last.Deadline; due.After(b.now) && due.Before(end); due = b.last.Deadline {
		b.now = due
		b.took(b.g.Tick(b.view, b.now))
	}
	b.now = end
	b.took(b.g.Tick(b.view, b.now))
}

func (b *consumerBench) topics(topics map[string]int) {
	b.t.Helper()
	b.view = clusterOf(topics)
	b.took(b.g.TopicsChanged(b.view, b.now))
}

// restart lets another coordinator take over.
func (b *consumerBench) restart() {
	b.t.Helper()
	config := *b.g.config
	b.g = b.folded(b.log)
	b.g.Configure(config)
	b.took(b.g.Loaded(b.view, b.now))
}

// folded is the group as another coordinator makes it of a log.
func (b *consumerBench) folded(log []Record) *Group {
	b.t.Helper()
	g := New("g", *b.g.config)
	for _, r := range log {
		if err := g.Replay(r); err != nil {
			b.t.Fatal(err)
		}
	}
	return g
}

// checkFold proves that the state is what the log says.
func (b *consumerBench) checkFold() {
	b.t.Helper()
	want := persisted(b.g)
	for name, log := range map[string][]Record{"log": b.log, "compacted log": compacted(b.log)} {
		fold := b.folded(log)
		fold.Loaded(b.view, b.now)
		if got := persisted(fold); got != want {
			b.t.Fatalf("the %s says:\n%s\nthe group is:\n%s", name, got, want)
		}
	}
}

// persisted tells all of a group of KIP-848 that outlives its coordinator.
func persisted(g *Group) string {
	c := g.consumer
	if c == nil {
		return "no consumer group"
	}
	s := fmt.Sprintf("epoch %d, targets of %d, hash %x, patterns %v\n", c.epoch, c.assignmentEpoch, hashOf(c), c.recorded)
	for _, m := range c.members {
		classic := classicMemberValue{}
		if m.said.classic != nil {
			classic = *m.said.classic
		}
		said := m.said
		said.classic = nil
		s += fmt.Sprintf("%s: %+v %+v target %v standing %+v\n", m.id, said, classic, m.target, m.standing)
	}
	return s
}

// hashOf is that which the log has: the group's own may be newer than its epoch.
func hashOf(c *consumer) uint64 {
	return c.loggedHash
}

// consumerClient is a member of the consumer protocol, as a client library has it: it gives up what it is no more assigned
// when it likes, and tells what it has.
type consumerClient struct {
	b        *consumerBench
	id       wire.MemberID
	instance string
	epoch    int32
	topics   []string
	pattern  string
	assignor string
	assigned assignment // what it was told last
	owned    assignment // what it uses
	err      error      // of its last heartbeat
	unsure   bool       // an answer was lost: it tells everything, to be told everything
}

func (b *consumerBench) client(id string, topics ...string) *consumerClient {
	return &consumerClient{b: b, id: wire.MemberID(id), topics: topics}
}

// as makes it a static member.
func (m *consumerClient) as(instance string) *consumerClient {
	m.instance = instance
	return m
}

// join joins, or joins again.
func (m *consumerClient) join() *consumerClient {
	m.b.t.Helper()
	m.owned, m.epoch = nil, 0
	q := m.request(0)
	q.OwnedTold, q.Subscribed, q.Topics, q.Pattern = true, true, m.topics, &m.pattern
	q.RebalanceTimeout = time.Minute
	q.Assignor = m.assignor
	m.send(q)
	return m
}

func (m *consumerClient) request(epoch int32) *wire.ConsumerHeartbeat {
	return &wire.ConsumerHeartbeat{
		Group: "g", Member: m.id, MemberEpoch: epoch, Instance: m.instance, ClientID: "client", ClientHost: "/127.0.0.1",
	}
}

func (m *consumerClient) send(q *wire.ConsumerHeartbeat) *wire.ConsumerHeartbeatReply {
	m.b.t.Helper()
	reply, ok := m.b.ask(q).(*wire.ConsumerHeartbeatReply)
	if !ok {
		m.b.t.Fatalf("a heartbeat is not answered")
	}
	m.err = reply.Err
	if reply.Err == nil {
		m.epoch = reply.MemberEpoch
		m.id = reply.Member
		if reply.Assigned {
			m.assigned = reply.Assignment
		}
	}
	return reply
}

// leave ends it; pause does so to a static member, for whose instance another one is to come.
func (m *consumerClient) leave() {
	m.b.t.Helper()
	m.send(m.request(wire.MemberLeaves))
}

func (m *consumerClient) pause() *wire.ConsumerHeartbeatReply {
	m.b.t.Helper()
	return m.send(m.request(wire.StaticMemberPauses))
}

// beat sends what there is to tell.
func (m *consumerClient) beat() *wire.ConsumerHeartbeatReply {
	m.b.t.Helper()
	q := m.request(m.epoch)
	q.OwnedTold, q.Owned = true, m.owned
	return m.send(q)
}

// adopt gives up what it is not assigned, and uses what it is.
func (m *consumerClient) adopt() { m.owned = m.assigned }

// settle beats until nothing changes any more, as all members do.
func (b *consumerBench) settle(members ...*consumerClient) {
	b.t.Helper()
	for range 20 {
		for _, m := range members {
			m.beat()
			if m.err != nil {
				b.t.Fatalf("member %s: %v", m.id, m.err)
			}
			m.adopt()
		}
		if b.g.state() == wire.GroupStable {
			return
		}
	}
	b.t.Fatalf("the group is %s", b.g.state())
}

func (m *consumerClient) wants(code wire.ErrorCode) {
	m.b.t.Helper()
	if !errors.Is(m.err, code) {
		m.b.t.Fatalf("member %s was told %v, and not %s", m.id, m.err, code.Name())
	}
}

// commit commits offsets of all that it uses of t.
func (m *consumerClient) commit() error {
	m.b.t.Helper()
	q := &wire.CommitOffsets{Group: "g", Member: m.id, Generation: wire.GenerationID(m.epoch), Modern: true}
	for _, p := range m.owned.partitionsOf(topicID("t")) {
		q.Offsets = append(q.Offsets, wire.OffsetCommit{Topic: "t", Partition: p, Offset: 1})
	}
	reply, _ := m.b.ask(q).(*wire.CommittedOffsets)
	if reply == nil {
		m.b.t.Fatal("a commit is not answered")
	}
	return errors.Join(append(reply.Errs, reply.Err)...)
}

// target is what the group is to give it.
func (m *consumerClient) target() assignment { return m.b.g.consumer.byID[m.id].target }

func (m *consumerClient) has(partitions ...int32) {
	m.b.t.Helper()
	if got := m.assigned.partitionsOf(topicID("t")); !slices.Equal(got, partitions) {
		m.b.t.Fatalf("member %s has %v, and not %v", m.id, got, partitions)
	}
}
