package metadata

import (
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// TopicConfigEntries describes the configuration of a topic as that broker sees it, by key: what
// DescribeConfigs answers. It is nil when there is no such topic.
func (l *Local) TopicConfigEntries(name string) []wire.ConfigEntry {
	t := l.topicByName(name)
	if t == nil {
		return nil
	}
	return topicEntries(t, l.sources())
}

// BrokerConfigEntries describes the configuration of this broker, by key. Keys that do nothing here
// are in it only if someone has set them.
func (l *Local) BrokerConfigEntries() []wire.ConfigEntry {
	entries := make([]wire.ConfigEntry, 0, len(brokerKeys))
	for i := range brokerKeys {
		k := &brokerKeys[i]
		e := k.entry(nil, l.sources(), k.Update == ReadOnly)
		if e.Value != nil || k.Effect == HasEffect {
			entries = append(entries, e)
		}
	}
	return entries
}

// ClusterConfigEntries describes what is configured for all brokers together, by key.
func (img *Image) ClusterConfigEntries() []wire.ConfigEntry {
	entries := make([]wire.ConfigEntry, 0, len(img.clusterConfigs))
	for _, s := range img.clusterConfigs {
		if k, known := LookupBrokerKey(s.Key); known {
			entries = append(entries, k.entry(nil, img.sources(), false))
		}
	}
	return entries
}

// TopicConfigEntries describes a topic's configuration as far as the log tells it; nil when there
// is no such topic.
func TopicConfigEntries(img *Image, name string) []wire.ConfigEntry {
	t := img.topicByName(name)
	if t == nil {
		return nil
	}
	return topicEntries(t, img.sources())
}

// BrokerConfigEntries describes the configuration of a broker that was started with static.
func BrokerConfigEntries(img *Image, id wire.BrokerID, static map[string]string) []wire.ConfigEntry {
	return img.Local(id, static).BrokerConfigEntries()
}

func topicEntries(t *topic, src sources) []wire.ConfigEntry {
	entries := make([]wire.ConfigEntry, 0, len(topicKeys))
	for i := range topicKeys {
		k := &topicKeys[i]
		switch e := k.entry(t.configs, src, false); {
		case k.Name == "durability":
			entries = append(entries, durabilityEntry(e, t))
		case !k.Unset || e.Value != nil:
			entries = append(entries, e)
		}
	}
	return entries
}

// durabilityEntry corrects what the defaults of today say of a topic of yesterday.
func durabilityEntry(e wire.ConfigEntry, t *topic) wire.ConfigEntry {
	e.ReadOnly = true
	value := "fsync"
	if t.replicated {
		value = "replicated"
	}
	if *e.Value == value {
		return e
	}
	e.Value, e.Source = &value, wire.SourceDynamicTopic
	e.Synonyms = slices.Insert(e.Synonyms, 0, wire.ConfigSynonym{
		Name: e.Name, Value: &value, Source: wire.SourceDynamicTopic,
	})
	return e
}

// entry describes one key.
func (k *ConfigKey) entry(own []Setting, src sources, readOnly bool) wire.ConfigEntry {
	e := wire.ConfigEntry{
		Name: k.Name, Type: k.Type, ReadOnly: readOnly, Sensitive: k.Sensitive, Doc: k.Doc, Source: wire.SourceDefault,
	}
	for v := range k.all(own, src) {
		if e.Synonyms == nil {
			e.Source = v.source
			if !k.Sensitive {
				text := v.text()
				e.Value = &text
			}
		}
		synonym := wire.ConfigSynonym{Name: v.name, Source: v.source}
		if !k.Sensitive {
			synonym.Value = &v.value
		}
		e.Synonyms = append(e.Synonyms, synonym)
	}
	return e
}
