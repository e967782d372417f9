package wire

import "time"

// PartitionOutcomes answers a request about partitions, each of which has an outcome of its own.
type PartitionOutcomes struct{ Partitions []PartitionOutcome }

const (
	minNamedPartitionBytes = 1 + 2
	minOutcomeBytes        = 1 + 3
	minReassignmentBytes   = 1 + 3
	minClusterBrokerBytes  = 1 + 9
	minQuorumMemberBytes   = 1 + 4
)

func (m *ElectLeaders) encode(e *Encoder) {
	e.array(2)
	e.bool(m.Unclean)
	if m.Partitions == nil {
		e.nothing()
		return
	}
	e.array(len(m.Partitions))
	for _, p := range m.Partitions {
		e.array(2)
		e.string(p.Topic)
		e.int(int64(p.Partition))
	}
}

func (m *ElectLeaders) decode(d *Decoder) {
	_, outer := d.open()
	m.Unclean = d.bool()
	if !d.isNil() {
		m.Partitions = structs(d, minNamedPartitionBytes, func(p *TopicNamePartition) {
			p.Topic, p.Partition = d.string(), integer[int32](d)
		})
	}
	d.close(outer)
}

func (m *AlterReassignments) encode(e *Encoder) {
	e.array(2)
	e.bool(m.SameFactor)
	e.array(len(m.Partitions))
	for i := range m.Partitions {
		p := &m.Partitions[i]
		e.array(3)
		e.string(p.Topic)
		e.int(int64(p.Partition))
		if p.Replicas == nil {
			e.nothing()
		} else {
			e.brokers(p.Replicas)
		}
	}
}

func (m *AlterReassignments) decode(d *Decoder) {
	_, outer := d.open()
	m.SameFactor = d.bool()
	m.Partitions = structs(d, minReassignmentBytes, func(p *Reassignment) {
		p.Topic, p.Partition = d.string(), integer[int32](d)
		if !d.isNil() { // no replicas is not the same as no wish
			p.Replicas = listOf(d, 1, integer[BrokerID])
		}
	})
	d.close(outer)
}

func (m *PartitionOutcomes) encode(e *Encoder) {
	e.array(1)
	e.array(len(m.Partitions))
	for i := range m.Partitions {
		p := &m.Partitions[i]
		e.array(3)
		e.failure(p.Err)
		e.string(p.Topic)
		e.int(int64(p.Partition))
	}
}

func (m *PartitionOutcomes) decode(d *Decoder) {
	_, outer := d.open()
	m.Partitions = structs(d, minOutcomeBytes, func(p *PartitionOutcome) {
		p.Err, p.Topic, p.Partition = d.failure(), d.string(), integer[int32](d)
	})
	d.close(outer)
}

func (m *RemoveBroker) encode(e *Encoder) {
	e.array(2)
	e.int(int64(m.Broker))
	e.bool(m.Cancel)
}

func (m *RemoveBroker) decode(d *Decoder) {
	_, outer := d.open()
	m.Broker, m.Cancel = integer[BrokerID](d), d.bool()
	d.close(outer)
}

func (m *RemovedBroker) encode(e *Encoder) {
	e.array(3)
	e.int(int64(m.Left))
	e.int(int64(m.Moving))
	e.bool(m.Done)
}

func (m *RemovedBroker) decode(d *Decoder) {
	_, outer := d.open()
	m.Left, m.Moving, m.Done = d.length(), d.length(), d.bool()
	d.close(outer)
}

func (m *ClusterDescription) encode(e *Encoder) {
	e.array(3)
	e.string(m.ClusterID)
	e.array(len(m.Brokers))
	for i := range m.Brokers {
		b := &m.Brokers[i]
		e.array(9)
		e.int(int64(b.ID))
		e.string(b.Host)
		e.int(int64(b.Port))
		e.string(b.Rack)
		e.bool(b.Fenced)
		e.string(b.ClusterAddress)
		e.unsigned(b.Epoch)
		e.unsigned(uint64(b.Incarnation))
		e.string(string(b.Standing))
	}
	e.quorum(&m.Quorum)
}

func (m *ClusterDescription) decode(d *Decoder) {
	_, outer := d.open()
	m.ClusterID = d.string()
	m.Brokers = structs(d, minClusterBrokerBytes, func(b *ClusterBroker) {
		b.ID, b.Host, b.Port = integer[BrokerID](d), d.string(), integer[int32](d)
		b.Rack, b.Fenced = d.string(), d.bool()
		b.ClusterAddress, b.Epoch, b.Incarnation = d.string(), d.unsigned(), Incarnation(d.unsigned())
		b.Standing = BrokerStanding(d.string())
	})
	m.Quorum = d.quorum()
	d.close(outer)
}

func (e *Encoder) quorum(q *Quorum) {
	e.array(5)
	e.int(int64(q.Leader))
	e.unsigned(q.Term)
	e.unsigned(q.Committed)
	e.quorumMembers(q.Voters)
	e.quorumMembers(q.Learners)
}

func (e *Encoder) quorumMembers(members []QuorumMember) {
	e.array(len(members))
	for _, m := range members {
		e.array(4)
		e.int(int64(m.Broker))
		e.unsigned(m.RaftID)
		e.unsigned(m.Match)
		e.int(m.Silent.Milliseconds())
	}
}

func (d *Decoder) quorum() Quorum {
	_, outer := d.open()
	q := Quorum{Leader: integer[BrokerID](d), Term: d.unsigned(), Committed: d.unsigned()}
	q.Voters, q.Learners = d.quorumMembers(), d.quorumMembers()
	d.close(outer)
	return q
}

func (d *Decoder) quorumMembers() []QuorumMember {
	return orNil(structs(d, minQuorumMemberBytes, func(m *QuorumMember) {
		m.Broker, m.RaftID, m.Match = integer[BrokerID](d), d.unsigned(), d.unsigned()
		m.Silent = time.Duration(d.length()) * time.Millisecond
	}))
}

func (m *ClusterHealth) encode(e *Encoder) {
	e.array(5)
	e.bool(m.Healthy)
	e.int(int64(m.Offline))
	e.int(int64(m.UnderReplicated))
	e.int(int64(m.MayLose))
	e.strings(m.Reasons)
}

func (m *ClusterHealth) decode(d *Decoder) {
	_, outer := d.open()
	m.Healthy = d.bool()
	m.Offline, m.UnderReplicated, m.MayLose = d.length(), d.length(), d.length()
	m.Reasons = d.strings()
	d.close(outer)
}
