"""A micro-batch of one topic: decoded by the workers, appended by Spark, counted in the ledger.

The ledger decides. A batch that was cut off before it is counted is tried again under the same id,
and Delta passes over an append that was done; where the checkpoint is gone, the next query begins
where the ledger ends, and rows of a batch that was never counted are rows that staging never reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from threading import Lock
from typing import Any

import duckdb
import structlog
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError
from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.pandas.types import from_arrow_schema

from pipelines.cdc import continuity, novelty
from pipelines.cdc.dead_letters import DeadLetters, Letter
from pipelines.cdc.decode import DEAD, DISPOSITIONS, DRIFT, LANDED, TRUNCATE, control_kind
from pipelines.cdc.drift import refuse_drifted
from pipelines.cdc.erasures import Erased, Erasures
from pipelines.cdc.evolve import refuse_changed_contract
from pipelines.cdc.land import Landing, TopicReport
from pipelines.cdc.ledger import Progress
from pipelines.contract import Contracts, Table
from pipelines.errors import LakehouseError
from pipelines.lake.ids import now
from pipelines.lake.tables import again_if_overtaken, raw_path, raw_schema
from pipelines.lake.writer import SPARK, refuse_other_writer
from pipelines.settings import Settings
from spark_jobs.checkpoint import Checkpoint
from spark_jobs.decoding import (
    DISPOSITION,
    LINE,
    OFFSET,
    PARTITION,
    REASON,
    REASON_CODE,
    Decoding,
)

log = structlog.get_logger()

_LETTERS_A_COMMIT = 5_000
_PLACES_LOOKED_AT = 100_000


@dataclass(frozen=True)
class Lake:
    """What the topics of one job share.

    Attributes:
        ledger_lock: held from a look at the ledger to the commit that rests on it.
    """

    landing: Landing
    contracts: Contracts
    settings: Settings
    run_id: str
    ledger_lock: Lock


class TopicSink:
    """Lands the micro-batches of one topic.

    Args:
        source: the stream's name in the ledger.

    Attributes:
        topic: the name.
        checkpoint: of its query.
        failure: what ended the query, if it is something that a person can act on.
    """

    def __init__(self, lake: Lake, topic: str, source: str, checkpoint: Checkpoint) -> None:
        self.failure: LakehouseError | None = None
        self._lake = lake
        self.topic = topic
        self._source = source
        self.checkpoint = checkpoint
        self._contract: Table | None = lake.contracts.by_topic.get(topic)
        self._control = control_kind(topic, lake.contracts.servers)
        raw, masker = lake.settings.raw, lake.landing.masker
        self._letters = DeadLetters(raw, masker)
        self._erasures = Erasures(raw, masker)
        self._raw = DeltaTable(str(raw_path(raw, self._contract))) if self._contract else None
        self._report = lake.landing.report.topics.setdefault(topic, TopicReport(topic))

    def __call__(self, messages: DataFrame, number: int) -> None:
        """Land one micro-batch, or find that it has been landed.

        Args:
            messages: of Spark's Kafka source, headers included.
            number: the batch's in its query.

        Raises:
            LakehouseError: the checkpoint and the ledger tell different stories, or landing would
                be wrong; nothing of the batch counts then.
        """
        try:
            self._land(messages, number)
        except LakehouseError as error:
            self.failure = error
            raise

    def _land(self, messages: DataFrame, number: int) -> None:
        batch_id = self.checkpoint.batch_id(number)
        progress = self._progress()
        if batch_id in progress.batches:
            return
        if number and self.checkpoint.batch_id(number - 1) not in progress.batches:
            raise self._other_story("it is further than the ledger")
        batch = _Batch(batch_id, number, now())
        decoded = self._decoded(messages, batch)
        # It is looked at several times.
        decoded.persist(StorageLevel.MEMORY_AND_DISK)
        try:
            rows = self._counted(decoded)
            self._refuse(decoded, rows, progress)
            self._append(decoded, rows, batch)
            orphans = self._add_letters(decoded, rows, progress, batch)
            self._count(rows, orphans, batch)
        finally:
            decoded.unpersist()

    def _progress(self) -> Progress:
        with self._lake.ledger_lock:
            return self._lake.landing.ledger.progress(self.topic)

    def _decoded(self, messages: DataFrame, batch: _Batch) -> DataFrame:
        masker = self._lake.landing.masker
        decoding = Decoding(
            self.topic, self._contract, self._control, batch.id, batch.landed_at, masker,
            Erased(masker, frozenset(self._erasures.tokens())),
        )  # fmt: skip
        return messages.mapInArrow(decoding, from_arrow_schema(decoding.schema))

    def _counted(self, decoded: DataFrame) -> list[dict[str, Any]]:
        """One ledger row for each partition of the batch."""
        counts = [F.count_if(F.col(DISPOSITION) == name).alias(name) for name in DISPOSITIONS]
        news: list[Column] = []
        if self._contract:
            news = [
                F.max("_source_ts").alias("newest_source_ts"),
                F.max(_reached()).alias("reached_position"),
                F.max_by("_source_ts", _reached()).alias("reached_at"),
            ]
        found = decoded.groupBy(F.col(PARTITION).alias("partition")).agg(
            F.min(OFFSET).alias("first_offset"),
            F.max(OFFSET).alias("last_offset"),
            F.count("*").alias("consumed"),
            *counts,
            *news,
        )
        rows = found.toArrow().sort_by("partition").to_pylist()
        return [self._row() | row for row in rows]

    def _row(self) -> dict[str, Any]:
        return {
            "run_id": self._lake.run_id,
            "table_name": self._contract.topic if self._contract else None,
            "topic": self.topic,
            "consumed": 0,
            **dict.fromkeys(DISPOSITIONS, 0),
            "source_file": self._source,
        }

    # Before anything is written

    def _refuse(self, decoded: DataFrame, rows: list[dict[str, Any]], progress: Progress) -> None:
        self._refuse_counted(rows, progress)
        if self._contract is None or self._raw is None:
            return
        self._raw.update_incremental()
        refuse_other_writer(self._raw, SPARK)
        refuse_changed_contract(self._raw, self._contract)
        if self._contract.on_drift == "stop" and _sum(rows, DEAD):
            drifted = decoded.where(F.col(REASON_CODE) == DRIFT).groupBy(REASON).count()
            told = drifted.orderBy(F.desc("count"), REASON).collect()
            refuse_drifted(self._contract, [(reason, count) for reason, count in told])
        self._refuse_another_log(self._contract, decoded, progress)

    def _refuse_counted(self, rows: list[dict[str, Any]], progress: Progress) -> None:
        for row in rows:
            if row["first_offset"] <= progress.highest.get(row["partition"], -1):
                raise self._other_story(
                    f"offset {row['first_offset']} of partition {row['partition']} is in the "
                    "ledger already"
                )

    def _refuse_another_log(self, contract: Table, decoded: DataFrame, progress: Progress) -> None:
        """Let `continuity` judge what is newer, yet lower than what was reached: there is none."""
        if progress.reached_position is None or progress.reached_at is None:
            return
        suspects = (
            decoded.where(F.col(DISPOSITION).isin(LANDED, TRUNCATE))
            .where(_reached() < F.lit(progress.reached_position))
            .where(F.col("_source_ts") > F.lit(progress.reached_at))
            .select(
                F.lit(novelty.NEW).alias("novelty"),
                F.col(DISPOSITION).alias("disposition"),
                F.col(PARTITION).alias("partition_no"),
                F.col(OFFSET).alias("offset_no"),
                "_source_ts",
                "_epoch",
                "_source_position",
                "_snapshot",
            )
            .limit(_PLACES_LOOKED_AT)
            .toArrow()
        )
        with duckdb.connect() as connection:
            connection.register("judged", suspects)
            path = raw_path(self._lake.settings.raw, contract)
            continuity.refuse_another_log(connection, contract, progress, path)

    def _other_story(self, what: str) -> LakehouseError:
        return LakehouseError(
            f"{self.topic}: checkpoint {self.checkpoint.folder} does not fit the ledger: {what}",
            "see that one job lands this topic, then delete that folder: reading goes on where the "
            "ledger ends, and nothing is lost or doubled",
        )

    # Writing

    def _append(self, decoded: DataFrame, rows: list[dict[str, Any]], batch: _Batch) -> None:
        if self._contract is None or not _sum(rows, LANDED) + _sum(rows, TRUNCATE):
            return
        told = {
            "run_id": self._lake.run_id,
            "batch_id": batch.id,
            "schema_version": self._contract.version,
        }
        (
            decoded.where(F.col(DISPOSITION).isin(LANDED, TRUNCATE))
            .select(*(F.col(f"`{name}`") for name in raw_schema(self._contract).names))
            .write.format("delta")
            .mode("append")
            .option("txnAppId", self.checkpoint.query_id)
            .option("txnVersion", batch.number)
            .option("userMetadata", json.dumps(told))
            .option("optimizeWrite", "true")
            .save(str(raw_path(self._lake.settings.raw, self._contract)))
        )

    def _add_letters(
        self,
        decoded: DataFrame,
        rows: list[dict[str, Any]],
        progress: Progress,
        batch: _Batch,
    ) -> set[str]:
        """Add dead letters; returns batches that had left letters without being counted."""
        orphans: set[str] = set()
        if not _sum(rows, DEAD):
            return orphans
        dead = self._dead(decoded)
        while letters := list(islice(dead, _LETTERS_A_COMMIT)):
            add = again_if_overtaken(self._letters.add)
            added, known = add(
                letters,
                counted_batches=progress.batches,
                contract_version=self._contract.version if self._contract else None,
                epoch=self._contract.epoch if self._contract else None,
                batch_id=batch.id,
                run_id=self._lake.run_id,
                landed_at=batch.landed_at,
            )
            self._report.reasons.update(letter.reason_code for letter in added)
            orphans.update(known.values())
        return orphans - {batch.id}

    def _dead(self, decoded: DataFrame) -> Iterator[Letter]:
        unseal = self._lake.landing.masker.unseal
        dead = decoded.where(F.col(DISPOSITION) == DEAD)
        for row in dead.select(PARTITION, OFFSET, REASON_CODE, REASON, LINE).toLocalIterator():
            line = unseal(bytes(row[LINE]))
            yield Letter(
                self.topic, row[PARTITION], row[OFFSET], self._source, row[OFFSET],
                row[REASON_CODE], row[REASON], line,
            )  # fmt: skip

    def _count(self, rows: list[dict[str, Any]], orphans: set[str], batch: _Batch) -> None:
        """Commit to the ledger, with which the batch counts; an empty one is named there, too."""
        common = {"batch_id": batch.id, "committed_at": batch.landed_at}
        named = [self._row() | common | {"batch_id": orphan} for orphan in sorted(orphans)]
        counted = [row | common for row in rows] or [self._row() | common]
        ledger = self._lake.landing.ledger
        with self._lake.ledger_lock:
            self._refuse_counted(rows, ledger.progress(self.topic))
            try:
                ledger.commit(
                    [*counted, *named], {"batch_id": batch.id, "run_id": self._lake.run_id}
                )
            except CommitFailedError:
                raise self._other_story("another job has just counted messages") from None
            self._tell(rows, batch)
            self._lake.landing.note_news()

    def _tell(self, rows: list[dict[str, Any]], batch: _Batch) -> None:
        for row in rows:
            for name in DISPOSITIONS:
                self._report.counts[name] += row[name]
            if newest := row.get("newest_source_ts"):
                self._report.newest_source_ts = max(newest, self._report.newest_source_ts or newest)
        if rows:
            self._report.last_batch_id = batch.id
            log.info(
                "batch landed", topic=self.topic, batch_id=batch.id,
                landed=self._report.landed, dead=self._report.dead,
            )  # fmt: skip


@dataclass(frozen=True)
class _Batch:
    id: str
    number: int
    landed_at: datetime


def _sum(rows: list[dict[str, Any]], name: str) -> int:
    return sum(row[name] for row in rows)


def _reached() -> Column:
    """Epoch and position as `continuity.reached` writes them."""
    epoch = F.lpad(F.col("_epoch").cast("string"), 10, "0")
    return F.concat(epoch, F.lit("."), F.col("_source_position"))
