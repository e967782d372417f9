package metadata

import (
	"errors"

	"github.com/troupe-mq/troupe/wire"
)

const (
	maxLong = "9223372036854775807"
	maxInt  = "2147483647"
)

// Milliseconds in other units.
const (
	minuteMillis = 60 * 1000
	hourMillis   = 60 * minuteMillis
)

// one is a single synonym in the same unit.
func one(name string) []Synonym { return []Synonym{{Name: name}} }

var (
	retentionSynonyms = []Synonym{
		{Name: "log.retention.ms"}, {"log.retention.minutes", minuteMillis}, {"log.retention.hours", hourMillis},
	}
	rollSynonyms   = []Synonym{{Name: "log.roll.ms"}, {"log.roll.hours", hourMillis}}
	jitterSynonyms = []Synonym{{Name: "log.roll.jitter.ms"}, {"log.roll.jitter.hours", hourMillis}}
)

var (
	compressionTypes = oneOf("producer", "uncompressed", "gzip", "snappy", "lz4", "zstd")
	timestampTypes   = oneOf("CreateTime", "LogAppendTime")
	durabilities     = oneOf("fsync", "replicated")
)

func gzipLevel(value string) error {
	if value == "-1" {
		return nil
	}
	return between(1, 9)(value)
}

func notTiered(value string) error {
	if v, _ := parseBool(value); v {
		return errors.New("remote storage is not available")
	}
	return nil
}

