"""Landing from Kafka: the next batch is read while the one before lands.

A batch that is still being read belongs to nobody: when its partition moves to another member of
the group, or the process ends, it is dropped and read again by whoever comes next, from where the
ledger says.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event
from typing import TYPE_CHECKING, Any

import structlog

from pipelines.cdc.kafka_cluster import (
    Cluster,
    Place,
    check_identity,
    start_offset,
    stream_name,
)
from pipelines.cdc.kafka_messages import Batch, Block, Message, place_of
from pipelines.cdc.land import Landing, LandReport, TopicReport, opened
from pipelines.cdc.metrics import Metrics, save_stream
from pipelines.contract import Contracts
from pipelines.errors import LakehouseError
from pipelines.lake.ids import now
from pipelines.settings import Settings

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, TopicPartition

log = structlog.get_logger()

GROUP = "lakehouse"

_AT_ONCE = 2_000
_LIKELY_BYTES = 1_000
_POLL_SECONDS = 0.1
_GAUGE_SECONDS = 1.0


@dataclass(frozen=True)
class KafkaSource:
    """What to read, and how.

    Attributes:
        topics: regular expression for whole names; None means those of the contracts.
        properties: librdkafka's, for security and tuning; may be secret.
        follow: go on until `stop` is set, as a member of `group`; else read what is there now.
        accept_gap: go on behind messages that expired in Kafka before they were read.
        batch_rows, batch_bytes, batch_seconds: whichever is reached first closes a batch.
        answer_seconds: how long the cluster may take to answer a question.
        topics_seconds: following, how often to look for topics that have come since.
        on_batch: is told what has landed so far, after each batch.
    """

    bootstrap: str
    topics: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict, repr=False)
    follow: bool = False
    group: str = GROUP
    accept_gap: bool = False
    batch_rows: int = 200_000
    batch_bytes: int = 64 << 20
    batch_seconds: float = 10.0
    answer_seconds: float = 10.0
    topics_seconds: float = 30.0
    stop: Event = field(default_factory=Event, repr=False)
    metrics: Metrics = field(default_factory=Metrics, repr=False)
    on_batch: Callable[[LandReport], None] = field(default=lambda report: None, repr=False)


def land_kafka(
    source: KafkaSource,
    contracts: Contracts,
    settings: Settings,
    run_id: str,
    on_topic: Callable[[str], None] = lambda topic: None,
) -> LandReport:
    """Land from Kafka what the lake has not yet.

    Raises:
        UsageError: no topic matches, or librdkafka refuses a property.
        LakehouseError: the cluster does not answer, a topic is not the one that was read before,
            messages expired unread, or landing failed. What was committed before stays, and a
            repeat continues after it.
    """
    cluster = Cluster(source.bootstrap, source.group, source.properties, source.answer_seconds)
    try:
        topics = cluster.topics(source.topics, contracts)
        with opened(contracts, settings, run_id) as landing:
            reader = _Reader(source, cluster, landing, contracts, settings, on_topic)
            reader.run(topics)
            return landing.report
    finally:
        cluster.consumer.close()


@dataclass(frozen=True)
class _Landed:
    """What the landing of one topic's share of a batch tells.

    Attributes:
        counts: dispositions by topic: this one, and the tables that share it.
    """

    topic: str
    rows: int
    ends: dict[int, int]
    counts: dict[str, Counter[str]]
    replayed: int
    newest_source_ts: datetime | None
    seconds: float


class _Reader:
    """Reads in the thread of its caller and lands in another one, one batch at a time.

    Kafka calls back (partitions come and go) from within reading only; a callback first waits for
    the landing that is on, so that a partition moves on after its last commit.
    """

    def __init__(
        self,
        source: KafkaSource,
        cluster: Cluster,
        landing: Landing,
        contracts: Contracts,
        settings: Settings,
        on_topic: Callable[[str], None],
    ) -> None:
        self._source = source
        self._cluster = cluster
        self._consumer: Consumer = cluster.consumer
        self._landing = landing
        # Topic → how the ledger calls it.
        self._names: dict[str, str] = {}
        self._contracts = contracts
        self._state = settings.state
        self._on_topic = on_topic
        self._batch = Batch()
        self._in_flight: tuple[Batch, Future[list[_Landed]]] | None = None
        # The partitions that are this reader's, and up to which offset all has landed.
        self._landed_to: dict[Place, int] = {}
        self._targets: dict[Place, int] = {}
        self._has_rebalanced = False
        self._bytes_a_message = _LIKELY_BYTES
        self._heard_at = self._gauged_at = self._looked_at = time.monotonic()

    def run(self, topics: dict[str, list[int]]) -> None:
        """Read until the end that was there at the start or, following, until told to stop."""
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="land") as self._worker:
            self._admit(topics)
            if self._source.follow:
                self._subscribe()
            else:
                self._assign_all(topics)
            while (self._source.follow or self._targets) and not self._source.stop.is_set():
                self._step()
            self._settle()
            if self._batch.rows and not self._source.stop.is_set():
                self._start_landing()
                self._settle()
            self._take_over_marks()
            for topic in {topic for topic, _ in self._landed_to}:
                self._save(topic, {})
            self._gauge()

    def _admit(self, topics: Iterable[str]) -> None:
        """Take in topics that are what they were when they were read before."""
        ids = self._cluster.topic_ids(list(topics))
        for topic in topics:
            name = stream_name(self._cluster.cluster_id, ids.get(topic, ""))
            tables = (table.topic for table in self._contracts.sharing(topic))
            for counted in (topic, *tables):
                check_identity(topic, name, self._landing.ledger.progress(counted).sources)
            self._landing.report.topics[topic] = TopicReport(topic)
            self._names[topic] = name

    def _subscribe(self) -> None:
        self._consumer.subscribe(
            list(self._names),
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_revoke,
        )

    def _look_for_topics(self) -> None:
        """Follow topics that have come since: a table's comes with its first event."""
        self._looked_at = time.monotonic()
        try:
            found = self._cluster.topics(self._source.topics, self._contracts)
        except LakehouseError as error:
            # What is followed already tells when a cluster is away for good.
            log.warning("topics not listed", error=error.cause)
            return
        if new := sorted(found.keys() - self._names.keys()):
            self._settle()
            self._admit(new)
            self._subscribe()
            log.info("topics found", topics=new)

    def _step(self) -> None:
        source, batch = self._source, self._batch
        if source.follow and _seconds_since(self._looked_at) >= source.topics_seconds:
            self._look_for_topics()
        is_full = batch.rows >= source.batch_rows or batch.bytes >= source.batch_bytes
        is_old = batch.began is not None and _seconds_since(batch.began) >= source.batch_seconds
        if self._in_flight and self._in_flight[1].done():
            self._settle()
        if (is_full or is_old) and not self._in_flight:
            self._start_landing()
        elif is_full and self._in_flight:
            wait([self._in_flight[1]], timeout=_GAUGE_SECONDS)
            # One message more now and then is what keeps the membership of the group.
            self._take(self._read(1, 0))
        else:
            room = (source.batch_bytes - batch.bytes) // self._bytes_a_message + 1
            count = min(_AT_ONCE, source.batch_rows - batch.rows, room)
            self._take(self._read(count, _POLL_SECONDS))
        if _seconds_since(self._gauged_at) >= _GAUGE_SECONDS:
            self._gauge()

    def _read(self, count: int, seconds: float) -> list[Message]:
        found: list[Any] = self._consumer.consume(count, seconds)
        if found:
            # Large messages are read few at once, so that a batch keeps to its bytes.
            self._bytes_a_message = max(1, sum(map(len, found)) // len(found))
        return found

    def _take(self, messages: list[Message]) -> None:
        if messages or self._in_flight:
            self._heard_at = time.monotonic()
        elif self._targets and _seconds_since(self._heard_at) > 3 * self._source.answer_seconds:
            raise self._cluster.unreachable(
                f"stopped sending before {len(self._targets)} partitions were read to their end"
            )
        if self._has_rebalanced:
            self._has_rebalanced = False
            messages = [m for m in messages if place_of(m) in self._landed_to]
        self._batch.add([message for message in messages if message.error() is None])
        for message in messages:
            error = message.error()
            if error is not None:
                self._judge(error, message)
        self._take_over_marks()
        self._forget_reached_targets()

    def _judge(self, error: KafkaError, message: Message) -> None:
        from confluent_kafka import KafkaError as Code

        place = place_of(message)
        if error.code() == Code._PARTITION_EOF:
            self._batch.reached[place] = message.offset()
            self._targets.pop(place, None)
            return
        if error.code() == Code._AUTO_OFFSET_RESET:
            self._settle()
            self._start(place, accept_gap=False)
        lasting = {
            Code._AUTO_OFFSET_RESET, Code.TOPIC_AUTHORIZATION_FAILED, Code._UNKNOWN_TOPIC,
            Code.GROUP_AUTHORIZATION_FAILED, Code.UNKNOWN_TOPIC_OR_PART, Code._UNKNOWN_PARTITION,
            Code.INVALID_SESSION_TIMEOUT, Code.INCONSISTENT_GROUP_PROTOCOL, Code.INVALID_GROUP_ID,
        }  # fmt: skip
        if error.code() in lasting or error.fatal():
            raise LakehouseError(
                f"Kafka refuses to be read: {error.str()}",
                "check that the topic exists, that the user may read topic and group, and what "
                "--kafka-config says of the group; then land again: it continues where it ended",
            )
        self._cluster.note(error)

    def _take_over_marks(self) -> None:
        """Without a message between, the end of a partition is reached at once."""
        if self._in_flight:
            return
        for place in self._batch.reached.keys() - self._batch.places:
            self._advance(place, self._batch.reached.pop(place))

    def _forget_reached_targets(self) -> None:
        """Stop reading a partition where it ended when the run began, or it might never end."""
        if not self._targets:
            return
        asked = [self._partition(place) for place in self._targets]
        for partition in self._consumer.position(asked):
            place = (partition.topic, partition.partition)
            if partition.offset >= self._targets[place]:
                del self._targets[place]
                self._consumer.pause([self._partition(place)])

    # Partitions come and go

    def _assign_all(self, topics: dict[str, list[int]]) -> None:
        starts = []
        for place in ((topic, number) for topic, numbers in topics.items() for number in numbers):
            start, end = self._start(place)
            self._landed_to[place] = start
            if start < end:
                starts.append(self._partition(place, start))
                self._targets[place] = end
        self._consumer.assign(starts)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._settle()
        self._has_rebalanced = True
        starts = []
        for place in _places(partitions):
            self._landed_to[place], _ = self._start(place)
            starts.append(self._partition(place, self._landed_to[place]))
        consumer.incremental_assign(starts)
        log.info("partitions assigned", partitions=sorted(_places(partitions)))

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._settle()
        self._has_rebalanced = True
        places = set(_places(partitions))
        dropped = self._batch.drop(places)
        for topic, number in places & self._landed_to.keys():
            del self._landed_to[topic, number]
            self._source.metrics.forget("lag_messages", topic=topic, partition=str(number))
        log.info("partitions revoked", partitions=sorted(places), dropped_messages=dropped)

    def _start(self, place: Place, accept_gap: bool | None = None) -> tuple[int, int]:
        """Where to begin, and where the partition ends now."""
        bounds = self._cluster.bounds(place)
        known = self._landing.ledger.progress(place[0]).highest.get(place[1])
        accept = self._source.accept_gap if accept_gap is None else accept_gap
        return start_offset(place, known, bounds, accept_gap=accept), bounds.high

    def _partition(self, place: Place, offset: int | None = None) -> TopicPartition:
        from confluent_kafka import TopicPartition

        return TopicPartition(*place) if offset is None else TopicPartition(*place, offset)

    # Landing

    def _start_landing(self) -> None:
        batch, self._batch = self._batch, Batch()
        self._in_flight = (batch, self._worker.submit(self._land, batch))

    def _land(self, batch: Batch) -> list[_Landed]:
        found = []
        # Now, since a topic may be made anew while it is read.
        for topic, topic_id in self._cluster.topic_ids(batch.messages).items():
            name = stream_name(self._cluster.cluster_id, topic_id)
            check_identity(topic, name, [self._names[topic]])
        for topic, messages in sorted(batch.messages.items()):
            self._on_topic(topic)
            began = time.monotonic()
            block = Block(messages)
            former = self._counts(topic)
            replayed = self._landing.report.topics[topic].replayed
            self._landing.land_messages(topic, self._names[topic], block)
            counts = {name: told - former[name] for name, told in self._counts(topic).items()}
            report = self._landing.report.topics[topic]
            found.append(
                _Landed(
                    topic, len(block), block.ends(), counts,
                    report.replayed - replayed, report.newest_source_ts, _seconds_since(began),
                )
            )  # fmt: skip
        return found

    def _counts(self, topic: str) -> dict[str, Counter[str]]:
        """Dispositions so far, of a topic and of the tables that share it."""
        names = (topic, *(table.topic for table in self._contracts.sharing(topic)))
        told = self._landing.report.topics
        return {name: Counter(told[name].counts) if name in told else Counter() for name in names}

    def _settle(self) -> None:
        """Wait for the landing that is on, and take note of what it did."""
        if not self._in_flight:
            return
        batch, future = self._in_flight
        self._in_flight = None
        shares = future.result()
        seconds = _seconds_since(batch.began) if batch.began else 0.0
        for share in shares:
            for partition, end in share.ends.items():
                self._advance((share.topic, partition), end)
        for place, offset in batch.reached.items():
            self._advance(place, offset)
        for share in shares:
            self._count(share)
            newest = share.newest_source_ts
            told = {
                "landed_at": now().isoformat(),
                "rows": share.rows,
                "rows_per_second": round(share.rows / max(seconds, 0.001), 1),
                "newest_source_ts": newest.isoformat() if newest else None,
                "freshness_seconds": round((now() - newest).total_seconds(), 1) if newest else None,
            }
            self._save(share.topic, told)
        self._source.on_batch(self._landing.report)
        if self._source.follow:
            self._tell_kafka(shares)

    def _advance(self, place: Place, offset: int) -> None:
        if place in self._landed_to:
            self._landed_to[place] = max(offset, self._landed_to[place])

    def _tell_kafka(self, shares: list[_Landed]) -> None:
        """Commit offsets for those who watch Kafka; the landing itself never reads them."""
        places = [(share.topic, number) for share in shares for number in share.ends]
        offsets = [self._partition(p, self._landed_to[p]) for p in places if p in self._landed_to]
        if offsets:
            self._consumer.commit(offsets=offsets, asynchronous=True)

    # Telling

    def _lag(self, topic: str) -> dict[int, int]:
        lag = {}
        for place, landed_to in self._landed_to.items():
            end = self._cluster.known_end(place) if place[0] == topic else None
            if place[0] == topic:
                lag[place[1]] = max(0, (landed_to if end is None else end) - landed_to)
        return lag

    def _save(self, topic: str, told: dict[str, Any]) -> None:
        try:
            save_stream(self._state, topic, told | {"read_at": now().isoformat()}, self._lag(topic))
        except OSError as error:
            # It is for information only: what has landed must not fail on it.
            log.warning("stream state not written", topic=topic, error=str(error))

    def _count(self, share: _Landed) -> None:
        metrics, topic = self._source.metrics, share.topic
        metrics.add("consumed_total", share.rows, topic=topic)
        metrics.add("replayed_total", share.replayed, topic=topic)
        metrics.add("batches_total", 1, topic=topic)
        metrics.add("batch_seconds_total", share.seconds, topic=topic)
        metrics.set("last_batch_seconds", share.seconds, topic=topic)
        metrics.set("last_batch_timestamp_seconds", time.time(), topic=topic)
        for name, counts in share.counts.items():
            for disposition, count in counts.items():
                metrics.add("messages_total", count, topic=name, disposition=disposition)
        if share.newest_source_ts:
            newest = share.newest_source_ts.timestamp()
            metrics.set("newest_source_timestamp_seconds", newest, topic=topic)

    def _gauge(self) -> None:
        self._gauged_at = time.monotonic()
        flying = self._in_flight[0].rows if self._in_flight else 0
        self._source.metrics.set("buffered_messages", self._batch.rows + flying)
        for topic in {topic for topic, _ in self._landed_to}:
            for number, lag in self._lag(topic).items():
                self._source.metrics.set("lag_messages", lag, topic=topic, partition=str(number))


def _seconds_since(mark: float) -> float:
    return time.monotonic() - mark


def _places(partitions: list[TopicPartition]) -> list[Place]:
    return [(partition.topic, partition.partition) for partition in partitions]
