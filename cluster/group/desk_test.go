package group

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// desk is where tests ask a group: it has the clock, the log, and the answers, and sees to it that each call is answered
// once and that the state stays a fold of the log.
type desk struct {
	t       *testing.T
	config  Config
	g       *Group
	view    *cluster
	now     time.Time
	calls   Call
	made    int // member ids
	parked  map[Call]bool
	answers map[Call]wire.GroupReply
	log     []Record
	due     time.Time
	gone    bool

	generationLogged string // that the log has
	unfolded         bool   // it is not compared with the log after each event, which takes time
}

func newDesk(t *testing.T, adjust ...func(*Config)) *desk {
	t.Helper()
	d := &desk{
		t:       t,
		view:    clusterOf(map[string]int{"orders": 6, "payments": 3, "__internal": 1}),
		now:     time.UnixMilli(1_700_000_000_000),
		parked:  map[Call]bool{},
		answers: map[Call]wire.GroupReply{},
	}
	d.config = Default()
	d.config.NewMemberID = func(name string) wire.MemberID {
		d.made++
		return wire.MemberID(fmt.Sprintf("%s-%d", name, d.made))
	}
	for _, a := range adjust {
		a(&d.config)
	}
	d.g = New("g", d.config)
	return d
}

// effect takes over what the group wants done.
func (d *desk) effect(e Effects) {
	d.t.Helper()
	d.log = append(d.log, e.Records...)
	for _, a := range e.Answers {
		if !d.parked[a.Call] {
			d.t.Fatalf("call %d is answered, which nobody waits for: %+v", a.Call, a.Reply)
		}
		delete(d.parked, a.Call)
		d.answers[a.Call] = a.Reply
	}
	d.due, d.gone = e.Deadline, e.Gone
	for _, r := range e.Records {
		if key, _, err := readKey(r.Key); err == nil && key.kind == classicRecord {
			v, _ := readClassicValue(r.Value)
			d.generationLogged = fmt.Sprintf("%+v", v)
		}
	}
	for _, r := range e.Records {
		if len(r.Key)+len(r.Value) > d.config.MaxRecordBytes {
			d.t.Fatalf("a record has %d bytes", len(r.Key)+len(r.Value))
		}
	}
	if !d.unfolded {
		d.checkFold()
	}
}

// checkFold replays the log and compares. A classic group in the middle of a rebalance has the generation before in the log.
func (d *desk) checkFold() {
	d.t.Helper()
	switch c := d.g.classic; {
	case c == nil || !c.logged:
		d.generationLogged = ""
	case c.state == wire.GroupStable || c.state == wire.GroupEmpty:
		d.generationLogged = fmt.Sprintf("%+v", c.value())
	}
	for name, log := range map[string][]Record{"log": d.log, "compacted log": compacted(d.log)} {
		replayed, generation := d.replay(log), ""
		if replayed.classic != nil {
			generation = fmt.Sprintf("%+v", replayed.classic.value())
		}
		if generation != d.generationLogged {
			d.t.Fatalf("the %s has the generation\n%s\nand not\n%s", name, generation, d.generationLogged)
		}
		if got, want := inLog(replayed), inLog(d.g); got != want {
			d.t.Fatalf("the %s says\n%s\nand the group is\n%s", name, got, want)
		}
		if d.g.consumer != nil {
			replayed.Loaded(d.view, d.now)
		}
		if got, want := persisted(replayed), persisted(d.g); got != want {
			d.t.Fatalf("the %s says\n%s\nand the group is\n%s", name, got, want)
		}
	}
}

// compacted is a log with the last record of each key alone.
func compacted(log []Record) []Record {
	last := map[string]int{}
	for i, r := range log {
		last[string(r.Key)] = i
	}
	var kept []Record
	for i, r := range log {
		if last[string(r.Key)] == i {
			kept = append(kept, r)
		}
	}
	return kept
}

func (d *desk) replayed() *Group {
	d.t.Helper()
	return d.replay(d.log)
}

