package groups

import (
	"encoding/binary"
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// image is one state of the cluster's metadata. Brokers have it a while after it was decided, each on its own.
type image struct {
	version int
	topics  []wire.Topic // sorted by name
	names   []string
}

// foundingVersion is the image that every world begins with.
const foundingVersion = 2

// place is a partition by its topic's name: the words of commits.
type place struct {
	topic     string
	partition int32
}

// with is the image after a change to its topics.
func (i *image) with(change func([]wire.Topic) []wire.Topic) *image {
	next := &image{version: i.version + 1, topics: change(slices.Clone(i.topics))}
	slices.SortFunc(next.topics, func(a, b wire.Topic) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	for _, t := range next.topics {
		next.names = append(next.names, t.Name)
	}
	return next
}

// topicID is another one each time that a topic is created.
func topicID(version int) (id wire.TopicID) {
	binary.BigEndian.PutUint64(id[8:], uint64(version)<<8|0xab)
	id[0] = 0x70
	return id
}

func (i *image) create(name string, partitions int32) *image {
	return i.with(func(topics []wire.Topic) []wire.Topic {
		return append(topics, wire.Topic{Name: name, ID: topicID(i.version + 1), Partitions: partitions, Limits: &wire.RecordLimits{}})
	})
}

func (i *image) grow(name string) *image {
	return i.with(func(topics []wire.Topic) []wire.Topic {
		for n := range topics {
			if topics[n].Name == name {
				topics[n].Partitions++
			}
		}
		return topics
	})
}

func (i *image) remove(name string) *image {
	return i.with(func(topics []wire.Topic) []wire.Topic {
		return slices.DeleteFunc(topics, func(t wire.Topic) bool { return t.Name == name })
	})
}

// ClusterID implements wire.View.
func (i *image) ClusterID() string { return "groups" }

// Controller implements wire.View.
func (i *image) Controller() wire.BrokerID { return 1 }

// Brokers implements wire.View.
func (i *image) Brokers() []wire.Broker { return []wire.Broker{{ID: 1}, {ID: 2}, {ID: 3}} }

// Topic implements wire.View.
func (i *image) Topic(name string) (wire.Topic, bool) {
	n, ok := slices.BinarySearch(i.names, name)
	if !ok {
		return wire.Topic{}, false
	}
	return i.topics[n], true
}

// TopicByID implements wire.View.
func (i *image) TopicByID(id wire.TopicID) (wire.Topic, bool) {
	for _, t := range i.topics {
		if t.ID == id {
			return t, true
		}
	}
	return wire.Topic{}, false
}

// TopicNames implements wire.View.
func (i *image) TopicNames() []string { return i.names }

// Partition implements wire.View.
func (i *image) Partition(id wire.TopicID, partition int32) (wire.Partition, bool) {
	t, ok := i.TopicByID(id)
	if !ok || partition < 0 || partition >= t.Partitions {
		return wire.Partition{}, false
	}
	replicas := []wire.BrokerID{1, 2, 3}
	return wire.Partition{Leader: 1, Replicas: replicas, ISR: replicas}, true
}

// places are all partitions of some topics.
func (i *image) places(subscribed func(string) bool) []place {
	var all []place
	for _, t := range i.topics {
		for p := int32(0); subscribed(t.Name) && p < t.Partitions; p++ {
			all = append(all, place{t.Name, p})
		}
	}
	return all
}
