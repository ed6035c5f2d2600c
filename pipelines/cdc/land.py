"""Landing: messages become typed, masked raw Delta tables, each message exactly once.

A batch commits its data, then its dead letters, then its ledger rows. Each commit is idempotent by
itself; whatever was cut off between two of them is found again by the coordinates of the messages.
A batch of a shared topic commits data and dead letters table by table, then the ledger rows of all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import structlog
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from pipelines.cdc import books, continuity, novelty, resolutions
from pipelines.cdc.blocks import Block, LineBlock, MessageBlock, Messages
from pipelines.cdc.capture import CaptureFile, find_captures, read_ahead, read_lines
from pipelines.cdc.dead_letters import DeadLetters, Letter
from pipelines.cdc.decode import (
    DEAD,
    DISPOSITIONS,
    LANDED,
    ROUTED,
    TRUNCATE,
    Decoder,
    control_kind,
)
from pipelines.cdc.drift import refuse_drift
from pipelines.cdc.erasures import Erasures
from pipelines.cdc.evolve import evolve_raw_tables, refuse_changed_contract
from pipelines.cdc.ledger import FOLDER, Ledger, Progress
from pipelines.cdc.masking import Masker, load_masker
from pipelines.cdc.raw_rows import new_rows
from pipelines.contract import Contracts, Table
from pipelines.errors import LakehouseError, UsageError
from pipelines.lake.duck import connect
from pipelines.lake.ids import new_id, now
from pipelines.lake.inference import create_inference_tables
from pipelines.lake.metastore import Metastore
from pipelines.lake.tables import (
    again_if_overtaken,
    append,
    create_raw_tables,
    raw_path,
)
from pipelines.lake.writer import LAKEHOUSE, Writer, refuse_other_writer
from pipelines.settings import Settings

log = structlog.get_logger()


@dataclass
class TopicReport:
    """What became of the messages of one topic in one run.

    Attributes:
        counts: disposition → messages; their sum is what was consumed.
        replayed: messages that had been consumed before and were passed over.
        reasons: reason code → dead letters.
        waiting_bytes: bytes of an unfinished last line, left for the next run.
        newest_source_ts: the newest source time of what landed.
        last_batch_id: of the last batch that was consumed.
    """

    topic: str
    counts: Counter[str] = field(default_factory=Counter)
    replayed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    waiting_bytes: int = 0
    newest_source_ts: datetime | None = None
    last_batch_id: str | None = None

    @property
    def landed(self) -> int:
        return self.counts[LANDED] + self.counts[TRUNCATE]

    @property
    def dead(self) -> int:
        return self.counts[DEAD]


@dataclass
class LandReport:
    """What one landing did."""

    topics: dict[str, TopicReport] = field(default_factory=dict)
    batches: int = 0

    @property
    def landed(self) -> int:
        return sum(topic.landed for topic in self.topics.values())

    @property
    def dead(self) -> int:
        return sum(topic.dead for topic in self.topics.values())

    @property
    def replayed(self) -> int:
        return sum(topic.replayed for topic in self.topics.values())


def land(
    folder: Path,
    contracts: Contracts,
    settings: Settings,
    run_id: str,
    on_topic: Callable[[str], None] = lambda topic: None,
) -> LandReport:
    """Land what is new below a capture folder.

    Raises:
        UsageError: the folder does not exist or has another layout.
        LakehouseError: a file cannot be read, the masking key changed, the books of the lake do not
            agree, or the disk is full. What was committed before stays, and a repeat continues
            after it.
    """
    files = find_captures(folder)
    with opened(contracts, settings, run_id) as landing:
        # Files that were read to their end cost nothing more.
        unread = [f for f in files if (f.name, f.stamp()) not in landing.finished]
        for topic in dict.fromkeys(file.topic for file in files):
            own = [file for file in unread if file.topic == topic]
            if not own:
                landing.report.topics[topic] = TopicReport(topic)
                continue
            on_topic(topic)
            landing.land_files(topic, own)
    return landing.report


class Landing:
    """One landing on one connection: its ledger, its report and a lander for each topic."""

    def __init__(
        self,
        contracts: Contracts,
        settings: Settings,
        run_id: str,
        connection: duckdb.DuckDBPyConnection,
        writer: Writer = LAKEHOUSE,
    ) -> None:
        self._metastore = _metastore(settings)
        self.masker = load_masker(settings)
        self.ledger, overview = books.open_ledger(settings.raw, contracts)
        create_raw_tables(settings.raw, contracts, writer)
        create_inference_tables(settings.raw)
        evolve_raw_tables(settings.raw, contracts, connection, self.masker, run_id, writer)
        resolutions.complete(settings.raw, self.ledger, run_id)
        # Names and stamps of the files that were read to their end.
        names, stamps = (overview[name].to_pylist() for name in ("source_file", "source_stamp"))
        self.finished = set(zip(names, stamps, strict=True))
        self.report = LandReport()
        self._contracts = contracts
        self._settings = settings
        self._run_id = run_id
        self._connection = connection
        self._landers: dict[str, _TopicLander] = {}
        self._noted: dict[str, str] = {}
        if self._metastore:
            folders = (FOLDER, *(table.topic for table in contracts.tables))
            self._metastore.note({folder: {} for folder in folders})

    def land_files(self, topic: str, files: Sequence[CaptureFile]) -> None:
        """Land files of one topic."""
        with _contended(topic):
            for file in files:
                self.report.batches += self._lander(topic).land_file(file)
        self.note_news()

    def land_messages(self, topic: str, source: str, messages: Messages) -> None:
        """Land messages of one topic as one batch."""
        with _contended(topic):
            self.report.batches += self._lander(topic).land_messages(source, messages)
        self.note_news()

    def note_news(self) -> None:
        """Tell the metastore of each table's last batch."""
        if self._metastore is None:
            return
        told = {}
        for topic, report in self.report.topics.items():
            table, batch_id = self._contracts.by_topic.get(topic), report.last_batch_id
            if table and batch_id and self._noted.get(topic) != batch_id:
                self._noted[topic] = batch_id
                told[topic] = {
                    "batch_id": batch_id, "run_id": self._run_id, "schema_version": table.version
                }  # fmt: skip
        self._metastore.note(told)

    def _lander(self, topic: str) -> _TopicLander:
        table = self._contracts.by_topic.get(topic)
        if table and table.stream_topic != topic:
            raise LakehouseError(
                f"there are messages on {topic}, but the contract says that those of this table "
                f"come in {table.stream_topic}: offsets of two topics cannot be told apart",
                f"land only one of the two topics, and say in {table.file} which",
            )
        return self._lander_of(topic)

    def _lander_of(self, topic: str) -> _TopicLander:
        """The lander of a topic, or of a table of a shared one."""
        if topic not in self._landers:
            common = (
                topic, self._contracts, self._settings, self._connection, self.masker,
                self.ledger, self._run_id,
            )  # fmt: skip
            self._landers[topic] = (
                _SharedTopicLander(*common, self._lander_of)
                if self._contracts.sharing(topic)
                else _TopicLander(*common)
            )
            self.report.topics[topic] = self._landers[topic].report
        return self._landers[topic]