func (d *desk) replay(log []Record) *Group {
	d.t.Helper()
	g := New(d.g.id, d.config)
	for _, r := range log {
		key, value := bytes.Clone(r.Key), bytes.Clone(r.Value)
		if id, known := GroupOf(key); !known || id != d.g.id {
			d.t.Fatalf("record of group %q (%v): %x", id, known, key)
		}
		if err := g.Replay(Record{Key: key, Value: value}); err != nil {
			d.t.Fatal(err)
		}
		clear(key) // nothing may be kept of them
		clear(value)
	}
	return g
}

// inLog tells what is the same for groups of any type.
func inLog(g *Group) string {
	var b bytes.Buffer
	for _, topic := range g.offsets.sorted() {
		for _, p := range topic.sorted() {
			o := topic.partitions[p]
			fmt.Fprintf(&b, "offset %s %s/%d %d %d %d %q %d\n", topic.id, topic.name, p, o.offset, o.leaderEpoch, o.committed, o.metadata(), o.expires())
		}
	}
	fmt.Fprintf(&b, "offsets %d\n", g.offsets.count)
	for _, p := range g.history.past {
		fmt.Fprintf(&b, "history %d %x\n", p.number, p.value)
	}
	return b.String()
}

// call asks, and returns the number of the call.
func (d *desk) call(q wire.GroupRequest) Call {
	d.t.Helper()
	d.calls++
	d.parked[d.calls] = true
	d.effect(d.g.Handle(q, d.calls, d.view, d.now))
	return d.calls
}

// answered returns the reply that a call has to have by now.
func answered[R wire.GroupReply](d *desk, call Call) R {
	d.t.Helper()
	reply, ok := d.answers[call].(R)
	if !ok {
		d.t.Fatalf("call %d has the answer %T %+v", call, d.answers[call], d.answers[call])
	}
	return reply
}

// ask asks for what is answered at once.
func ask[R wire.GroupReply](d *desk, q wire.GroupRequest) R {
	d.t.Helper()
	return answered[R](d, d.call(q))
}

func (d *desk) waits(calls ...Call) {
	d.t.Helper()
	for _, c := range calls {
		if !d.parked[c] {
			d.t.Fatalf("call %d does not wait any more: %+v", c, d.answers[c])
		}
	}
}

// pass lets time pass, with all the ticks that become due.
func (d *desk) pass(wait time.Duration) {
	d.t.Helper()
	end := d.now.Add(wait)
	for ticks := 0; !d.due.IsZero() && !d.due.After(end); ticks++ {
		if ticks > 10_000 {
			d.t.Fatalf("tick after tick at %v", d.due)
		}
		if d.due.After(d.now) {
			d.now = d.due
		}
		d.effect(d.g.Tick(d.view, d.now))
	}
	d.now = end
}

// move lets another coordinator load the group.
func (d *desk) move() {
	d.t.Helper()
	d.g = d.replayed()
	clear(d.parked)
	d.effect(d.g.Loaded(d.view, d.now))
}

