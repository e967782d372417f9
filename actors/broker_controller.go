package actors

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
)

// controllerRuns is the broker actor's account of its controller actor.
type controllerRuns struct {
	controllerPID *actor.PID // nil between two runs
	controllerRun time.Time  // when the present run began
	failures      int        // in a row
	lastFailure   error
	wasFull       bool // the last run ended because the disk is full
	refill        bool // the log was damaged: a blank one is to be filled by others
}

// controllerTick ends the pause before the controller is spawned again.
type controllerTick struct{}

const (
	firstControllerPause = 50 * time.Millisecond
	fullDiskPause        = time.Second
	// A controller that keeps failing is given up, and the broker with it: without the metadata
	// log nothing can be promised.
	maxControllerFailures = 5
)

var (
	errControllerGivenUp = errors.New("there can be no controller")
	errControllerStopped = errors.New("it stopped, which is a bug")
)

// startController spawns the controller. It finds in its log all that was answered before.
func (b *brokerActor) startController(ctx actor.Context) {
	if b.stopping != nil || b.controllerPID != nil {
		return
	}
	dir := b.dirs[0]
	cfg := controllerConfig{
		raftID: b.raftID.Load(), self: b.cfg.ID, broker: ctx.Self(),
		fs: b.fs, dir: filepath.Join(dir.Path(), metadataLogDir), wal: storage.DefaultWALConfig(),
		found: b.cfg.ClusterID != "", join: b.cfg.Join || b.refill, cluster: dir.Identity().ClusterID, static: b.cfg.Static,
		quorum: &b.quorum, known: b.image.Load().Image, snapshotBytes: defaultSnapshotBytes, keepBytes: defaultKeepBytes,
		now: b.now, newTopicID: newTopicID, logger: b.logger, full: b.wasFull,
	}
	if b.peers != nil {
		links := &raftLinks{broker: b.Broker, met: make(map[uint64]wire.BrokerID)}
		cfg.transport, cfg.admits, cfg.peers, cfg.post = links, links.admits, b.peers, links.post
	}
	pid, err := b.root.SpawnNamed(controllerProps(cfg), controllerName)
	if err != nil {
		b.fail(fmt.Errorf("spawn the controller: %w", err))
		return
	}
	ctx.Watch(pid)
	b.controllerPID, b.controllerRun = pid, b.now()
	b.controller.set(pid)
}

// noteOpened lets this broker register: its controller has found a metadata log that it can use.
func (b *brokerActor) noteOpened() {
	select {
	case <-b.opened:
	default:
		close(b.opened)
	}
}

func (b *brokerActor) isController(pid *actor.PID) bool {
	return b.controllerPID != nil && b.controllerPID.Id == pid.Id
}

func (b *brokerActor) stopController(ctx actor.Context) {
	if b.controllerPID != nil {
		ctx.Stop(b.controllerPID)
	}
}

// onControllerStopped answers those who wait for the controller and spawns the next one.
func (b *brokerActor) onControllerStopped(ctx actor.Context) {
	b.controller.clear()
	b.controllerPID = nil
	if b.stopping != nil {
		return
	}
	if b.now().Sub(b.controllerRun) > stableRun {
		b.failures = 0
	}
	b.wasFull = storage.IsFull(b.lastFailure)
	if b.wasFull {
		// What was acknowledged is in the log; the next run goes on once there is room again.
		b.failures = 0
		b.respawnController(ctx, fullDiskPause)
		return
	}
	if b.repairable(b.lastFailure) {
		b.seekCluster(ctx, b.lastFailure)
		return
	}
	b.failures++
	if b.failures > maxControllerFailures || errors.As(b.lastFailure, new(*metadataDiskError)) {
		b.fail(fmt.Errorf("%w: %w", errControllerGivenUp, cmp.Or(b.lastFailure, errControllerStopped)))
		return
	}
	b.logger.Warn("controller stopped", "failures", b.failures)
	pause := firstControllerPause << (b.failures - 1)
	if b.failures == 1 {
		pause = 0
	}
	b.respawnController(ctx, pause)
}

func (b *brokerActor) respawnController(ctx actor.Context, pause time.Duration) {
	self := ctx.Self()
	b.lastFailure = nil
	time.AfterFunc(pause, func() { b.send(self, &controllerTick{}) })
}

// newTopicID returns a random id (a version 4 UUID), never the zero id or the one that Kafka
// reserves for its metadata topic.
func newTopicID() wire.TopicID {
	var id wire.TopicID
	_, _ = rand.Read(id[:]) // never fails
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id
}

// newEpoch asks for a leader epoch above the one that a replica has led in before.
func (b *brokerActor) newEpoch(tp wire.TopicPartition, after wire.LeaderEpoch, done func(error)) {
	b.request(metadata.ReplicaRestarted{
		Topic: tp.Topic, Partition: tp.Partition, Broker: b.cfg.ID, Incarnation: b.cfg.Incarnation, LeaderEpoch: after,
	}, func(reply any, err error) {
		if refusal, ok := reply.(error); ok && err == nil {
			err = refusal
		}
		done(err)
	})
}

// tellAbout tells the controller of something that has happened here.
func (b *brokerActor) tellAbout(command metadata.Command) { b.tell(command, func() {}) }

// tellPause is how long to wait before the controller is told again.
const tellPause = time.Second

func (b *Broker) isEnding() bool {
	select {
	case <-b.ending:
		return true
	default:
		return false
	}
}

// tell calls told on another goroutine, once the controller knows or cannot be told.
func (b *brokerActor) tell(command metadata.Command, told func()) {
	b.request(command, func(reply any, err error) {
		if refusal, ok := reply.(error); ok && err == nil {
			err = refusal
		}
		if err != nil && wire.Code(err).Retriable() && b.lost.Err() == nil && !b.isEnding() {
			time.AfterFunc(tellPause, func() { b.tell(command, told) })
			return
		}
		if err != nil {
			b.logger.Error("the controller was not told", "command", fmt.Sprintf("%T", command), "err", err)
		}
		told()
	})
}

// controllerRef is where the controller actor is now. It changes when that actor is replaced.
type controllerRef struct {
	mu   sync.Mutex
	pid  *actor.PID
	gone chan struct{} // closed when pid is no more
}

func (c *controllerRef) set(pid *actor.PID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pid, c.gone = pid, make(chan struct{})
}

func (c *controllerRef) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pid == nil {
		return
	}
	close(c.gone)
	c.pid = nil
}

func (c *controllerRef) present() (gone <-chan struct{}, pid *actor.PID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone, c.pid
}
