package actors

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/cluster/replica"
	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
)

// brokerActor follows the metadata image: it compares what the image wants on this broker with
// what is there, tells the topic actors, publishes routes and view, and only then lets those be
// answered who caused the change. Nothing is done before this broker's own registration is in
// the image: until then the image may be an old one.
type brokerActor struct {
	*Broker
	metrics   *Metrics
	fs        storage.FS
	links     Links
	proposals *actor.PID

	registered bool
	reporting  bool // a report of replicas is on its way
	unreported bool // somebody waits for a replica whose log was not open yet
	topics     map[wire.TopicID]*localTopic
	removed    map[string]*localTopic // by actor id, until it has stopped
	successors map[wire.TopicID]*successor
	found      map[wire.TopicPartition]*storage.Dir
	logsIn     map[*storage.Dir]int
	expected   map[wire.TopicPartition][]*barrier
	settled    []wire.TopicPartition // not to be expected any more, once the image says so
	fresh      []wire.TopicPartition // expected since the last replies were given
	controllerRuns
	stopping func() // set by stopBroker; called at the end
}

// localTopic is a topic with at least one partition on this broker.
type localTopic struct {
	name  string
	pid   *actor.PID
	parts []*partition // nil entries are elsewhere
	dirs  map[int32]*storage.Dir
}

// successor is a topic with the name of one that is still being removed here. It waits for that, since
// their logs lie in the same place.
type successor struct {
	name  string
	parts []wire.TopicPartition
}

// stopBroker ends all topics and the controller, and then calls done.
type stopBroker struct{ done func() }

func newBrokerActor(b *Broker, deps Dependencies) *brokerActor {
	return &brokerActor{
		Broker: b, metrics: deps.Metrics, fs: deps.FS, links: deps.Links,
		topics: make(map[wire.TopicID]*localTopic), removed: make(map[string]*localTopic),
		successors: make(map[wire.TopicID]*successor),
		found:      make(map[wire.TopicPartition]*storage.Dir), logsIn: make(map[*storage.Dir]int),
		expected: make(map[wire.TopicPartition][]*barrier),
	}
}

// Receive implements actor.Actor.
func (b *brokerActor) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case *actor.Started:
		b.onStarted(ctx)
	case *imageApplied:
		b.onImageApplied(ctx, msg)
	case *partitionReady:
		b.onPartitionReady(msg.tp)
		b.reportSoon()
	case *replicaLost:
		b.onReplicaLost(ctx, msg)
	case *dirOffline:
		b.onDirOffline(ctx, msg)
	case *tailLost:
		b.onTailLost(ctx, msg)
	case *reported:
		b.onReported(msg)
	case *reportTick:
		b.onReportTick()
	case *actor.Terminated:
		b.onTerminated(ctx, msg)
	case *controllerFailed:
		b.lastFailure = msg.err
		b.stopController(ctx)
	case *controllerTick:
		b.startController(ctx)
	case *clusterLives:
		b.onClusterLives(ctx)
	case *stopBroker:
		b.onStop(ctx, msg)
	}
}

func (b *brokerActor) onStarted(ctx actor.Context) {
	self := ctx.Self()
	var err error
	b.proposals, err = b.root.SpawnNamed(propsOf(func() actor.Actor {
		return &isrProposals{self: b.cfg.ID, incarnation: b.cfg.Incarnation, request: b.request, send: b.send, logger: b.logger}
	}), proposalsName)
	if err != nil {
		b.fail(fmt.Errorf("spawn the actor for proposals of in-sync replicas: %w", err))
		return
	}
	for _, d := range b.dirs {
		b.work.Go(func() {
			select {
			case <-d.Failed():
				b.send(self, &dirOffline{dir: d})
			case <-b.ending:
			}
		})
	}
	b.startController(ctx)
}

func (b *brokerActor) onImageApplied(ctx actor.Context, msg *imageApplied) {
	b.noteOpened()
	image := msg.image.WithController(msg.controller).Local(b.cfg.ID, b.cfg.Static)
	delta := msg.delta
	for _, id := range delta.Brokers {
		b.meet(image, id)
	}
	if !b.registered && b.registeredIn(msg.image) && b.stopping == nil {
		b.registered = true
		b.adoptLogs(msg.image)
		b.warnOfMissingDirs(msg.image)
		delta = metadata.Diff(metadata.NewImage(), msg.image)
	}
	if b.registered && b.stopping == nil {
		b.follow(ctx, image, delta)
	}
	before := b.image.Swap(image)
	if before.Controller() != image.Controller() {
		b.tellNamed(membershipName, &memberNow{})
	}
	b.tellGroups(before, image, &msg.delta)
	b.releaseSettled()
	b.noteRecovery()
	b.reassignments.set(image.ReassignmentRate())
	b.report(image)
	if len(msg.replies) > 0 {
		b.replyWhenReady(msg)
	}
}

