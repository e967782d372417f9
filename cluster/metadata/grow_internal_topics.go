package metadata

import (
	"cmp"
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// GrowInternalTopics gives partitions of internal topics, which were made while there were fewer
// brokers, the replicas that they lack, and once all have three, has two of them in sync for what is
// acknowledged, as for a topic that was made with three. The controller asks for it now and then. The reply
// is the number of partitions that grow.
type GrowInternalTopics struct {
	Factor int32 // 0 for what the brokers are configured for
}

// Decide implements Command.
func (c GrowInternalTopics) Decide(img *Image, env Env) Decision {
	src := img.sources()
	src.static = env.Static
	factor := min(cmp.Or(int(c.Factor), int(brokerValue("offsets.topic.replication.factor", src))), MaxReplicas)
	takers := slices.DeleteFunc(img.without(wire.NoBroker), func(b *broker) bool { return !b.Usable() })
	var changes []PartitionChange
	var load map[wire.BrokerID]int
	for _, name := range internalTopics {
		t := img.topicByName(name)
		if t == nil {
			continue
		}
		r := img.rulesOf(t, img.standing)
		for p := range t.all {
			if len(changes) >= removalBatch || p.adding|p.removing != 0 || len(p.replicas) >= factor {
				continue
			}
			if !slices.ContainsFunc(takers, func(b *broker) bool { return !slices.Contains(p.replicas, b.ID) }) {
				continue
			}
			if load == nil {
				load = img.replicaLoad()
			}
			target := slices.Clone(p.replicas)
			for len(target) < factor {
				to := img.least(takers, load, target)
				if to == nil {
					break
				}
				load[to.ID]++
				target = append(target, to.ID)
			}
			if len(target) > len(p.replicas) {
				img.reassign(&p, target)
				changes = append(changes, r.next(&p))
			}
		}
	}
	if len(changes) == 0 {
		return Decision{Records: img.secureInternalTopics(env), Reply: 0}
	}
	return Decision{Records: changed(changes), Reply: len(changes)}
}

// secureInternalTopics sets min.insync.replicas of those that have got three replicas, if nobody has.
func (img *Image) secureInternalTopics(env Env) []Record {
	const key, two = "min.insync.replicas", "2"
	alter := AlterConfigs{}
	for _, name := range internalTopics {
		t := img.topicByName(name)
		if t == nil || slices.Equal(img.withMinISR(t.configs, 3), t.configs) {
			continue
		}
		whole := true
		for p := range t.all {
			whole = whole && len(p.replicas) >= 3 && p.adding|p.removing == 0 && p.isr.size() >= 2
		}
		if whole {
			value := two
			alter.Changes = append(alter.Changes, wire.AlterConfigs{
				Resource: wire.ConfigResource{Type: wire.ConfigTopic, Name: name},
				Changes:  []wire.ConfigChange{{Name: key, Value: &value}},
			})
		}
	}
	return alter.Decide(img, env).Records
}
