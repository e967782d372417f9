package metadata

import (
	"bytes"
	"cmp"
	"iter"
	"slices"
	"strings"

	"github.com/troupe-mq/troupe/wire"
)

// Image is the state of the cluster's metadata after one entry of the log. The zero Image, from
// NewImage, is the state before the first.
//
// It satisfies wire.View. The limits of its topics know of the dynamic configuration only; what
// a broker was started with is added by Local.
type Image struct {
	index         uint64
	clusterID     string
	recoveryEpoch uint32
	features      []Feature // by name

	nextBroker     wire.BrokerID
	nextTopic      TopicNumber
	nextProducerID wire.ProducerID

	brokers     []*broker     // by id
	removedDirs []DirectoryID // in order; they may not come back

	topics      sorted[*topic]  // by number
	names       sorted[nameRef] // by name
	ids         sorted[idRef]   // by id
	collisions  sorted[nameRef] // by name with '.' as '_', of the topics that have one in their name
	leaderless  sorted[TopicNumber]
	reassigning sorted[TopicNumber]
	partitions  int
	reports     sorted[report] // by partition and broker, of those that wait for them

	clusterConfigs []Setting      // the default of all brokers
	brokerConfigs  []brokerConfig // by id
	defaults       *topicDefaults // as far as the log tells

	controller wire.BrokerID // not from the log: raft knows
}

// Feature is a feature with the level that the cluster has agreed on.
type Feature struct {
	Name  string
	Level uint16
}

type nameRef struct {
	name  string
	topic TopicNumber
}

type idRef struct {
	id    wire.TopicID
	topic TopicNumber
}

type brokerConfig struct {
	broker   wire.BrokerID
	settings []Setting
}

// NewImage returns the image of an empty log.
func NewImage() *Image {
	img := &Image{nextBroker: 1, nextTopic: 1, controller: wire.NoBroker}
	img.defaults = defaultsFrom(img.sources())
	return img
}

// WithController returns the image as seen while that broker is the controller.
func (img *Image) WithController(id wire.BrokerID) *Image {
	next := *img
	next.controller = id
	return &next
}

// Index returns the index of the last entry applied.
func (img *Image) Index() uint64 { return img.index }

// ClusterID returns the cluster's id, and "" before it was founded.
func (img *Image) ClusterID() string { return img.clusterID }

// RecoveryEpoch tells how often the cluster was recovered after the loss of its quorum.
func (img *Image) RecoveryEpoch() uint32 { return img.recoveryEpoch }

// Controller returns the broker that is the controller, if that is known.
func (img *Image) Controller() wire.BrokerID { return img.controller }

// Features returns the agreed features by name. The result is not to be changed.
func (img *Image) Features() []Feature { return img.features }

// featureLevel returns the agreed level of a feature; 0 if there is none.
func (img *Image) featureLevel(name string) uint16 {
	for _, f := range img.features {
		if f.Name == name {
			return f.Level
		}
	}
	return 0
}

// NextProducerID is the first producer id that no broker has.
func (img *Image) NextProducerID() wire.ProducerID { return img.nextProducerID }

// PartitionCount returns the number of partitions of all topics.
func (img *Image) PartitionCount() int { return img.partitions }

// TopicCount returns the number of topics.
func (img *Image) TopicCount() int { return img.topics.len() }

// Brokers returns the registered brokers by id.
func (img *Image) Brokers() []wire.Broker {
	list := make([]wire.Broker, len(img.brokers))
	for i, b := range img.brokers {
		list[i] = wire.Broker{ID: b.ID, Host: b.Host, Port: b.Port, Rack: b.Rack, Fenced: b.Fenced}
	}
	return list
}

// Registration returns what is known of a broker.
func (img *Image) Registration(id wire.BrokerID) (Registration, bool) {
	b := img.broker(id)
	if b == nil {
		return Registration{}, false
	}
	return b.Registration, true
}

// BrokerByRaftID returns the broker that a voter or learner of the metadata log belongs to. A raft
// id that its broker has replaced by another belongs to none.
func (img *Image) BrokerByRaftID(id uint64) (Registration, bool) {
	for _, b := range img.brokers {
		if id != 0 && b.RaftID == id {
			return b.Registration, true
		}
	}
	return Registration{}, false
}

func (img *Image) broker(id wire.BrokerID) *broker {
	i, found := slices.BinarySearchFunc(img.brokers, id, func(b *broker, id wire.BrokerID) int {
		return cmp.Compare(b.ID, id)
	})
	if !found {
		return nil
	}
	return img.brokers[i]
}

// usable says whether a broker may lead.
func (img *Image) usable(id wire.BrokerID) bool {
	b := img.broker(id)
	return b != nil && b.Usable()
}

// Topic returns a topic by name.
func (img *Image) Topic(name string) (wire.Topic, bool) {
	t := img.topicByName(name)
	if t == nil {
		return wire.Topic{}, false
	}
	return t.view(img.defaults), true
}

// TopicByID returns a topic by id.
func (img *Image) TopicByID(id wire.TopicID) (wire.Topic, bool) {
	t := img.topicByID(id)
	if t == nil {
		return wire.Topic{}, false
	}
	return t.view(img.defaults), true
}

func (t *topic) view(defaults *topicDefaults) wire.Topic {
	return wire.Topic{
		Name: t.name, ID: t.id, Partitions: t.partitions, Internal: internalTopic(t.name),
		Limits: defaults.with(t).Limits,
	}
}

// TopicNames returns the names of all topics in order.
func (img *Image) TopicNames() []string {
	names := make([]string, 0, img.names.len())
	for ref := range img.names.all() {
		names = append(names, ref.name)
	}
	return names
}

