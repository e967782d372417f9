package sim

import (
	"fmt"
	"time"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/cluster/replica"
	"github.com/troupe-mq/troupe/cluster/sim/play"
	"github.com/troupe-mq/troupe/wire"
)

// machine is what stays when processes come and go: disks, an address, a clock.
type machine struct {
	w     *World
	id    wire.BrokerID
	links map[wire.BrokerID]*link
	disks []*disk // by partition

	boot      int // grows with each loss of power
	directory int // another one once the disk was replaced
	lives     wire.Incarnation
	process   *process // nil while none runs
	cutOff    bool     // from the controller
	damaged   bool     // lost something, and was not whole since
	lost      bool     // has lost what was committed, and has not registered since
	slow      float64  // how much slower than the world its clock goes
}

// process is one run of a broker.
type process struct {
	play.Process
	machine     *machine
	incarnation wire.Incarnation
	imagesHeld  time.Duration // until when it hears of no newer image
	stopping    bool          // a controlled shutdown

	linked   map[wire.BrokerID]int // the era of the link, as far as this process knows; 0: none
	image    *metadata.Image       // nil until its own registration is in it
	replicas []*replicaShell       // by partition; nil until the image places one here
	runs     uint64
}

func newMachine(w *World, id wire.BrokerID) *machine {
	m := &machine{w: w, id: id, links: make(map[wire.BrokerID]*link), lives: 1, slow: 1}
	if w.profile.Skew {
		m.slow = 0.95 + 0.1*w.Random.Float64()
	}
	m.replaceDisks()
	return m
}

func (m *machine) replaceDisks() {
	if m.directory == 0 || m.w.mutant != WipeUnnoticed {
		m.directory++
	}
	m.disks = nil
	for range m.w.profile.Partitions {
		m.disks = append(m.disks, &disk{})
	}
}

func (m *machine) clock() time.Time {
	return play.Epoch.Add(time.Duration(m.id)*time.Hour + time.Duration(float64(m.w.Now())*m.slow))
}

// start begins a process. It registers, and does nothing else before its own registration is in
// its image.
func (m *machine) start(founding bool) {
	if m.process != nil {
		return
	}
	if !founding {
		m.lives++
	}
	p := &process{
		machine: m, incarnation: m.lives, linked: make(map[wire.BrokerID]int),
		replicas: make([]*replicaShell, m.w.profile.Partitions),
	}
	m.process = p
	m.w.note(m, "starts in incarnation %d", p.incarnation)
	for _, d := range m.disks {
		d.durable = d.cache // recovery syncs what it finds
	}
	for _, other := range m.w.machines {
		if l := m.links[other.id]; l != nil && founding && other.id > m.id {
			l.dial()
		}
	}
	switch {
	case founding:
		p.follow(m.w.controller.committed())
	case m.w.mutant == SameEpochResume:
		// It takes itself for the process before, and its registration for good.
		if r, ok := m.w.controller.committed().Registration(m.id); ok {
			m.lives--
			p.incarnation = r.Incarnation
		}
		p.follow(m.w.controller.committed())
	default:
		p.register()
	}
	p.heartbeat()
}

// stop ends the process, in the way of kill -9: the page cache stays.
func (m *machine) stop(why string) {
	p := m.process
	if p == nil {
		return
	}
	m.w.note(m, "%s", why)
	p.Dead = true
	m.process = nil
	for _, r := range p.replicas {
		if r != nil {
			r.gone()
		}
	}
	for _, other := range m.w.machines {
		if l := m.links[other.id]; l != nil {
			l.down()
		}
	}
}

func (m *machine) losePower() {
	m.stop("loses power")
	if m.w.mutant != RebootUnnoticed {
		m.boot++
	}
	for _, d := range m.disks {
		d.losePower(m.w)
	}
	if m.w.profile.Replicated {
		m.lost = true
	}
}

func (m *machine) registration() metadata.RegisterBroker {
	return metadata.RegisterBroker{
		ID: m.id, Incarnation: m.lives, Directories: []metadata.DirectoryID{m.directoryID()},
		Host: "127.0.0.1", Port: 9092, ClusterAddress: "127.0.0.1:7946",
		BootID: fmt.Sprint("boot-", m.boot), RaftID: uint64(m.id)<<16 + uint64(m.directory), Fenced: true,
	}
}

