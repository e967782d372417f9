"""The driver of kafka-python."""

import sys

import kafka
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewPartitions, NewTopic

from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from kafka.errors import CommitFailedError, KafkaError, RebalanceInProgressError

import protocol

BOOTSTRAP = sys.argv[1]


def produce(request):
    producer = KafkaProducer(
        bootstrap_servers=BOOTSTRAP,
        acks={"0": 0, "1": 1, "all": "all"}[request["acks"]],
        compression_type=None if request["codec"] == "none" else request["codec"],
        enable_idempotence=request.get("idempotent", False),
        linger_ms=20,
        max_request_size=2_000_000,
    )
    try:
        futures = [
            producer.send(
                request["topic"],
                partition=r["partition"],
                key=protocol.decode(r["key"]),
                value=protocol.decode(r["value"]),
                headers=protocol.headers_of(r),
                timestamp_ms=r["timestamp"],
            )
            for r in request["records"]
        ]
        producer.flush(protocol.TIMEOUT)
        for f in futures:
            f.get(protocol.TIMEOUT)
    finally:
        producer.close(timeout=5)


consumer = KafkaConsumer(bootstrap_servers=BOOTSTRAP, group_id=None, enable_auto_commit=False)


def consume(request):
    try:
        place = TopicPartition(request["topic"], request["partition"])
        consumer.assign([place])
        match request["from"]:
            case "beginning":
                consumer.seek_to_beginning(place)
            case "end":
                consumer.seek_to_end(place)
            case "offset":
                consumer.seek(place, request.get("at", 0))
            case "timestamp":
                consumer.seek(place, consumer.offsets_for_times({place: request["at"]})[place].offset)
        return protocol.collect(request["count"], lambda wanted: map(record, consumer.poll(500, max_records=wanted).get(place, [])))
    finally:
        consumer.unsubscribe()


def record(m):
    return protocol.record(m.partition, m.offset, m.timestamp, m.key, m.value, m.headers)


member = None  # in a group; None before it joins one


def join(request):
    global member
    member = KafkaConsumer(
        request["topic"],
        bootstrap_servers=BOOTSTRAP,
        group_id=request["group"],
        group_instance_id=request.get("instance") or None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=protocol.SESSION_MS,
        heartbeat_interval_ms=protocol.HEARTBEAT_MS,
        partition_assignment_strategy=[
            {
                "range": RangePartitionAssignor,
                "roundrobin": RoundRobinPartitionAssignor,
                "sticky": StickyPartitionAssignor,
                "cooperative-sticky": CooperativeStickyAssignor,
            }[request["assignor"]]
        ],
    )


def poll(request):
    records, failure = [], None
    for messages in member.poll(request["millis"], max_records=request["count"]).values():
        records += map(record, messages)
    if records:
        try:
            member.commit()
        except (CommitFailedError, RebalanceInProgressError):
            pass  # somebody else will read the records
        except KafkaError as e:
            failure = e
    return protocol.polled(records, failure)


def leave(_):
    member.close()


admin = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)


def create(request):
    topic = NewTopic(request["topic"], request["partitions"], 1, topic_configs=request.get("configs") or {})
    admin.create_topics([topic])


def describe(request):
    (topic,) = admin.describe_topics([request["topic"]])
    described = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, request["topic"])])
    configs = described["topic"][request["topic"]]
    return {"partitions": len(topic["partitions"]), "configs": {k: str(c["value"] or "") for k, c in configs.items()}}


def alter(request):
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, request["topic"], configs=request["configs"])])


def grow(request):
    admin.create_partitions({request["topic"]: NewPartitions(request["partitions"])})


def delete(request):
    admin.delete_topics([request["topic"]])


protocol.run(
    "kafka-python",
    kafka.__version__,
    globals(),
)
