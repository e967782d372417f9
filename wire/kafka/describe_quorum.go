package kafka

import (
	"net"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var describeQuorumShape = shape{
	flexible: 0,
	fields:   []field{list(str(), list(bytesOf(4)))}, // partitions
}

const (
	// metadataLogName is what Kafka calls the metadata log. There is no such topic here, but its state is
	// told under this name.
	metadataLogName = "__cluster_metadata"
	// clusterListener is the name of the listener that brokers reach each other by.
	clusterListener = "CLUSTER"
	// describeQuorumMillis is how long a client waits; the request does not say.
	describeQuorumMillis = 30_000
)

func (c *conn) describeQuorum(q *kmsg.DescribeQuorumRequest) kmsg.Response {
	a := kmsg.NewPtrDescribeQuorumResponse()
	if len(q.Topics) != 1 || q.Topics[0].Topic != metadataLogName || len(q.Topics[0].Partitions) != 1 || q.Topics[0].Partitions[0].Partition != 0 {
		for i := range q.Topics {
			t := kmsg.NewDescribeQuorumResponseTopic()
			t.Topic = q.Topics[i].Topic
			for _, asked := range q.Topics[i].Partitions {
				p := kmsg.NewDescribeQuorumResponseTopicPartition()
				p.Partition, p.ErrorCode = asked.Partition, c.code(wire.UnknownTopicOrPartition)
				t.Partitions = append(t.Partitions, p)
			}
			a.Topics = append(a.Topics, t)
		}
		return a
	}
	ctx, cancel := c.context(describeQuorumMillis)
	defer cancel()
	described := c.server.backend.DescribeCluster(ctx)
	quorum := &described.Quorum
	now := c.server.now()
	p := kmsg.NewDescribeQuorumResponseTopicPartition()
	p.LeaderID, p.LeaderEpoch, p.HighWatermark = int32(quorum.Leader), int32(quorum.Term), int64(quorum.Committed)
	for i := range quorum.Voters {
		p.CurrentVoters = append(p.CurrentVoters, quorumReplica(quorum, &quorum.Voters[i], now))
	}
	for i := range quorum.Learners {
		p.Observers = append(p.Observers, quorumReplica(quorum, &quorum.Learners[i], now))
	}
	t := kmsg.NewDescribeQuorumResponseTopic()
	t.Topic, t.Partitions = metadataLogName, append(t.Partitions, p)
	a.Topics = append(a.Topics, t)
	for i := range described.Brokers {
		if node, ok := quorumNode(&described.Brokers[i], quorum.Voters); ok {
			a.Nodes = append(a.Nodes, node)
		}
	}
	return a
}

// quorumReplica describes one copy of the metadata log. Kafka: its offsets are those of records; ours
// are entries of the log.
func quorumReplica(q *wire.Quorum, m *wire.QuorumMember, now time.Time) kmsg.DescribeQuorumResponseTopicPartitionReplicaState {
	r := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
	r.ReplicaID, r.LogEndOffset = int32(m.Broker), int64(wire.NoOffset)
	if m.Match == 0 {
		return r
	}
	r.LogEndOffset = int64(m.Match)
	r.LastFetchTimestamp = now.Add(-m.Silent).UnixMilli()
	if m.Match >= q.Committed {
		r.LastCaughtUpTimestamp = r.LastFetchTimestamp
	}
	return r
}

// quorumNode says where a voter is reached.
func quorumNode(b *wire.ClusterBroker, voters []wire.QuorumMember) (kmsg.DescribeQuorumResponseNode, bool) {
	node := kmsg.NewDescribeQuorumResponseNode()
	host, portText, err := net.SplitHostPort(b.ClusterAddress)
	if err != nil {
		return node, false
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return node, false
	}
	for _, v := range voters {
		if v.Broker == b.ID {
			listener := kmsg.NewDescribeQuorumResponseNodeListener()
			listener.Name, listener.Host, listener.Port = clusterListener, host, uint16(port)
			node.NodeID, node.Listeners = int32(b.ID), append(node.Listeners, listener)
			return node, true
		}
	}
	return node, false
}