func (b *brokerActor) registeredIn(image *metadata.Image) bool {
	registration, ok := image.Registration(b.cfg.ID)
	return ok && registration.Incarnation == b.cfg.Incarnation
}

// follow brings this broker to a new image, looking only at what is different in it: a topic may have
// thousands of partitions, of which one has changed. A change of the brokers' configuration may change
// any topic. One of a broker matters to those who lead what it has replicas of: they may be reached
// elsewhere, or may join now.
func (b *brokerActor) follow(ctx actor.Context, image *metadata.Local, delta metadata.Delta) {
	changed := make(map[wire.TopicID]map[int32]struct{})
	for _, id := range delta.Brokers {
		for tp := range image.Hosted(id) {
			if b.topics[tp.Topic] == nil {
				continue
			}
			if state, _ := image.Partition(tp.Topic, tp.Partition); state.Leader == b.cfg.ID {
				if changed[tp.Topic] == nil {
					changed[tp.Topic] = make(map[int32]struct{})
				}
				changed[tp.Topic][tp.Partition] = struct{}{}
			}
		}
	}
	for _, t := range delta.Topics {
		if t.Created || t.Deleted || t.Configured || len(delta.Configs) > 0 {
			b.reconcile(ctx, image, t.ID, nil)
			delete(changed, t.ID)
			continue
		}
		also := changed[t.ID]
		delete(changed, t.ID)
		for _, n := range t.Partitions {
			delete(also, n)
		}
		b.reconcile(ctx, image, t.ID, slices.AppendSeq(slices.Clone(t.Partitions), maps.Keys(also)))
	}
	if len(delta.Configs) > 0 {
		for id := range b.topics {
			b.reconcile(ctx, image, id, nil)
		}
		return
	}
	for id, numbers := range changed {
		b.reconcile(ctx, image, id, slices.Collect(maps.Keys(numbers)))
	}
}

// meet tells the links where a broker is.
func (b *brokerActor) meet(image *metadata.Local, id wire.BrokerID) {
	registration, ok := image.Registration(id)
	switch {
	case b.links == nil || id == b.cfg.ID:
	case ok:
		b.links.SetPeer(id, registration.Incarnation, registration.ClusterAddress)
	default:
		b.links.ForgetPeer(id)
	}
}

// reconcile makes partitions of a topic on this broker what the image says; nil stands for all.
func (b *brokerActor) reconcile(ctx actor.Context, image *metadata.Local, id wire.TopicID, numbers []int32) {
	topic, exists := image.TopicByID(id)
	local := b.topics[id]
	if !exists {
		if local != nil {
			b.remove(ctx, id, local)
		}
		b.forgetSuccessor(id)
		return
	}
	if local == nil && b.beingRemoved(topic.Name) {
		b.awaitRemoval(image, &topic)
		return
	}
	if local == nil || numbers == nil {
		numbers = make([]int32, topic.Partitions)
		for n := range numbers {
			numbers[n] = int32(n)
		}
	}
	r := reconciliation{brokerActor: b, ctx: ctx, image: image, topic: &topic, local: local, changed: &topicChanged{}}
	r.config, _ = image.TopicConfig(id)
	for _, n := range numbers {
		r.partition(n)
	}
	if r.local == nil {
		return
	}
	if r.parts != nil {
		r.local.parts = r.parts
		b.routes.set(id, r.parts)
	}
	ctx.Send(r.local.pid, r.changed)
}

// reconciliation is what is under way while a topic is reconciled.
type reconciliation struct {
	*brokerActor
	ctx     actor.Context
	image   *metadata.Local
	topic   *wire.Topic
	config  metadata.TopicConfig
	local   *localTopic  // nil while the topic is not on this broker
	parts   []*partition // a copy of the local ones, once they change: requests read those
	changed *topicChanged
}

func (r *reconciliation) partition(n int32) {
	state, _ := r.image.Partition(r.topic.ID, n)
	here := slices.Contains(state.Replicas, r.cfg.ID)
	known := r.known(n)
	switch {
	case !here && known == nil:
		return
	case !here:
		r.changed.gone = append(r.changed.gone, n)
		r.logsIn[r.local.dirs[n]]--
		r.settled = append(r.settled, known.tp)
		r.replace(n, nil)
		return
	case known == nil:
		if r.local == nil {
			r.local = r.add(r.ctx, r.topic.ID, r.topic.Name)
		}
		known = r.newPartition(r.image, r.local, r.topic.ID, n)
		r.replace(n, known)
	case r.local.dirs[n] == nil: // it may have got one
		r.local.dirs[n] = r.dirOf(r.image, known.tp)
	}
	if r.local.dirs[n] == nil {
		r.beginAnew(r.image, known.tp)
		known.door.shut(wire.NotLeaderOrFollower, wire.LeaderHint{Broker: state.Leader, LeaderEpoch: state.LeaderEpoch})
		r.settled = append(r.settled, known.tp)
		return
	}
	r.changed.assignments = append(r.changed.assignments, r.assignmentOf(r.image, known, r.local.dirs[n], &state, &r.config))
}