// Partition returns one partition of a topic.
func (img *Image) Partition(id wire.TopicID, number int32) (wire.Partition, bool) {
	t := img.topicByID(id)
	if t == nil {
		return wire.Partition{}, false
	}
	p, ok := t.partition(number)
	if !ok {
		return wire.Partition{}, false
	}
	return img.partitionView(&p), true
}

func (img *Image) partitionView(p *partition) wire.Partition {
	var offline ReplicaSet
	for i, id := range p.replicas {
		if img.lost(p, i) || img.broker(id).Fenced {
			offline |= 1 << i
		}
	}
	return wire.Partition{
		Leader:         p.leaderID(),
		LeaderEpoch:    p.leaderEpoch,
		PartitionEpoch: p.partitionEpoch,
		Replicas:       p.replicas,
		ISR:            p.brokers(p.isr),
		ELR:            p.brokers(p.elr),
		LastKnownELR:   p.brokers(p.lastKnownELR),
		Offline:        p.brokers(offline),
		Adding:         p.brokers(p.adding),
		Removing:       p.brokers(p.removing),
	}
}

// Directory tells in which of its directories a broker has its replica of a partition. There is
// none if it has no replica, or if the replica may lie in any.
func (img *Image) Directory(id wire.TopicID, number int32, of wire.BrokerID) (DirectoryID, bool) {
	t, b := img.topicByID(id), img.broker(of)
	if t == nil || b == nil {
		return "", false
	}
	p, _ := t.partition(number)
	i := slices.Index(p.replicas, of)
	if i < 0 || p.dirs[i] == 0 || int(p.dirs[i]) > len(b.Directories) {
		return "", false
	}
	return b.Directories[p.dirs[i]-1].ID, true
}

// UncleanEpoch returns the last leader epoch of a partition whose leader was elected though it may have
// lacked what was committed; 0 if there was none. A follower whose log ends in an epoch before may have
// to cut below its high watermark, however much later it comes: what it has there may be what was lost.
func (img *Image) UncleanEpoch(id wire.TopicID, number int32) wire.LeaderEpoch {
	t := img.topicByID(id)
	if t == nil {
		return 0
	}
	p, _ := t.partition(number)
	return p.uncleanEpoch
}

// Unclean says that the partition's leader was elected though it may lack what was committed.
func (img *Image) Unclean(id wire.TopicID, number int32) bool {
	t := img.topicByID(id)
	if t == nil {
		return false
	}
	p, _ := t.partition(number)
	return p.unclean
}

// Hosted yields the partitions that a broker has a replica of, by topic and number.
func (img *Image) Hosted(id wire.BrokerID) iter.Seq[wire.TopicPartition] {
	return func(yield func(wire.TopicPartition) bool) {
		for t, p := range img.hosted(id) {
			if !yield(wire.TopicPartition{Topic: t.id, Partition: p.number}) {
				return
			}
		}
	}
}

// hosted walks the index of a broker.
func (img *Image) hosted(id wire.BrokerID) iter.Seq2[*topic, partition] {
	return func(yield func(*topic, partition) bool) {
		b := img.broker(id)
		if b == nil {
			return
		}
		for number := range b.topics.all() {
			t := img.topic(number)
			if !t.hostedBy(id, func(p partition) bool { return yield(t, p) }) {
				return
			}
		}
	}
}

// Leaderless yields the partitions that have no leader.
func (img *Image) Leaderless() iter.Seq[wire.TopicPartition] {
	return func(yield func(wire.TopicPartition) bool) {
		for number := range img.leaderless.all() {
			t := img.topic(number)
			for p := range t.all {
				if p.leader == noLeader && !yield(wire.TopicPartition{Topic: t.id, Partition: p.number}) {
					return
				}
			}
		}
	}
}

// Reassigning yields the partitions that are being reassigned.
func (img *Image) Reassigning() iter.Seq[wire.TopicPartition] {
	return func(yield func(wire.TopicPartition) bool) {
		for t, p := range img.reassigned() {
			if !yield(wire.TopicPartition{Topic: t.id, Partition: p.number}) {
				return
			}
		}
	}
}

func (img *Image) reassigned() iter.Seq2[*topic, partition] {
	return func(yield func(*topic, partition) bool) {
		for number := range img.reassigning.all() {
			t := img.topic(number)
			for p := range t.all {
				if p.adding|p.removing != 0 && !yield(t, p) {
					return
				}
			}
		}
	}
}

// topic returns the topic of a number, or nil.
func (img *Image) topic(number TopicNumber) *topic {
	t, _ := img.topics.find(atTopic(number))
	return t
}

func (img *Image) topicByName(name string) *topic {
	ref, found := img.names.find(atName(name))
	if !found {
		return nil
	}
	return img.topic(ref.topic)
}

func (img *Image) topicByID(id wire.TopicID) *topic {
	ref, found := img.ids.find(atID(id))
	if !found {
		return nil
	}
	return img.topic(ref.topic)
}

func atTopic(number TopicNumber) place[*topic] {
	return func(t *topic) int { return cmp.Compare(t.number, number) }
}

func atNumber(number TopicNumber) place[TopicNumber] {
	return func(n TopicNumber) int { return cmp.Compare(n, number) }
}

func atName(name string) place[nameRef] {
	return func(ref nameRef) int { return strings.Compare(ref.name, name) }
}

func atID(id wire.TopicID) place[idRef] {
	return func(ref idRef) int { return bytes.Compare(ref.id[:], id[:]) }
}