func wantError(t *testing.T, err error, want wire.ErrorCode) {
	t.Helper()
	if want == wire.None && err == nil {
		return
	}
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

// joining is a JoinGroup as a consumer sends it.
func joining(member wire.MemberID, protocols ...string) *wire.JoinGroup {
	q := &wire.JoinGroup{
		Group: "g", Member: member, ClientID: "client", ClientHost: "/127.0.0.1",
		SessionTimeout: 10 * time.Second, RebalanceTimeout: 60 * time.Second, ProtocolType: "consumer",
	}
	if len(protocols) == 0 {
		protocols = []string{"range"}
	}
	for _, p := range protocols {
		q.Protocols = append(q.Protocols, wire.GroupProtocol{Name: p, Metadata: subscribing("orders")})
	}
	return q
}

// told gives an id to one that has to know it before it joins: from here on it is expected.
func (d *desk) told() *wire.JoinedGroup {
	d.t.Helper()
	q := joining("")
	q.MustKnowID = true
	return ask[*wire.JoinedGroup](d, q)
}

func static(instance string, q *wire.JoinGroup) *wire.JoinGroup {
	q.Instance = instance
	return q
}

func subscribing(topics ...string) []byte {
	return newSubscription(&embeddedSubscription{topics: topics})
}

// owning is the subscription of a consumer that rebalances cooperatively.
func owning(owned ...topicPartitions) []byte {
	return newSubscription(&embeddedSubscription{version: 1, topics: []string{"orders"}, owned: owned})
}

func assigning(partitions ...int32) []byte {
	return newAssignment(&embeddedAssignment{partitions: []topicPartitions{{"orders", partitions}}})
}

// form makes a stable group of so many members, and returns them; the first leads.
func (d *desk) form(n int) []wire.MemberID {
	d.t.Helper()
	var calls []Call
	for range n {
		calls = append(calls, d.call(joining("")))
	}
	return d.stabilize(calls)
}

// stabilize lets the rebalance of the members that joined with these calls come to its end.
func (d *desk) stabilize(calls []Call) []wire.MemberID {
	d.t.Helper()
	d.pass(d.config.InitialRebalanceDelay * 3)
	var members []wire.MemberID
	var leader *wire.JoinedGroup
	for _, c := range calls {
		joined := answered[*wire.JoinedGroup](d, c)
		wantError(d.t, joined.Err, wire.None)
		members = append(members, joined.Member)
		if joined.Leader == joined.Member {
			leader = joined
		}
	}
	sync := &wire.SyncGroup{Group: "g", Generation: leader.Generation}
	for i, m := range leader.Members {
		var share []int32
		for p := i; p < 6; p += len(leader.Members) {
			share = append(share, int32(p))
		}
		sync.Assignments = append(sync.Assignments, wire.MemberAssignment{Member: m.Member, Assignment: assigning(share...)})
	}
	for _, m := range members {
		if m != leader.Leader {
			d.call(&wire.SyncGroup{Group: "g", Generation: leader.Generation, Member: m})
		}
	}
	sync.Member = leader.Leader
	wantError(d.t, ask[*wire.SyncedGroup](d, sync).Err, wire.None)
	if len(d.parked) > 0 {
		d.t.Fatalf("calls wait in a stable group: %v", d.parked)
	}
	d.wantState(wire.GroupStable)
	return members
}

func (d *desk) wantState(want wire.GroupState) {
	d.t.Helper()
	if got := d.g.Listed().State; got != want {
		d.t.Fatalf("the group is %s, want %s", got, want)
	}
}

func (d *desk) generation() wire.GenerationID { return d.g.classic.generation }

func (d *desk) beat(m wire.MemberID) error {
	d.t.Helper()
	return ask[*wire.GroupHeartbeatReply](d, &wire.GroupHeartbeat{Group: "g", Generation: d.generation(), Member: m}).Err
}

// commit commits an offset of the first partition of orders.
func (d *desk) commit(m wire.MemberID, offset int64) error {
	d.t.Helper()
	reply := ask[*wire.CommittedOffsets](d, &wire.CommitOffsets{
		Group: "g", Member: m, Generation: d.generation(),
		Offsets: []wire.OffsetCommit{{Topic: "orders", Offset: wire.Offset(offset), LeaderEpoch: 3}},
	})
	return errors.Join(slices.Concat([]error{reply.Err}, reply.Errs)...)
}

// committed is the offset that is committed of a partition of orders.
func (d *desk) committed(partition int32) wire.Offset {
	d.t.Helper()
	reply := ask[*wire.FetchedOffsets](d, &wire.FetchOffsets{
		Group: "g", MemberEpoch: -1, Topics: []wire.NamedPartitions{{Topic: "orders", Partitions: []int32{partition}}},
	})
	wantError(d.t, reply.Err, wire.None)
	return reply.Offsets[0].Offset
}
