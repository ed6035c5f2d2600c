"""Land change events from Kafka with Spark Structured Streaming: `spark-submit land_cdc.py --help`.

For volumes beyond one machine: workers decode by the platform's own decoder, so that rows, dead
letters and counts are those that `lakehouse land` would have made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock
from typing import Annotated, Any

import typer
from pyspark.errors import StreamingQueryException
from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from pipelines.cdc.kafka import KafkaSource
from pipelines.cdc.kafka_cluster import (
    Cluster,
    check_identity,
    read_properties,
    start_offset,
    stream_name,
)
from pipelines.cdc.land import Landing, opened
from pipelines.commands.landing import print_landing, set_by_signals
from pipelines.commands.options import AcceptGap, KafkaConfig, Topics
from pipelines.contract import Contracts, load_contracts
from pipelines.errors import LakehouseError, UsageError
from pipelines.lake.ids import new_run_id, now
from pipelines.lake.writer import SPARK
from pipelines.lineage.recording import recording
from pipelines.settings import load_settings
from pipelines.terminal import call
from spark_jobs.checkpoint import Checkpoint
from spark_jobs.session import spark_session
from spark_jobs.sink import Lake, TopicSink

_GROUP = "lakehouse-spark"
_ANSWER_SECONDS = 10.0
# A task decodes so many messages at most, though its partition may hold more.
_ROWS_A_TASK = 100_000
_LOOK_SECONDS = 0.5


def land_cdc(
    kafka: Annotated[
        str | None,
        typer.Option(metavar="BOOTSTRAP", help="host:port,… (default LAKEHOUSE_KAFKA)"),
    ] = None,
    home: Annotated[Path | None, typer.Option(help="As in `lakehouse --home`.")] = None,
    topics: Topics = None,
    kafka_config: KafkaConfig = None,
    spark_kafka_config: Annotated[
        Path | None,
        typer.Option(help="The same for Spark: properties of Kafka's Java client."),
    ] = None,
    accept_gap: AcceptGap = False,
    follow: Annotated[
        bool,
        typer.Option("--follow/--until-now", help="Go on until SIGTERM, or land what is there."),
    ] = False,
    batch_rows: Annotated[
        int, typer.Option(min=1, help="Messages of a topic in a micro-batch.")
    ] = 1_000_000,
    batch_seconds: Annotated[
        float, typer.Option(min=0.1, help="With --follow: seconds between micro-batches.")
    ] = 10.0,
) -> None:
    """Land change events from Kafka into the raw tables, each message exactly once.

    Settings (LAKEHOUSE_STORE, LAKEHOUSE_PII_KEY, AWS_* …) are those of `lakehouse`. The tables must
    be Spark's: of a new lake they are; others are handed over by `lakehouse hand-over spark`.
    """
    settings = load_settings(home)
    bootstrap = kafka or settings.kafka
    if bootstrap is None:
        raise UsageError("nothing tells where Kafka is", "add --kafka HOST:PORT")
    contracts = load_contracts(settings.project_dir)
    file = kafka_config or settings.kafka_config
    cluster = Cluster(bootstrap, _GROUP, read_properties(file) if file else {}, _ANSWER_SECONDS)
    run_id = new_run_id()
    try:
        streams = _streams(cluster, topics, contracts)
        with (
            recording(settings, run_id, "spark land_cdc") as lineage,
            lineage.step("land") as told,
            opened(contracts, settings, run_id, SPARK) as landing,
        ):
            began = now()
            lake = Lake(landing, contracts, settings, run_id, Lock())
            starts = {
                stream: _starts(cluster, stream, landing, accept_gap=accept_gap)
                for stream in streams
            }
            options = {
                "kafka.bootstrap.servers": bootstrap,
                "maxOffsetsPerTrigger": str(batch_rows),
                **(_java_properties(spark_kafka_config) if spark_kafka_config else {}),
            }
            trigger: dict[str, Any] = {"availableNow": True}
            if follow:
                trigger = {"processingTime": f"{batch_seconds} seconds"}
            spark = spark_session("land_cdc")
            queries = []
            for stream, offsets in starts.items():
                checkpoint = Checkpoint(settings.shared / "checkpoints" / stream.topic)
                sink = TopicSink(lake, stream.topic, stream.name, checkpoint)
                queries.append((sink, _query(spark, sink, options, offsets, trigger)))
            try:
                _await(queries)
            finally:
                # What landed stays landed, whatever came then.
                told.landed(landing.report, KafkaSource(bootstrap), began)
    finally:
        cluster.consumer.close()
    print_landing(landing.report, as_json=False)


@dataclass(frozen=True)
class _Stream:
    """A topic to land, and what the ledger calls it."""

    topic: str
    partitions: tuple[int, ...]
    name: str


def _streams(cluster: Cluster, pattern: str | None, contracts: Contracts) -> list[_Stream]:
    found = cluster.topics(pattern, contracts)
    if shared := [topic for topic in found if contracts.sharing(topic)]:
        raise LakehouseError(
            f"{shared[0]} carries messages of several tables; this job takes none apart",
            "land it with `lakehouse land --kafka`, and leave it out here with --topics",
        )
    ids = cluster.topic_ids(found)
    return [
        _Stream(topic, tuple(partitions), stream_name(cluster.cluster_id, ids.get(topic, "")))
        for topic, partitions in found.items()
    ]


def _starts(
    cluster: Cluster, stream: _Stream, landing: Landing, *, accept_gap: bool
) -> dict[str, int]:
    """Where a query that has no checkpoint begins, by partition: where the ledger ends."""
    progress = landing.ledger.progress(stream.topic)
    check_identity(stream.topic, stream.name, progress.sources)
    found = {}
    for number in stream.partitions:
        place = (stream.topic, number)
        bounds = cluster.bounds(place)
        known = progress.highest.get(number)
        found[str(number)] = start_offset(place, known, bounds, accept_gap=accept_gap)
    return found


def _query(
    spark: SparkSession,
    sink: TopicSink,
    options: Mapping[str, str],
    starts: Mapping[str, int],
    trigger: Mapping[str, Any],
) -> StreamingQuery:
    messages = (
        spark.readStream.format("kafka")
        .option("includeHeaders", "true")
        .option("kafka.isolation.level", "read_committed")
        .option("maxRecordsPerPartition", str(_ROWS_A_TASK))
        .option("subscribe", sink.topic)
        .option("startingOffsets", json.dumps({sink.topic: starts}))
        .options(**options)
        .load()
    )
    return (
        messages.writeStream.queryName(sink.topic)
        .foreachBatch(sink)
        .option("checkpointLocation", str(sink.checkpoint.folder))
        .trigger(**trigger)
        .start()
    )


def _await(queries: Sequence[tuple[TopicSink, StreamingQuery]]) -> None:
    """Until all have ended, or one fails, or a signal asks to stop; then the others are stopped."""
    stop = Event()
    try:
        with set_by_signals(stop):
            while not stop.wait(_LOOK_SECONDS) and any(query.isActive for _, query in queries):
                _raise_failure(queries)
        _raise_failure(queries)
    finally:
        for _, query in queries:
            query.stop()


def _raise_failure(queries: Sequence[tuple[TopicSink, StreamingQuery]]) -> None:
    for sink, query in queries:
        if error := query.exception():
            raise sink.failure or _unexpected(sink, error) from error


def _unexpected(sink: TopicSink, error: StreamingQueryException) -> LakehouseError:
    told = str(error).strip().splitlines()[0][:500]
    return LakehouseError(
        f"{sink.topic}: Spark ended with: {told}",
        "repeat with --debug for all of it; what was landed stays, and a repeat continues after it",
    )


def _java_properties(path: Path) -> dict[str, str]:
    return {f"kafka.{name}": value for name, value in read_properties(path).items()}


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(land_cdc)
    call(app)
