package metadata

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/troupe-mq/troupe/wire"
)

func TestEveryKeyAcceptsItsOwnDefaultAndSaysWhatItDoes(t *testing.T) {
	for _, keys := range [][]ConfigKey{TopicKeys(), BrokerKeys()} {
		for i, k := range keys {
			if !k.Unset {
				if err := k.Validate(k.Default); err != nil {
					t.Errorf("%v", err)
				}
			}
			if !strings.HasSuffix(k.Doc, ".") || strings.HasPrefix(k.Doc, "No effect") != (k.Effect == NoEffect) {
				t.Errorf("%s: %q", k.Name, k.Doc)
			}
			if i > 0 && keys[i-1].Name == k.Name {
				t.Errorf("%s is there twice", k.Name)
			}
			for _, s := range k.Synonyms {
				if _, known := LookupBrokerKey(s.Name); !known {
					t.Errorf("%s: there is no broker key %s", k.Name, s.Name)
				}
			}
		}
	}
}

// A topic without configurations of its own behaves as the defaults of the topic keys say.
func TestTheDefaultsOfTopicAndBrokerAgree(t *testing.T) {
	for _, k := range TopicKeys() {
		if k.Unset || k.Effect == NoEffect {
			continue
		}
		if v, _ := k.first(nil, sources{}); v.text() != k.Default {
			t.Errorf("%s is %s by default, by %s %s", k.Name, k.Default, v.name, v.text())
		}
	}
}

func TestValidateTopicConfig(t *testing.T) {
	for _, tc := range []struct {
		key, value string
		sentence   string // a part of it; "" when the value is good
	}{
		{"retention.ms", "-1", ""},
		{"retention.ms", "-2", "at least -1"},
		{"retention.ms", "1e3", "whole number from -9223372036854775808 to 9223372036854775807"},
		{"retention.ms", "", "whole number"},
		{"segment.bytes", "2147483648", "whole number from -2147483648 to 2147483647"},
		{"segment.bytes", "1048575", "at least 1048576"},
		{"internal.segment.bytes", "14", ""},
		{"cleanup.policy", "delete", ""},
		{"cleanup.policy", "compact", ""},
		{"cleanup.policy", "delete, compact", ""},
		{"cleanup.policy", "compaction", "must be delete, compact, or both"},
		{"cleanup.policy", "delete,", "must be delete"},
		{"cleanup.policy", "", "must be delete"},
		{"compression.type", "zstd", ""},
		{"compression.type", "brotli", "one of producer"},
		{"compression.gzip.level", "0", "between 1 and 9"},
		{"compression.gzip.level", "-1", ""},
		{"min.insync.replicas", "0", "at least 1"},
		{"min.cleanable.dirty.ratio", "1.5", "between 0 and 1"},
		{"min.cleanable.dirty.ratio", "NaN", "between 0 and 1"},
		{"unclean.leader.election.enable", "TRUE", ""},
		{"unclean.leader.election.enable", "yes", "true or false"},
		{"durability", "replicated", ""},
		{"durability", "none", "one of fsync, replicated"},
		{"remote.storage.enable", "true", "not available"},
		{"retention.mss", "1", "did you mean retention.ms?"},
		{"log.retention.hours", "1", "did you mean retention.ms?"},
		{"leader.replication.throttled.replicas", strings.Repeat("x", 40_000), "40000 bytes"},
		{strings.Repeat("y", 5000), "1", "unknown topic configuration"},
	} {
		err := ValidateTopicConfig(tc.key, tc.value)
		if tc.sentence == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		if wire.Code(err) != wire.InvalidConfig || !strings.Contains(wire.Sentence(err), tc.sentence) {
			t.Errorf("%s=%.20s: %v, want %q", tc.key, tc.value, err, tc.sentence)
		}
	}
}

func TestAnUnknownBrokerKeyNamesTheNearest(t *testing.T) {
	for key, want := range map[string]string{
		"log.retention.hour":       "log.retention.hours",
		"retention.ms":             "log.retention.ms",
		"max.message.bytes":        "message.max.bytes",
		"auto.create.topic.enable": "auto.create.topics.enable",
		"advertised.listener":      "advertised.listeners",
		"qqqqqqqqqqqqqqqqqq":       "",
	} {
		if got := Nearest(key); got != want {
			t.Errorf("nearest to %s is %q, want %q", key, got, want)
		}
	}
}

