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
