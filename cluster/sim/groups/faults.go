package groups

import (
	"fmt"
	"slices"
	"time"

	"github.com/troupe-mq/troupe/cluster/sim/play"
	"github.com/troupe-mq/troupe/wire"
)

// fault lets something go wrong that the seed knows of.
func (w *World) fault() {
	p := &w.profile
	var kinds []func()
	for _, k := range []struct {
		enabled bool
		happens func()
	}{
		{p.Kill, w.kill},
		{p.Move, func() { w.move() }},
		{p.Restart, w.restartCoordinator},
		{p.PauseBroker, w.pauseBroker},
		{p.PauseClient, w.pauseClient},
		{p.Churn, w.churn},
		{p.Churn, w.churn},
		{p.Topics, w.changeTopics},
		{p.Compact, w.log.compact},
		{p.Tools, w.useTool},
	} {
		if k.enabled {
			kinds = append(kinds, k.happens)
		}
	}
	if len(kinds) > 0 {
		kinds[w.Random.IntN(len(kinds))]()
	}
}

// kill stops a broker, often the one that leads; another one is elected once that is noticed.
func (w *World) kill() {
	b := w.brokers[w.Random.IntN(len(w.brokers))]
	if w.log.leader != nil && w.Chance(50) {
		b = w.log.leader
	}
	if b.run == nil {
		return
	}
	w.stats.Kills++
	b.stop()
	if w.log.leader == b {
		w.log.leader = nil
		w.At(w.Between(50*time.Millisecond, 3*time.Second), nil, func() { w.move() })
	}
	w.At(w.Between(100*time.Millisecond, 5*time.Second), nil, func() {
		b.start()
		if w.log.leader == nil {
			w.move()
		}
	})
}

// move lets a broker that is up lead from now on; it may be the same one.
func (w *World) move() {
	var up []*broker
	for _, b := range w.brokers {
		if b.run != nil {
			up = append(up, b)
		}
	}
	if len(up) > 0 {
		w.elect(up[w.Random.IntN(len(up))])
	}
}

func (w *World) restartCoordinator() {
	if b := w.log.leader; b != nil && b.led != nil && len(b.led.groups) > 0 && !b.led.loading {
		b.led.groups[w.Random.IntN(len(b.led.groups))].restart()
	}
}

func (w *World) pauseBroker() {
	if b := w.brokers[w.Random.IntN(len(w.brokers))]; b.run != nil {
		w.stats.Pauses++
		b.run.PausedUntil = w.Now() + w.Between(50*time.Millisecond, 4*time.Second)
		w.Note(b.name(), "pauses until %v", b.run.PausedUntil)
	}
}

func (w *World) someClient() *client {
	if len(w.clients) == 0 {
		return nil
	}
	return w.clients[w.Random.IntN(len(w.clients))]
}

func (w *World) pauseClient() {
	if c := w.someClient(); c != nil {
		w.stats.ClientPauses++
		c.run.PausedUntil = w.Now() + w.Between(100*time.Millisecond, 3*w.profile.Session)
		c.note("pauses until %v", c.run.PausedUntil)
	}
}

// churn lets a client go, or crash, or come.
func (w *World) churn() {
	if len(w.clients) >= 3 && w.Chance(50) || len(w.clients) > 0 && w.Chance(25) {
		w.goes(w.someClient())
		return
	}
	if len(w.clients) < 10 {
		w.newClient(w.Random.IntN(w.profile.Groups), "")
	}
}

// goes is a client that leaves or crashes. A static one is often back soon.
func (w *World) goes(c *client) {
	if w.Chance(50) {
		w.stats.Leaves++
		c.note("leaves")
		c.protocol.leave()
	} else {
		w.stats.Crashes++
	}
	c.crash()
	w.forget()
	if c.instance != "" && w.Chance(80) {
		w.At(w.Between(10*time.Millisecond, 2*w.profile.Session), nil, func() {
			if !w.Calm {
				w.newClient(c.number(), c.instance)
			}
		})
	}
}

// number of the client's group.
func (c *client) number() int { return int(c.group[len(c.group)-1] - '0') }

// forget drops clients that are dead.
func (w *World) forget() {
	kept := w.clients[:0]
	for _, c := range w.clients {
		if c.alive() {
			kept = append(kept, c)
		}
	}
	clear(w.clients[len(kept):])
	w.clients = kept
}

