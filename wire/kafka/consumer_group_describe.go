package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var consumerGroupDescribeShape = shape{
	flexible: 0,
	fields: []field{
		listOf(str()),
		bytesOf(1), // authorized operations
	},
}

// The types of members (KIP-1099).
const (
	classicMember  = 0
	consumerMember = 1
)

// consumerGroupDescribe describes groups that speak the protocol of KIP-848.
func (c *conn) consumerGroupDescribe(q *kmsg.ConsumerGroupDescribeRequest) kmsg.Response {
	ctx, cancel := c.context(groupMillis)
	defer cancel()
	a := kmsg.NewPtrConsumerGroupDescribeResponse()
	for _, group := range q.Groups {
		g := kmsg.NewConsumerGroupDescribeResponseGroup()
		g.Group = group
		described, err := c.description(ctx, group, wire.ConsumerGroup)
		if g.ErrorCode, g.ErrorMessage = c.codeAndMessage(err); err == nil {
			describeConsumer(&g, described)
		}
		a.Groups = append(a.Groups, g)
	}
	return a
}

func describeConsumer(g *kmsg.ConsumerGroupDescribeResponseGroup, described *wire.GroupDescription) {
	g.State, g.AssignorName = string(described.State), described.Protocol
	g.Epoch, g.AssignmentEpoch = described.Epoch, described.AssignmentEpoch
	for i := range described.Members {
		from := &described.Members[i]
		m := kmsg.NewConsumerGroupDescribeResponseGroupMember()
		m.MemberID, m.MemberEpoch = string(from.Member), from.Epoch
		m.InstanceID, m.RackID = optional(from.Instance), optional(from.Rack)
		m.ClientID, m.ClientHost = from.ClientID, from.ClientHost
		m.SubscribedTopics, m.SubscribedTopicRegex = from.SubscribedTopics, optional(from.Pattern)
		m.Assignment, m.TargetAssignment = assignment(from.Assigned), assignment(from.Target)
		m.MemberType = consumerMember
		if from.Classic {
			m.MemberType = classicMember
		}
		g.Members = append(g.Members, m)
	}
}

func assignment(topics []wire.NamedPartitions) kmsg.Assignment {
	a := kmsg.NewAssignment()
	for i := range topics {
		t := kmsg.NewAssignmentTopicPartition()
		t.Topic, t.TopicID, t.Partitions = topics[i].Topic, topics[i].TopicID, topics[i].Partitions
		a.TopicPartitions = append(a.TopicPartitions, t)
	}
	return a
}