func (c *cluster) alter(res wire.ConfigResource, replace bool, changes ...wire.ConfigChange) error {
	c.t.Helper()
	return c.do(AlterConfigs{Changes: []wire.AlterConfigs{{Resource: res, Replace: replace, Changes: changes}}}).([]error)[0]
}

func set(key, value string) wire.ConfigChange {
	return wire.ConfigChange{Name: key, Op: wire.OpSet, Value: &value}
}

func unset(key string) wire.ConfigChange { return wire.ConfigChange{Name: key, Op: wire.OpDelete} }

var (
	topicT     = wire.ConfigResource{Type: wire.ConfigTopic, Name: "t"}
	allBrokers = wire.ConfigResource{Type: wire.ConfigBroker}
	brokerOne  = wire.ConfigResource{Type: wire.ConfigBroker, Name: "1"}
)

func TestTheMostParticularConfigurationCounts(t *testing.T) {
	c := newCluster(t, 1)
	id := c.mustCreate("t", 1, 1)
	static := map[string]string{}
	age := func() time.Duration {
		config, _ := c.img.Local(1, static).TopicConfig(id)
		return config.RetentionAge
	}
	steps := []struct {
		do   func()
		want time.Duration
	}{
		{func() {}, 168 * time.Hour},
		{func() { static["log.retention.hours"] = "2" }, 2 * time.Hour},
		{func() { static["log.retention.minutes"] = "30" }, 30 * time.Minute},
		{func() { static["log.retention.ms"] = "-1" }, -1},
		{func() { static["log.retention.ms"] = "5000" }, 5 * time.Second},
		{func() { _ = c.alter(allBrokers, false, set("log.retention.ms", "4000")) }, 4 * time.Second},
		{func() { _ = c.alter(brokerOne, false, set("log.retention.ms", "3000")) }, 3 * time.Second},
		{func() { _ = c.alter(topicT, false, set("retention.ms", "2000")) }, 2 * time.Second},
		{func() { _ = c.alter(topicT, false, set("retention.ms", "9223372036854775807")) }, -1},
		{func() { _ = c.alter(topicT, false, unset("retention.ms")) }, 3 * time.Second},
		{func() { _ = c.alter(brokerOne, true) }, 4 * time.Second},
		{func() { _ = c.alter(allBrokers, true) }, 5 * time.Second},
	}
	for i, step := range steps {
		step.do()
		if got := age(); got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
}

func TestTheEffectiveConfigurationOfATopic(t *testing.T) {
	c := newCluster(t, 1)
	plain := c.mustCreate("plain", 1, 1)
	own := c.mustCreate("own", 1, 1, "segment.bytes", "2097152", "segment.ms", "9223372036854775807",
		"message.timestamp.type", "LogAppendTime", "compression.type", "zstd", "compression.zstd.level", "7",
		"internal.segment.bytes", "100", "durability", "replicated", "max.message.bytes", "99")
	l := c.img.Local(1, map[string]string{"message.max.bytes": "5000", "min.insync.replicas": "9"})

	got, _ := l.TopicConfig(plain)
	limits := *got.Limits
	got.Limits = nil
	want := TopicConfig{
		RetentionAge: 168 * time.Hour, RetentionBytes: -1, SegmentBytes: 1 << 30, SegmentAge: 168 * time.Hour,
		IndexIntervalBytes: 4096, Fsync: true, MinISR: 1,
		Delete: true, MaxCompactionLag: math.MaxInt64, DeleteRetention: 24 * time.Hour, MinDirtyRatio: 0.5,
	}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if limits != (wire.RecordLimits{
		MaxBatchBytes: 5000, TimestampBefore: -1, TimestampAfter: time.Hour, Compression: "producer",
	}) {
		t.Errorf("%+v", limits)
	}

	got, _ = l.TopicConfig(own)
	if got.SegmentBytes != 100 || got.SegmentAge != math.MaxInt64 || got.Fsync || !got.Limits.LogAppendTime ||
		got.Limits.Compression != "zstd" || got.Limits.CompressionLevel != 7 || got.Limits.MaxBatchBytes != 99 {
		t.Errorf("%+v with %+v", got, got.Limits)
	}
	if topic, _ := l.Topic("own"); topic.Limits.MaxBatchBytes != 99 {
		t.Errorf("%+v", topic.Limits)
	}
	if topic, _ := l.TopicByID(plain); topic.Limits.MaxBatchBytes != 5000 {
		t.Errorf("%+v", topic.Limits)
	}
	if topic, _ := c.img.Topic("plain"); topic.Limits.MaxBatchBytes != 1048588 {
		t.Errorf("%+v", topic.Limits)
	}
}

func TestEveryKeyWithAnEffectHasOne(t *testing.T) {
	// Where there is no other value: remote storage is to come; durability is fixed when the topic
	// is created, and not among the values that can change.
	without := []string{"remote.storage.enable", "durability"}
	other := map[string]string{
		"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1",
		"compression.type": "snappy", "message.timestamp.type": "LogAppendTime", "unclean.leader.election.enable": "true",
	}
	for _, k := range TopicKeys() {
		if k.Effect == NoEffect || slices.Contains(without, k.Name) {
			continue
		}
		value := cmp.Or(other[k.Name], "2000000")
		own := &topic{configs: []Setting{{k.Name, value}}}
		if codec, is := strings.CutPrefix(k.Name, "compression."); is && codec != "type" {
			codec = strings.TrimSuffix(codec, ".level")
			own.configs = []Setting{{k.Name, "5"}, {"compression.type", codec}}
			if got := defaultsFrom(sources{}).with(own).Limits; got.Compression != codec || got.CompressionLevel != 5 {
				t.Errorf("%s: %+v", k.Name, got)
			}
			continue
		}
		plain, got := defaultsFrom(sources{}).with(&topic{}), defaultsFrom(sources{}).with(own)
		limits := *got.Limits != *plain.Limits
		got.Limits, plain.Limits = nil, nil
		if got == plain && !limits {
			t.Errorf("%s=%s changes nothing", k.Name, value)
		}
	}
}

func TestTheLimitsInTheImageFollowTheDefaultOfAllBrokers(t *testing.T) {
	c := newCluster(t, 1)
	c.mustCreate("t", 1, 1)
	if err := c.alter(allBrokers, false, set("message.max.bytes", "77")); err != nil {
		t.Fatal(err)
	}
	restored, err := DecodeSnapshot(c.img.EncodeSnapshot())
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range []*Image{c.img, restored} {
		if topic, _ := img.Topic("t"); topic.Limits.MaxBatchBytes != 77 {
			t.Errorf("%+v", topic.Limits)
		}
	}
	if len(c.delta.Configs) != 1 || c.delta.Configs[0] != allBrokers {
		t.Errorf("%+v", c.delta)
	}
}

func entryOf(t *testing.T, entries []wire.ConfigEntry, key string) wire.ConfigEntry {
	t.Helper()
	for _, e := range entries {
		if e.Name == key {
			return e
		}
	}
	t.Fatalf("no entry %s", key)
	return wire.ConfigEntry{}
}

func TestEntriesTellWhereAValueComesFrom(t *testing.T) {
	c := newCluster(t, 1)
	c.mustCreate("t", 1, 1, "retention.ms", "2000")
	if err := c.alter(allBrokers, false, set("log.retention.ms", "4000")); err != nil {
		t.Fatal(err)
	}
	l := c.img.Local(1, map[string]string{"log.retention.minutes": "30", "broker.rack": "r1"})
	e := entryOf(t, l.TopicConfigEntries("t"), "retention.ms")
	var got []string
	for _, s := range e.Synonyms {
		got = append(got, s.Name+"="+*s.Value)
	}
	want := []string{"retention.ms=2000", "log.retention.ms=4000", "log.retention.minutes=30", "log.retention.hours=168"}
	if !slices.Equal(got, want) || *e.Value != "2000" || e.Source != wire.SourceDynamicTopic || e.ReadOnly {
		t.Errorf("%q, value %s from %d", got, *e.Value, e.Source)
	}
	e = entryOf(t, l.BrokerConfigEntries(), "log.retention.ms")
	if *e.Value != "4000" || e.Source != wire.SourceDynamicDefaultBroker || e.ReadOnly || len(e.Synonyms) != 3 {
		t.Errorf("%+v", e)
	}
	e = entryOf(t, l.BrokerConfigEntries(), "broker.rack")
	if *e.Value != "r1" || e.Source != wire.SourceStaticBroker || !e.ReadOnly {
		t.Errorf("%+v", e)
	}
	if e = entryOf(t, l.BrokerConfigEntries(), "advertised.listeners"); e.Value != nil {
		t.Errorf("%+v", e)
	}
	for _, e := range l.BrokerConfigEntries() {
		if e.Name == "zookeeper.connect" {
			t.Error("a key that does nothing is listed though nobody has set it")
		}
	}
	if e = entryOf(t, c.img.ClusterConfigEntries(), "log.retention.ms"); *e.Value != "4000" {
		t.Errorf("%+v", e)
	}
	if l.TopicConfigEntries("nowhere") != nil {
		t.Error("a topic that is not there has entries")
	}
}

func TestAlterConfigs(t *testing.T) {
	for _, tc := range []struct {
		name    string
		res     wire.ConfigResource
		replace bool
		changes []wire.ConfigChange
		want    wire.ErrorCode
		after   string // the topic's own configurations, when it is one
	}{
		{"set", topicT, false, []wire.ConfigChange{set("retention.bytes", "7")}, wire.None, "retention.bytes=7 retention.ms=1000"},
		{"delete", topicT, false, []wire.ConfigChange{unset("retention.ms")}, wire.None, ""},
		{"delete what is not set", topicT, false, []wire.ConfigChange{unset("segment.ms")}, wire.None, "retention.ms=1000"},
		{"replace", topicT, true, []wire.ConfigChange{set("segment.ms", "5")}, wire.None, "segment.ms=5"},
		{"replace by nothing", topicT, true, nil, wire.None, ""},
		{"append to a list", topicT, false, []wire.ConfigChange{{Name: "cleanup.policy", Op: wire.OpAppend, Value: new("delete")}}, wire.None, "cleanup.policy=delete retention.ms=1000"},
		{"append what is not possible", topicT, false, []wire.ConfigChange{{Name: "cleanup.policy", Op: wire.OpAppend, Value: new("squeeze")}}, wire.InvalidConfig, "retention.ms=1000"},
		{"append compact", topicT, false, []wire.ConfigChange{{Name: "cleanup.policy", Op: wire.OpAppend, Value: new("compact")}}, wire.None, "cleanup.policy=delete,compact retention.ms=1000"},
		{"subtract all of a list", topicT, false, []wire.ConfigChange{{Name: "cleanup.policy", Op: wire.OpSubtract, Value: new("delete")}}, wire.InvalidConfig, "retention.ms=1000"},
		{"append to a number", topicT, false, []wire.ConfigChange{{Name: "retention.ms", Op: wire.OpAppend, Value: new("1")}}, wire.InvalidConfig, "retention.ms=1000"},
		{"no value", topicT, false, []wire.ConfigChange{{Name: "retention.ms", Op: wire.OpSet}}, wire.InvalidRequest, "retention.ms=1000"},
		{"an unknown operation", topicT, false, []wire.ConfigChange{{Name: "retention.ms", Op: 9, Value: new("1")}}, wire.InvalidRequest, "retention.ms=1000"},
		{"a key twice", topicT, false, []wire.ConfigChange{set("segment.ms", "5"), unset("segment.ms")}, wire.InvalidRequest, "retention.ms=1000"},
		{"an unknown key", topicT, false, []wire.ConfigChange{set("segment", "5")}, wire.InvalidConfig, "retention.ms=1000"},
		{"another durability", topicT, false, []wire.ConfigChange{set("durability", "replicated")}, wire.InvalidConfig, "retention.ms=1000"},
		{"the same durability", topicT, false, []wire.ConfigChange{set("durability", "fsync")}, wire.None, "durability=fsync retention.ms=1000"},
		{"a topic that is not there", wire.ConfigResource{Type: wire.ConfigTopic, Name: "x"}, false, nil, wire.UnknownTopicOrPartition, "retention.ms=1000"},
		{"a topic that cannot be", wire.ConfigResource{Type: wire.ConfigTopic, Name: "x y"}, false, nil, wire.InvalidTopic, "retention.ms=1000"},
		{"one broker", brokerOne, false, []wire.ConfigChange{set("message.max.bytes", "5")}, wire.None, "retention.ms=1000"},
		{"a broker that is not there", wire.ConfigResource{Type: wire.ConfigBroker, Name: "7"}, false, nil, wire.BrokerIDNotRegistered, "retention.ms=1000"},
		{"no broker id", wire.ConfigResource{Type: wire.ConfigBroker, Name: "one"}, false, nil, wire.InvalidRequest, "retention.ms=1000"},
		{"a key that is read at the start", brokerOne, false, []wire.ConfigChange{set("node.id", "5")}, wire.InvalidRequest, "retention.ms=1000"},
		{"min.insync.replicas of one broker", brokerOne, false, []wire.ConfigChange{set("min.insync.replicas", "2")}, wire.InvalidConfig, "retention.ms=1000"},
		{"min.insync.replicas of the cluster", allBrokers, false, []wire.ConfigChange{set("min.insync.replicas", "2")}, wire.None, "retention.ms=1000"},
		{"a group", wire.ConfigResource{Type: wire.ConfigGroup, Name: "g"}, false, nil, wire.InvalidRequest, "retention.ms=1000"},
		{"a logger", wire.ConfigResource{Type: wire.ConfigBrokerLogger, Name: "1"}, false, nil, wire.InvalidRequest, "retention.ms=1000"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCluster(t, 1)
			c.mustCreate("t", 1, 1, "retention.ms", "1000")
			before := c.img
			if err := c.alter(tc.res, tc.replace, tc.changes...); wire.Code(err) != tc.want {
				t.Errorf("%v, want %s", err, tc.want.Name())
			}
			if tc.want != wire.None && c.img != before {
				t.Error("a refusal changed the image")
			}
			var after []string
			for _, s := range c.img.topicByName("t").configs {
				after = append(after, s.Key+"="+s.Value)
			}
			if got := strings.Join(after, " "); got != tc.after {
				t.Errorf("the topic has %q, want %q", got, tc.after)
			}
		})
	}
}

