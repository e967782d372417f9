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
	plain  TopicConfig // of topics that configure nothing themselves
}

var (
	_ wire.View = (*Image)(nil)
	_ wire.View = (*Local)(nil)
)

// Local returns the image as that broker sees it. The static configuration is the broker's own,
// from file, flags and environment, already validated; it is shared and not to be changed.
func (img *Image) Local(self wire.BrokerID, static map[string]string) *Local {
	l := &Local{Image: img, Self: self, static: static}
	l.plain = topicConfig(nil, l.sources())
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
	Fsync              bool // durability=fsync; otherwise replicated
	MinISR             int  // min.insync.replicas, which may be more than there are replicas
	UncleanElection    bool
	Limits             *wire.RecordLimits // shared; never nil
}

// Topic returns a topic by name, with the limits that this broker keeps.
func (l *Local) Topic(name string) (wire.Topic, bool) { return l.view(l.topicByName(name)) }

// TopicByID returns a topic by id, with the limits that this broker keeps.
func (l *Local) TopicByID(id wire.TopicID) (wire.Topic, bool) { return l.view(l.topicByID(id)) }

func (l *Local) view(t *topic) (wire.Topic, bool) {
	if t == nil {
		return wire.Topic{}, false
	}
	if len(t.configs) == 0 {
		return t.view(l.plain.Limits), true
	}
	return t.view(topicConfig(t.configs, l.sources()).Limits), true
}

// TopicConfig returns the configuration in force of a topic.
func (l *Local) TopicConfig(id wire.TopicID) (TopicConfig, bool) {
	t := l.topicByID(id)
	if t == nil {
		return TopicConfig{}, false
	}
	c := l.plain
	if len(t.configs) > 0 {
		c = topicConfig(t.configs, l.sources())
	}
	c.Fsync = !t.replicated
	return c, true
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

func (l *Local) sources() sources {
	return sources{broker: l.ownBrokerConfigs(l.Self), cluster: l.clusterConfigs, static: l.static}
}

// EffectiveTopicConfig returns the configuration of a topic as far as the log tells it.
func EffectiveTopicConfig(img *Image, name string) (TopicConfig, bool) {
	t := img.topicByName(name)
	if t == nil {
		return TopicConfig{}, false
	}
	c := topicConfig(t.configs, img.sources())
	c.Fsync = !t.replicated
	return c, true
}

func (img *Image) sources() sources { return sources{cluster: img.clusterConfigs} }

// topicLimits returns the limits of a topic as far as the log tells them.
func (img *Image) topicLimits(t *topic) *wire.RecordLimits {
	if len(t.configs) == 0 {
		return img.limits
	}
	return topicConfig(t.configs, img.sources()).Limits
}

func (img *Image) defaultLimits() *wire.RecordLimits {
	return topicConfig(nil, img.sources()).Limits
}

// minISR returns min.insync.replicas of a topic. Only the log counts: all brokers have to agree.
func (img *Image) minISR(t *topic) int {
	return int(topicValue("min.insync.replicas", t.configs, img.sources()).number())
}

func (img *Image) uncleanElection(t *topic) bool {
	v, _ := parseBool(topicValue("unclean.leader.election.enable", t.configs, img.sources()).value)
	return v
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

func topicConfig(own []Setting, src sources) TopicConfig {
	number := func(key string) int64 { return topicValue(key, own, src).number() }
	text := func(key string) string { return topicValue(key, own, src).value }
	yes := func(key string) bool { v, _ := parseBool(text(key)); return v }

	c := TopicConfig{
		RetentionAge:       age(number("retention.ms")),
		RetentionBytes:     number("retention.bytes"),
		SegmentBytes:       int(number("segment.bytes")),
		SegmentAge:         longest(number("segment.ms")),
		SegmentJitter:      longest(number("segment.jitter.ms")),
		IndexIntervalBytes: int(number("index.interval.bytes")),
		Fsync:              text("durability") == "fsync",
		MinISR:             int(number("min.insync.replicas")),
		UncleanElection:    yes("unclean.leader.election.enable"),
		Limits: &wire.RecordLimits{
			MaxBatchBytes:   int(number("max.message.bytes")),
			LogAppendTime:   text("message.timestamp.type") == "LogAppendTime",
			TimestampBefore: age(number("message.timestamp.before.max.ms")),
			TimestampAfter:  age(number("message.timestamp.after.max.ms")),
			Compression:     text("compression.type"),
			Compacted:       slices.Contains(splitList(text("cleanup.policy")), "compact"),
		},
	}
	if bytes, ok := setting(own, "internal.segment.bytes"); ok {
		c.SegmentBytes, _ = strconv.Atoi(bytes)
	}
	switch c.Limits.Compression {
	case "gzip", "lz4", "zstd":
		c.Limits.CompressionLevel = int(number("compression." + c.Limits.Compression + ".level"))
	}
	return c
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