@contextmanager
def opened(
    contracts: Contracts, settings: Settings, run_id: str, writer: Writer = LAKEHOUSE
) -> Iterator[Landing]:
    """Begin a landing.

    Args:
        writer: the engine that is going to append to the raw tables.

    Raises:
        LakehouseError: the masking key changed, the books of the lake do not agree, a contract
            gave a landed column another type, or a table is another engine's.
    """
    with connect(settings) as connection:
        yield Landing(contracts, settings, run_id, connection, writer)


def _metastore(settings: Settings) -> Metastore | None:
    if settings.metastore is None:
        return None
    if settings.store is None:
        raise UsageError(
            "LAKEHOUSE_METASTORE is set, yet the tables lie on this machine's disk",
            "set LAKEHOUSE_STORE, so that other engines can reach them",
        )
    return Metastore(settings.metastore, f"{settings.store}/raw")


@contextmanager
def _contended(topic: str) -> Iterator[None]:
    try:
        yield
    except CommitFailedError as error:
        raise LakehouseError(
            f"another process keeps committing to {topic}: {error}",
            "let it finish, then land again: nothing is lost or doubled",
        ) from None


@dataclass(frozen=True)
class _Batch:
    """One attempt to land a block."""

    id: str = field(default_factory=new_id)
    landed_at: datetime = field(default_factory=now)


@dataclass(frozen=True)
class _Written:
    """What a batch has committed of one topic, and what the ledger is still to learn of it.

    Attributes:
        counted: a ledger row for each partition.
        named: ledger rows that only name batches which were cut off before they were counted.
        letters: the dead letters added.
    """

    counted: list[dict[str, object]]
    named: list[dict[str, object]]
    letters: list[Letter]