func TestDurabilityIsFixedWhenATopicIsCreated(t *testing.T) {
	c := newCluster(t, 1)
	c.env.Static = map[string]string{"log.durability": "replicated"}
	id := c.mustCreate("t", 1, 1)
	later := c.img.Local(1, nil) // the broker was started again without that key
	if config, _ := later.TopicConfig(id); config.Fsync {
		t.Error("the topic changed with the default")
	}
	e := entryOf(t, later.TopicConfigEntries("t"), "durability")
	if *e.Value != "replicated" || e.Source != wire.SourceDynamicTopic || !e.ReadOnly {
		t.Errorf("%+v", e)
	}
	e = entryOf(t, c.img.Local(1, c.env.Static).TopicConfigEntries("t"), "durability")
	if *e.Value != "replicated" || e.Source != wire.SourceStaticBroker {
		t.Errorf("%+v", e)
	}
}

// KIP-966: who is in an ELR was chosen by the old minimum.
func TestAChangeOfTheMinimumClearsTheELRsConcerned(t *testing.T) {
	c := newCluster(t, 3)
	if err := c.alter(allBrokers, false, set("min.insync.replicas", "3")); err != nil {
		t.Fatal(err)
	}
	id := c.assigned()
	own := c.mustCreate("own", 1, 3, "min.insync.replicas", "3")
	c.fence(true, 3)
	c.expect(id, 0, want{1, [2]int32{0, 1}, ids{1, 2}, ids{3}})
	before, entries := c.partition(own, 0), len(c.log)
	if err := c.alter(allBrokers, false, set("min.insync.replicas", "2")); err != nil {
		t.Fatal(err)
	}
	c.expect(id, 0, want{1, [2]int32{0, 2}, ids{1, 2}, nil})
	if after := c.partition(own, 0); after.PartitionEpoch != before.PartitionEpoch || len(c.log) != entries+1 {
		t.Errorf("a topic with its own minimum: %+v", after)
	}
}

