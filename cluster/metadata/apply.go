package metadata

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/troupe-mq/troupe/wire"
)

// ErrMismatch is wrapped by every error about a record that was not made for this image. The log
// is then not the one that the cluster decided on: the controller stops.
var ErrMismatch = errors.New("metadata record does not fit the image")

func mismatch(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMismatch}, args...)...)
}

// Apply returns the image after the entry at index, and what is different in it. The records are
// taken over: they are not to be changed afterwards. After an error there is no new image, and
// this one is what it was.
func (img *Image) Apply(index uint64, records []Record) (*Image, Delta, error) {
	if index <= img.index {
		return nil, Delta{}, mismatch("entry %d after entry %d", index, img.index)
	}
	d := &draft{Image: *img}
	d.index = index
	for i, rec := range records {
		if err := rec.apply(d); err != nil {
			return nil, Delta{}, fmt.Errorf("entry %d, record %d (kind %d): %w", index, i, rec.kind(), err)
		}
	}
	next := &d.Image
	return next, Diff(img, next), nil
}

// draft is an image under construction. All that it points to is shared with the image before and
// replaced, never written.
type draft struct {
	Image
	ownBrokers bool // the list of brokers was copied already
}

func (*ignored) apply(*draft) error { return nil }

func (r *ClusterCreated) apply(d *draft) error {
	if d.clusterID != "" {
		return mismatch("cluster %s is created again", d.clusterID)
	}
	if r.ClusterID == "" {
		return mismatch("a cluster without an id")
	}
	d.clusterID = r.ClusterID
	return nil
}

func (r *FeatureLevelChanged) apply(d *draft) error {
	i, found := slices.BinarySearchFunc(d.features, r.Feature, func(f Feature, name string) int {
		return strings.Compare(f.Name, name)
	})
	d.features = slices.Clone(d.features)
	if found {
		d.features[i].Level = r.Level
	} else {
		d.features = slices.Insert(d.features, i, Feature{r.Feature, r.Level})
	}
	return nil
}

func (r *ProducerIDsAllocated) apply(d *draft) error {
	if r.First != d.nextProducerID || r.Count <= 0 {
		return mismatch("%d producer ids from %d, but %d is next", r.Count, r.First, d.nextProducerID)
	}
	d.nextProducerID += wire.ProducerID(r.Count)
	return nil
}

func (r *TopicCreated) apply(d *draft) error {
	switch {
	case r.Topic != d.nextTopic:
		return mismatch("topic number %d, but %d is next", r.Topic, d.nextTopic)
	case r.Name == "" || r.ID.IsZero():
		return mismatch("topic %q with id %s", r.Name, r.ID)
	case d.topicByName(r.Name) != nil:
		return mismatch("topic %q is created again", r.Name)
	case d.topicByID(r.ID) != nil:
		return mismatch("topic id %s is given again", r.ID)
	case !slices.IsSortedFunc(r.Configs, func(a, b Setting) int { return cmp.Compare(a.Key, b.Key) }):
		return mismatch("the configurations of topic %q are in no order", r.Name)
	}
	t := &topic{number: r.Topic, id: r.ID, name: r.Name, replicated: r.Replicated, configs: r.Configs}
	added, err := d.newPartitions(t, r.Partitions)
	if err != nil {
		return err
	}
	d.addTopic(t.withPartitions(added))
	d.nextTopic = r.Topic + 1
	return nil
}

// addTopic enters a topic into every index.
func (d *draft) addTopic(t *topic) {
	d.topics = d.topics.with(t, atTopic(t.number))
	d.names = d.names.with(nameRef{t.name, t.number}, atName(t.name))
	d.ids = d.ids.with(idRef{t.id, t.number}, atID(t.id))
	if key, can := collisionKey(t.name); can {
		d.collisions = d.collisions.with(nameRef{key, t.number}, atName(key))
	}
	d.partitions += int(t.partitions)
	d.list(t)
	d.indexHosts(t)
}

func (r *TopicDeleted) apply(d *draft) error {
	t := d.topic(r.Topic)
	if t == nil {
		return mismatch("no topic %d", r.Topic)
	}
	d.topics = d.topics.without(atTopic(t.number))
	d.names = d.names.without(atName(t.name))
	d.ids = d.ids.without(atID(t.id))
	if key, can := collisionKey(t.name); can {
		d.collisions = d.collisions.without(atName(key))
	}
	d.leaderless = d.leaderless.without(atNumber(t.number))
	d.reassigning = d.reassigning.without(atNumber(t.number))
	d.partitions -= int(t.partitions)
	d.forgetReports(func(rep report) bool { return rep.Topic == t.number })
	for _, id := range t.hosts() {
		b := *d.broker(id)
		b.topics = b.topics.without(atNumber(t.number))
		b.failed = failedElsewhere(b.failed, t.number)
		d.setBroker(&b)
	}
	return nil
}

