"""The side of a Python client that speaks with the tests: JSON lines on standard input and
output, as package bench/clients describes them."""

import base64
import json
import sys
import time

TIMEOUT = 30  # seconds, for one request of a client to the broker

# What members of groups tell the coordinator.
SESSION_MS = 6000
HEARTBEAT_MS = 500


def decode(text):
    """Returns bytes from base64, and None for null."""
    return None if text is None else base64.b64decode(text)


def encode(data):
    """Returns base64 from bytes, and None for None."""
    return None if data is None else base64.b64encode(data).decode()


def record(partition, offset, timestamp, key, value, headers):
    """Returns a record as the tests expect it."""
    return {
        "partition": partition,
        "offset": offset,
        "timestamp": timestamp,
        "key": encode(key),
        "value": encode(value),
        "headers": [{"key": k, "value": encode(v)} for k, v in headers or []],
    }


def headers_of(given):
    """Returns the headers of a given record as pairs."""
    return [(h["key"], decode(h["value"])) for h in given["headers"] or []]


def collect(count, poll):
    """Returns the answer to consume: poll returns some records, when it is told how many are wanted."""
    records, deadline = [], time.monotonic() + TIMEOUT
    while len(records) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {len(records)} of {count} records")
        records += poll(count - len(records))
    return {"records": records}


def polled(records, failure):
    """Returns the answer to poll: what was read is told also when it could not be committed."""
    return {"records": records} | ({"error": f"{type(failure).__name__}: {failure}"} if failure else {})


OPERATIONS = ("produce", "consume", "create", "describe", "alter", "grow", "delete", "join", "poll", "leave")


def run(name, version, driver):
    """Says hello and answers until standard input ends. driver has a function from the request to
    the answer by the name of each operation: the globals of a driver."""
    operations = {op: driver[op] for op in OPERATIONS}
    print(json.dumps({"client": name, "version": version}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = operations[request["op"]](request) or {}
        except Exception as e:  # whatever it is, the test wants to know
            answer = {"error": f"{type(e).__name__}: {e}"}
        print(json.dumps(answer), flush=True)
