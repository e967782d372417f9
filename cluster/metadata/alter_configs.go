package metadata

import (
	"cmp"
	"slices"
	"strings"

	"github.com/troupe-mq/troupe/wire"
)

// AlterConfigs asks for changes of configurations: Kafka's IncrementalAlterConfigs and, with
// Replace, its older AlterConfigs. Each resource is changed or refused by itself; the reply is a
// []error in the order asked, nil for what is done.
type AlterConfigs struct {
	Changes      []wire.AlterConfigs
	ValidateOnly bool
}

// Decide implements Command.
func (c AlterConfigs) Decide(img *Image, env Env) Decision {
	a := alteration{img: img, static: env.Static, elr: make(map[TopicNumber]bool)}
	asked := make(map[wire.ConfigResource]int, len(c.Changes))
	for _, res := range c.Changes {
		asked[res.Resource]++
	}
	var records []Record
	reply := make([]error, len(c.Changes))
	for i, res := range c.Changes {
		if asked[res.Resource] > 1 {
			reply[i] = wire.Errorf(wire.InvalidRequest, "%s is there more than once", describe(res.Resource))
			continue
		}
		rec, err := a.alter(res)
		if err != nil {
			reply[i] = err
			continue
		}
		if rec != nil {
			records = append(records, rec)
		}
	}
	if c.ValidateOnly {
		return Decision{Reply: reply}
	}
	if changes := a.clearELRs(); len(changes) > 0 {
		records = append(records, &PartitionsChanged{Changes: changes})
	}
	return Decision{Records: records, Reply: reply}
}

func describe(res wire.ConfigResource) string {
	switch {
	case res.Type == wire.ConfigTopic:
		return "topic " + res.Name
	case res.Type == wire.ConfigBroker && res.Name == "":
		return "the default of all brokers"
	case res.Type == wire.ConfigBroker:
		return "broker " + res.Name
	}
	return "resource " + res.Name
}

// alteration is what one AlterConfigs has come to so far.
type alteration struct {
	img    *Image
	static map[string]string
	elr    map[TopicNumber]bool // the topics whose min.insync.replicas may become another
}

// resource is what is to be changed: a topic, a broker, or all of them.
type resource struct {
	settings []Setting
	topic    *topic // nil unless it is one
	lookup   func(name string) (*ConfigKey, bool)
	allowed  func(key *ConfigKey) error
	unknown  func(name string) error
}

func (a *alteration) alter(m wire.AlterConfigs) (Record, error) {
	res, err := a.find(m.Resource)
	if err != nil {
		return nil, err
	}
	var set []Setting
	var unset []string
	named := make(map[string]bool, len(m.Changes))
	for _, change := range m.Changes {
		if named[change.Name] {
			return nil, wire.Errorf(wire.InvalidRequest, "configuration %.300s is there more than once", change.Name)
		}
		named[change.Name] = true
		key, known := res.lookup(change.Name)
		if !known {
			if _, stale := setting(res.settings, change.Name); stale && change.Op == wire.OpDelete {
				unset = append(unset, change.Name)
				continue
			}
			return nil, res.unknown(change.Name)
		}
		if err := res.allowed(key); err != nil {
			return nil, err
		}
		value, remove, err := a.value(res, key, change)
		switch {
		case err != nil:
			return nil, err
		case remove:
			unset = append(unset, change.Name)
		default:
			set = append(set, Setting{change.Name, value})
		}
	}
	if m.Replace {
		for _, s := range res.settings {
			if !named[s.Key] {
				unset = append(unset, s.Key)
			}
		}
	}
	return a.record(m.Resource, res, set, unset)
}

// find tells what a resource has and what it can have.
func (a *alteration) find(res wire.ConfigResource) (resource, error) {
	switch res.Type {
	case wire.ConfigTopic:
		if err := ValidateTopicName(res.Name); err != nil {
			return resource{}, err
		}
		t := a.img.topicByName(res.Name)
		if t == nil {
			return resource{}, wire.Errorf(wire.UnknownTopicOrPartition, "there is no topic %s", res.Name)
		}
		return resource{
			settings: t.configs, topic: t, lookup: LookupTopicKey,
			allowed: func(*ConfigKey) error { return nil },
			unknown: func(name string) error { return unknownKey("topic", name, NearestTopicKey(name)) },
		}, nil
	case wire.ConfigBroker:
		r := resource{
			settings: a.img.clusterConfigs, lookup: LookupBrokerKey, allowed: dynamic(res.Name == ""),
			unknown: func(name string) error { return unknownKey("broker", name, Nearest(name)) },
		}
		if res.Name == "" {
			return r, nil
		}
		id, ok := parseBrokerID(res.Name)
		if !ok {
			return resource{}, wire.Errorf(wire.InvalidRequest, "%.300q is no broker id", res.Name)
		}
		if a.img.broker(id) == nil {
			return resource{}, brokerUnknown(id)
		}
		r.settings = a.img.ownBrokerConfigs(id)
		return r, nil
	default:
		return resource{}, wire.Errorf(wire.InvalidRequest, "resources of type %d have no configurations here", res.Type)
	}
}