// known is a partition that was here before, or nil.
func (r *reconciliation) known(n int32) *partition {
	if r.local == nil || int(n) >= len(r.local.parts) {
		return nil
	}
	return r.local.parts[n]
}

func (r *reconciliation) replace(n int32, p *partition) {
	if r.parts == nil {
		r.parts = make([]*partition, r.topic.Partitions)
		copy(r.parts, r.local.parts)
	}
	r.parts[n] = p
}

// assignmentOf is what the image says of a partition that this broker has a replica of.
func (b *brokerActor) assignmentOf(image *metadata.Local, part *partition, dir *storage.Dir, state *wire.Partition, config *metadata.TopicConfig) assignment {
	a := assignment{
		partition: part, dir: dir, log: logConfigOf(*config), leader: state.Leader, leads: state.Leader == b.cfg.ID,
		leadership: replica.Leadership{
			Self: b.cfg.ID, Topic: part.tp.Topic, Partition: part.tp.Partition,
			LeaderEpoch: state.LeaderEpoch, PartitionEpoch: state.PartitionEpoch,
			Replicas: state.Replicas, ISR: state.ISR, MinISR: image.MinISR(part.tp.Topic, part.tp.Partition), Fsync: config.Fsync,
			UncleanEpoch: image.UncleanEpoch(part.tp.Topic, part.tp.Partition), MaxLag: b.cfg.MaxLag,
			Incarnations: make([]wire.Incarnation, len(state.Replicas)), Eligible: make([]bool, len(state.Replicas)),
		},
		replicas: make([]*actor.PID, len(state.Replicas)), adding: state.Adding,
	}
	a.log.Salvage = len(state.Replicas) > 1
	a.log.LargeBatches = part.topic == wire.OffsetsTopic // what a group emits goes in whole, or all its groups are lost
	name := replicaName(part.tp)
	for i, id := range state.Replicas {
		registration, ok := image.Registration(id)
		if !ok {
			continue
		}
		a.leadership.Incarnations[i] = registration.Incarnation
		a.leadership.Eligible[i] = image.ReplicaUsable(part.tp.Topic, part.tp.Partition, id)
		if id != b.cfg.ID {
			a.replicas[i] = b.remotePID(id, registration.Incarnation, name)
		}
	}
	return a
}

func replicaName(tp wire.TopicPartition) string { return "replica/" + tp.String() }

func (b *brokerActor) beingRemoved(name string) bool {
	for _, local := range b.removed {
		if local.name == name {
			return true
		}
	}
	return false
}

// awaitRemoval puts a topic off until the one before it of its name has given its logs up.
func (b *brokerActor) awaitRemoval(image *metadata.Local, topic *wire.Topic) {
	waiting := &successor{name: topic.Name}
	for n := range topic.Partitions {
		state, _ := image.Partition(topic.ID, n)
		if slices.Contains(state.Replicas, b.cfg.ID) {
			tp := wire.TopicPartition{Topic: topic.ID, Partition: n}
			waiting.parts = append(waiting.parts, tp)
			b.await(tp)
		}
	}
	b.successors[topic.ID] = waiting
}

// admitSuccessors goes on with the topics that waited for one of that name to be gone.
func (b *brokerActor) admitSuccessors(ctx actor.Context, name string) {
	for id, waiting := range b.successors {
		if waiting.name == name {
			delete(b.successors, id)
			b.reconcile(ctx, b.image.Load(), id, nil)
		}
	}
	b.releaseSettled()
}

// forgetSuccessor lets go of a topic that was deleted before it began here.
func (b *brokerActor) forgetSuccessor(id wire.TopicID) {
	if waiting := b.successors[id]; waiting != nil {
		delete(b.successors, id)
		b.settled = append(b.settled, waiting.parts...)
	}
}

