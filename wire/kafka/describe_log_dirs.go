package kafka

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/troupe-mq/troupe/wire"
)

var describeLogDirsShape = shape{
	flexible: 2,
	fields:   []field{list(str(), listOf(bytesOf(4)))},
}

func (c *conn) describeLogDirs(q *kmsg.DescribeLogDirsRequest) kmsg.Response {
	asked := map[string][]int32{}
	for i := range q.Topics {
		asked[q.Topics[i].Topic] = append(asked[q.Topics[i].Topic], q.Topics[i].Partitions...)
	}
	a := kmsg.NewPtrDescribeLogDirsResponse()
	for _, dir := range c.server.backend.LogDirs() {
		d := kmsg.NewDescribeLogDirsResponseDir()
		d.Dir, d.ErrorCode, d.TotalBytes, d.UsableBytes = dir.Path, c.code(dir.Err), dir.TotalBytes, dir.UsableBytes
		d.Topics = describedLogs(dir.Partitions, func(p *wire.LogDirPartition) bool {
			return q.Topics == nil || slices.Contains(asked[p.Topic], p.Partition)
		})
		a.Dirs = append(a.Dirs, d)
	}
	return a
}

// describedLogs groups the partitions by topic, in the order in which the topics first come.
func describedLogs(partitions []wire.LogDirPartition, wanted func(*wire.LogDirPartition) bool) []kmsg.DescribeLogDirsResponseDirTopic {
	var topics []kmsg.DescribeLogDirsResponseDirTopic
	places := map[string]int{}
	for i := range partitions {
		p := &partitions[i]
		if !wanted(p) {
			continue
		}
		at, ok := places[p.Topic]
		if !ok {
			at = len(topics)
			places[p.Topic] = at
			topic := kmsg.NewDescribeLogDirsResponseDirTopic()
			topic.Topic = p.Topic
			topics = append(topics, topic)
		}
		described := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
		described.Partition, described.Size = p.Partition, p.Bytes
		topics[at].Partitions = append(topics[at].Partitions, described)
	}
	return topics
}