// dynamic allows the keys that can be changed while brokers run.
func dynamic(allBrokers bool) func(*ConfigKey) error {
	return func(key *ConfigKey) error {
		switch {
		case key.Update == ReadOnly:
			return wire.Errorf(wire.InvalidRequest, "%s cannot be changed while the broker runs", key.Name)
		case key.Update == ClusterWide && !allBrokers:
			return wire.Errorf(wire.InvalidConfig, "%s belongs to the cluster and cannot be set for one broker", key.Name)
		}
		return nil
	}
}

// value returns the value that a change leads to, or that it removes the one there is.
func (a *alteration) value(res resource, key *ConfigKey, change wire.ConfigChange) (value string, remove bool, err error) {
	if change.Op != wire.OpDelete && change.Value == nil {
		return "", false, wire.Errorf(wire.InvalidRequest, "configuration %s has no value", key.Name)
	}
	switch change.Op {
	case wire.OpSet:
		value = *change.Value
	case wire.OpDelete:
		if key.Name == "durability" {
			return "", true, fixedDurability(res, a.inherited(key))
		}
		return "", true, nil
	case wire.OpAppend, wire.OpSubtract:
		if key.Type != wire.TypeList {
			return "", false, wire.Errorf(wire.InvalidConfig, "%s is not a list: nothing can be added to it or taken from it", key.Name)
		}
		value = a.changedList(res, key, change)
	default:
		return "", false, wire.Errorf(wire.InvalidRequest, "there is no operation %d on configurations", change.Op)
	}
	if err := key.Validate(value); err != nil {
		return "", false, err
	}
	if key.Name == "durability" {
		return value, false, fixedDurability(res, value)
	}
	return value, false, nil
}

// fixedDurability refuses what would change how a topic that exists keeps its records: acknowledged
// offsets mean something else before and after.
func fixedDurability(res resource, value string) error {
	if res.topic == nil || (value == "replicated") == res.topic.replicated {
		return nil
	}
	return wire.Errorf(wire.InvalidConfig, "the durability of a topic is fixed when it is created")
}

// inherited returns the value that a key has where it is not set.
func (a *alteration) inherited(key *ConfigKey) string {
	src := a.img.sources()
	src.static = a.static
	v, _ := key.first(nil, src)
	return v.value
}

// changedList adds items to the list in force, or takes them away.
func (a *alteration) changedList(res resource, key *ConfigKey, change wire.ConfigChange) string {
	current, own := setting(res.settings, key.Name)
	if !own {
		current = a.inherited(key)
	}
	items := splitList(current)
	for _, item := range splitList(*change.Value) {
		at := slices.Index(items, item)
		switch {
		case change.Op == wire.OpAppend && at < 0:
			items = append(items, item)
		case change.Op == wire.OpSubtract && at >= 0:
			items = slices.Delete(items, at, at+1)
		}
	}
	return strings.Join(items, ",")
}

// record returns what to write, or nil if nothing would change.
func (a *alteration) record(name wire.ConfigResource, res resource, set []Setting, unset []string) (Record, error) {
	slices.SortFunc(set, func(x, y Setting) int { return cmp.Compare(x.Key, y.Key) })
	slices.Sort(unset)
	next := changedSettings(res.settings, set, unset)
	if slices.Equal(next, res.settings) {
		return nil, nil
	}
	before, _ := setting(res.settings, "min.insync.replicas")
	after, _ := setting(next, "min.insync.replicas")
	if before != after {
		a.minISRChanges(res.topic)
	}
	return &ConfigChanged{Resource: name, Set: set, Unset: unset}, nil
}

// minISRChanges notes a topic, or with nil all that take the cluster's value.
func (a *alteration) minISRChanges(t *topic) {
	if t != nil {
		a.elr[t.number] = true
		return
	}
	for t := range a.img.topics.all() {
		if _, own := setting(t.configs, "min.insync.replicas"); !own {
			a.elr[t.number] = true
		}
	}
}

// clearELRs empties the ELRs of those topics, in the same entry: who is in one was chosen by the
// old minimum (KIP-966). Where the ISR is empty they stay: nobody else could ever lead, and nothing
// has been committed without them.
//
// Kafka: clears these too, after which only an unclean election helps.
func (a *alteration) clearELRs() []PartitionChange {
	var changes []PartitionChange
	for t := range a.img.topics.all() {
		if !a.elr[t.number] {
			continue
		}
		for p := range t.all {
			if p.isr != 0 && (p.elr != 0 || p.lastKnownELR != 0) {
				p.elr, p.lastKnownELR = 0, 0
				changes = append(changes, p.change())
			}
		}
	}
	return changes
}
