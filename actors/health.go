package actors

import (
	"fmt"
	"time"

	"github.com/troupe-mq/troupe/cluster/metadata"
	"github.com/troupe-mq/troupe/wire"
)

// voterSilence is how long a voter may be silent at the controller before it counts as gone: as long
// as a broker's session.
const voterSilence = 3 * time.Second

// maxReasons is how many reasons a person is told.
const maxReasons = 10

// The kinds of reasons, the one that is told first first: what the others come from, what does not work, what
// may not happen, and what is on the way.
const (
	becauseOfBrokers = iota
	becauseOffline
	becauseWeak
	becauseBehind
	reasonKinds
)

// health is a wire.ClusterHealth in the making.
type health struct {
	wire.ClusterHealth

	bears bool // MayLose has been lowered to something
	told  [reasonKinds][]string
	more  int // reasons that are not told
}

// healthOf says how a cluster is. It is healthy when every partition is led and has all its replicas in sync,
// and the metadata log has all its voters. How many brokers it may lose is what the weakest of these bears:
// a partition goes on while as many are in sync as it needs, the metadata log while a majority votes.
func healthOf(image *metadata.Local, q *wire.Quorum) wire.ClusterHealth {
	h := health{ClusterHealth: wire.ClusterHealth{Healthy: true}}
	for _, b := range image.Brokers() {
		if b.Fenced {
			h.reason(becauseOfBrokers, "broker %d is fenced: it is not running, or cannot be reached", b.ID)
		}
	}
	h.quorum(q)
	for _, name := range image.TopicNames() {
		topic, ok := image.Topic(name)
		if !ok {
			continue
		}
		needed := 1
		if cfg, ok := image.TopicConfig(topic.ID); ok {
			needed = max(cfg.MinISR, 1)
		}
		for n := range topic.Partitions {
			if p, ok := image.Partition(topic.ID, n); ok {
				h.partition(name, n, &p, needed)
			}
		}
	}
	h.MayLose = max(h.MayLose, 0)
	h.Reasons = h.reasons()
	return h.ClusterHealth
}

// reasons are as many as a person is told, the weightiest first.
func (h *health) reasons() (reasons []string) {
	for _, kind := range h.told {
		reasons = append(reasons, kind...)
	}
	if over := len(reasons) - maxReasons; over > 0 {
		reasons, h.more = reasons[:maxReasons], h.more+over
	}
	if h.more > 0 {
		reasons = append(reasons, fmt.Sprintf("... and %d more", h.more))
	}
	return reasons
}

func (h *health) quorum(q *wire.Quorum) {
	voting := 0
	for _, v := range q.Voters {
		if v.Broker != wire.NoBroker && v.Silent < voterSilence {
			voting++
			continue
		}
		h.Healthy = false
		if v.Broker == wire.NoBroker {
			h.reason(becauseOfBrokers, "a voter of the metadata log belongs to no broker any more, and is about to be replaced")
		} else {
			h.reason(becauseOfBrokers, "a voter of the metadata log, on broker %d, has not been heard for %s", v.Broker, v.Silent.Round(time.Second))
		}
	}
	if q.Leader == wire.NoBroker || len(q.Voters) == 0 {
		h.Healthy = false
		h.reason(becauseOfBrokers, "no controller can be reached: start the brokers that vote, or see troupe cluster recover")
	}
	if q.Changing {
		h.Healthy = false
		h.bear(0, "the voters of the metadata log are being changed")
	}
	if len(q.Voters) < 3 {
		h.bear(voting-(len(q.Voters)/2+1), "the metadata log has %d voter(s): with three brokers there are three", len(q.Voters))
	} else {
		h.bear(voting-(len(q.Voters)/2+1), "%d of %d voters of the metadata log answer", voting, len(q.Voters))
	}
}

func (h *health) partition(topic string, number int32, p *wire.Partition, needed int) {
	needed = min(needed, max(len(p.Replicas), 1))
	if p.Leader == wire.NoBroker {
		h.Healthy, h.Offline = false, h.Offline+1
		h.reason(becauseOffline, "%s/%d has no leader", topic, number)
	}
	if len(p.ISR) < len(p.Replicas)-len(p.Adding) {
		h.Healthy, h.UnderReplicated = false, h.UnderReplicated+1
		h.reason(becauseBehind, "%s/%d has %d of %d replicas in sync", topic, number, len(p.ISR), len(p.Replicas)-len(p.Adding))
	}
	h.bear(len(p.ISR)-needed, "%s/%d needs %d replica(s) in sync and has %d", topic, number, needed, len(p.ISR))
}

// bear lowers MayLose to what something bears, and says why it is nothing.
func (h *health) bear(n int, format string, args ...any) {
	if h.bears && n >= h.MayLose {
		return
	}
	if n <= 0 && (!h.bears || h.MayLose > 0) {
		h.reason(becauseWeak, "no broker may be lost: "+format, args...)
	}
	h.MayLose, h.bears = n, true
}

func (h *health) reason(kind int, format string, args ...any) {
	if len(h.told[kind]) == maxReasons {
		h.more++
		return
	}
	h.told[kind] = append(h.told[kind], fmt.Sprintf(format, args...))
}
