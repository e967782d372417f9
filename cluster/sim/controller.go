package sim

import (
	"fmt"
	"strconv"
	"time"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/cluster/sim/play"
	"github.com/troupe-mq/troupe/wire"
)

// controller decides commands on its image and commits them a little later. It is one and has no
// quorum; when it fails over, some of what was decided is never committed, whoever asked is not
// answered, and the leases begin anew.
type controller struct {
	w           *World
	up          bool
	term        int
	images      []*metadata.Image // what is committed, entry after entry
	speculative *metadata.Image
	uncommitted []decided
	live        *metadata.Liveness
	stale       bool // for a mutant: a decision of a while ago is on its way
}

type decided struct {
	img   *metadata.Image
	reply func()
}

func (c *controller) begin() {
	c.speculative = metadata.NewImage()
	c.images = []*metadata.Image{c.speculative}
	c.must(metadata.FoundCluster{ClusterID: "MkU3OEVBNTcwNTJENDM2Qg"})
	c.tick()
}

func (c *controller) committed() *metadata.Image { return c.images[len(c.images)-1] }

func (c *controller) now() time.Time { return play.Epoch.Add(c.w.Now()) }

func (c *controller) env() metadata.Env {
	return metadata.Env{Now: c.now(), Self: 1, NewTopicID: topicID}
}

// must decides and commits at once, while the world is being made.
func (c *controller) must(cmd metadata.Command) any {
	d := cmd.Decide(c.speculative, c.env())
	next, _, err := c.speculative.Apply(c.speculative.Index()+1, d.Records)
	if err != nil {
		panic(err)
	}
	c.speculative = next
	c.images = append(c.images, next)
	return d.Reply
}

func (c *controller) foundingBroker(m *machine) {
	registration := m.registration()
	registration.Fenced = false
	c.must(registration)
}

func (c *controller) createTopic(p Profile) wire.TopicID {
	set := func(name, value string) wire.ConfigValue { return wire.ConfigValue{Name: name, Value: &value} }
	topic := wire.NewTopic{
		Name: "orders", Partitions: int32(p.Partitions), ReplicationFactor: int16(p.Replicas),
		Configs: []wire.ConfigValue{set("min.insync.replicas", strconv.Itoa(p.MinISR))},
	}
	if p.Replicated {
		topic.Configs = append(topic.Configs, set("durability", "replicated"))
	}
	if p.Unclean {
		topic.Configs = append(topic.Configs, set("unclean.leader.election.enable", "true"))
	}
	created := c.must(metadata.CreateTopics{Topics: []wire.NewTopic{topic}}).([]wire.CreatedTopic)
	if created[0].Err != nil {
		panic(created[0].Err)
	}
	return created[0].ID
}

// decide takes a command, if there is a controller to take it.
func (c *controller) decide(cmd metadata.Command, reply func(any)) {
	if !c.up {
		return
	}
	cmd = c.mutateCommand(cmd)
	d := cmd.Decide(c.speculative, c.env())
	c.mutateDecision(cmd, &d)
	answer := func() { reply(d.Reply) }
	if len(d.Records) == 0 {
		if last := len(c.uncommitted) - 1; last >= 0 {
			before := c.uncommitted[last].reply
			c.uncommitted[last].reply = func() { before(); answer() }
			return
		}
		answer()
		return
	}
	c.write(d.Records, answer)
}

func (c *controller) write(records []metadata.Record, reply func()) {
	next, _, err := c.speculative.Apply(c.speculative.Index()+1, records)
	if err != nil {
		if c.w.mutant == FenceFromStaleImage {
			return
		}
		c.w.Violate("what was decided does not apply: %v", err)
		return
	}
	c.speculative = next
	c.uncommitted = append(c.uncommitted, decided{next, reply})
	term := c.term
	c.w.At(c.w.Between(500*time.Microsecond, 8*time.Millisecond), nil, func() {
		if c.term == term {
			c.commit()
		}
	})
}

// commit makes the oldest decision true, and lets the brokers hear of it.
func (c *controller) commit() {
	e := c.uncommitted[0]
	c.uncommitted = c.uncommitted[1:]
	before := c.committed()
	c.images = append(c.images, e.img)
	for _, t := range c.w.truths {
		t.entry(before, e.img)
	}
	for _, m := range c.w.machines {
		if r, _ := e.img.Registration(m.id); m.process != nil && r.Incarnation == m.process.incarnation {
			m.lost = false // the controller knows that it has begun anew, and with what
		}
		c.publish(m.process)
	}
	e.reply()
}

// publish lets a process take the newest image, if it can hear of it.
func (c *controller) publish(p *process) {
	if p == nil || p.machine.cutOff || p.imagesHeld > c.w.Now() {
		return
	}
	img := c.committed()
	c.w.At(c.w.Between(200*time.Microsecond, 20*time.Millisecond), &p.Process, func() { p.follow(img) })
}

func (c *controller) heartbeat(h *wire.Heartbeat) (mayStop bool) {
	if !c.up {
		return false
	}
	reply, change := c.live.Heartbeat(h, c.committed(), c.now())
	if change != nil {
		c.decide(*change, func(any) {})
	}
	return reply.MayStop
}

func (c *controller) tick() {
	c.w.At(metadata.HeartbeatInterval, nil, c.tick)
	if !c.up {
		return
	}
	for _, cmd := range c.live.Tick(c.speculative, c.now()) {
		c.w.stats.Fences++
		c.w.note(nil, "controller fences: %+v", cmd)
		if c.w.mutant == FenceFromStaleImage && c.fenceLate(cmd) {
			continue
		}
		c.decide(cmd, func(any) {})
	}
	c.decide(metadata.CompleteReassignments{}, func(any) {})
	for range c.speculative.Leaderless() {
		c.decide(metadata.ElectReported{}, func(any) {})
		break
	}
}

// failOver ends a controller. What it decided last may be lost or not; nobody is told.
func (c *controller) failOver() {
	if !c.up {
		return
	}
	c.w.stats.ControllerFailovers++
	for kept := c.w.Random.IntN(len(c.uncommitted) + 1); kept > 0; kept-- {
		c.uncommitted[0].reply = func() {}
		c.commit()
	}
	c.w.note(nil, "controller fails; %d decisions are lost", len(c.uncommitted))
	c.up, c.uncommitted, c.speculative = false, nil, c.committed()
	c.term++
	c.w.At(c.w.Between(100*time.Millisecond, 2*time.Second), nil, func() {
		c.up = true
		c.live.Begin(c.committed(), c.now())
		c.w.note(nil, "another controller begins")
	})
}

// partition is the committed state of one.
func (c *controller) partition(number int) wire.Partition {
	state, _ := c.committed().Partition(c.w.topic, int32(number))
	return state
}

func describePartition(number int, p *wire.Partition) string {
	return fmt.Sprintf("p%d: leader %d in epoch %d, partition epoch %d, ISR %v, ELR %v, last known %v",
		number, p.Leader, p.LeaderEpoch, p.PartitionEpoch, p.ISR, p.ELR, p.LastKnownELR)
}