// add spawns the actor of a topic.
func (b *brokerActor) add(ctx actor.Context, id wire.TopicID, name string) *localTopic {
	logger := b.logger.With("topic", name)
	cfg := topicConfig{
		name: name, id: id, broker: ctx.Self(), proposals: b.proposals, remotes: b.remotes, leased: b.leased, reassignments: &b.reassignments, linked: b.linked,
		self: b.cfg.ID, incarnation: b.cfg.Incarnation,
		spawn: func(r replicaConfig, name string) (*actor.PID, error) {
			return b.root.SpawnNamed(propsOf(func() actor.Actor { return newReplica(r) }), name)
		},
		background: b.background, send: b.send, metrics: b.metrics, now: b.now, logger: logger,
		newEpoch: func(partition int32, after wire.LeaderEpoch, done func(error)) {
			b.newEpoch(wire.TopicPartition{Topic: id, Partition: partition}, after, done)
		},
	}
	pid, err := b.root.SpawnNamed(propsOf(func() actor.Actor { return &topicActor{topicConfig: cfg} }), "topic/"+id.String())
	if err != nil {
		panic("actors: a topic actor is there twice: " + err.Error())
	}
	ctx.Watch(pid)
	local := &localTopic{name: name, pid: pid, dirs: make(map[int32]*storage.Dir)}
	b.topics[id] = local
	return local
}

// newPartition is a partition that is new here.
func (b *brokerActor) newPartition(image *metadata.Local, local *localTopic, id wire.TopicID, n int32) *partition {
	tp := wire.TopicPartition{Topic: id, Partition: n}
	local.dirs[n] = b.dirOf(image, tp)
	b.await(tp)
	part := newPartition(local.name, tp, b.cfg.PartitionBytesInFlight)
	if local.name == wire.OffsetsTopic {
		part.door.moved = func() { b.send(b.coordinators, &offsetsDoor{part}) }
	}
	return part
}

func (b *brokerActor) remove(ctx actor.Context, id wire.TopicID, local *localTopic) {
	delete(b.topics, id)
	b.routes.set(id, nil)
	b.removed[local.pid.Id] = local
	for n, p := range local.parts {
		if p != nil {
			b.logsIn[local.dirs[int32(n)]]--
			b.settled = append(b.settled, p.tp)
		}
	}
	ctx.Send(local.pid, &topicStop{delete: true})
}

func (b *brokerActor) onTerminated(ctx actor.Context, msg *actor.Terminated) {
	switch {
	case b.isController(msg.Who):
		b.onControllerStopped(ctx)
	case b.removed[msg.Who.Id] != nil:
		name := b.removed[msg.Who.Id].name
		delete(b.removed, msg.Who.Id)
		if b.stopping == nil {
			b.admitSuccessors(ctx, name)
		}
	default:
		for id, local := range b.topics {
			if local.pid.Id == msg.Who.Id {
				delete(b.topics, id)
				if b.stopping == nil {
					b.logger.Error("topic actor stopped", "topic", local.name)
					b.fail(errTopicActorStopped)
				}
			}
		}
	}
	b.stopIfDone(ctx)
}

var errTopicActorStopped = errors.New("a topic actor stopped, which is a bug")

func (b *brokerActor) onStop(ctx actor.Context, msg *stopBroker) {
	b.stopping = msg.done
	for _, local := range b.topics {
		ctx.Send(local.pid, &topicStop{})
	}
	b.stopController(ctx)
	b.stopIfDone(ctx)
}

func (b *brokerActor) stopIfDone(ctx actor.Context) {
	if b.stopping == nil || len(b.topics) > 0 || len(b.removed) > 0 || b.controllerPID != nil {
		return
	}
	done := b.stopping
	b.stopping = nil
	if b.proposals != nil {
		ctx.Stop(b.proposals)
	}
	ctx.Stop(ctx.Self())
	done()
}

// logConfigOf is what storage needs to know of a topic's configuration.
func logConfigOf(c metadata.TopicConfig) storage.LogConfig {
	cfg := storage.DefaultLogConfig()
	cfg.SegmentBytes, cfg.SegmentAge = int64(c.SegmentBytes), c.SegmentAge
	cfg.IndexIntervalBytes = c.IndexIntervalBytes
	cfg.RetentionBytes, cfg.RetentionAge = c.RetentionBytes, c.RetentionAge
	cfg.Delete, cfg.Compact = c.Delete, c.Compact
	cfg.MinCompactionLag, cfg.MaxCompactionLag = c.MinCompactionLag, c.MaxCompactionLag
	cfg.DeleteRetention, cfg.MinDirtyRatio = c.DeleteRetention, c.MinDirtyRatio
	if c.Compact && c.MaxCompactionLag > 0 {
		cfg.SegmentAge = min(cfg.SegmentAge, c.MaxCompactionLag) // what is in the last segment is not compacted
	}
	cfg.Fsync = c.Fsync
	return cfg
}
