"""A Kafka broker inside the test's own process: librdkafka's mock cluster."""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from pipelines.cdc.kafka import KafkaSource, land_kafka
from pipelines.cdc.land import LandReport
from pipelines.cdc.metrics import Metrics
from pipelines.lake.ids import new_id
from tests.unit.events import TOPIC, Lake

SILENT = logging.getLogger("tests.kafka")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False
PATIENCE_SECONDS = 30.0


class Broker:
    """A cluster of one broker that lives as long as this object; any topic has four partitions."""

    def __init__(self) -> None:
        self._producer = Producer(
            {"bootstrap.servers": "none", "test.mock.num.brokers": 1, "logger": SILENT}
        )
        brokers = self._producer.list_topics(timeout=5).brokers.values()
        self.bootstrap = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def send(self, *lines: bytes) -> None:
        """Produce what lines of a capture file tell; the offsets come out as they say."""
        for line in lines:
            content = json.loads(line)
            payload = content["payload"]
            if payload is not None and content.get("encoding") == "base64":
                payload = base64.b64decode(payload)
            flat = content["headers"]
            self.produce(
                content["topic"],
                content["partition"],
                content["key"],
                payload,
                expected_offset=content["offset"],
                timestamp=content["ts"],
                headers=list(zip(flat[::2], flat[1::2], strict=True)),
            )
        assert self._producer.flush(10) == 0

    def produce(
        self,
        topic: str,
        partition: int,
        key: str | bytes | None,
        payload: str | bytes | None,
        *,
        expected_offset: int | None = None,
        **more: Any,
    ) -> None:
        def arrived(error: KafkaError | None, message: Message) -> None:
            assert error is None
            assert expected_offset in (None, message.offset())

        self._producer.produce(
            topic, payload, key, partition=partition, on_delivery=arrived, **more
        )

    def flush(self) -> None:
        assert self._producer.flush(10) == 0

    def committed(self, topic: str, partition: int, group: str) -> int:
        """The offset that a group committed to Kafka."""
        consumer = Consumer(
            {"bootstrap.servers": self.bootstrap, "group.id": group, "logger": SILENT}
        )
        (found,) = consumer.committed([TopicPartition(topic, partition)], timeout=5)
        consumer.close()
        return int(found.offset)


def source(broker: Broker | str, **options: Any) -> KafkaSource:
    """Kafka as a source, with group timeouts that suit a test."""
    bootstrap = broker if isinstance(broker, str) else broker.bootstrap
    properties = {
        "heartbeat.interval.ms": "200",
        "session.timeout.ms": "4000",
        "fetch.wait.max.ms": "20",
    }
    options = {"answer_seconds": 5.0, "properties": properties} | options
    return KafkaSource(bootstrap, **options)


def land_from(broker: Broker, lake: Lake, **options: Any) -> LandReport:
    """Land what the broker has now."""
    return land_kafka(source(broker, **options), lake.contracts, lake.settings, new_id())


class Follower:
    """A landing that follows a broker, in a thread of its own."""

    def __init__(self, broker: Broker, lake: Lake, **options: Any) -> None:
        self.metrics = Metrics()
        self._source = source(broker, follow=True, metrics=self.metrics, **options)
        self._lake = lake
        self._thread = threading.Thread(target=self._run)
        self._error: BaseException | None = None
        self.report = LandReport()

    def _run(self) -> None:
        try:
            self.report = land_kafka(
                self._source, self._lake.contracts, self._lake.settings, new_id()
            )
        except BaseException as error:
            self._error = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds; a follower that fails ends the waiting."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, "waited too long"
            if self._error is not None:
                raise self._error
            time.sleep(0.02)

    def stop(self) -> LandReport:
        """Ask it to stop, and wait until it has."""
        self._source.stop.set()
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error
        return self.report

    def value(self, name: str, **labels: str) -> float:
        """A number of its metrics; 0 where there is none, the sum where labels leave several."""
        return sum(
            value
            for found, place, value in samples(self.metrics.text())
            if found == f"lakehouse_landing_{name}" and labels.items() <= place.items()
        )

    def owned(self, topic: str = TOPIC) -> set[int]:
        """The partitions that it reads."""
        return {
            int(place["partition"])
            for name, place, _ in samples(self.metrics.text())
            if name == "lakehouse_landing_lag_messages" and place["topic"] == topic
        }


def samples(text: str) -> Iterable[tuple[str, dict[str, str], float]]:
    """Parse Prometheus' text format strictly enough to notice what it would refuse."""
    kinds: dict[str, str] = {}
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in kinds
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            place, _, value = line.rpartition(" ")
            name, _, rest = place.partition("{")
            assert name in kinds
            assert (kinds[name] == "counter") == name.endswith("_total")
            assert not rest or rest.endswith("}")
            yield name, _labels(rest[:-1]), float(value)


def _labels(text: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in text.split(",")) if text else ()
    return {name: json.loads(value) for name, _, value in pairs}
