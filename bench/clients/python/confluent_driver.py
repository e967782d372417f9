"""The driver of confluent-kafka, which is librdkafka of its own version."""

import sys
import time

import confluent_kafka
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
)

import protocol

BOOTSTRAP = {"bootstrap.servers": sys.argv[1]}


def produce(request):
    producer = Producer(
        BOOTSTRAP
        | {
            "compression.type": request["codec"],
            "acks": request["acks"],
            "enable.idempotence": request.get("idempotent", False),
            "linger.ms": 20,
            "message.max.bytes": 2_000_000,
        }
    )
    failures = []

    def delivered(err, _):
        if err is not None:
            failures.append(err)

    for r in request["records"]:
        producer.produce(
            request["topic"],
            partition=r["partition"],
            key=protocol.decode(r["key"]),
            value=protocol.decode(r["value"]),
            headers=protocol.headers_of(r),
            timestamp=r["timestamp"],
            on_delivery=delivered,
        )
    left = producer.flush(protocol.TIMEOUT)
    if failures or left:
        raise RuntimeError(f"{left} records without an answer, {len(failures)} refused: {failures[:1]}")


consumer = Consumer(
    BOOTSTRAP
    | {
        "group.id": "none",  # one must be there, though nothing is asked of a group
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "fetch.wait.max.ms": 50,  # what is still asked for another partition ends soon
    }
)


def consume(request):
    try:
        place = TopicPartition(request["topic"], request["partition"])
        match request["from"]:
            case "beginning":
                place.offset = OFFSET_BEGINNING
            case "end":
                place.offset = OFFSET_END
            case "offset":
                place.offset = request.get("at", 0)
            case "timestamp":
                place.offset = request["at"]
                (place,) = consumer.offsets_for_times([place], timeout=protocol.TIMEOUT)
        consumer.assign([place])
        return protocol.collect(request["count"], lambda _: [record(m) for m in [consumer.poll(0.5)] if m is not None])
    finally:
        consumer.unassign()


def record(m):
    if m.error():
        raise confluent_kafka.KafkaException(m.error())
    return protocol.record(m.partition(), m.offset(), m.timestamp()[1], m.key(), m.value(), m.headers())


member = None  # in a group; None before it joins one


def join(request):
    global member
    config = BOOTSTRAP | {
        "group.id": request["group"],
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "fetch.wait.max.ms": 50,
    }
    if request.get("instance"):
        config["group.instance.id"] = request["instance"]
    if request.get("protocol") == "consumer":
        config |= {"group.protocol": "consumer", "group.remote.assignor": request["assignor"]}
    else:
        config |= {
            "partition.assignment.strategy": request["assignor"],
            "session.timeout.ms": protocol.SESSION_MS,
            "heartbeat.interval.ms": protocol.HEARTBEAT_MS,
        }
    member = Consumer(config)
    member.subscribe([request["topic"]])  # one that begins with ^ is an expression


# A commit that comes too late: somebody else will read the records.
REBALANCED = {
    confluent_kafka.KafkaError.REBALANCE_IN_PROGRESS,
    confluent_kafka.KafkaError.ILLEGAL_GENERATION,
    confluent_kafka.KafkaError.UNKNOWN_MEMBER_ID,
    confluent_kafka.KafkaError.STALE_MEMBER_EPOCH,
    confluent_kafka.KafkaError._ASSIGNMENT_LOST,
}


def poll(request):
    messages, records = [], []
    deadline = time.monotonic() + request["millis"] / 1000
    while (left := deadline - time.monotonic()) > 0 and len(messages) < request["count"]:
        m = member.poll(left)
        if m is not None:
            messages.append(m)
            records.append(record(m))
    failure = None
    if messages:
        ends = {m.partition(): TopicPartition(m.topic(), m.partition(), m.offset() + 1) for m in messages}
        try:
            for place in member.commit(offsets=list(ends.values()), asynchronous=False):
                if place.error:
                    raise confluent_kafka.KafkaException(place.error)
        except confluent_kafka.KafkaException as e:
            if e.args[0].code() not in REBALANCED:
                failure = e
    return protocol.polled(records, failure)


def leave(_):
    member.close()


admin = AdminClient(BOOTSTRAP)


def resolve(futures):
    return [f.result(timeout=protocol.TIMEOUT) for f in futures.values()]


def create(request):
    resolve(admin.create_topics([NewTopic(request["topic"], request["partitions"], 1, config=request.get("configs") or {})]))


def describe(request):
    topic = admin.list_topics(request["topic"], timeout=protocol.TIMEOUT).topics[request["topic"]]
    if topic.error:
        raise confluent_kafka.KafkaException(topic.error)
    (entries,) = resolve(admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, request["topic"])]))
    return {"partitions": len(topic.partitions), "configs": {e.name: e.value or "" for e in entries.values()}}


def alter(request):
    changes = [
        ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in request["configs"].items()
    ]
    resource = ConfigResource(ConfigResource.Type.TOPIC, request["topic"], incremental_configs=changes)
    resolve(admin.incremental_alter_configs([resource]))


def grow(request):
    resolve(admin.create_partitions([NewPartitions(request["topic"], request["partitions"])]))


def delete(request):
    resolve(admin.delete_topics([request["topic"]]))


protocol.run(
    "confluent-kafka",
    f"{confluent_kafka.__version__} with librdkafka {confluent_kafka.libversion()[0]}",
    globals(),
)