func (m *machine) directoryID() metadata.DirectoryID {
	return metadata.DirectoryID(fmt.Sprintf("directory-%d-%d", m.id, m.directory))
}

func (p *process) register() {
	if p.image != nil {
		return
	}
	m := p.machine
	p.command(m.registration(), func(any) {})
	m.w.At(m.w.Between(200*time.Millisecond, 600*time.Millisecond), &p.Process, p.register)
}

// command asks the controller for something. The reply may never come, whether it was done or not.
func (p *process) command(c metadata.Command, reply func(any)) {
	w := p.machine.w
	if p.machine.cutOff {
		return
	}
	w.At(w.Between(100*time.Microsecond, 5*time.Millisecond), nil, func() {
		w.controller.decide(c, func(r any) {
			if !p.machine.cutOff {
				w.At(w.Between(100*time.Microsecond, 5*time.Millisecond), &p.Process, func() { reply(r) })
			}
		})
	})
}

func (p *process) heartbeat() {
	m := p.machine
	m.w.At(metadata.HeartbeatInterval+m.w.Between(0, 10*time.Millisecond), &p.Process, p.heartbeat)
	m.w.controller.publish(p) // what was published while it could not hear
	if p.image == nil || m.cutOff {
		return
	}
	p.reportReplicas()
	p.replaceReplicas()
	h := &wire.Heartbeat{
		Sender: m.id, Incarnation: p.incarnation, Applied: p.image.Index(), DiskHealthy: true, ShuttingDown: p.stopping,
	}
	m.w.At(m.w.Between(100*time.Microsecond, 3*time.Millisecond), nil, func() {
		mayStop := m.w.controller.heartbeat(h)
		if mayStop && p.stopping && !p.Dead {
			m.stop("stops: others have taken over")
			m.w.scheduleRestart(m)
		}
	})
}

// reportReplicas tells how far the replicas are that an unclean election waits for.
func (p *process) reportReplicas() {
	report := metadata.ReportReplicas{Broker: p.machine.id, Incarnation: p.incarnation}
	for tp := range p.image.Awaited(p.machine.id) {
		if r := p.replicas[tp.Partition]; r != nil && !r.log.cutting {
			report.Replicas = append(report.Replicas, metadata.ReportedReplica{
				Topic: tp.Topic, Partition: tp.Partition, LastEpoch: r.log.cache.lastEpoch(), End: r.log.cache.end,
			})
		}
	}
	if len(report.Replicas) > 0 {
		p.command(report, func(any) {})
	}
}

// replaceReplicas begins anew what lay on a disk that is gone, where others have gone on without.
func (p *process) replaceReplicas() {
	m := p.machine
	for i := range m.disks {
		if p.image.Superseded(m.w.topic, int32(i), m.id) {
			p.command(metadata.MoveReplica{
				Topic: m.w.topic, Partition: int32(i), Broker: m.id, Incarnation: p.incarnation, Directory: m.directoryID(), Empty: true,
			}, func(any) {})
		}
	}
}

// follow takes a newer image, which may leap over some in between, and tells the replicas.
func (p *process) follow(img *metadata.Image) {
	m := p.machine
	if p.image != nil && img.Index() <= p.image.Index() {
		return
	}
	if r, ok := img.Registration(m.id); !ok || r.Incarnation != p.incarnation {
		return
	}
	p.image = img
	for i := range p.replicas {
		p.apply(i)
	}
}

// apply obeys the image in one partition: a role changes only to a higher leader epoch.
func (p *process) apply(partition int) {
	state, _ := p.image.Partition(p.machine.w.topic, int32(partition))
	r := p.replicas[partition]
	if !contains(state.Replicas, p.machine.id) {
		if r != nil {
			p.remove(r)
		}
		return
	}
	if dir, _ := p.image.Directory(p.machine.w.topic, int32(partition), p.machine.id); r == nil && dir != p.machine.directoryID() {
		return // it lies on a disk that is gone
	}
	if r == nil {
		r = p.spawn(partition)
	}
	switch {
	case r.log.cutting:
		r.applyLater = true
	case replica.Outranks(r.epoch, state.LeaderEpoch) && state.Leader == p.machine.id:
		r.lead(p.leadership(partition, &state))
	case replica.Outranks(r.epoch, state.LeaderEpoch):
		r.follow(state.Leader, state.LeaderEpoch, true)
	case r.follower != nil && r.epoch == state.LeaderEpoch && !r.confirmed:
		r.confirmed = true
		r.performFollowing(r.follower.Confirm())
	case r.leader != nil && r.epoch == state.LeaderEpoch:
		r.changed(p.leadership(partition, &state))
	}
}

