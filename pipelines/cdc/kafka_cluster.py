"""The Kafka cluster as the landing needs it: its topics, who they are, and where to read on.

Where to read on is known by the lake's ledger alone. Offsets that were committed to Kafka are never
read, and none is ever reset silently.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from pipelines.cdc.decode import control_kind
from pipelines.contract import Contracts
from pipelines.errors import LakehouseError, Unavailable, UsageError

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError
    from confluent_kafka.admin import AdminClient

log = structlog.get_logger()

Place = tuple[str, int]  # topic and partition

# What exactly-once rests on, or another option says.
_RESERVED = {
    "bootstrap.servers": "--kafka",
    "group.id": "--group",
    "isolation.level": "",
    "auto.offset.reset": "",
    "enable.auto.commit": "",
    "enable.auto.offset.store": "",
    "enable.partition.eof": "",
    "partition.assignment.strategy": "",
    "group.protocol": "",
}
_SHOWN_TOPICS = 20
_QUIET_SECONDS = 60.0


@dataclass(frozen=True)
class Bounds:
    """The offsets that a partition holds: from `low` to before `high`."""

    low: int
    high: int


def read_properties(path: Path) -> dict[str, str]:
    """Read librdkafka properties, one `name=value` a line; `#` begins a comment line.

    Values may be secrets: no error quotes one.

    Raises:
        UsageError: the file cannot be read, a line is none, or sets what the landing must set.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"Kafka configuration {path} cannot be read: {type(error).__name__}",
            "name a text file of librdkafka properties, one name=value a line",
        ) from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not name:
            raise UsageError(
                f"{path}, line {number} is not name=value",
                "write one librdkafka property a line, like security.protocol=SSL",
            )
        if name in _RESERVED:
            instead = _RESERVED[name]
            raise UsageError(
                f"{path}, line {number}: {name} is set by the landing",
                f"remove it and use {instead}" if instead else "remove it",
            )
        found[name] = value
    return found


class Cluster:
    """A connection to a cluster.

    Args:
        properties: librdkafka properties of the user.
        answer_seconds: how long the cluster may take to answer a question.

    Raises:
        LakehouseError: the package for Kafka is missing.
        UsageError: librdkafka refuses a property.
    """

    def __init__(
        self, bootstrap: str, group: str, properties: Mapping[str, str], answer_seconds: float
    ) -> None:
        self._kafka = _library()
        self._bootstrap = bootstrap
        self._seconds = answer_seconds
        self._last_error = ""
        self._quiet_until: dict[str, float] = {}
        self._admin: AdminClient | None = None
        quiet = logging.getLogger("lakehouse.kafka")
        quiet.addHandler(logging.NullHandler())
        quiet.propagate = False
        self._common: dict[str, Any] = {
            "client.id": "lakehouse",
            **properties,
            "bootstrap.servers": bootstrap,
            # It repeats itself while a broker is away; what matters comes as an error.
            "log_level": 0,
            "logger": quiet,
            "error_cb": self.note,
        }
        wanted = {
            "fetch.wait.max.ms": "100",
            "queued.max.messages.kbytes": "65536",
            **self._common,
            "group.id": group,
            "isolation.level": "read_committed",
            "auto.offset.reset": "error",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "partition.assignment.strategy": "cooperative-sticky",
        }
        try:
            self.consumer: Consumer = self._kafka.Consumer(wanted)
        except self._kafka.KafkaException as error:
            raise _refused_property(str(error)) from None

    def note(self, error: KafkaError) -> None:
        """Log an error from which the client recovers by itself; rarely while it repeats."""
        # An address that is tried again and again fails with the same words, but for the time.
        told = error.str().split(" (after ")[0]
        if "brokers are down" in told:
            return
        self._last_error = told
        if time.monotonic() >= self._quiet_until.get(told, 0.0):
            self._quiet_until[told] = time.monotonic() + _QUIET_SECONDS
            log.warning("kafka", error=told)

    def unreachable(self, what: str) -> Unavailable:
        """The error of a cluster that does not answer."""
        self.consumer.poll(0)
        told = f": {self._last_error}" if self._last_error else ""
        return Unavailable(
            f"Kafka at {self._bootstrap} {what}{told}",
            "check address, network and broker, and the security settings in --kafka-config; "
            "then land again: it continues after what has landed",
        )

    def topics(self, pattern: str | None, contracts: Contracts) -> dict[str, list[int]]:
        """The topics to land → their partitions.

        Args:
            pattern: regular expression for whole names; None means all topics of the contracts'
                servers, their control topics included, and the shared topics that contracts name.

        Raises:
            LakehouseError: the cluster does not answer.
            UsageError: the pattern is none, or no topic matches.
        """
        try:
            metadata = self.consumer.list_topics(timeout=self._seconds)
        except self._kafka.KafkaException:
            raise self.unreachable(f"did not answer within {self._seconds:g} s") from None
        self.cluster_id: str = metadata.cluster_id or ""
        self._has_controller = metadata.controller_id in metadata.brokers
        there = {
            name: sorted(topic.partitions)
            for name, topic in sorted(metadata.topics.items())
            if name not in ("__consumer_offsets", "__transaction_state", "__share_group_state")
        }
        found = {k: v for k, v in there.items() if _is_wanted(k, pattern, contracts)}
        if not found:
            names = list(there)[:_SHOWN_TOPICS]
            more = f" and {len(there) - len(names)} more" if len(there) > len(names) else ""
            wanted = "of the contracts" if pattern is None else f"that matches {pattern}"
            raise UsageError(
                f"Kafka at {self._bootstrap} has no topic {wanted}",
                f"there are: {', '.join(names) or 'none'}{more}; choose with --topics RE",
            )
        return found

    def topic_ids(self, topics: Collection[str]) -> dict[str, str]:
        """Topic → what identifies it beyond its name; without those whose broker does not tell."""
        if not self._has_controller:
            return {}
        from confluent_kafka import TopicCollection
        from confluent_kafka.admin import AdminClient

        if self._admin is None:
            self._admin = AdminClient(dict(self._common))
        asked = self._admin.describe_topics(
            TopicCollection(list(topics)), request_timeout=self._seconds
        )
        found: dict[str, str] = {}
        for topic, answer in asked.items():
            try:
                told = str(answer.result(timeout=self._seconds + 1).topic_id or "")
            except (self._kafka.KafkaException, TimeoutError) as error:
                # Brokers before 2.8, or a user who may not describe: the offsets are checked still.
                log.info("topic id unknown", topic=topic, error=str(error))
                continue
            if told.strip("A="):
                found[topic] = told
        return found

    def bounds(self, place: Place) -> Bounds:
        """The offsets that a partition holds now.

        Raises:
            LakehouseError: the cluster does not answer.
        """
        partition = self._kafka.TopicPartition(*place)
        try:
            answer = self.consumer.get_watermark_offsets(partition, timeout=self._seconds)
        except self._kafka.KafkaException:
            answer = None
        if answer is None:
            raise self.unreachable(f"does not tell the offsets of {place[0]}:{place[1]}")
        return Bounds(*answer)

    def known_end(self, place: Place) -> int | None:
        """The end of a partition as last fetched, without asking the broker."""
        partition = self._kafka.TopicPartition(*place)
        answer = self.consumer.get_watermark_offsets(partition, cached=True)
        return answer[1] if answer and answer[1] >= 0 else None


