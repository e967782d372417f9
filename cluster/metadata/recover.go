package metadata

import (
	"math"

	"github.com/troupe-mq/troupe/wire"
)

// Recover makes the best of what one voter has, after the majority of them was lost for good. It is not
// sent to a controller, since there is none: whoever repairs the metadata log decides it on the image
// that the log gives, and writes the entry behind it. The reply is an error or nil.
type Recover struct {
	RaftID uint64 // of the voter that is left
}

// What a recovery leaves room for: of what is lost, nobody knows how much there was.
const (
	recoveredEpochs      = 1 << 20       // leader epochs
	recoveredProducerIDs = 1_000_000_000 // producer ids
)

// Decide implements Command.
func (c Recover) Decide(img *Image, _ Env) Decision {
	switch {
	case img.clusterID == "":
		return refused(wire.Errorf(wire.InvalidRequest, "the metadata log holds no cluster"))
	case img.recoveryEpoch >= 1<<(64-epochIndexBits)-1:
		return refused(wire.Errorf(wire.InvalidRequest, "the cluster was recovered %d times: no more is possible", img.recoveryEpoch))
	}
	return Decision{Records: []Record{&ClusterRecovered{RecoveryEpoch: img.recoveryEpoch + 1, RaftID: c.RaftID}}}
}

func (r *ClusterRecovered) apply(d *draft) error {
	if d.clusterID == "" || r.RecoveryEpoch != d.recoveryEpoch+1 {
		return mismatch("recovery %d after %d", r.RecoveryEpoch, d.recoveryEpoch)
	}
	d.recoveryEpoch = r.RecoveryEpoch
	d.nextProducerID += recoveredProducerIDs
	d.reports = sorted[report]{}
	for _, old := range d.brokers {
		b := *old
		b.Fenced, b.ShuttingDown = true, false
		if b.RaftID != r.RaftID {
			b.RaftID = 0
		}
		d.setBroker(&b)
	}
	var changed []*topic
	for t := range d.topics.all() {
		numbers := make([]int32, t.partitions)
		for i := range numbers {
			numbers[i] = int32(i)
		}
		overflow := false
		t = t.withStates(numbers, func(_ int, st *state) {
			overflow = overflow || st.leaderEpoch > math.MaxInt32-recoveredEpochs
			st.leaderEpoch += recoveredEpochs
			st.partitionEpoch++
			st.leader, st.isr, st.elr, st.lastKnownELR, st.unclean, st.awaiting = noLeader, 0, 0, 0, false, true
		})
		if overflow {
			return mismatch("topic %s has no leader epochs left", t.name)
		}
		changed = append(changed, t)
	}
	d.topics = d.topics.replaced(changed, func(a, b *topic) int { return int(a.number) - int(b.number) })
	for _, t := range changed {
		d.list(t)
	}
	return nil
}
