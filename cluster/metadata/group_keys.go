package metadata

import (
	"fmt"
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// groupKeys are the keys of brokers that concern consumer groups.
var groupKeys = []ConfigKey{
	{
		Name: "group.min.session.timeout.ms", Type: wire.TypeInt, Default: "6000", check: atLeast(1), Update: PerBroker,
		Doc: "The shortest session timeout that a member of a classic group may ask for.",
	},
	{
		Name: "group.max.session.timeout.ms", Type: wire.TypeInt, Default: "1800000", check: atLeast(1), Update: PerBroker,
		Doc: "The longest session timeout that a member of a classic group may ask for.",
	},
	{
		Name: "group.initial.rebalance.delay.ms", Type: wire.TypeInt, Default: "3000", check: atLeast(0), Update: PerBroker,
		Doc: "How long an empty classic group waits for more members before its first rebalance.",
	},
	{
		Name: "group.max.size", Type: wire.TypeInt, Default: maxInt, check: atLeast(1), Update: PerBroker,
		Doc: "How many members a classic group may have.",
	},
	{
		Name: "group.consumer.session.timeout.ms", Type: wire.TypeInt, Default: "45000", check: atLeast(1), Update: PerBroker,
		Doc: "After how long without a heartbeat a member leaves a group of the consumer protocol.",
	},
	{
		Name: "group.consumer.heartbeat.interval.ms", Type: wire.TypeInt, Default: "5000", check: atLeast(1), Update: PerBroker,
		Doc: "How often members of groups of the consumer protocol are told to send heartbeats.",
	},
	{
		Name: "group.consumer.max.size", Type: wire.TypeInt, Default: maxInt, check: atLeast(1), Update: PerBroker,
		Doc: "How many members a group of the consumer protocol may have.",
	},
	{
		Name: "group.consumer.assignors", Type: wire.TypeList, Default: "uniform,range", check: assignors, Update: PerBroker,
		// Kafka: also the names of Java classes.
		Doc: "How groups of the consumer protocol may share partitions out: uniform, range. The first is the default.",
	},
	{
		Name: "group.consumer.migration.policy", Type: wire.TypeString, Default: "bidirectional", Update: PerBroker,
		check: oneOf("bidirectional", "upgrade", "downgrade", "disabled"),
		Doc:   "Which changes between the classic and the consumer protocol a group with members may make: bidirectional, upgrade, downgrade or disabled.",
	},
	{
		Name: "offsets.retention.minutes", Type: wire.TypeInt, Default: "10080", check: atLeast(1), Update: PerBroker,
		Doc: "How long the offsets of a group without members are kept, and those of topics that a group is not subscribed to any more.",
	},
	{
		Name: "offsets.retention.check.interval.ms", Type: wire.TypeLong, Default: "600000", check: atLeast(1), Update: PerBroker,
		Doc: "How often offsets that are kept no longer are looked for.",
	},
	{
		Name: "offset.metadata.max.bytes", Type: wire.TypeInt, Default: "4096", check: atLeast(0), Update: PerBroker,
		Doc: "How much text a committed offset may carry.",
	},
	{
		Name: "offsets.topic.num.partitions", Type: wire.TypeInt, Default: "50", check: between(1, MaxPartitionsPerRequest),
		Doc: "How many partitions the topic of the committed offsets gets when it is created. They cannot be changed later: groups are found by them.",
	},
	{
		Name: "offsets.topic.replication.factor", Type: wire.TypeShort, Default: "3", check: between(1, MaxReplicas),
		// Kafka: the topic is not created while there are fewer brokers.
		Doc: "How many replicas the topic of the committed offsets gets, or as many as there are brokers; it grows with the cluster.",
	},
	{
		Name: "offsets.topic.segment.bytes", Type: wire.TypeInt, Default: "104857600", check: atLeast(1 << 20),
		Doc: "The size of the segments of that topic when it is created: small ones are compacted sooner, and loaded faster.",
	},
}

func assignors(value string) error {
	list := splitList(value)
	if len(list) == 0 {
		return fmt.Errorf("there must be at least one of uniform and range")
	}
	for i, name := range list {
		if name != "uniform" && name != "range" || slices.Contains(list[:i], name) {
			return fmt.Errorf("%q: each must be uniform or range, and there once", name)
		}
	}
	return nil
}