// newClient starts one that speaks what its group's members speak.
func (w *World) newClient(number int, instance string) {
	w.names++
	c := &client{
		w: w, name: fmt.Sprintf("client%d", w.names), run: &play.Process{}, group: wire.GroupID(fmt.Sprintf("group%d", number)),
		topics: []string{"bills", "orders"}, instance: instance,
	}
	if instance == "" && w.faulty(w.profile.Static, 50) {
		c.instance = fmt.Sprintf("instance%d", w.Random.IntN(4)) // it may be in use
	}
	kind := w.profile.Kinds[number]
	classic := func(protocols ...string) { c.protocol = &classicMember{client: c, protocols: protocols} }
	modern := func() {
		c.protocol = &consumerMember{client: c, member: wire.MemberID(fmt.Sprintf("uuid-%d", w.names))}
	}
	switch kind {
	case Eager:
		classic(eager)
	case Cooperative:
		classic(cooperative)
	case Rolling:
		classic(w.roll(number)...)
	case Consumer:
		modern()
		if w.Chance(20) && c.instance == "" {
			c.topics = nil
		}
	case Migrating, EagerMigrating:
		switch {
		case w.Chance(50):
			modern()
		case kind == Migrating:
			classic(cooperative)
		default:
			classic(eager)
		}
	}
	// A static member that comes back wants what it wanted before: a coordinator of the classic protocol does not look. Nor is
	// the assignor of cooperative members one that keeps partitions where they are when not everybody wants everything.
	picky := kind == Eager || kind == Consumer || kind == EagerMigrating
	if picky && (c.instance == "" && w.faulty(w.profile.Churn, 15) || c.instance == "instance3") {
		c.topics = []string{"orders"}
	}
	w.clients = append(w.clients, c)
	c.note("begins in %s as %T, instance %q, topics %v", c.group, c.protocol, c.instance, c.topics)
	c.protocol.begin()
	c.work()
}

// roll is what a client of a group speaks that moves from eager to cooperative members, as the handbooks say: first all
// come to speak both, and then nobody speaks the old one. Those who are two steps behind are gone.
func (w *World) roll(number int) []string {
	steps := [][]string{{eager}, {cooperative, eager}, {cooperative}}
	step := min(int(3*w.Now()/w.profile.Faults), 2)
	for _, c := range slices.Clone(w.clients) {
		if m, ok := c.protocol.(*classicMember); ok && c.number() == number && step == 2 && m.protocols[0] == eager {
			c.crash()
		}
	}
	w.forget()
	return steps[step]
}

func (w *World) changeTopics() {
	w.stats.TopicChanges++
	name := []string{"bills", "orders"}[w.Random.IntN(2)]
	t, ok := w.image.Topic(name)
	switch {
	case !ok:
		w.setImage(w.image.create(name, 1+int32(w.Random.IntN(4))))
	case w.Chance(50) && t.Partitions < 8:
		w.setImage(w.image.grow(name))
	case w.Chance(40):
		w.setImage(w.image.remove(name))
		w.At(w.Between(0, 2*time.Second), nil, func() {
			if _, ok := w.image.Topic(name); !ok {
				w.setImage(w.image.create(name, 1+int32(w.Random.IntN(4))))
			}
		})
	}
	for _, t := range w.image.topics {
		w.Note("world", "there is topic %s %s of %d partitions", t.Name, t.ID, t.Partitions)
	}
}

// useTool is what an operator does, and whoever else is no member.
func (w *World) useTool() {
	w.stats.Tools++
	id := wire.GroupID(fmt.Sprintf("group%d", w.Random.IntN(w.profile.Groups)))
	tool := &client{w: w, name: "tool", run: &play.Process{}, group: id}
	var q wire.GroupRequest
	switch w.Random.IntN(6) {
	case 0:
		q = &wire.DeleteOffsets{Group: id, Topics: []wire.NamedPartitions{{Topic: "orders", Partitions: []int32{0, 1}}}}
	case 1:
		q = &wire.DeleteGroup{Group: id}
	case 2:
		q = &wire.FetchOffsets{Group: id, MemberEpoch: wire.UnknownMemberEpoch, All: true}
	case 3:
		reset := &wire.CommitOffsets{Group: id, Generation: wire.NoGeneration}
		reset.Offsets = append(reset.Offsets, w.newCommit(place{"orders", 0}, wire.TopicID{}, wire.Offset(w.Random.IntN(50))))
		q = reset
	case 4:
		q = &wire.LeaveGroup{Group: id, Members: []wire.LeavingMember{{Instance: fmt.Sprintf("instance%d", w.Random.IntN(4))}}}
	case 5:
		q = &wire.DescribeGroup{Group: id}
	}
	tool.ask(q, requestTimeout, func(wire.GroupReply, error) {})
}

// oneOfEach ends clients that have a name in common with a later one: one of them would wait for the other for ever.
func (w *World) oneOfEach() {
	for i, c := range w.clients {
		for _, later := range w.clients[i+1:] {
			if c.alive() && c.instance != "" && later.instance == c.instance && later.group == c.group {
				c.crash()
			}
		}
	}
	w.forget()
}

// heal ends all that goes wrong. Each group has at least one member.
func (w *World) heal() {
	w.Calm = true
	w.Note("world", "faults end")
	for _, b := range w.brokers {
		b.start()
		b.run.PausedUntil = 0
	}
	if w.log.leader == nil {
		w.move()
	}
	for _, c := range w.clients {
		c.run.PausedUntil = 0
	}
	w.oneOfEach()
	for number := range w.profile.Groups {
		if w.profile.Kinds[number] == Rolling {
			w.roll(number)
		}
		has := 0
		for _, c := range w.clients {
			if c.number() == number {
				has++
			}
		}
		if has == 0 {
			w.newClient(number, "")
		}
	}
}