func (r *PartitionsAdded) apply(d *draft) error {
	t := d.topic(r.Topic)
	if t == nil || t.partitions != r.First {
		return mismatch("topic %d has not %d partitions", r.Topic, r.First)
	}
	added, err := d.newPartitions(t, r.Partitions)
	if err != nil {
		return err
	}
	t = t.withPartitions(added)
	d.partitions += len(added)
	d.setTopic(t)
	d.indexHosts(t)
	return nil
}

// newPartitions checks and converts what a record says of new partitions.
func (d *draft) newPartitions(t *topic, list []NewPartition) ([]partition, error) {
	if len(list) == 0 {
		return nil, mismatch("no partitions for topic %s", t.name)
	}
	added := make([]partition, len(list))
	for i, n := range list {
		p := partition{topic: t.number, number: t.partitions + int32(i), replicas: n.Replicas}
		if len(n.Replicas) == 0 || len(n.Replicas) > MaxReplicas {
			return nil, mismatch("%s-%d has %d replicas", t.name, p.number, len(n.Replicas))
		}
		for j, id := range n.Replicas {
			if d.broker(id) == nil || slices.Contains(n.Replicas[:j], id) {
				return nil, mismatch("%s-%d lies on broker %d", t.name, p.number, id)
			}
		}
		p.dirs = replicaDirs(n.Directories, len(n.Replicas))
		if len(p.dirs) != len(p.replicas) {
			return nil, mismatch("%s-%d has %d replicas in %d directories", t.name, p.number, len(p.replicas), len(p.dirs))
		}
		p.isr = n.ISR
		if err := p.lead(n.Leader); err != nil {
			return nil, err
		}
		added[i] = p
	}
	return added, nil
}

func (r *ConfigChanged) apply(d *draft) error {
	switch r.Resource.Type {
	case wire.ConfigTopic:
		old := d.topicByName(r.Resource.Name)
		if old == nil {
			return mismatch("configurations of topic %q, which is not there", r.Resource.Name)
		}
		t := *old
		t.configs = changedSettings(t.configs, r.Set, r.Unset)
		d.setTopic(&t)
		return nil
	case wire.ConfigBroker:
		if r.Resource.Name == "" {
			d.clusterConfigs = changedSettings(d.clusterConfigs, r.Set, r.Unset)
			d.defaults = defaultsFrom(d.sources())
			return nil
		}
		id, ok := parseBrokerID(r.Resource.Name)
		if !ok {
			return mismatch("configurations of broker %q", r.Resource.Name)
		}
		d.setBrokerConfigs(id, changedSettings(d.ownBrokerConfigs(id), r.Set, r.Unset))
		return nil
	default:
		return mismatch("configurations of resource type %d", r.Resource.Type)
	}
}

func (d *draft) setBrokerConfigs(id wire.BrokerID, settings []Setting) {
	next := slices.DeleteFunc(slices.Clone(d.brokerConfigs), func(c brokerConfig) bool { return c.broker == id })
	if len(settings) > 0 {
		next = append(next, brokerConfig{id, settings})
		slices.SortFunc(next, func(a, b brokerConfig) int { return cmp.Compare(a.broker, b.broker) })
	}
	d.brokerConfigs = next
	if len(next) == 0 {
		d.brokerConfigs = nil
	}
}

// setTopic replaces a topic of the same number, name and id.
func (d *draft) setTopic(t *topic) {
	d.topics = d.topics.with(t, atTopic(t.number))
	d.list(t)
}

// list enters a topic into the lists that its partitions' states put it on.
func (d *draft) list(t *topic) {
	d.leaderless = listed(d.leaderless, t.number, t.leaderless > 0)
	d.reassigning = listed(d.reassigning, t.number, t.reassigning > 0)
}

func listed(list sorted[TopicNumber], number TopicNumber, is bool) sorted[TopicNumber] {
	_, was := list.find(atNumber(number))
	switch {
	case is && !was:
		return list.with(number, atNumber(number))
	case was && !is:
		return list.without(atNumber(number))
	}
	return list
}

// indexHosts tells the index of each broker that it has replicas of the topic.
func (d *draft) indexHosts(t *topic) {
	for _, id := range t.hosts() {
		old := d.broker(id)
		if _, known := old.topics.find(atNumber(t.number)); known {
			continue
		}
		b := *old
		b.topics = b.topics.with(t.number, atNumber(t.number))
		d.setBroker(&b)
	}
}
