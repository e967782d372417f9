package metadata

import (
	"strconv"

	"github.com/troupe-mq/troupe/wire"
)

// CreateInternalTopic asks for a topic that belongs to the brokers, when one of them needs it for the first time.
// Its shape is what the brokers' configuration says. The reply is an error, or nil when the topic is there.
type CreateInternalTopic struct{ Name string }

// Decide implements Command.
func (c CreateInternalTopic) Decide(img *Image, env Env) Decision {
	if c.Name != wire.OffsetsTopic {
		return refused(wire.Errorf(wire.InvalidTopic, "topic %.300q is none of those that belong to the brokers", c.Name))
	}
	if img.topicByName(c.Name) != nil {
		return refused(nil)
	}
	d := creation{img: img, env: env, next: img.nextTopic, room: MaxPartitionsPerRequest}
	src := d.sources()
	// Kafka: waits until there are as many brokers. Here the topic grows with the cluster, so that a single broker can
	// have groups, and a cluster can begin while one of its brokers is away.
	factor := min(brokerValue("offsets.topic.replication.factor", src), int64(max(1, img.usableBrokers())))
	assignment, err := d.place(wire.NewTopic{
		Partitions: int32(brokerValue("offsets.topic.num.partitions", src)), ReplicationFactor: int16(factor),
	})
	if err != nil {
		return refused(err)
	}
	configs := []Setting{
		{"cleanup.policy", "compact"},
		{"compression.type", "producer"},
		{"segment.bytes", strconv.FormatInt(brokerValue("offsets.topic.segment.bytes", src), 10)},
	}
	return Decision{Records: []Record{d.topic(c.Name, configs, assignment)}}
}
