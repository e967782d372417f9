package metadata

import "github.com/troupe-mq/troupe/wire"

// ReplicaUsable says that a broker's replica of a partition may lead and may be in sync: the broker
// is not fenced or shutting down, and can use that replica.
func (img *Image) ReplicaUsable(id wire.TopicID, number int32, of wire.BrokerID) bool {
	t := img.topicByID(id)
	if t == nil {
		return false
	}
	p, ok := t.partition(number)
	if !ok {
		return false
	}
	for i, b := range p.replicas {
		if b == of {
			return img.standing(&p, i) == usable
		}
	}
	return false
}

// MinISR tells how many replicas of a partition have to be in sync for something to be committed:
// min.insync.replicas, or all there are if those are fewer, not counting the ones that a reassignment
// is bringing in.
func (img *Image) MinISR(id wire.TopicID, number int32) int {
	t := img.topicByID(id)
	if t == nil {
		return 0
	}
	p, ok := t.partition(number)
	if !ok {
		return 0
	}
	return p.enough(img.minISR(t))
}