func TestAChangeOfTheMinimumLeavesThoseWhoAloneCanLead(t *testing.T) {
	c := newCluster(t, 3)
	id := c.mustCreate("orders", 1, 1, "min.insync.replicas", "1")
	leader := c.partition(id, 0).Leader
	c.fence(true, leader)
	c.expect(id, 0, want{wire.NoBroker, [2]int32{1, 1}, nil, ids{leader}})
	if err := c.alter(wire.ConfigResource{Type: wire.ConfigTopic, Name: "orders"}, false, set("min.insync.replicas", "2")); err != nil {
		t.Fatal(err)
	}
	c.fence(false, leader)
	if p := c.partition(id, 0); p.Leader != leader || c.img.Unclean(id, 0) {
		t.Errorf("%+v", p)
	}
}

// Kafka: static values of each broker count; here only what the log says.
func TestTheFoundersMinimumBecomesTheClusters(t *testing.T) {
	c := &cluster{t: t, img: NewImage(), env: Env{Static: map[string]string{"min.insync.replicas": "2"}}}
	c.env.NewTopicID = c.newTopicID
	c.do(FoundCluster{ClusterID: "x"})
	c.do(registration(1, 1))
	c.env.Static = nil
	id := c.mustCreate("t", 1, 1)
	if config, _ := c.img.Local(1, map[string]string{"min.insync.replicas": "5"}).TopicConfig(id); config.MinISR != 2 {
		t.Errorf("%+v", config)
	}
}