class _TopicLander:
    def __init__(
        self,
        topic: str,
        contracts: Contracts,
        settings: Settings,
        connection: duckdb.DuckDBPyConnection,
        masker: Masker,
        ledger: Ledger,
        run_id: str,
    ) -> None:
        self.report = TopicReport(topic)
        self._topic = topic
        self._raw_folder = settings.raw
        self._contract: Table | None = contracts.by_topic.get(topic)
        self._path = raw_path(settings.raw, self._contract) if self._contract else None
        self._raw = DeltaTable(str(self._path)) if self._path else None
        self._connection = connection
        self._ledger = ledger
        self._dead_letters = DeadLetters(settings.raw, masker)
        self._masker = masker
        self._erasures = Erasures(settings.raw, masker)
        self._run_id = run_id
        if self._contract:
            continuity.refuse_another_topic(self._contract, ledger.progress(topic))
        control, sharing = control_kind(topic, contracts.servers), contracts.sharing(topic)
        self._decoder = Decoder(connection, masker, topic, self._contract, control, sharing)

    def land_file(self, file: CaptureFile) -> int:
        """Land one file; returns the number of batches committed."""
        progress = self._ledger.progress(self._topic)
        stamp = file.stamp()
        if stamp in progress.stamps.get(file.name, ()):
            return 0
        digest = file.digest()
        if digest in progress.digests:
            messages = progress.digests[digest]
            self.report.replayed += messages
            self._mark_finished(file, stamp, digest, messages)
            return 0
        batches = messages = 0
        for lines in read_ahead(read_lines(file)):
            batches += self._land_block(
                file.name, LineBlock(lines.text, lines.numbers, lines.not_utf8)
            )
            messages += len(lines)
            if lines.at_end and lines.waiting_bytes:
                self.report.waiting_bytes += lines.waiting_bytes
            elif lines.at_end:
                self._mark_finished(file, stamp, digest, messages)
        return batches

    def land_messages(self, source: str, messages: Messages) -> int:
        """Land messages of a stream; returns the number of batches committed."""
        return self._land_block(source, MessageBlock(messages.table(), messages.line_of))

    def _land_block(self, source: str, block: Block) -> int:
        """Commit what is new of a block; returns the number of batches."""
        block.decode(self._decoder)
        return self._land_decoded(source, block)

    @again_if_overtaken
    def _land_decoded(self, source: str, block: Block) -> int:
        batch = _Batch()
        progress = self._ledger.progress(self._topic)
        written = self._write(source, block.not_utf8, batch, progress)
        self._commit_ledger([written], batch)
        consumed = self._count(written, source, batch)
        self.report.replayed += len(block) - consumed
        return int(consumed > 0)

    def _write(
        self,
        source: str,
        not_utf8: Sequence[tuple[int, bytes]],
        batch: _Batch,
        progress: Progress,
    ) -> _Written:
        """Commit data and dead letters of what is new of the decoded block, not yet the ledger.

        Args:
            progress: as the ledger told it last: if others were first, its commit is refused.
        """
        reached = self._reached()
        if self._contract:
            # Once the table's version is read: an erasure after it makes the commit begin anew.
            self._erasures.keep_out(self._connection, self._contract)
        novelty.judge(self._connection, progress, reached, self._raw_folder, self._path)
        if self._contract and self._path:
            continuity.refuse_another_log(self._connection, self._contract, progress, self._path)
            refuse_drift(self._connection, self._contract)
        rows = self._partition_rows(source)
        letters = self._letters(source, not_utf8)
        if not rows and not letters:
            return _Written([], [], [])
        batch_id, landed_at = batch.id, batch.landed_at
        if rows:
            self._commit_data(rows, reached, batch_id, landed_at)
        added, orphans = self._dead_letters.add(
            letters,
            counted_batches=progress.batches,
            contract_version=self._contract.version if self._contract else None,
            epoch=self._contract.epoch if self._contract else None,
            batch_id=batch_id,
            run_id=self._run_id,
            landed_at=landed_at,
        )
        placeless = sum(letter.is_placeless for letter in (*added, *orphans))
        if placeless:
            rows.append(self._row(source) | {"consumed": placeless, DEAD: placeless})
        common = {"batch_id": batch_id, "committed_at": landed_at}
        unknown = {*novelty.orphan_batches(self._connection), *orphans.values()}
        return _Written(
            [row | common for row in rows],
            [self._row(source) | common | {"batch_id": orphan} for orphan in sorted(unknown)],
            added,
        )

    def _commit_ledger(self, parts: Sequence[_Written], batch: _Batch) -> None:
        rows = [row for part in parts for row in (*part.counted, *part.named)]
        if rows:
            self._ledger.commit(rows, {"batch_id": batch.id, "run_id": self._run_id})

    def _reached(self) -> dict[int, int]:
        """Per partition of the decoded block, how far the raw table's app transaction is."""
        if self._raw is None or self._contract is None:
            return {}
        self._raw.update_incremental()
        refuse_other_writer(self._raw, LAKEHOUSE)
        refuse_changed_contract(self._raw, self._contract)
        partitions = self._connection.execute(
            "select distinct partition_no from decoded where partition_no is not null"
        ).fetchall()
        versions = {p: self._raw.transaction_version(f"{self._topic}:{p}") for (p,) in partitions}
        reached = {p: version for p, version in versions.items() if version is not None}
        unknown = versions.keys() - reached.keys()
        return reached | self._highest_rows() if unknown and self._raw.count() else reached

    def _highest_rows(self) -> dict[int, int]:
        """Per partition the highest offset in the raw table, whose log may have been lost."""
        rows = self._connection.execute(
            "select _partition, max(_offset) from delta_scan(?) group by all", [str(self._path)]
        ).fetchall()
        return dict(rows)

    def _partition_rows(self, source: str) -> list[dict[str, object]]:
        """One ledger row for each partition that has messages not yet in the ledger."""
        counts = ", ".join(f"count(*) filter (disposition = '{name}')" for name in DISPOSITIONS)
        newest, position, at = "null::timestamptz", "null::varchar", "null::timestamptz"
        if self._contract:
            newest = "max(_source_ts)"
            reached = continuity.reached("_epoch", "_source_position")
            position, at = f"max({reached})", f"arg_max(_source_ts, {reached})"
        found = self._connection.execute(
            f"""select partition_no, min(offset_no), max(offset_no), {newest}, {position}, {at},
                    count(*), {counts}
                from judged where novelty <> '{novelty.REPLAYED}' and disposition <> '{ROUTED}'
                    and partition_no is not null and offset_no is not null
                group by partition_no order by partition_no"""
        ).fetchall()
        names = ("partition", "first_offset", "last_offset", "newest_source_ts",
                 "reached_position", "reached_at", "consumed", *DISPOSITIONS)  # fmt: skip
        return [self._row(source) | dict(zip(names, values, strict=True)) for values in found]

    def _row(self, source: str) -> dict[str, object]:
        return {
            "run_id": self._run_id,
            "table_name": self._contract.topic if self._contract else None,
            "topic": self._topic,
            "consumed": 0,
            **dict.fromkeys(DISPOSITIONS, 0),
            "source_file": source,
        }

    def _letters(self, source: str, not_utf8: Sequence[tuple[int, bytes]]) -> list[Letter]:
        found = self._connection.execute(
            f"""select partition_no, offset_no, line_number, reason_code, reason, line
                from judged where disposition = '{DEAD}' and novelty <> '{novelty.REPLAYED}'
                order by line_number"""
        ).fetchall()
        letters = [
            Letter(
                self._topic,
                partition,
                offset,
                source,
                number,
                code,
                reason,
                # A letter that is in the lake already may be of a message that is good by now.
                (line or "").removesuffix("\n").encode(),
            )
            for partition, offset, number, code, reason, line in found
        ]
        letters += [
            Letter(self._topic, None, None, source, number, "invalid_utf8", "invalid_utf8", line)
            for number, line in not_utf8
        ]
        return letters

    def _commit_data(
        self,
        rows: list[dict[str, object]],
        reached: Mapping[int, int],
        batch_id: str,
        landed_at: datetime,
    ) -> None:
        """Append the new rows; without any, commit the progress alone."""
        if self._raw is None or self._contract is None:
            return
        transactions = {
            f"{self._topic}:{row['partition']}": max(
                int(str(row["last_offset"])), reached.get(int(str(row["partition"])), -1)
            )
            for row in rows
        }
        append(
            self._raw,
            new_rows(self._connection, self._contract, self._masker, batch_id, landed_at),
            metadata={
                "run_id": self._run_id,
                "batch_id": batch_id,
                "schema_version": self._contract.version,
            },
            transactions=transactions,
        )

    @again_if_overtaken
    def _mark_finished(self, file: CaptureFile, stamp: str, digest: str, messages: int) -> None:
        # Without batch id and table: nothing to stage.
        row = self._row(file.name) | {
            "table_name": None,
            "source_stamp": stamp,
            "source_digest": digest,
            "source_messages": messages,
            "committed_at": now(),
        }
        self._ledger.commit([row], {"file": file.name, "run_id": self._run_id})

    def _count(self, written: _Written, source: str, batch: _Batch) -> int:
        """Add to the report; returns how many messages were consumed."""
        consumed = 0
        for row in written.counted:
            consumed += int(str(row["consumed"]))
            for name in DISPOSITIONS:
                self.report.counts[name] += int(str(row[name]))
            newest = row.get("newest_source_ts")
            if isinstance(newest, datetime):
                self.report.newest_source_ts = max(newest, self.report.newest_source_ts or newest)
        self.report.reasons.update(letter.reason_code for letter in written.letters)
        if consumed:
            self.report.last_batch_id = batch.id
            log.info(
                "batch landed", topic=self._topic, batch_id=batch.id, file=source,
                landed=self.report.landed, dead=self.report.dead,
            )  # fmt: skip
        return consumed