def _is_wanted(topic: str, pattern: str | None, contracts: Contracts) -> bool:
    if pattern is not None:
        try:
            return re.fullmatch(pattern, topic) is not None
        except re.error as error:
            raise UsageError(
                f"--topics {pattern} is no regular expression: {error}",
                r"write one for whole names, like 'shop\.public\..*'",
            ) from None
    if contracts.sharing(topic):
        return True
    if (table := contracts.by_topic.get(topic)) and table.stream_topic != topic:
        return False
    servers = contracts.servers
    if topic.startswith("__debezium-heartbeat."):
        return topic.removeprefix("__debezium-heartbeat.") in servers
    is_table = any(topic.startswith(f"{server}.") for server in servers)
    return is_table or control_kind(topic, servers) is not None


def stream_name(cluster_id: str, topic_id: str) -> str:
    """How the ledger calls a topic as a source: `kafka:<cluster id>:<topic id>`."""
    return f"kafka:{cluster_id}:{topic_id}"


def check_identity(topic: str, name: str, sources: Iterable[str]) -> None:
    """See that a topic is the one that was read before: an equal name does not mean equal offsets.

    Args:
        name: the stream's name now.
        sources: the names of all streams and files that the topic was landed from.

    Raises:
        LakehouseError: the topic was deleted and made anew, or is that of another cluster.
    """
    cluster, topic_id = name.split(":")[1:]
    for source in sorted(sources):
        if not source.startswith("kafka:"):
            continue
        known_cluster, known_id = source.split(":")[1:]
        if known_id and topic_id and known_id != topic_id:
            raise _other_topic(f"topic {topic} is not the one that was landed before: its id was "
                               f"{known_id} and is {topic_id}")  # fmt: skip
        if known_cluster and cluster and known_cluster != cluster:
            raise _other_topic(f"topic {topic} was landed from cluster {known_cluster} before, "
                               f"this is cluster {cluster}")  # fmt: skip


def start_offset(place: Place, known: int | None, bounds: Bounds, *, accept_gap: bool) -> int:
    """The offset to read from: the one after the highest consumed, or the first there is.

    Args:
        known: the highest offset of the partition in the ledger; None if there is none.
        accept_gap: go on behind messages that expired unread.

    Raises:
        LakehouseError: the topic was made anew, or messages expired before they were read.
    """
    if known is None:
        return bounds.low
    topic, partition = place
    start = known + 1
    if start > bounds.high:
        raise _other_topic(
            f"{topic}, partition {partition} ends before offset {bounds.high}, yet offset {known} "
            "has landed: the topic was deleted and made anew, or lost messages"
        )
    if start < bounds.low and not accept_gap:
        raise LakehouseError(
            f"{topic}, partition {partition}: offsets {start} to {bounds.low - 1} expired in Kafka "
            "before they were read",
            "land with --accept-gap to go on without them, then let the connector take a new "
            "snapshot of the table, which brings its current rows; lengthen the topic's retention",
        )
    if start < bounds.low:
        log.warning("gap accepted", topic=topic, partition=partition, first=start,
                    last=bounds.low - 1)  # fmt: skip
    return max(start, bounds.low)


def _other_topic(cause: str) -> LakehouseError:
    return LakehouseError(
        cause,
        "its offsets mean other messages now, so nothing was read; give the connector another "
        "topic.prefix, name it as the contract's server, and let it take a new snapshot",
    )


def _refused_property(told: str) -> UsageError:
    # librdkafka quotes the value as well, which may be a secret.
    name = re.search(r'configuration property:? "([^"]+)"', told)
    what = f"property {name[1]}" if name else "a property"
    return UsageError(
        f"librdkafka refuses {what} of the Kafka configuration",
        "correct it in the file given with --kafka-config",
    )


def _library() -> Any:
    try:
        import confluent_kafka
    except ImportError:
        raise LakehouseError(
            "the package for Kafka is not installed",
            "pip install 'lakehouse-platform[kafka]'",
        ) from None
    return confluent_kafka
