"""What a landing moved: from each source table, by its topic or folder, into its raw table."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from pipelines.cdc.kafka import KafkaSource
from pipelines.cdc.land import LandReport, TopicReport
from pipelines.contract import Column, Contracts, Table
from pipelines.lake.ids import now
from pipelines.lake.tables import raw_path, raw_schema
from pipelines.lineage import facets, names
from pipelines.lineage.events import Dataset
from pipelines.lineage.facets import Origin
from pipelines.lineage.recording import Finished
from pipelines.settings import Settings

_MASKING = {"hash": "keyed hash", "mask": "first character"}


def parts(
    report: LandReport,
    source: Path | KafkaSource | None,
    settings: Settings,
    contracts: Contracts,
    began: datetime,
) -> Iterator[Finished]:
    """The landing of each table of which something came."""
    for topic, told in report.topics.items():
        table = contracts.by_topic.get(topic)
        if table is None or not told.counts.total():
            continue
        yield Finished(
            job=f"land.{table.topic}",
            began=began,
            ended=now(),
            inputs=[_source_table(table), _delivered(table, told, source, settings)],
            outputs=[_raw_table(table, told, settings)],
            job_facets={"jobType": facets.job_type("LAKEHOUSE", "LANDING")} | _owner(table),
        )


def _owner(table: Table) -> dict[str, facets.Facet]:
    return {"ownership": facets.job_owner(table.owner)} if table.owner else {}


def _source_table(table: Table) -> Dataset:
    columns = {column.name: column.type for column in table.columns}
    found = {"schema": facets.schema(columns)}
    return Dataset(names.source_namespace(table), table.topic, found)


def _delivered(
    table: Table, told: TopicReport, source: Path | KafkaSource | None, settings: Settings
) -> Dataset:
    """The topic or the folder of capture files that brought the messages."""
    read = {"inputStatistics": facets.rows_read(told.counts.total())}
    if isinstance(source, KafkaSource):
        broker = source.bootstrap.split(",")[0]
        return Dataset(f"kafka://{broker}", table.stream_topic, of_run=read)
    folder = (source or settings.inbox).absolute() / table.stream_topic
    return Dataset(*names.place(folder), of_run=read)


def _raw_table(table: Table, told: TopicReport, settings: Settings) -> Dataset:
    columns = {field.name: str(field.type) for field in raw_schema(table)}
    lineage = {column.name: [_origin(table, column)] for column in table.landed_columns}
    found = {
        "schema": facets.schema(columns),
        "columnLineage": facets.column_lineage(lineage),
        **names.delta(raw_path(settings.raw, table)),
    }
    if told.last_batch_id:
        found["version"] = facets.version(told.last_batch_id)
    if table.owner:
        found["ownership"] = facets.dataset_owner(table.owner)
    written = {"outputStatistics": facets.rows_written(told.landed)}
    return Dataset(settings.lineage_namespace, names.raw_name(table), found, written)


def _origin(table: Table, column: Column) -> Origin:
    namespace = names.source_namespace(table)
    masking = _MASKING.get(column.pii) if column.pii else None
    way = facets.TRANSFORMATION if masking else facets.IDENTITY
    return Origin(namespace, table.topic, column.name, (way,), masking)
