package metadata

import (
	"cmp"
	"slices"
	"strings"

	"github.com/troupe-mq/troupe/wire"
)

// CreateTopics asks for topics. Each is created or refused by itself; the reply is a
// []wire.CreatedTopic in the order asked.
type CreateTopics struct {
	Topics       []wire.NewTopic
	ValidateOnly bool
}

// MaxPartitionsPerRequest bounds what one request may create, and so the size of one entry.
const MaxPartitionsPerRequest = 10_000

// MaxNameLength is the length of the longest topic name: with "-" and a number of up to ten
// digits it has to fit a file name.
const MaxNameLength = 249

// Decide implements Command.
func (c CreateTopics) Decide(img *Image, env Env) Decision {
	d := creation{img: img, env: env, next: img.nextTopic, room: MaxPartitionsPerRequest}
	asked := make(map[string]int, len(c.Topics))
	for _, t := range c.Topics {
		asked[t.Name]++
	}
	reply := make([]wire.CreatedTopic, len(c.Topics))
	for i, t := range c.Topics {
		reply[i] = wire.CreatedTopic{Name: t.Name, Partitions: -1, ReplicationFactor: -1}
		if asked[t.Name] > 1 {
			reply[i].Err = wire.Errorf(wire.InvalidRequest, "topic %.300q is there more than once", t.Name)
			continue
		}
		rec, err := d.create(t)
		if err != nil {
			reply[i].Err = err
			continue
		}
		reply[i].ID = rec.ID
		reply[i].Partitions = int32(len(rec.Partitions))
		reply[i].ReplicationFactor = int16(len(rec.Partitions[0].Replicas))
		reply[i].Configs = topicEntries(
			&topic{name: rec.Name, configs: rec.Configs, replicated: rec.Replicated}, d.sources())
		d.records = append(d.records, rec)
	}
	if c.ValidateOnly {
		for i := range reply {
			reply[i].ID = wire.TopicID{}
		}
		return Decision{Reply: reply}
	}
	return Decision{Records: d.records, Reply: reply}
}

// creation is what one CreateTopics has come to so far.
type creation struct {
	img        *Image
	env        Env
	next       TopicNumber
	room       int               // for partitions
	collisions map[string]string // of the topics created so far
	records    []Record
}

func (d *creation) sources() sources {
	src := d.img.sources()
	src.static = d.env.Static
	return src
}

func (d *creation) create(t wire.NewTopic) (*TopicCreated, error) {
	if err := d.checkName(t.Name); err != nil {
		return nil, err
	}
	configs, err := newTopicConfigs(t.Configs)
	if err != nil {
		return nil, err
	}
	assignment := t.Assignment
	if len(assignment) > 0 {
		if t.Partitions != -1 || t.ReplicationFactor != -1 {
			return nil, wire.Errorf(wire.InvalidRequest,
				"replicas are assigned by hand, so the number of partitions and the replication factor must be -1")
		}
		if len(assignment) > d.room {
			return nil, tooManyPartitions(len(assignment))
		}
		if err := d.img.checkAssignment(assignment, 0); err != nil {
			return nil, err
		}
	} else if assignment, err = d.place(t); err != nil {
		return nil, err
	}
	return d.topic(t.Name, configs, assignment), nil
}

// topic is the record of a topic whose name and configurations, in their order, have been checked.
func (d *creation) topic(name string, configs []Setting, assignment [][]wire.BrokerID) *TopicCreated {
	configs = d.img.withMinISR(configs, len(assignment[0]))
	rec := &TopicCreated{
		Topic:      d.next,
		ID:         d.env.NewTopicID(),
		Name:       name,
		Replicated: topicValue("durability", configs, d.sources()).value == "replicated",
		Configs:    configs,
		Partitions: d.img.newPartitions(d.next, 0, assignment),
	}
	d.next++
	d.room -= len(assignment)
	if key, can := collisionKey(name); can {
		if d.collisions == nil {
			d.collisions = make(map[string]string)
		}
		d.collisions[key] = name
	}
	return rec
}

// withMinISR adds min.insync.replicas=2 to a new topic with three replicas or more, where neither its
// creator nor the cluster says anything. See cluster/decisions/0006-two-in-sync-by-default.md.
//
// Kafka: 1, so that what was acknowledged by a leader alone is lost with it.
func (img *Image) withMinISR(configs []Setting, replicas int) []Setting {
	const key = "min.insync.replicas"
	_, own := setting(configs, key)
	_, clusters := setting(img.clusterConfigs, key)
	if own || clusters || replicas < 3 {
		return configs
	}
	return changedSettings(configs, []Setting{{key, "2"}}, nil)
}

