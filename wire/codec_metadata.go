package wire

// MetadataRequest asks who leads what. Topics of both lists are described; All describes every
// topic, internal ones too.
type MetadataRequest struct {
	All        bool
	Names      []string
	IDs        []TopicID
	AutoCreate bool // a topic of Names that does not exist may be created, if the broker does such
}

// MetadataReply is what one broker believes the cluster to be.
type MetadataReply struct {
	ClusterID  string
	Controller BrokerID
	Brokers    []Broker
	Topics     []TopicMetadata
}

// TopicMetadata describes one topic. With Err only what was asked by is set.
type TopicMetadata struct {
	Err        error
	Name       string
	ID         TopicID
	Internal   bool
	Partitions []Partition // by number; LastKnownELR is not encoded
}

const (
	minBrokerBytes        = 1 + 5
	minTopicMetadataBytes = 1 + 2 + 2 + len(TopicID{}) + 2
	minPartitionBytes     = 1 + 5
	encodedTopicIDBytes   = 2 + len(TopicID{})
)

func (m *MetadataRequest) encode(e *Encoder) {
	e.array(4)
	e.bool(m.All)
	e.strings(m.Names)
	e.array(len(m.IDs))
	for _, id := range m.IDs {
		e.topicID(id)
	}
	e.bool(m.AutoCreate)
}

func (m *MetadataRequest) decode(d *Decoder) {
	_, outer := d.open()
	m.All, m.Names = d.bool(), d.strings()
	m.IDs = listOf(d, encodedTopicIDBytes, (*Decoder).topicID)
	m.AutoCreate = d.bool()
	d.close(outer)
}

func (m *MetadataReply) encode(e *Encoder) {
	e.array(4)
	e.string(m.ClusterID)
	e.int(int64(m.Controller))
	e.array(len(m.Brokers))
	for i := range m.Brokers {
		b := &m.Brokers[i]
		e.array(5)
		e.int(int64(b.ID))
		e.string(b.Host)
		e.int(int64(b.Port))
		e.string(b.Rack)
		e.bool(b.Fenced)
	}
	e.array(len(m.Topics))
	for i := range m.Topics {
		t := &m.Topics[i]
		e.array(5)
		e.failure(t.Err)
		e.string(t.Name)
		e.topicID(t.ID)
		e.bool(t.Internal)
		e.array(len(t.Partitions))
		for j := range t.Partitions {
			p := &t.Partitions[j]
			e.array(9)
			e.int(int64(p.Leader))
			e.int(int64(p.LeaderEpoch))
			e.brokers(p.Replicas)
			e.brokers(p.ISR)
			e.brokers(p.Offline)
			e.int(int64(p.PartitionEpoch))
			e.brokers(p.ELR)
			e.brokers(p.Adding)
			e.brokers(p.Removing)
		}
	}
}

func (m *MetadataReply) decode(d *Decoder) {
	_, outer := d.open()
	m.ClusterID = d.string()
	m.Controller = integer[BrokerID](d)
	m.Brokers = structs(d, minBrokerBytes, func(b *Broker) {
		b.ID = integer[BrokerID](d)
		b.Host = d.string()
		b.Port = integer[int32](d)
		b.Rack = d.string()
		b.Fenced = d.bool()
	})
	m.Topics = structs(d, minTopicMetadataBytes, func(t *TopicMetadata) {
		t.Err, t.Name, t.ID, t.Internal = d.failure(), d.string(), d.topicID(), d.bool()
		t.Partitions = structs(d, minPartitionBytes, d.partition)
	})
	d.close(outer)
}

func (d *Decoder) partition(p *Partition) {
	p.Leader = integer[BrokerID](d)
	p.LeaderEpoch = integer[LeaderEpoch](d)
	p.Replicas, p.ISR, p.Offline = d.brokers(), d.brokers(), d.brokers()
	if d.more() { // a broker that knew no other tells no more
		p.PartitionEpoch = integer[PartitionEpoch](d)
		p.ELR, p.Adding, p.Removing = d.brokers(), d.brokers(), d.brokers()
	}
}
