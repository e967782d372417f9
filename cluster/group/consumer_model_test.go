package group

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// TestNoPartitionEverHasTwoWhoseCommitsAreAccepted drives groups with members that come, go, crash, pause, are slow, and lose
// answers, while topics change and coordinators move. In every other run some of them speak the classic protocol, so that
// the group changes its own time and again. After every step no two members that believe to own a partition can commit
// it, and the state is what the log says. When all is quiet again, everything is shared out evenly.
func TestNoPartitionEverHasTwoWhoseCommitsAreAccepted(t *testing.T) {
	seeds := uint64(50)
	if testing.Short() {
		seeds = 20
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { newConsumerModel(t, seed).run() })
	}
}

type consumerModel struct {
	*consumerBench
	r       *rand.Rand
	clients []*consumerClient
	made    int
	late    []*wire.ConsumerHeartbeat // requests that may come once more
	mixed   bool
	olds    []*oldClient // eager members of the classic protocol
}

func newConsumerModel(t *testing.T, seed uint64) *consumerModel {
	w := &consumerModel{r: rand.New(rand.NewPCG(seed, 848)), mixed: seed%2 == 1}
	w.consumerBench = newConsumerBench(t, w.someTopics())
	w.folds = !w.mixed // a classic group in a rebalance is not what its log says
	return w
}

func (w *consumerModel) someTopics() map[string]int {
	topics := map[string]int{"t": 1 + w.r.IntN(8), "u": 1 + w.r.IntN(4)}
	if w.r.IntN(3) == 0 {
		topics["v"] = 1 + w.r.IntN(3)
	}
	return topics
}

func (w *consumerModel) run() {
	for range 120 {
		w.step()
		w.check()
	}
	w.comeToRest()
}

func (w *consumerModel) step() {
	if w.mixed && w.r.IntN(3) == 0 {
		w.stepOld()
		return
	}
	if len(w.clients) == 0 || w.r.IntN(12) == 0 && len(w.clients) < 6 {
		w.arrive()
		return
	}
	m := w.clients[w.r.IntN(len(w.clients))]
	switch w.r.IntN(20) {
	case 0:
		w.leave(m)
	case 1: // it crashes, and goes on believing that it owns what it had
		w.clients = slices.DeleteFunc(w.clients, func(o *consumerClient) bool { return o == m && w.r.IntN(2) == 0 })
	case 2:
		w.topics(w.someTopics())
	case 3:
		w.restart()
		for _, m := range w.olds { // the connections ended, and nobody answers
			m.joining, m.syncing = 0, 0
		}
	case 4:
		w.pass(time.Duration(w.r.IntN(50)) * time.Second)
	case 5, 6:
		w.pass(5 * time.Second)
	case 7:
		m.topics = [][]string{{"t"}, {"u"}, {"t", "u"}}[w.r.IntN(3)]
		q := m.request(m.epoch)
		q.OwnedTold, q.Owned, q.Subscribed, q.Topics = true, m.owned, true, m.topics
		w.say(m, q)
	case 8:
		if len(w.late) > 0 { // it was on its way for long, and nobody hears the answer
			w.ask(w.late[w.r.IntN(len(w.late))])
		}
	case 9, 10, 11: // some of what it is to give up, or all
		m.owned = m.owned.filter(func(tp wire.TopicPartition) bool {
			return m.assigned.has(tp.Topic, tp.Partition) || w.r.IntN(2) == 0
		})
	case 12, 13:
		m.adopt()
	default:
		q := m.request(m.epoch)
		if w.r.IntN(3) > 0 {
			q.OwnedTold, q.Owned = true, m.owned
		}
		w.say(m, q)
	}
}

// stepOld lets a member of the classic protocol do something.
func (w *consumerModel) stepOld() {
	if len(w.olds) == 0 || w.r.IntN(10) == 0 && len(w.olds) < 4 {
		m := w.oldClient(false, "t")
		m.join()
		w.olds = append(w.olds, m)
		return
	}
	m := w.olds[w.r.IntN(len(w.olds))]
	switch w.r.IntN(12) {
	case 0:
		w.ask(&wire.LeaveGroup{Group: "g", Members: []wire.LeavingMember{{Member: m.id}}})
		w.olds = slices.DeleteFunc(w.olds, func(o *oldClient) bool { return o == m })
	case 1: // it is gone, or stuck
		w.olds = slices.DeleteFunc(w.olds, func(o *oldClient) bool { return o == m && w.r.IntN(2) == 0 })
	default:
		m.beat()
	}
	w.deliver(w.olds...)
}

func (w *consumerModel) arrive() {
	w.made++
	m := w.client(fmt.Sprint("m", w.made), [][]string{{"t"}, {"t", "u"}}[w.r.IntN(2)]...)
	if w.r.IntN(3) == 0 {
		m.as(fmt.Sprint("i", w.r.IntN(3)))
	}
	if w.r.IntN(4) == 0 {
		m.pattern = "[uv]"
	}
	m.join()
	if m.err == nil {
		w.clients = append(w.clients, m)
	}
}

func (w *consumerModel) leave(m *consumerClient) {
	epoch := wire.MemberLeaves
	if m.instance != "" && w.r.IntN(2) == 0 {
		epoch = wire.StaticMemberPauses
	}
	w.ask(m.request(epoch))
	w.clients = slices.DeleteFunc(w.clients, func(o *consumerClient) bool { return o == m })
}