# The fields of a ledger row that a shared topic takes over from its tables' rows.
_PLACE_AND_TIME: dict[str, Callable[[list[Any]], object]] = {
    "partition": min,
    "first_offset": min,
    "last_offset": max,
    "newest_source_ts": max,
}


class _SharedTopicLander(_TopicLander):
    """Hands each message to the lander of its table; counts all of them in one ledger commit.

    So a message is counted under the shared topic if and only if it is under its table. What is of
    no table is counted under the topic alone.
    """

    def __init__(
        self,
        topic: str,
        contracts: Contracts,
        settings: Settings,
        connection: duckdb.DuckDBPyConnection,
        masker: Masker,
        ledger: Ledger,
        run_id: str,
        lander_of: Callable[[str], _TopicLander],
    ) -> None:
        super().__init__(topic, contracts, settings, connection, masker, ledger, run_id)
        self._tables = {t.topic: lander_of(t.topic) for t in contracts.sharing(topic)}

    @again_if_overtaken
    def _land_block(self, source: str, block: Block) -> int:
        """Commit what is new of a block; returns the number of batches."""
        batch = _Batch()
        progress = self._ledger.progress_of([self._topic, *self._tables])
        block.decode(self._decoder)
        own = self._write(source, block.not_utf8, batch, progress[self._topic])
        routed = self._routed()
        parts: dict[_TopicLander, _Written] = {}
        for table in pc.unique(routed["route"]).to_pylist():
            lander = self._tables[table]
            block.part(routed.filter(pc.equal(routed["route"], table))).decode(lander._decoder)
            parts[lander] = lander._write(source, (), batch, progress[table])
        whole = self._with_routed(own, parts.values(), source, batch)
        self._commit_ledger([*parts.values(), whole], batch)
        for lander, part in parts.items():
            lander._count(part, source, batch)
        consumed = self._count(whole, source, batch)
        self.report.replayed += len(block) - consumed
        return int(consumed > 0)

    def _routed(self) -> pa.Table:
        """The messages that their tables are to judge: of a gap, only these know what they have."""
        return self._connection.execute(
            f"""select route, line_number, partition_no, offset_no from judged
                where disposition = '{ROUTED}' and novelty <> '{novelty.REPLAYED}'
                order by line_number"""
        ).to_arrow_table()

    def _with_routed(
        self, own: _Written, parts: Iterable[_Written], source: str, batch: _Batch
    ) -> _Written:
        """The topic's own rows of the ledger, with what its tables have counted."""
        placeless = [row for row in own.counted if "partition" not in row]
        rows = {row["partition"]: row for row in own.counted if "partition" in row}
        for told in (row for part in parts for row in part.counted):
            row = rows.setdefault(
                told["partition"],
                self._row(source)
                | {name: told[name] for name in _PLACE_AND_TIME}
                | {"batch_id": batch.id, "committed_at": batch.landed_at},
            )
            for name in ("consumed", ROUTED):
                row[name] = int(str(row[name])) + int(str(told["consumed"]))
            for name, choose in _PLACE_AND_TIME.items():
                known = [r[name] for r in (row, told) if r[name] is not None]
                row[name] = choose(known) if known else None
        return _Written([*rows.values(), *placeless], own.named, own.letters)