func (d *creation) checkName(name string) error {
	if err := ValidateTopicName(name); err != nil {
		return err
	}
	if internalTopic(name) {
		return wire.Errorf(wire.InvalidTopic, "topic %s is reserved for consumer groups and transactions", name)
	}
	if name == "__cluster_metadata" {
		return wire.Errorf(wire.InvalidRequest, "topic %s cannot be created", name)
	}
	if d.img.topicByName(name) != nil {
		return wire.Errorf(wire.TopicAlreadyExists, "topic %s exists already", name)
	}
	key, can := collisionKey(name)
	if !can {
		return nil
	}
	other, collides := d.collisions[key]
	if ref, found := d.img.collisions.find(atName(key)); found {
		other, collides = d.img.topic(ref.topic).name, true
	}
	if collides {
		return wire.Errorf(wire.InvalidTopic,
			"topic %s differs from topic %s in '.' and '_' only, which metrics cannot tell apart", name, other)
	}
	return nil
}

// place finds brokers for a topic whose creator leaves that to the controller.
func (d *creation) place(t wire.NewTopic) ([][]wire.BrokerID, error) {
	src := d.sources()
	partitions, factor := int(t.Partitions), int(t.ReplicationFactor)
	if partitions == -1 {
		partitions = int(brokerValue("num.partitions", src))
	}
	if factor == -1 {
		factor = int(brokerValue("default.replication.factor", src))
	}
	if factor == -1 {
		factor = max(1, min(3, d.img.usableBrokers()))
	}
	switch {
	case partitions <= 0:
		return nil, wire.Errorf(wire.InvalidPartitions, "%d partitions: there must be at least one", partitions)
	case partitions > d.room:
		return nil, tooManyPartitions(partitions)
	case factor <= 0 || factor > MaxReplicas:
		return nil, wire.Errorf(wire.InvalidReplicationFactor, "replication factor %d is not between 1 and %d", factor, MaxReplicas)
	}
	return d.img.placeReplicas(d.next, 0, partitions, factor)
}

// brokerValue returns the number that a broker key has, and -1 when it has none.
func brokerValue(key string, src sources) int64 {
	k, _ := LookupBrokerKey(key)
	v, ok := k.first(nil, src)
	if !ok {
		return -1
	}
	return v.number()
}

func tooManyPartitions(n int) error {
	return wire.Errorf(wire.PolicyViolation, "%d partitions: one request may create %d in all", n, MaxPartitionsPerRequest)
}

func newTopicConfigs(given []wire.ConfigValue) ([]Setting, error) {
	var configs []Setting
	for _, g := range given {
		if g.Value == nil {
			return nil, wire.Errorf(wire.InvalidConfig, "configuration %.300s has no value", g.Name)
		}
		if err := ValidateTopicConfig(g.Name, *g.Value); err != nil {
			return nil, err
		}
		configs = append(configs, Setting{g.Name, *g.Value})
	}
	slices.SortFunc(configs, func(a, b Setting) int { return cmp.Compare(a.Key, b.Key) })
	for i := 1; i < len(configs); i++ {
		if configs[i].Key == configs[i-1].Key {
			return nil, wire.Errorf(wire.InvalidConfig, "configuration %s is there more than once", configs[i].Key)
		}
	}
	return configs, nil
}

// ValidateTopicName says what is wrong with a topic name, as Kafka's rules have it.
func ValidateTopicName(name string) error {
	switch {
	case name == "":
		return wire.Errorf(wire.InvalidTopic, "a topic name must not be empty")
	case name == "." || name == "..":
		return wire.Errorf(wire.InvalidTopic, "a topic cannot be named %q", name)
	case len(name) > MaxNameLength:
		return wire.Errorf(wire.InvalidTopic, "a topic name of %d bytes: at most %d are possible", len(name), MaxNameLength)
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return wire.Errorf(wire.InvalidTopic, "topic name %q: only ASCII letters, digits, '.', '_' and '-' are possible", name)
		}
	}
	return nil
}

// internalTopic says that a topic holds what belongs to the brokers.
func internalTopic(name string) bool { return slices.Contains(internalTopics, name) }

var internalTopics = []string{"__consumer_offsets", "__transaction_state"}

// collisionKey returns what two names have in common that differ in '.' and '_' only, and whether
// there can be two.
func collisionKey(name string) (string, bool) {
	if !strings.ContainsAny(name, "._") {
		return "", false
	}
	return strings.ReplaceAll(name, ".", "_"), true
}
