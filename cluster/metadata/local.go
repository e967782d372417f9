package metadata

import (
	"iter"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

// Local is the image as one broker sees it: with the configuration that this broker was started
// with below the dynamic one. Making one costs next to nothing, so there is one for each image.
type Local struct {
	*Image
	Self   wire.BrokerID
	static map[string]string
	topics *topicDefaults
}

var (
	_ wire.View = (*Image)(nil)
	_ wire.View = (*Local)(nil)
)

// Local returns the image as that broker sees it. The static configuration is the broker's own,
// from file, flags and environment, already validated; it is shared and not to be changed.
func (img *Image) Local(self wire.BrokerID, static map[string]string) *Local {
	l := &Local{Image: img, Self: self, static: static}
	l.topics = defaultsFrom(l.sources())
	return l
}

// TopicConfig is what a topic's configurations come to on a broker.
type TopicConfig struct {
	RetentionAge       time.Duration // below zero: for ever
	RetentionBytes     int64         // below zero: no limit
	SegmentBytes       int
	SegmentAge         time.Duration
	SegmentJitter      time.Duration
	IndexIntervalBytes int
	Delete             bool          // cleanup.policy has delete
	Compact            bool          // cleanup.policy has compact
	MinCompactionLag   time.Duration // min.compaction.lag.ms
	MaxCompactionLag   time.Duration // max.compaction.lag.ms
	DeleteRetention    time.Duration // delete.retention.ms
	MinDirtyRatio      float64       // min.cleanable.dirty.ratio
	Fsync              bool          // durability=fsync; otherwise replicated
	MinISR             int           // min.insync.replicas, which may be more than there are replicas
	UncleanElection    bool
	Limits             *wire.RecordLimits // shared; never nil

	internalSegment bool // SegmentBytes is from internal.segment.bytes
}

// Topic returns a topic by name, with the limits that this broker keeps.
func (l *Local) Topic(name string) (wire.Topic, bool) { return l.view(l.topicByName(name)) }

// TopicByID returns a topic by id, with the limits that this broker keeps.
func (l *Local) TopicByID(id wire.TopicID) (wire.Topic, bool) { return l.view(l.topicByID(id)) }

func (l *Local) view(t *topic) (wire.Topic, bool) {
	if t == nil {
		return wire.Topic{}, false
	}
	return t.view(l.topics), true
}

// TopicConfig returns the configuration in force of a topic.
func (l *Local) TopicConfig(id wire.TopicID) (TopicConfig, bool) {
	t := l.topicByID(id)
	if t == nil {
		return TopicConfig{}, false
	}
	return l.topics.with(t), true
}

// Value returns the value in force of a broker key, and false when it has none.
func (l *Local) Value(key string) (string, bool) {
	k, known := LookupBrokerKey(key)
	if !known {
		return "", false
	}
	v, ok := k.first(nil, l.sources())
	return v.value, ok
}

// ReassignmentRate is how many bytes a second this broker sends at most to replicas that
// reassignments are bringing in.
func (l *Local) ReassignmentRate() int64 {
	return brokerValue("leader.replication.throttled.rate", l.sources())
}

func (l *Local) sources() sources {
	return sources{broker: l.ownBrokerConfigs(l.Self), cluster: l.clusterConfigs, static: l.static}
}

// EffectiveTopicConfig returns the configuration of a topic as far as the log tells it.
func EffectiveTopicConfig(img *Image, name string) (TopicConfig, bool) {
	t := img.topicByName(name)
	if t == nil {
		return TopicConfig{}, false
	}
	return img.defaults.with(t), true
}

func (img *Image) sources() sources { return sources{cluster: img.clusterConfigs} }

// minISR returns min.insync.replicas of a topic. Only the log counts: all brokers have to agree.
func (img *Image) minISR(t *topic) int {
	return img.defaults.with(t).MinISR
}

func (img *Image) uncleanElection(t *topic) bool {
	return img.defaults.with(t).UncleanElection
}

// ownBrokerConfigs returns what is configured dynamically for one broker.
func (img *Image) ownBrokerConfigs(id wire.BrokerID) []Setting {
	for _, c := range img.brokerConfigs {
		if c.broker == id {
			return c.settings
		}
	}
	return nil
}

// topicDefaults is what a topic gets that configures nothing itself.
type topicDefaults struct {
	TopicConfig
	levels compressionLevels
}

type compressionLevels struct{ gzip, lz4, zstd int }

func (l *compressionLevels) of(codec string) int {
	switch codec {
	case "gzip":
		return l.gzip
	case "lz4":
		return l.lz4
	case "zstd":
		return l.zstd
	}
	return 0
}

func defaultsFrom(src sources) *topicDefaults {
	d := &topicDefaults{TopicConfig: TopicConfig{Limits: new(wire.RecordLimits)}}
	for i := range topicKeys {
		if v, ok := topicKeys[i].first(nil, src); ok {
			d.set(&d.levels, topicKeys[i].Name, v.text())
		}
	}
	d.Limits.CompressionLevel = d.levels.of(d.Limits.Compression)
	return d
}

// with returns the defaults with a topic's own configurations in their place. It costs what the
// topic configures: a listener asks with every request.
func (d *topicDefaults) with(t *topic) TopicConfig {
	c := d.TopicConfig
	if len(t.configs) > 0 {
		limits, levels := *d.Limits, d.levels
		c.Limits = &limits
		for _, s := range t.configs {
			c.set(&levels, s.Key, s.Value)
		}
		limits.CompressionLevel = levels.of(limits.Compression)
	}
	c.Fsync = !t.replicated
	return c
}

// set takes over one value, which has been checked. internal.segment.bytes comes before
// segment.bytes in the order of the keys, and stays.
func (c *TopicConfig) set(levels *compressionLevels, key, value string) {
	number := func() int64 { n, _ := strconv.ParseInt(value, 10, 64); return n }
	yes := func() bool { v, _ := parseBool(value); return v }
	switch key {
	case "retention.ms":
		c.RetentionAge = age(number())
	case "retention.bytes":
		c.RetentionBytes = number()
	case "segment.bytes":
		if !c.internalSegment {
			c.SegmentBytes = int(number())
		}
	case "internal.segment.bytes":
		c.SegmentBytes, c.internalSegment = int(number()), true
	case "segment.ms":
		c.SegmentAge = longest(number())
	case "segment.jitter.ms":
		c.SegmentJitter = longest(number())
	case "index.interval.bytes":
		c.IndexIntervalBytes = int(number())
	case "min.insync.replicas":
		c.MinISR = int(number())
	case "unclean.leader.election.enable":
		c.UncleanElection = yes()
	case "max.message.bytes":
		c.Limits.MaxBatchBytes = int(number())
	case "message.timestamp.type":
		c.Limits.LogAppendTime = value == "LogAppendTime"
	case "message.timestamp.before.max.ms":
		c.Limits.TimestampBefore = age(number())
	case "message.timestamp.after.max.ms":
		c.Limits.TimestampAfter = age(number())
	case "cleanup.policy":
		policies := splitList(value)
		c.Delete, c.Compact = slices.Contains(policies, policyDelete), slices.Contains(policies, policyCompact)
		c.Limits.Compacted = c.Compact
	case "min.cleanable.dirty.ratio":
		c.MinDirtyRatio, _ = strconv.ParseFloat(value, 64)
	case "compression.type":
		c.Limits.Compression = value
	case "compression.gzip.level":
		levels.gzip = int(number())
	case "compression.lz4.level":
		levels.lz4 = int(number())
	case "compression.zstd.level":
		levels.zstd = int(number())
	default:
		c.setLag(key, number())
	}
}

// setLag is set for the times of compaction.
func (c *TopicConfig) setLag(key string, millis int64) {
	switch key {
	case "min.compaction.lag.ms":
		c.MinCompactionLag = longest(millis)
	case "max.compaction.lag.ms":
		c.MaxCompactionLag = longest(millis)
	case "delete.retention.ms":
		c.DeleteRetention = longest(millis)
	}
}

// age converts milliseconds. What no duration can hold is as good as for ever, which is -1.
func age(millis int64) time.Duration {
	if millis < 0 || millis > math.MaxInt64/int64(time.Millisecond) {
		return -1
	}
	return time.Duration(millis) * time.Millisecond
}

// longest converts milliseconds. What no duration can hold is the longest one.
func longest(millis int64) time.Duration {
	if d := age(millis); d >= 0 {
		return d
	}
	return math.MaxInt64
}

// sources are the places below a topic that a value may come from.
type sources struct {
	broker  []Setting         // dynamic, of this broker
	cluster []Setting         // dynamic, of all brokers
	static  map[string]string // of this broker
}

// value is a value at one of those places, under the name that it has there.
type value struct {
	name   string
	value  string
	source wire.ConfigSource
	factor int64
}

// number returns a value in the units of the key that was asked for. Below zero means something
// special in every unit.
func (v value) number() int64 {
	n, err := strconv.ParseInt(v.value, 10, 64)
	if err != nil || n < 0 || v.factor == 0 {
		return n
	}
	if n > math.MaxInt64/v.factor {
		return math.MaxInt64
	}
	return n * v.factor
}

// text returns a value in the units of the key that was asked for.
func (v value) text() string {
	if v.factor == 0 {
		return v.value
	}
	return strconv.FormatInt(v.number(), 10)
}

// all yields the values that a key has, the one in force first.
func (k *ConfigKey) all(own []Setting, src sources) iter.Seq[value] {
	return func(yield func(value) bool) {
		if v, ok := setting(own, k.Name); ok && !yield(value{name: k.Name, value: v, source: wire.SourceDynamicTopic}) {
			return
		}
		for _, level := range []struct {
			source wire.ConfigSource
			get    func(name string) (string, bool)
		}{
			{wire.SourceDynamicBroker, func(name string) (string, bool) { return setting(src.broker, name) }},
			{wire.SourceDynamicDefaultBroker, func(name string) (string, bool) { return setting(src.cluster, name) }},
			{wire.SourceStaticBroker, func(name string) (string, bool) { v, ok := src.static[name]; return v, ok }},
		} {
			if k.ClusterOnly && level.source != wire.SourceDynamicDefaultBroker {
				continue
			}
			for _, s := range k.Synonyms {
				if v, ok := level.get(s.Name); ok && !yield(value{s.Name, v, level.source, s.Factor}) {
					return
				}
			}
		}
		k.defaults(yield)
	}
}

// defaults yields the default of the key that has one.
func (k *ConfigKey) defaults(yield func(value) bool) {
	for _, s := range k.Synonyms {
		if b, known := LookupBrokerKey(s.Name); known && !b.Unset {
			yield(value{s.Name, b.Default, wire.SourceDefault, s.Factor})
			return
		}
	}
	if !k.Unset {
		yield(value{name: k.Name, value: k.Default, source: wire.SourceDefault})
	}
}

// first returns the value in force.
func (k *ConfigKey) first(own []Setting, src sources) (value, bool) {
	for v := range k.all(own, src) {
		return v, true
	}
	return value{}, false
}

func topicValue(key string, own []Setting, src sources) value {
	k, _ := LookupTopicKey(key)
	v, _ := k.first(own, src)
	return v
}
