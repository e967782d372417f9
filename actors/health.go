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

// health is a wire.ClusterHealth in the making.
type health struct {
	wire.ClusterHealth

	bears bool // MayLose has been lowered to something
}

// healthOf says how a cluster is. It is healthy when every partition is led and has all its replicas in sync,
// and the metadata log has all its voters. How many brokers it may lose is what the weakest of these bears:
// a partition goes on while as many are in sync as it needs, the metadata log while a majority votes.
func healthOf(image *metadata.Local, q *wire.Quorum) wire.ClusterHealth {
	h := health{ClusterHealth: wire.ClusterHealth{Healthy: true}}
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
	return h.ClusterHealth
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
			h.reason("a voter of the metadata log belongs to no broker any more, and is about to be replaced")
		} else {
			h.reason("a voter of the metadata log, on broker %d, has not been heard for %s", v.Broker, v.Silent.Round(time.Second))
		}
	}
	if q.Leader == wire.NoBroker || len(q.Voters) == 0 {
		h.Healthy = false
		h.reason("no controller can be reached")
	}
	h.bear(voting-(len(q.Voters)/2+1), "the metadata log has %d voting broker(s): with three brokers there are three", voting)
}

func (h *health) partition(topic string, number int32, p *wire.Partition, needed int) {
	needed = min(needed, max(len(p.Replicas), 1))
	if p.Leader == wire.NoBroker {
		h.Healthy, h.Offline = false, h.Offline+1
		h.reason("%s/%d has no leader", topic, number)
	}
	if len(p.ISR) < len(p.Replicas)-len(p.Adding) {
		h.Healthy, h.UnderReplicated = false, h.UnderReplicated+1
		h.reason("%s/%d has %d of %d replicas in sync", topic, number, len(p.ISR), len(p.Replicas)-len(p.Adding))
	}
	h.bear(len(p.ISR)-needed, "%s/%d needs %d replica(s) in sync and has %d", topic, number, needed, len(p.ISR))
}

// bear lowers MayLose to what something bears, and says why it is nothing.
func (h *health) bear(n int, format string, args ...any) {
	if h.bears && n >= h.MayLose {
		return
	}
	if n <= 0 && (!h.bears || h.MayLose > 0) {
		h.reason("no broker may be lost: "+format, args...)
	}
	h.MayLose, h.bears = n, true
}

func (h *health) reason(format string, args ...any) {
	if len(h.Reasons) < maxReasons {
		h.Reasons = append(h.Reasons, fmt.Sprintf(format, args...))
	}
}
