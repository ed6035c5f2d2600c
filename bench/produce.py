"""A stand-in for Kafka in a process of its own, and a producer at an even rate.

`python -m bench.produce FILE RATE`: prints the cluster's address, produces the file's first
event, waits for a line on its input, produces the rest, each stamped with the time of producing
as its commit time, prints what it did as JSON, and keeps the cluster until its input ends.
"""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from confluent_kafka import KafkaError, Message, Producer

from bench.sales import TOPIC
from tests.unit.kafka import Broker

# The first one is the source's, in microseconds.
_COMMIT_TIME = re.compile(rb'"ts_us":(\d+)')
_ALL_DELIVERED_S = 30
_SLEEP_S = 0.01


@dataclass(frozen=True)
class _Event:
    """A message ready to be stamped: its payload before and after the time."""

    partition: int
    key: str
    head: bytes
    tail: bytes


class _Sender:
    def __init__(self, bootstrap: str) -> None:
        # Compressed, the mock cluster keeps more of what it has room for.
        settings = {"bootstrap.servers": bootstrap, "compression.type": "lz4", "linger.ms": 5}
        self._producer = Producer(settings)

    def send(self, event: _Event) -> None:
        payload = event.head + str(time.time_ns() // 1000).encode() + event.tail
        self._producer.produce(
            TOPIC, payload, event.key, partition=event.partition, on_delivery=_delivered
        )

    def send_evenly(self, events: list[_Event], rate: int) -> float:
        """Send so many a second; returns the seconds it took."""
        began = time.perf_counter()
        for number, event in enumerate(events):
            ahead = began + number / rate - time.perf_counter()
            if ahead > _SLEEP_S:
                self._producer.poll(0)
                time.sleep(ahead)
            self.send(event)
        seconds = time.perf_counter() - began
        self.flush()
        return seconds

    def flush(self) -> None:
        if left := self._producer.flush(_ALL_DELIVERED_S):
            sys.exit(f"{left} events were not delivered in {_ALL_DELIVERED_S} s")


def _delivered(error: KafkaError | None, message: Message) -> None:
    if error is not None:
        sys.exit(f"an event was not delivered: {error.str()}")


def _events(file: Path) -> list[_Event]:
    """The file's messages; tombstones, which carry no time, are left out."""
    with pa.input_stream(str(file), compression="detect") as stream:
        messages = [json.loads(line) for line in stream.read().splitlines()]
    events = []
    for message in messages:
        if message["payload"] is not None:
            payload = message["payload"].encode()
            found = _COMMIT_TIME.search(payload)
            assert found is not None, "an event without source.ts_us"
            head, tail = payload[: found.start(1)], payload[found.end(1) :]
            events.append(_Event(message["partition"], message["key"], head, tail))
    return events


def main() -> None:
    first, *rest = _events(Path(sys.argv[1]))
    broker = Broker()
    print(broker.bootstrap, flush=True)
    sender = _Sender(broker.bootstrap)
    sender.send(first)
    sender.flush()
    sys.stdin.readline()
    began_us = time.time_ns() // 1000
    seconds = sender.send_evenly(rest, int(sys.argv[2]))
    print(json.dumps({"began_us": began_us, "sent": len(rest), "seconds": seconds}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