// remove ends a replica that was taken off the assignment, and deletes its log.
func (p *process) remove(r *replicaShell) {
	r.note("is removed")
	r.gone()
	p.replicas[r.partition] = nil
	p.machine.disks[r.partition] = &disk{}
}

// spawn begins a replica's actor.
func (p *process) spawn(partition int) *replicaShell {
	p.runs++
	d := p.machine.disks[partition]
	r := &replicaShell{
		w: p.machine.w, process: p, partition: partition, run: p.runs,
		log: openLog(d), epoch: wire.NoEpoch, watermark: max(d.cache.start, min(d.checkpoint, d.cache.end)),
	}
	p.replicas[partition] = r
	return r
}

// restartActor lets a replica's actor panic and begin anew within the process. One that led asks
// for another leader epoch, since nobody leads twice in one.
func (p *process) restartActor(partition int) {
	old := p.replicas[partition]
	if old == nil || old.log.cutting || old.log.syncing {
		return
	}
	p.machine.w.stats.ActorRestarts++
	p.machine.w.note(p.machine, "p%d: its actor begins anew", partition)
	led := old.leader != nil || old.led
	old.gone()
	r := p.spawn(partition)
	r.epoch, r.leaderID = old.epoch, old.leaderID
	if led {
		r.led = true
		r.askForEpoch(r.epoch)
		return
	}
	r.follow(old.leaderID, old.epoch, old.confirmed)
}

func (p *process) leadership(partition int, state *wire.Partition) replica.Leadership {
	w := p.machine.w
	l := replica.Leadership{
		Self: p.machine.id, Topic: w.topic, Partition: int32(partition),
		LeaderEpoch: state.LeaderEpoch, PartitionEpoch: state.PartitionEpoch,
		Replicas: state.Replicas, ISR: state.ISR,
		Fsync: !w.profile.Replicated, MaxLag: w.profile.MaxLag,
	}
	l.UncleanEpoch = p.image.UncleanEpoch(w.topic, int32(partition))
	l.MinISR = p.image.MinISR(w.topic, int32(partition))
	for _, b := range state.Replicas {
		r, _ := p.image.Registration(b)
		l.Incarnations = append(l.Incarnations, r.Incarnation)
		l.Eligible = append(l.Eligible, p.image.ReplicaUsable(w.topic, int32(partition), b))
	}
	return l
}

func (p *process) linkUp(to wire.BrokerID, era int) {
	if era < p.linked[to] {
		return // a process that was paused hears of it after the next one, which links never tell in that order
	}
	if p.linked[to] != 0 {
		p.linkDown(to)
	}
	p.linked[to] = era
	for _, r := range p.replicas {
		if r != nil && r.leader != nil {
			r.perform(r.leader.LinkUp(to, p.machine.clock()))
		}
	}
}

func (p *process) linkDown(to wire.BrokerID) {
	p.linked[to] = 0
	for _, r := range p.replicas {
		if r != nil && r.leader != nil {
			r.leader.LinkDown(to)
		}
	}
}

func (p *process) receive(m wire.PeerMessage, batches []batch) {
	var partition int32
	switch m := m.(type) {
	case *wire.Probe:
		partition = m.Partition
	case *wire.Truncate:
		partition = m.Partition
	case *wire.Append:
		partition = m.Partition
	case *wire.Position:
		partition = m.Partition
	case *wire.Appended:
		partition = m.Partition
	}
	if r := p.replicas[partition]; r != nil {
		r.receive(m, batches)
	}
}

func contains(list []wire.BrokerID, b wire.BrokerID) bool {
	for _, other := range list {
		if other == b {
			return true
		}
	}
	return false
}