// say sends a heartbeat, whose answer may be lost. A member that is fenced gives everything up and joins again.
func (w *consumerModel) say(m *consumerClient, q *wire.ConsumerHeartbeat) {
	if m.unsure {
		q.OwnedTold, q.Owned, q.Subscribed, q.Topics, q.RebalanceTimeout = true, m.owned, true, m.topics, time.Minute
	}
	w.late = append(w.late, q)
	if m.unsure = w.r.IntN(8) == 0; m.unsure {
		w.ask(q)
		return
	}
	m.send(q)
	switch wire.Code(m.err) {
	case wire.None:
	case wire.FencedMemberEpoch, wire.UnknownMemberID:
		m.join()
		fallthrough
	default:
		if m.err != nil { // another has its instance
			w.clients = slices.DeleteFunc(w.clients, func(o *consumerClient) bool { return o == m })
		}
	}
}

func (w *consumerModel) check() {
	w.t.Helper()
	owner := map[wire.TopicPartition]wire.MemberID{}
	note := func(id wire.MemberID, epoch int32, owned assignment) {
		if !w.commits(id, epoch) {
			return
		}
		for _, at := range owned {
			for _, p := range at.Partitions {
				tp := wire.TopicPartition{Topic: at.Topic, Partition: p}
				if other, twice := owner[tp]; twice && other != id {
					w.t.Fatalf("%v has two owners: %s, and %s at %d\n%s", tp, other, id, epoch, persisted(w.g))
				}
				owner[tp] = id
			}
		}
	}
	for _, m := range w.clients {
		note(m.id, m.epoch, m.owned)
	}
	for _, m := range w.olds {
		note(m.id, int32(m.generation), normalized([]wire.AssignedTopic{{Topic: topicID("t"), Partitions: m.owned}}))
	}
	c := w.g.consumer
	if c == nil {
		return
	}
	unsettled := 0
	seen := map[wire.TopicPartition]wire.MemberID{}
	for _, m := range c.members {
		if !c.settled(m) {
			unsettled++
		}
		for _, at := range m.assigned.plus(m.revoking) {
			for _, p := range at.Partitions {
				tp := wire.TopicPartition{Topic: at.Topic, Partition: p}
				if other, twice := seen[tp]; twice {
					w.t.Fatalf("%v is assigned to %s and %s", tp, other, m.id)
				}
				seen[tp] = m.id
				if c.owners[tp] != m {
					w.t.Fatalf("%v is assigned to %s and noted for another", tp, m.id)
				}
			}
		}
	}
	if len(seen) != len(c.owners) || unsettled != c.unsettled {
		w.t.Fatalf("%d partitions are assigned, %d noted; %d members unsettled, %d noted", len(seen), len(c.owners), unsettled, c.unsettled)
	}
	if d := w.last.Deadline; len(c.members) > 0 && (d.IsZero() || d.After(w.now.Add(time.Minute))) {
		w.t.Fatalf("it is %v, there are members, and the deadline is %v", w.now, d)
	}
}

// commits says that a commit of a member would be accepted.
func (w *consumerModel) commits(id wire.MemberID, epoch int32) bool {
	q := &wire.CommitOffsets{Group: "g", Member: id, Generation: wire.GenerationID(epoch), Modern: true}
	if c := w.g.classic; c != nil {
		m := c.member(id)
		return m != nil && q.Generation == c.generation && c.state != wire.GroupCompletingRebalance && c.state != wire.GroupEmpty
	}
	return w.g.consumer != nil && w.g.consumer.mayCommit(nil, q) == nil
}

// comeToRest lets everybody do what they should.
func (w *consumerModel) comeToRest() {
	w.t.Helper()
	for i := range 60 {
		for _, m := range slices.Clone(w.clients) {
			if m.beat(); m.err != nil {
				m.join()
			}
			if m.err != nil { // another has its instance
				w.clients = slices.DeleteFunc(w.clients, func(o *consumerClient) bool { return o == m })
				continue
			}
			m.adopt()
			w.check()
		}
		for _, m := range w.olds {
			m.beat()
			w.deliver(w.olds...)
			w.check()
		}
		w.pass(5 * time.Second)
		w.deliver(w.olds...)
		if i > 25 && (len(w.clients)+len(w.olds) == 0 || w.g.state() == wire.GroupStable) {
			break
		}
	}
	if len(w.clients)+len(w.olds) == 0 {
		return
	}
	if got := w.g.state(); got != wire.GroupStable {
		w.t.Fatalf("the group is %s\n%s", got, persisted(w.g))
	}
	if len(w.olds) > 0 {
		w.checkShares(w.olds, w.clients...)
	}
	if w.g.consumer == nil {
		if len(w.clients) > 0 || len(w.g.classic.members) != len(w.olds) {
			w.t.Errorf("there are %d members of the classic protocol and %d of the other, and the group has %d",
				len(w.olds), len(w.clients), len(w.g.classic.members))
		}
		return
	}
	results := assignors[uniformAssignor](w.g.consumer.sharing())
	for i, m := range w.g.consumer.members {
		if !results[i].equal(m.target) || !m.assigned.equal(m.target) {
			w.t.Errorf("%s has %v, its target is %v and could be %v", m.id, m.assigned, m.target, results[i])
		}
	}
	if len(w.g.consumer.members) != len(w.clients)+len(w.olds) {
		ids := []wire.MemberID{}
		for _, m := range w.clients {
			ids = append(ids, m.id)
		}
		for _, m := range w.olds {
			ids = append(ids, m.id)
		}
		slices.SortFunc(ids, func(a, b wire.MemberID) int { return cmp.Compare(a, b) })
		w.t.Errorf("the members are not %v\n%s", ids, persisted(w.g))
	}
}