// topicKeys holds every key of topics. Kafka: the defaults and limits are those of Kafka 4.
var topicKeys = inOrder([]ConfigKey{
	{
		Name: "cleanup.policy", Type: wire.TypeList, Default: "delete", Synonyms: one("log.cleanup.policy"),
		check: cleanupPolicy,
		Doc:   "What becomes of old segments: delete removes them by retention.ms and retention.bytes, compact keeps the last record of each key, and with both the last records are removed in time as well.",
	},
	{
		Name: "retention.ms", Type: wire.TypeLong, Default: "604800000", Synonyms: retentionSynonyms, check: atLeast(-1),
		Doc: "How long records are kept, in milliseconds; -1 for ever. A segment goes when its newest record is older.",
	},
	{
		Name: "retention.bytes", Type: wire.TypeLong, Default: "-1", Synonyms: one("log.retention.bytes"), check: atLeast(-1),
		Doc: "How many bytes each partition keeps; -1 for no limit. The oldest segments go first.",
	},
	{
		Name: "segment.bytes", Type: wire.TypeInt, Default: "1073741824", Synonyms: one("log.segment.bytes"), check: atLeast(1 << 20),
		Doc: "The size at which a segment is closed and the next begun. Retention removes whole segments.",
	},
	{
		Name: "internal.segment.bytes", Type: wire.TypeInt, Unset: true, check: atLeast(14),
		Doc: "Takes the place of segment.bytes without its lower limit, for tests.",
	},
	{
		Name: "segment.ms", Type: wire.TypeLong, Default: "604800000", Synonyms: rollSynonyms, check: atLeast(1),
		Doc: "The age at which a segment is closed even if it is not full, so that retention can remove it.",
	},
	{
		Name: "segment.jitter.ms", Type: wire.TypeLong, Default: "0", Synonyms: jitterSynonyms, check: atLeast(0),
		Doc: "By how much segment.ms is shortened at most, at random, so that partitions do not close their segments all at once.",
	},
	{
		Name: "segment.index.bytes", Type: wire.TypeInt, Default: "10485760", Synonyms: one("log.index.size.max.bytes"),
		check: atLeast(4), Effect: NoEffect,
		Doc: "No effect: indexes grow as they need and are not allocated ahead.",
	},
	{
		Name: "index.interval.bytes", Type: wire.TypeInt, Default: "4096", Synonyms: one("log.index.interval.bytes"), check: atLeast(0),
		Doc: "How many bytes of records lie between two entries of the offset index.",
	},
	{
		Name: "max.message.bytes", Type: wire.TypeInt, Default: "1048588", Synonyms: one("message.max.bytes"), check: between(0, maxMessageBytes),
		Doc: "The largest record batch that is accepted, in bytes as it arrives, compressed or not.",
	},
	{
		Name: "min.insync.replicas", Type: wire.TypeInt, Default: "1", ClusterOnly: true, Synonyms: one("min.insync.replicas"), check: atLeast(1),
		Doc: "How many replicas must be in sync for acks=all to be accepted; where a partition has fewer replicas, all of them. A topic that is created with three replicas or more gets 2, unless something else is configured.",
	},
	{
		Name: "unclean.leader.election.enable", Type: wire.TypeBoolean, Default: "false", ClusterOnly: true, Synonyms: one("unclean.leader.election.enable"),
		Doc: "Whether a replica that may lack committed records can lead when no other can: rather lose records than wait.",
	},
	{
		Name: "durability", Type: wire.TypeString, Default: "fsync", Synonyms: one("log.durability"), check: durabilities,
		// Kafka: has no such key; its topics behave like replicated.
		Doc: "When a record counts as stored: fsync, once it is on the disk of every in-sync replica, or replicated, once each has it in memory. Fixed when the topic is created.",
	},
	{
		Name: "compression.type", Type: wire.TypeString, Default: "producer", Synonyms: one("compression.type"), check: compressionTypes,
		Doc: "How record batches are stored: producer keeps them as they come, any other value compresses them so.",
	},
	{
		Name: "compression.gzip.level", Type: wire.TypeInt, Default: "-1", Synonyms: one("compression.gzip.level"), check: gzipLevel,
		Doc: "The level of gzip, 1 to 9, if compression.type is gzip; -1 for its default.",
	},
	{
		Name: "compression.lz4.level", Type: wire.TypeInt, Default: "9", Synonyms: one("compression.lz4.level"), check: between(1, 17),
		Doc: "The level of lz4, 1 to 17, if compression.type is lz4.",
	},
	{
		Name: "compression.zstd.level", Type: wire.TypeInt, Default: "3", Synonyms: one("compression.zstd.level"), check: between(-131072, 22),
		Doc: "The level of zstd, -131072 to 22, if compression.type is zstd.",
	},
	{
		Name: "message.timestamp.type", Type: wire.TypeString, Default: "CreateTime", Synonyms: one("log.message.timestamp.type"), check: timestampTypes,
		Doc: "Whose clock stamps the records: CreateTime the producer's, LogAppendTime the broker's.",
	},
	{
		Name: "message.timestamp.before.max.ms", Type: wire.TypeLong, Default: maxLong, Synonyms: one("log.message.timestamp.before.max.ms"), check: atLeast(0),
		Doc: "How far a record's timestamp may lie before the broker's clock, in milliseconds. Not looked at with LogAppendTime.",
	},
	{
		Name: "message.timestamp.after.max.ms", Type: wire.TypeLong, Default: "3600000", Synonyms: one("log.message.timestamp.after.max.ms"), check: atLeast(0),
		Doc: "How far a record's timestamp may lie ahead of the broker's clock, in milliseconds: one far ahead would keep its segment for as long. Not looked at with LogAppendTime.",
	},
	{
		Name: "flush.messages", Type: wire.TypeLong, Default: maxLong, Synonyms: one("log.flush.interval.messages"), check: atLeast(1), Effect: NoEffect,
		Doc: "No effect: durability says when records are synced to disk.",
	},
	{
		Name: "flush.ms", Type: wire.TypeLong, Default: maxLong, Synonyms: one("log.flush.interval.ms"), check: atLeast(0), Effect: NoEffect,
		Doc: "No effect: durability says when records are synced to disk.",
	},
	{
		Name: "file.delete.delay.ms", Type: wire.TypeLong, Default: "60000", Synonyms: one("log.segment.delete.delay.ms"), check: atLeast(0), Effect: NoEffect,
		Doc: "No effect: a removed segment's file goes when its last reader is done with it.",
	},
	{
		Name: "preallocate", Type: wire.TypeBoolean, Default: "false", Synonyms: one("log.preallocate"), Effect: NoEffect,
		Doc: "No effect: segments grow as they are written.",
	},
	{
		Name: "delete.retention.ms", Type: wire.TypeLong, Default: "86400000", Synonyms: one("log.cleaner.delete.retention.ms"), check: atLeast(0),
		Doc: "How long compaction keeps the mark of a deleted key after it has first met it, for consumers to see it.",
	},
	{
		Name: "min.compaction.lag.ms", Type: wire.TypeLong, Default: "0", Synonyms: one("log.cleaner.min.compaction.lag.ms"), check: atLeast(0),
		Doc: "How long a record stays before compaction may remove it.",
	},
	{
		Name: "max.compaction.lag.ms", Type: wire.TypeLong, Default: maxLong, Synonyms: one("log.cleaner.max.compaction.lag.ms"), check: atLeast(1),
		Doc: "After how long a record is compacted at the latest, whatever min.cleanable.dirty.ratio says. A segment is closed at that age.",
	},
	{
		Name: "min.cleanable.dirty.ratio", Type: wire.TypeDouble, Default: "0.5", Synonyms: one("log.cleaner.min.cleanable.ratio"), check: fraction,
		Doc: "Which share of a log must be new for compaction to begin.",
	},
	{
		Name: "remote.storage.enable", Type: wire.TypeBoolean, Default: "false", check: notTiered,
		Doc: "Only false: there is no remote storage.",
	},
	{
		Name: "local.retention.ms", Type: wire.TypeLong, Default: "-2", check: atLeast(-2), Effect: NoEffect,
		Doc: "No effect: there is no remote storage.",
	},
	{
		Name: "local.retention.bytes", Type: wire.TypeLong, Default: "-2", check: atLeast(-2), Effect: NoEffect,
		Doc: "No effect: there is no remote storage.",
	},
	{
		Name: "leader.replication.throttled.replicas", Type: wire.TypeList, Default: "", Effect: NoEffect,
		Doc: "No effect: catching up yields to other traffic by itself.",
	},
	{
		Name: "follower.replication.throttled.replicas", Type: wire.TypeList, Default: "", Effect: NoEffect,
		Doc: "No effect: catching up yields to other traffic by itself.",
	},
})
