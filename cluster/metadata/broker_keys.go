package metadata

import (
	"slices"

	"github.com/troupe-mq/troupe/wire"
)

// brokerKeys holds every key of brokers: first those that do something, then Kafka's that have
// nothing to act on here. What exists in Kafka has Kafka's name, default and limits.
var brokerKeys = inOrder(ownSynonyms(append([]ConfigKey{
	// Who and where.
	{
		Name: "node.id", Type: wire.TypeInt, Default: "-1", check: atLeast(-1),
		Doc: "The broker's id, also as broker.id. Normally the cluster gives one; then this only checks it. -1 for any.",
	},
	{
		Name: "listeners", Type: wire.TypeList, Default: "PLAINTEXT://127.0.0.1:9092", check: notEmpty,
		Doc: "Where clients connect: NAME://host:port. An empty host is every interface, port 0 any free one.",
	},
	{
		Name: "advertised.listeners", Type: wire.TypeList, Unset: true,
		Doc: "What clients are told to connect to, where it is not the address listened on.",
	},
	{
		Name: "log.dirs", Type: wire.TypeList, Default: "./troupe-data", Synonyms: []Synonym{{Name: "log.dirs"}, {Name: "log.dir"}},
		Doc: "The directories that partitions are spread over. The metadata lies in the first.",
	},
	{Name: "log.dir", Type: wire.TypeString, Unset: true, Doc: "One directory, where log.dirs is not given."},
	{Name: "broker.rack", Type: wire.TypeString, Unset: true, Doc: "Where the broker stands. Replicas are spread over racks."},

	// Topics.
	{
		Name: "num.partitions", Type: wire.TypeInt, Default: "1", check: atLeast(1),
		Doc: "How many partitions a topic gets whose creator does not say.",
	},
	{
		Name: "default.replication.factor", Type: wire.TypeInt, Unset: true, check: between(1, MaxReplicas),
		// Kafka: 1, whatever the size of the cluster.
		Doc: "How many replicas a topic gets whose creator does not say. If it is not set: three, or as many as there are brokers.",
	},
	{
		Name: "auto.create.topics.enable", Type: wire.TypeBoolean, Default: "true",
		Doc: "Whether a topic comes into being when a client asks for it by name.",
	},
	{
		Name: "delete.topic.enable", Type: wire.TypeBoolean, Default: "true",
		Doc: "Whether topics can be deleted.",
	},

	// Defaults of topics; the key of the topic tells more.
	{
		Name: "log.retention.hours", Type: wire.TypeInt, Default: "168",
		Doc: "How long records are kept, in hours, where neither the topic, log.retention.ms nor log.retention.minutes says.",
	},
	{Name: "log.retention.minutes", Type: wire.TypeInt, Unset: true, Doc: "How long records are kept, in minutes."},
	{
		Name: "log.retention.ms", Type: wire.TypeLong, Unset: true, check: atLeast(-1), Update: PerBroker, Synonyms: retentionSynonyms,
		Doc: "How long records are kept, in milliseconds; -1 for ever.",
	},
	{
		Name: "log.retention.bytes", Type: wire.TypeLong, Default: "-1", check: atLeast(-1), Update: PerBroker,
		Doc: "How many bytes a partition keeps; -1 for no limit. It is not a limit of the whole broker.",
	},
	{
		Name: "log.retention.check.interval.ms", Type: wire.TypeLong, Default: "30000", check: atLeast(1),
		// Kafka: 300000; looking costs next to nothing here.
		Doc: "How often old segments are looked for, from the start on.",
	},
	{
		Name: "log.cleanup.policy", Type: wire.TypeList, Default: "delete", check: cleanupPolicy, Update: PerBroker,
		Doc: "What becomes of old segments: delete, compact, or both.",
	},
	{
		Name: "log.cleaner.delete.retention.ms", Type: wire.TypeLong, Default: "86400000", check: atLeast(0), Update: PerBroker,
		Doc: "How long compaction keeps the mark of a deleted key.",
	},
	{
		Name: "log.cleaner.min.compaction.lag.ms", Type: wire.TypeLong, Default: "0", check: atLeast(0), Update: PerBroker,
		Doc: "How long a record stays before compaction may remove it.",
	},
	{
		Name: "log.cleaner.max.compaction.lag.ms", Type: wire.TypeLong, Default: maxLong, check: atLeast(1), Update: PerBroker,
		Doc: "After how long a record is compacted at the latest.",
	},
	{
		Name: "log.cleaner.min.cleanable.ratio", Type: wire.TypeDouble, Default: "0.5", check: fraction, Update: PerBroker,
		Doc: "Which share of a log must be new for compaction to begin.",
	},
	{
		Name: "log.segment.bytes", Type: wire.TypeInt, Default: "1073741824", check: atLeast(1 << 20), Update: PerBroker,
		Doc: "The size at which a segment is closed.",
	},
	{
		Name: "log.roll.ms", Type: wire.TypeLong, Unset: true, check: atLeast(1), Update: PerBroker, Synonyms: rollSynonyms,
		Doc: "The age at which a segment is closed, in milliseconds.",
	},
	{Name: "log.roll.hours", Type: wire.TypeInt, Default: "168", check: atLeast(1), Doc: "The age at which a segment is closed, in hours."},
	{
		Name: "log.roll.jitter.ms", Type: wire.TypeLong, Unset: true, check: atLeast(0), Update: PerBroker, Synonyms: jitterSynonyms,
		Doc: "By how much that age is shortened at most, at random, in milliseconds.",
	},
	{Name: "log.roll.jitter.hours", Type: wire.TypeInt, Default: "0", check: atLeast(0), Doc: "By how much that age is shortened at most, in hours."},
	{
		Name: "log.index.interval.bytes", Type: wire.TypeInt, Default: "4096", check: atLeast(0), Update: PerBroker,
		Doc: "How many bytes lie between two entries of the offset index.",
	},
	{
		Name: "log.message.timestamp.type", Type: wire.TypeString, Default: "CreateTime", check: timestampTypes, Update: PerBroker,
		Doc: "Whose clock stamps the records.",
	},
	{
		Name: "log.message.timestamp.before.max.ms", Type: wire.TypeLong, Default: maxLong, check: atLeast(0), Update: PerBroker,
		Doc: "How far a record's timestamp may lie before the broker's clock.",
	},
	{
		Name: "log.message.timestamp.after.max.ms", Type: wire.TypeLong, Default: "3600000", check: atLeast(0), Update: PerBroker,
		Doc: "How far a record's timestamp may lie ahead of the broker's clock.",
	},
	{
		Name: "log.durability", Type: wire.TypeString, Default: "fsync", check: durabilities,
		Doc: "The durability of a new topic whose creator does not say: fsync or replicated.",
	},
	{
		Name: "message.max.bytes", Type: wire.TypeInt, Default: "1048588", check: between(0, maxMessageBytes), Update: PerBroker,
		Doc: "The largest record batch that is accepted.",
	},
	{
		Name: "compression.type", Type: wire.TypeString, Default: "producer", check: compressionTypes, Update: PerBroker,
		Doc: "How record batches are stored.",
	},
	{Name: "compression.gzip.level", Type: wire.TypeInt, Default: "-1", check: gzipLevel, Update: PerBroker, Doc: "The level of gzip."},
	{Name: "compression.lz4.level", Type: wire.TypeInt, Default: "9", check: between(1, 17), Update: PerBroker, Doc: "The level of lz4."},
	{Name: "compression.zstd.level", Type: wire.TypeInt, Default: "3", check: between(-131072, 22), Update: PerBroker, Doc: "The level of zstd."},
	{
		Name: "min.insync.replicas", Type: wire.TypeInt, Default: "1", check: atLeast(1), Update: ClusterWide, ClusterOnly: true,
		// Kafka: could also be set per broker, until KIP-966.
		Doc: "How many replicas must be in sync for acks=all. It belongs to the cluster: what the first broker is started with becomes the cluster's value, and later ones are not looked at.",
	},
	{
		Name: "unclean.leader.election.enable", Type: wire.TypeBoolean, Default: "false", Update: ClusterWide, ClusterOnly: true,
		Doc: "Whether a replica that may lack committed records can lead when no other can. It belongs to the cluster, like min.insync.replicas.",
	},

	// Disks, connections, limits.
	{
		Name: "log.dir.reserve.bytes", Type: wire.TypeLong, Default: "268435456", check: atLeast(0),
		// Kafka: has no such key; a full disk takes its directory offline.
		Doc: "How much of each disk is kept free: below it, producing gets a retriable error until there is room again.",
	},
	{
		Name: "log.cleaner.backoff.ms", Type: wire.TypeLong, Default: "15000", check: atLeast(1),
		Doc: "How often logs are looked for that compaction is due for.",
	},
	{
		Name: "log.cleaner.dedupe.buffer.size", Type: wire.TypeLong, Default: "134217728", check: atLeast(1 << 20),
		Doc: "How much memory compaction takes at most, of all log directories together: some 12 bytes for each key that is in the new part of a log.",
	},
	{
		Name: "log.cleaner.io.max.bytes.per.second", Type: wire.TypeDouble, Default: "67108864", check: positive,
		// Kafka: no limit.
		Doc: "How many bytes a second compaction reads and writes in each log directory, so that it does not slow down producers.",
	},
	{
		Name: "socket.request.max.bytes", Type: wire.TypeInt, Default: "104857600", check: atLeast(1),
		Doc: "The largest request that is read; a connection that announces a larger one is closed.",
	},
	{
		Name: "max.connections", Type: wire.TypeInt, Default: "20000", check: atLeast(1),
		// Kafka: no limit.
		Doc: "How many client connections the broker holds.",
	},
	{
		Name: "connections.max.idle.ms", Type: wire.TypeLong, Default: "600000",
		Doc: "After how long an idle client connection is closed; below zero never.",
	},
	{
		Name: "fetch.max.bytes", Type: wire.TypeInt, Default: "57671680", check: atLeast(1024),
		Doc: "The most that one answer to a Fetch carries, but for a single batch that is larger.",
	},
	{
		Name: "max.incremental.fetch.session.cache.slots", Type: wire.TypeInt, Default: "1000", check: atLeast(0),
		Doc: "How many fetch sessions (KIP-227) the broker keeps for clients: without one, a client names all partitions in each Fetch.",
	},
	{
		Name: "replica.selector.class", Type: wire.TypeString, Unset: true, check: oneOf(append([]string{""}, selectors...)...),
		// Kafka: takes any class.
		Doc: "Which replica consumers are sent to: LeaderSelector, or RackAwareReplicaSelector for one that is in sync and in the consumer's client.rack (KIP-392); also with Kafka's package name. If it is not set: the leader.",
	},
	{
		Name: "queued.max.request.bytes", Type: wire.TypeLong, Default: "268435456", check: atLeast(1),
		// Kafka: no limit.
		Doc: "How many bytes of requests, of all connections together, may wait for an answer before the broker stops reading.",
	},
	{
		Name: "replica.lag.time.max.ms", Type: wire.TypeLong, Default: "10000", check: atLeast(1),
		// Kafka: 30000.
		Doc: "How long a follower may be behind before it leaves the in-sync replicas.",
	},
	{
		Name: "leader.replication.throttled.rate", Type: wire.TypeLong, Default: maxLong, check: atLeast(1), Update: PerBroker,
		// Kafka: throttles the replicas that leader.replication.throttled.replicas of a topic lists.
		Doc: "How many bytes a second a broker sends at most, in all, to replicas that a reassignment is bringing in.",
	},
	{
		Name: "follower.replication.throttled.rate", Type: wire.TypeLong, Default: maxLong, check: atLeast(1), Update: PerBroker, Effect: NoEffect,
		Doc: "No effect: leaders send to their followers, so leader.replication.throttled.rate says how fast.",
	},
	{
		Name: "producer.id.expiration.ms", Type: wire.TypeInt, Default: "86400000", check: atLeast(1),
		Doc: "After how long without a batch an idempotent producer is forgotten by a partition.",
	},
}, slices.Concat(groupKeys, foreignKeys)...)))