func TestAClusterIsFoundedOnce(t *testing.T) {
	c := newCluster(t, 0)
	before := c.img
	if err := c.do(FoundCluster{ClusterID: before.ClusterID()}); err != nil {
		t.Error(err)
	}
	if err, _ := c.do(FoundCluster{ClusterID: "another"}).(error); wire.Code(err) != wire.InconsistentClusterID {
		t.Error(err)
	}
	if c.img != before {
		t.Error("the image changed")
	}
}

func TestProducerIDsAreGivenOnce(t *testing.T) {
	c := newCluster(t, 2)
	for i := range wire.ProducerID(3) {
		got := c.do(AllocateProducerIDs{Broker: 2}).(AllocatedProducerIDs)
		if got.Err != nil || got.First != i*1000 || got.Count != 1000 {
			t.Errorf("%+v", got)
		}
	}
	if got := c.do(AllocateProducerIDs{Broker: 9}).(AllocatedProducerIDs); wire.Code(got.Err) != wire.BrokerIDNotRegistered {
		t.Errorf("%+v", got)
	}
}

func BenchmarkTopicWithConfigurationsOfItsOwn(b *testing.B) {
	c := newCluster(b, 1)
	c.mustCreate("t", 1, 1, "retention.ms", "1000", "segment.ms", "5", "max.message.bytes", "99")
	l := c.img.Local(1, nil)
	b.ReportAllocs()
	for b.Loop() {
		if topic, _ := l.Topic("t"); topic.Limits.MaxBatchBytes != 99 {
			b.Fatal(topic)
		}
	}
}

func TestOnlyKafkasOwnReplicaSelectorsAreTaken(t *testing.T) {
	for value, taken := range map[string]bool{
		"org.apache.kafka.common.replica.RackAwareReplicaSelector": true, "RackAwareReplicaSelector": true,
		"org.apache.kafka.common.replica.LeaderSelector": true, "LeaderSelector": true, "": true,
		"com.example.NearestReplicaSelector": false, "rack": false,
	} {
		if err := ValidateBrokerConfig("replica.selector.class", value); (err == nil) != taken {
			t.Errorf("%q: %v", value, err)
		}
	}
}
