package group

import (
	"fmt"
	"testing"

	"github.com/troupe-mq/troupe/wire"
)

// A change of the topics is found with the next heartbeat: the group gets another epoch.
func TestNewPartitionsAreSharedOut(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 2, "other": 1})
	m, n := b.client("m", "t"), b.client("n", "t", "not-yet")
	m.join()
	n.join()
	b.settle(m, n)
	b.topics(map[string]int{"t": 2, "other": 5})
	if m.beat(); m.epoch != 2 {
		t.Fatalf("a topic that nobody wants has changed, and the epoch is %d", m.epoch)
	}
	b.topics(map[string]int{"t": 6, "other": 5})
	if m.beat(); m.epoch != 3 {
		t.Fatalf("a topic has more partitions, and the epoch is %d", m.epoch)
	}
	b.settle(m, n)
	if m.assigned.count() != 3 || n.assigned.count() != 3 {
		t.Errorf("they have %v and %v", m.assigned, n.assigned)
	}
	b.topics(map[string]int{"t": 6, "not-yet": 1})
	b.settle(m, n)
	if n.assigned.partitionsOf(topicID("not-yet")) == nil {
		t.Errorf("the topic is there, and it has %v", n.assigned)
	}
	b.topics(map[string]int{"not-yet": 1})
	b.settle(m, n)
	if m.assigned.count() != 0 || n.assigned.count() != 1 {
		t.Errorf("they have %v and %v", m.assigned, n.assigned)
	}
}

func TestANewTopicThatAPatternMatchesIsConsumed(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 1, "__consumer_offsets": 5})
	m := b.client("m")
	m.pattern = "t.*|__.*"
	m.join()
	m.has(0)
	b.topics(map[string]int{"t": 1, "t-new": 2, "u": 1, "__consumer_offsets": 5})
	b.settle(m)
	if m.assigned.count() != 3 {
		t.Errorf("it has %v", m.assigned)
	}
	q := m.request(m.epoch)
	none := ""
	q.Pattern, q.Subscribed, q.Topics = &none, true, []string{"u"}
	m.send(q)
	m.adopt()
	b.settle(m)
	if m.assigned.count() != 1 || len(b.g.consumer.recorded) > 0 {
		t.Errorf("it has %v, and patterns %v", m.assigned, b.g.consumer.recorded)
	}
}

func TestMostVotesChooseTheAssignor(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 6, "u": 6})
	var all []*consumerClient
	for i, assignor := range []string{"", "range", "range", "uniform"} {
		m := b.client(fmt.Sprint("m", i), "t", "u")
		m.assignor = assignor
		all = append(all, m.join())
	}
	b.settle(all...)
	if d := b.ask(&wire.DescribeGroup{Group: "g"}).(*wire.GroupDescription); d.Protocol != "range" {
		t.Errorf("%q is used", d.Protocol)
	}
	all[2].assignor = "uniform"
	all[2].join()
	b.settle(all...)
	if d := b.ask(&wire.DescribeGroup{Group: "g"}).(*wire.GroupDescription); d.Protocol != "uniform" {
		t.Errorf("%q is used", d.Protocol)
	}
}

// A change of the topics that happened while nobody coordinated is found too.
func TestTopicsThatChangedMeanwhileAreFound(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 1})
	m := b.client("m", "t").join()
	b.view = clusterOf(map[string]int{"t": 2})
	b.restart()
	m.beat()
	m.has(0, 1)
}

func TestOffsetsOfSubscribedTopicsAreNotDeleted(t *testing.T) {
	b := newConsumerBench(t, map[string]int{"t": 1, "p": 1, "u": 1})
	m := b.client("m", "t")
	m.pattern = "p"
	m.join()
	for topic, want := range map[string]wire.ErrorCode{"t": wire.GroupSubscribedToTopic, "p": wire.GroupSubscribedToTopic, "u": wire.None} {
		reply := b.ask(&wire.DeleteOffsets{Group: "g", Topics: []wire.NamedPartitions{{Topic: topic, Partitions: []int32{0}}}}).(*wire.CommittedOffsets)
		if wire.Code(reply.Errs[0]) != want {
			t.Errorf("topic %s: %v", topic, reply.Errs[0])
		}
	}
}