// RackAwareSelector is the replica.selector.class that sends consumers to a replica in their rack.
const RackAwareSelector = "RackAwareReplicaSelector"

// SelectorPackage is what Kafka calls the selectors' package.
const SelectorPackage = "org.apache.kafka.common.replica."

var selectors = []string{"LeaderSelector", RackAwareSelector, SelectorPackage + "LeaderSelector", SelectorPackage + RackAwareSelector}

// foreignKeys are keys of Kafka's brokers that are accepted and do nothing.
var foreignKeys = foreign(
	"alter.config.policy.class.name", "authorizer.class.name", "auto.leader.rebalance.enable", "background.threads",
	"broker.heartbeat.interval.ms", "broker.session.timeout.ms", "client.quota.callback.class",
	"controlled.shutdown.enable", "controlled.shutdown.max.retries", "controlled.shutdown.retry.backoff.ms",
	"controller.listener.names", "controller.quorum.bootstrap.servers", "controller.quorum.election.backoff.max.ms",
	"controller.quorum.election.timeout.ms", "controller.quorum.fetch.timeout.ms", "controller.quorum.voters",
	"controller.socket.timeout.ms", "create.topic.policy.class.name", "early.start.listeners",
	"fetch.purgatory.purge.interval.requests",
	"group.consumer.max.heartbeat.interval.ms", "group.consumer.max.session.timeout.ms",
	"group.consumer.min.heartbeat.interval.ms", "group.consumer.min.session.timeout.ms",
	"group.coordinator.rebalance.protocols", "group.coordinator.threads", "initial.broker.registration.timeout.ms", "inter.broker.listener.name",
	"inter.broker.protocol.version", "kafka.metrics.polling.interval.secs", "kafka.metrics.reporters",
	"leader.imbalance.check.interval.seconds", "leader.imbalance.per.broker.percentage", "listener.security.protocol.map",
	"log.cleaner.enable", "log.cleaner.io.buffer.load.factor", "log.cleaner.io.buffer.size", "log.cleaner.threads",
	"log.flush.interval.messages", "log.flush.interval.ms", "log.flush.offset.checkpoint.interval.ms",
	"log.flush.scheduler.interval.ms", "log.flush.start.offset.checkpoint.interval.ms", "log.index.size.max.bytes",
	"log.initial.task.delay.ms", "log.message.downconversion.enable", "log.message.format.version",
	"log.message.timestamp.difference.max.ms", "log.preallocate", "log.segment.delete.delay.ms",
	"max.connection.creation.rate", "max.connections.per.ip", "max.connections.per.ip.overrides",
	"metadata.log.dir", "metadata.log.max.record.bytes.between.snapshots",
	"metadata.log.max.snapshot.interval.ms", "metadata.log.segment.bytes", "metadata.log.segment.ms",
	"metadata.max.idle.interval.ms", "metadata.max.retention.bytes", "metadata.max.retention.ms", "metric.reporters",
	"metrics.num.samples", "metrics.recording.level", "metrics.sample.window.ms", "num.io.threads", "num.network.threads",
	"num.recovery.threads.per.data.dir", "num.replica.alter.log.dirs.threads", "num.replica.fetchers",
	"offsets.commit.timeout.ms", "offsets.load.buffer.size", "offsets.topic.compression.codec", "principal.builder.class",
	"process.roles", "queued.max.requests", "quota.window.num", "quota.window.size.seconds",
	"remote.log.storage.system.enable", "replica.fetch.backoff.ms", "replica.fetch.max.bytes", "replica.fetch.min.bytes",
	"replica.fetch.response.max.bytes", "replica.fetch.wait.max.ms", "replica.high.watermark.checkpoint.interval.ms",
	"replica.socket.receive.buffer.bytes", "replica.socket.timeout.ms", "request.timeout.ms",
	"reserved.broker.max.id", "sasl.enabled.mechanisms", "sasl.mechanism.inter.broker.protocol", "security.inter.broker.protocol",
	"share.coordinator.state.topic.min.isr", "share.coordinator.state.topic.num.partitions",
	"share.coordinator.state.topic.replication.factor", "socket.connection.setup.timeout.ms", "socket.listen.backlog.size",
	"socket.receive.buffer.bytes", "socket.send.buffer.bytes", "super.users",
	"transaction.abort.timed.out.transaction.cleanup.interval.ms", "transaction.max.timeout.ms",
	"transaction.remove.expired.transaction.cleanup.interval.ms", "transaction.state.log.load.buffer.size",
	"transaction.state.log.min.isr", "transaction.state.log.num.partitions", "transaction.state.log.replication.factor",
	"transaction.state.log.segment.bytes", "transactional.id.expiration.ms", "unstable.api.versions.enable",
	"unstable.feature.versions.enable", "zookeeper.connect", "zookeeper.connection.timeout.ms", "zookeeper.session.timeout.ms",
)

func foreign(names ...string) []ConfigKey {
	keys := make([]ConfigKey, len(names))
	for i, name := range names {
		keys[i] = ConfigKey{
			Name: name, Type: wire.TypeString, Unset: true, Effect: NoEffect,
			Doc: "No effect: a key of Kafka's for something that this broker has not, or has otherwise.",
		}
	}
	return keys
}

// ownSynonyms makes each key that has none its own synonym.
func ownSynonyms(keys []ConfigKey) []ConfigKey {
	for i := range keys {
		if keys[i].Synonyms == nil {
			keys[i].Synonyms = one(keys[i].Name)
		}
	}
	return keys
}
