"""An open loop through librdkafka: lines in, records out, a line back for each outcome.

    in:   <id> <partition> <value in base64>
    out:  <id> ok <offset>        or        <id> failed <reason>

Ends with its input, once everything is answered."""

import base64
import sys
import threading

from confluent_kafka import Producer

bootstrap, topic = sys.argv[1:]
# What is not a default here is written down in ../librdkafka.go.
producer = Producer({
    "bootstrap.servers": bootstrap,
    "enable.idempotence": True,
    "linger.ms": 0,
    "compression.type": "none",
    "message.timeout.ms": 1_800_000,
    "queue.buffering.max.messages": 2_000_000,
})
ended = threading.Event()


def poll():
    while not ended.is_set():
        producer.poll(0.05)


poller = threading.Thread(target=poll)
poller.start()


def delivered(record):
    def told(err, message):
        outcome = f"failed {err}" if err is not None else f"ok {message.offset()}"
        sys.stdout.write(f"{record} {outcome}\n")
        sys.stdout.flush()

    return told


for line in sys.stdin:
    record, partition, value = line.split()
    producer.produce(topic, partition=int(partition), value=base64.b64decode(value), on_delivery=delivered(record))
ended.set()
poller.join()
producer.flush()
