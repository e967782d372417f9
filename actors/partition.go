package actors

import (
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-mq/troupe/storage"
	"github.com/troupe-mq/troupe/wire"
)

// partition is what everybody on this broker may know of one of its partitions: the way to its
// replica actor and that actor's view of itself. It lives as long as the topic does; replica
// actors come and go behind it.
type partition struct {
	topic string
	tp    wire.TopicPartition
	door  door
	view  atomic.Pointer[replicaView] // nil while no replica leads
	// followed is what a following replica shows to consumers in its rack; nil while none follows.
	followed atomic.Pointer[followedView]
	parking  wire.Parking              // of the fetches that wait for more
	actor    atomic.Pointer[actor.PID] // the replica actor, whatever its role; nil between two

	bytesIn, recordsIn atomic.Int64 // appended since the broker began

	deleted atomic.Bool // its topic is gone, and its log goes too

	mu      sync.Mutex
	log     *storage.Log  // of the present replica actor; its owner is whoever took it out
	run     uint64        // which replica actor that is
	opening bool          // its log is being opened, also when the run is over meanwhile
	gone    chan struct{} // closed when the run ends: nobody will answer its commands any more
}

// replicaView is a leading replica as readers see it. It is immutable: the replica actor
// publishes a new one whenever something in it changes.
type replicaView struct {
	log           *storage.Log
	leaderEpoch   wire.LeaderEpoch
	start         wire.Offset
	highWatermark wire.Offset
	caughtUp      bool // the high watermark has reached the epoch's start (KIP-207)
	// lacking are the followers whose logs begin above the leader's: nobody is sent to them.
	lacking []wire.BrokerID
}

func newPartition(topic string, tp wire.TopicPartition, maxBytesInFlight int64) *partition {
	p := &partition{topic: topic, tp: tp}
	p.door.init(maxBytesInFlight)
	return p
}

// begin starts a run of the partition's replica, whose log is about to be opened.
func (p *partition) begin(run uint64) {
	p.mu.Lock()
	p.run, p.opening, p.gone = run, true, make(chan struct{})
	p.mu.Unlock()
}

// adopt ends the opening of a run's log and gives it to the partition; nil when it could not be
// opened. False says that the run is over: the caller keeps the log, and has to give it up.
func (p *partition) adopt(run uint64, log *storage.Log) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opening = false
	if p.run != run {
		return false
	}
	p.log = log
	return true
}

// disown ends the present run and hands its log to the caller; nil when there is none. While it is
// still being opened, it is whoever opens it who has to give it up.
func (p *partition) disown() (log *storage.Log, opening bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	log = p.log
	p.log, p.run = nil, 0
	p.withdraw()
	if p.gone != nil {
		close(p.gone)
		p.gone = nil
	}
	return log, p.opening
}

// withdraw shows readers nothing any more, and has them look.
func (p *partition) withdraw() {
	p.view.Store(nil)
	p.followed.Store(nil)
	p.parking.All()
}

// ended is closed when the present run ends; nil when there is none.
func (p *partition) ended() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gone
}

// current is the log of the present run, or nil.
func (p *partition) current() *storage.Log {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log
}

// routes finds partitions. It is read by every request and changed only by the broker actor;
// cut in shards, so that creating the ten-thousandth topic does not copy the other ones.
type routes struct {
	shards [256]atomic.Pointer[map[wire.TopicID][]*partition]
}

// find returns nil when the partition is not on this broker.
func (r *routes) find(topic wire.TopicID, number int32) *partition {
	shard := r.shards[topic[0]].Load()
	if shard == nil {
		return nil
	}
	parts := (*shard)[topic]
	if number < 0 || int(number) >= len(parts) {
		return nil
	}
	return parts[number]
}

// size is the number of partitions of a topic that is on this broker, and 0 of others.
func (r *routes) size(topic wire.TopicID) int {
	shard := r.shards[topic[0]].Load()
	if shard == nil {
		return 0
	}
	return len((*shard)[topic])
}

// set replaces the partitions of a topic; entries of partitions that are elsewhere are nil.
// No partitions removes the topic.
func (r *routes) set(topic wire.TopicID, parts []*partition) {
	old := r.shards[topic[0]].Load()
	next := make(map[wire.TopicID][]*partition)
	if old != nil {
		for id, p := range *old {
			next[id] = p
		}
	}
	if len(parts) == 0 {
		delete(next, topic)
	} else {
		next[topic] = parts
	}
	r.shards[topic[0]].Store(&next)
}

// each calls f for every partition on this broker until f returns false.
func (r *routes) each(f func(*partition) bool) {
	for i := range r.shards {
		shard := r.shards[i].Load()
		if shard == nil {
			continue
		}
		for _, parts := range *shard {
			for _, p := range parts {
				if p != nil && !f(p) {
					return
				}
			}
		}
	}
}
