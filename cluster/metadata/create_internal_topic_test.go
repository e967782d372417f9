package metadata

import (
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

func TestTheOffsetsTopicHasTheShapeThatTheBrokersAreConfiguredFor(t *testing.T) {
	for _, tc := range []struct {
		name       string
		brokers    int
		static     map[string]string
		partitions int32
		replicas   int
		minISR     int
	}{
		{"a broker alone", 1, nil, 50, 1, 1},
		{"two brokers", 2, nil, 50, 2, 1},
		{"five brokers", 5, nil, 50, 3, 2},
		{"configured", 5, map[string]string{"offsets.topic.num.partitions": "7", "offsets.topic.replication.factor": "4"}, 7, 4, 2},
		{"configured for more brokers than there are", 2, map[string]string{"offsets.topic.replication.factor": "4"}, 50, 2, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCluster(t, tc.brokers)
			c.env.Static = tc.static
			if err := c.do(CreateInternalTopic{Name: wire.OffsetsTopic}); err != nil {
				t.Fatal(err)
			}
			topic, ok := c.img.Topic(wire.OffsetsTopic)
			if !ok || !topic.Internal || !topic.Limits.Compacted || topic.Partitions != tc.partitions {
				t.Fatalf("topic %+v, want an internal, compacted one of %d partitions", topic, tc.partitions)
			}
			if p := c.partition(topic.ID, 0); len(p.Replicas) != tc.replicas {
				t.Errorf("%d replicas, want %d", len(p.Replicas), tc.replicas)
			}
			if config, _ := EffectiveTopicConfig(c.img, wire.OffsetsTopic); config.MinISR != tc.minISR || config.SegmentBytes != 100<<20 {
				t.Errorf("%+v, want min.insync.replicas %d and segments of 100 MiB", config, tc.minISR)
			}
			before := c.img
			if err := c.do(CreateInternalTopic{Name: wire.OffsetsTopic}); err != nil || c.img != before {
				t.Errorf("the second time: %v, and changed the image: %t", err, c.img != before)
			}
		})
	}
}

func TestAnInternalTopicIsTheBrokersAlone(t *testing.T) {
	c := newCluster(t, 1)
	if created := c.create(wire.OffsetsTopic, 1, 1); wire.Code(created.Err) != wire.InvalidTopic {
		t.Errorf("a client creates it: %v", created.Err)
	}
	if err, _ := c.do(CreateInternalTopic{Name: "orders"}).(error); wire.Code(err) != wire.InvalidTopic {
		t.Errorf("another name: %v", err)
	}
	c.do(CreateInternalTopic{Name: wire.OffsetsTopic})
	before := c.img
	if d := c.do(DeleteTopics{Topics: []wire.TopicRef{{Name: wire.OffsetsTopic}}}).([]wire.DeletedTopic); wire.Code(d[0].Err) != wire.InvalidTopic {
		t.Errorf("a client deletes it: %v", d[0].Err)
	}
	if errs := c.do(CreatePartitions{Topics: []wire.MorePartitions{{Topic: wire.OffsetsTopic, Count: 60}}}).([]error); wire.Code(errs[0]) != wire.InvalidTopic {
		t.Errorf("a client adds partitions: %v", errs[0])
	}
	if c.img != before {
		t.Error("a refusal changed the image")
	}
}
