package nativetest

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// View returns the cluster as it is; it is not a snapshot, which no test minds.
func (b *Broker) View() wire.View {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.frozen != nil {
		return b.frozen
	}
	return b.cluster
}

// Freeze makes the broker believe from now on that the cluster is as it is at this moment, like one
// that has lost the others.
func (b *Broker) Freeze() {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	frozen := &cluster{brokers: c.brokers, topics: make(map[string]*topic), byID: make(map[wire.TopicID]*topic)}
	for name, t := range c.topics {
		known := &topic{Topic: t.Topic}
		for _, p := range t.partitions {
			known.partitions = append(known.partitions, &partition{leader: p.leader, epoch: p.epoch, replicas: p.replicas})
		}
		frozen.topics[name], frozen.byID[t.ID] = known, known
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.frozen = frozen
}

func (c *cluster) ClusterID() string { return "bm8tY2x1c3Rlci1pZC1oZQ" }

func (c *cluster) Controller() wire.BrokerID { return 1 }

func (c *cluster) Brokers() []wire.Broker {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.brokers
}

func (c *cluster) Topic(name string) (wire.Topic, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.topics[name]; t != nil {
		return t.Topic, true
	}
	return wire.Topic{}, false
}

func (c *cluster) TopicByID(id wire.TopicID) (wire.Topic, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.byID[id]; t != nil {
		return t.Topic, true
	}
	return wire.Topic{}, false
}

func (c *cluster) TopicNames() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.topics))
}

func (c *cluster) Partition(id wire.TopicID, index int32) (wire.Partition, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.byID[id]
	if t == nil || int(index) >= len(t.partitions) {
		return wire.Partition{}, false
	}
	return t.partitions[index].state(), true
}

// CreateTopic creates a topic that this broker leads.
func (b *Broker) CreateTopic(name string, partitions int32) wire.TopicID {
	b.cluster.mu.Lock()
	defer b.cluster.mu.Unlock()
	return b.create(name, partitions).ID
}

func (b *Broker) create(name string, partitions int32) *topic {
	c := b.cluster
	c.nextID++
	limits := defaultLimits
	t := &topic{Topic: wire.Topic{Name: name, ID: wire.TopicID{15: c.nextID}, Limits: &limits}}
	c.topics[name], c.byID[t.ID] = t, t
	b.grow(t, partitions)
	return t
}

func (b *Broker) grow(t *topic, partitions int32) {
	for t.Partitions < partitions {
		t.Partitions++
		t.partitions = append(t.partitions, &partition{
			leader: b.id, producers: make(map[wire.ProducerID]*producer), waiters: make(map[*wire.Waiter]wire.Offset),
		})
	}
	for _, g := range b.cluster.groups.byID {
		b.cluster.rebalance(g)
	}
}

// CreateTopics creates topics that this broker leads.
func (b *Broker) CreateTopics(_ context.Context, topics []wire.NewTopic, validateOnly bool) []wire.CreatedTopic {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	created := make([]wire.CreatedTopic, len(topics))
	for i, t := range topics {
		created[i].Name = t.Name
		n := t.Partitions
		if n < 0 {
			n = 1
		}
		switch {
		case t.Name == "":
			created[i].Err = wire.InvalidTopic
		case c.topics[t.Name] != nil:
			created[i].Err = wire.Errorf(wire.TopicAlreadyExists, "topic %s exists", t.Name)
		case n == 0 || n > maxPartitions:
			created[i].Err = wire.InvalidPartitions
		case validateOnly:
			created[i].Partitions = n
		default:
			created[i].ID, created[i].Partitions, created[i].ReplicationFactor = b.create(t.Name, n).ID, n, 1
		}
	}
	return created
}

const maxPartitions = 10_000

// AutoCreateTopics creates topics of one partition, but none whose name begins with "no".
func (b *Broker) AutoCreateTopics(ctx context.Context, names []string) []wire.CreatedTopic {
	var created []wire.CreatedTopic
	for _, name := range names {
		if len(name) >= 2 && name[:2] == "no" {
			created = append(created, wire.CreatedTopic{Name: name, Err: wire.UnknownTopicOrPartition})
			continue
		}
		created = append(created, b.CreateTopics(ctx, []wire.NewTopic{{Name: name, Partitions: 1}}, false)...)
	}
	return created
}

// DeleteTopics deletes topics.
func (b *Broker) DeleteTopics(_ context.Context, refs []wire.TopicRef) []wire.DeletedTopic {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	deleted := make([]wire.DeletedTopic, len(refs))
	for i, ref := range refs {
		t := c.topics[ref.Name]
		if ref.Name == "" {
			t = c.byID[ref.ID]
		}
		deleted[i] = wire.DeletedTopic{Name: ref.Name, ID: ref.ID}
		if t == nil {
			deleted[i].Err = wire.UnknownTopicOrPartition
			continue
		}
		delete(c.topics, t.Name)
		delete(c.byID, t.ID)
		for _, p := range t.partitions {
			for w := range p.waiters {
				w.Wake()
			}
		}
	}
	return deleted
}

// CreatePartitions adds partitions.
func (b *Broker) CreatePartitions(_ context.Context, more []wire.MorePartitions, _ bool) []error {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	errs := make([]error, len(more))
	for i, m := range more {
		switch t := c.topics[m.Topic]; {
		case t == nil:
			errs[i] = wire.UnknownTopicOrPartition
		case m.Count <= t.Partitions, m.Count > maxPartitions:
			errs[i] = wire.Errorf(wire.InvalidPartitions, "topic %s has %d partitions", m.Topic, t.Partitions)
		default:
			b.grow(t, m.Count)
		}
	}
	return errs
}

// AlterConfigs keeps any value of any key.
func (b *Broker) AlterConfigs(_ context.Context, changes []wire.AlterConfigs, _ bool) []error {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	errs := make([]error, len(changes))
	for i, change := range changes {
		configs := c.configs[change.Resource]
		if configs == nil || change.Replace {
			configs = make(map[string]string)
			c.configs[change.Resource] = configs
		}
		for _, one := range change.Changes {
			switch {
			case one.Op == wire.OpDelete:
				delete(configs, one.Name)
			case one.Value == nil:
				errs[i] = errors.Join(errs[i], wire.InvalidConfig)
			default:
				configs[one.Name] = *one.Value
			}
		}
	}
	return errs
}

// DescribeConfigs returns what AlterConfigs kept.
func (b *Broker) DescribeConfigs(resource wire.ConfigResource) ([]wire.ConfigEntry, error) {
	c := b.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if resource.Type == wire.ConfigTopic && c.topics[resource.Name] == nil {
		return nil, wire.UnknownTopicOrPartition
	}
	var entries []wire.ConfigEntry
	configs := c.configs[resource]
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		value := configs[name]
		entries = append(entries, wire.ConfigEntry{
			Name: name, Value: &value, Source: wire.SourceDynamicTopic, Type: wire.TypeString,
		})
	}
	return entries, nil
}

// LogDirs names one directory that is not there.
func (b *Broker) LogDirs() []wire.LogDir {
	return []wire.LogDir{{Path: "/memory", TotalBytes: 1 << 30, UsableBytes: 1 << 29}}
}
