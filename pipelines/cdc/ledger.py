"""The ledger of the landing: what was read of each topic-partition, and what became of it.

It is committed last in a batch. A resume starts from it, and staging reads only the batches that
stand in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from pipelines.cdc.decode import DEAD, DISPOSITIONS, LANDED, TRUNCATE
from pipelines.lake.tables import UTC_MICROSECONDS, append, open_or_create, read

FOLDER = "_ledger"
# Landed rows that have gone since, by the contract's retention; `landed` no longer counts them.
RETIRED = "retired"
COUNTERS = (*DISPOSITIONS, RETIRED)

SCHEMA = pa.schema(
    [
        ("batch_id", pa.string()),
        ("run_id", pa.string()),
        ("table_name", pa.string()),
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("first_offset", pa.int64()),
        ("last_offset", pa.int64()),
        ("consumed", pa.int64()),
        *((name, pa.int64()) for name in COUNTERS),
        ("source_file", pa.string()),
        ("source_stamp", pa.string()),
        ("source_digest", pa.string()),
        ("source_messages", pa.int64()),
        ("newest_source_ts", UTC_MICROSECONDS),
        ("reached_position", pa.string()),
        ("reached_at", UTC_MICROSECONDS),
        ("committed_at", UTC_MICROSECONDS),
    ]
)

OVERVIEW = ["topic", LANDED, TRUNCATE, DEAD, "source_file", "source_stamp"]
_PROGRESS = [
    "batch_id", "partition", "first_offset", "last_offset", "consumed", "source_file",
    "source_stamp", "source_digest", "source_messages", "newest_source_ts", "reached_position",
    "reached_at",
]  # fmt: skip
_NEWEST = ("newest_source_ts", "committed_at")
_KEPT = pa.schema([field for field in SCHEMA if field.name in (*OVERVIEW, *_PROGRESS)])


@dataclass
class Progress:
    """What the ledger says about one topic.

    Attributes:
        dense: per partition, merged offset ranges without a hole: surely consumed.
        sparse: per partition, ranges with holes: consumed but for what was missing then.
        highest: per partition, the highest offset consumed.
        batches: ids of the batches that are counted.
        newest_source_ts: the newest time of the source.
        reached_position: the highest epoch and position, as one text.
        reached_at: the source's time of the change there.
        sources: names of the files and streams that messages came from.
        stamps: file name → stamps with which it was read to its end.
        digests: SHA-256 of the contents that were read to their end → messages in them.
    """

    dense: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    sparse: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    highest: dict[int, int] = field(default_factory=dict)
    batches: set[str] = field(default_factory=set)
    newest_source_ts: datetime | None = None
    reached_position: str | None = None
    reached_at: datetime | None = None
    sources: set[str] = field(default_factory=set)
    stamps: dict[str, set[str]] = field(default_factory=dict)
    digests: dict[str, int] = field(default_factory=dict)

    def add(self, row: Mapping[str, Any]) -> None:
        """Take in one row of the ledger."""
        if row.get("source_stamp") is not None:
            self.stamps.setdefault(row["source_file"], set()).add(row["source_stamp"])
            self.digests[row["source_digest"]] = row["source_messages"]
        if row.get("batch_id") is not None:
            self.batches.add(row["batch_id"])
        if row.get("first_offset") is None:
            return
        if row.get("source_file") is not None:
            self.sources.add(row["source_file"])
        if newest := row.get("newest_source_ts"):
            self.newest_source_ts = max(newest, self.newest_source_ts or newest)
        position = row.get("reached_position") or ""
        if position > (self.reached_position or ""):
            self.reached_position, self.reached_at = position, row["reached_at"]
        partition, first, last = row["partition"], row["first_offset"], row["last_offset"]
        if row["consumed"]:
            # A repaired letter may have taken a place beyond what has been read.
            self.highest[partition] = max(self.highest.get(partition, -1), last)
        if last - first + 1 == row["consumed"]:
            self.dense[partition] = _merged([*self.dense.get(partition, []), (first, last)])
        else:
            self.sparse.setdefault(partition, []).append((first, last))


class Ledger:
    """The Delta table `raw/_ledger`: a row a batch and topic-partition, and one a finished file."""

    def __init__(self, raw: Path) -> None:
        self.path = raw / FOLDER
        self._table = open_or_create(self.path, SCHEMA, description="what was consumed, by batch")
        self._rows = read(self._table, _KEPT)
        self._version = self._table.version()
        self._progress: dict[str, Progress] = {}

    def progress(self, topic: str) -> Progress:
        """The progress of a topic at the newest version."""
        return self.progress_of([topic])[topic]

    def progress_of(self, topics: Sequence[str]) -> dict[str, Progress]:
        """The progress of topics that are to be committed together, all at the newest version."""
        self._refresh()
        return {topic: self._known_progress(topic) for topic in topics}

    def _known_progress(self, topic: str) -> Progress:
        if topic not in self._progress:
            progress = self._progress[topic] = Progress()
            for row in self._rows.filter(pc.field("topic") == topic).to_pylist():
                progress.add(row)
        return self._progress[topic]

    def overview(self) -> pa.Table:
        """Counts of rows and letters by topic, and names and stamps of the files read to their end.

        A row each row of the ledger.
        """
        self._refresh()
        return self._rows.select(OVERVIEW)

    def _refresh(self) -> None:
        self._table.update_incremental()
        if self._table.version() != self._version:
            # Somebody else has committed: what is remembered may be too little.
            self._rows = read(self._table, _KEPT)
            self._version = self._table.version()
            self._progress.clear()

    def commit(
        self,
        rows: Sequence[dict[str, object]],
        metadata: dict[str, str],
        *,
        serial: str | None = None,
    ) -> None:
        """Append the rows of one batch; the app transactions guard each topic-partition.

        Args:
            serial: one more app id that may move once only; its version grows by one.

        Raises:
            deltalake.exceptions.CommitFailedError: another lander committed the same partition.
        """
        transactions: dict[str, int] = {}
        if serial is not None:
            known = self._table.transaction_version(serial)
            transactions[serial] = 0 if known is None else known + 1
        for row in rows:
            last = row.get("last_offset")
            if isinstance(last, int):
                app = f"{row['topic']}:{row['partition']}"
                known = self._table.transaction_version(app)
                transactions[app] = max(last, -1 if known is None else known)
            elif row["consumed"]:
                # Messages that told no offset: a serial number guards them as well.
                app = f"{row['topic']}:placeless"
                known = self._table.transaction_version(app)
                transactions[app] = 0 if known is None else known + 1
        append(
            self._table,
            pa.Table.from_pylist(list(rows), SCHEMA),
            metadata=metadata,
            transactions=transactions,
        )
        if self._table.version() == self._version + 1:
            self._version += 1
            self._rows = pa.concat_tables([self._rows, pa.Table.from_pylist(list(rows), _KEPT)])
            for row in rows:
                if row["topic"] in self._progress:
                    self._progress[str(row["topic"])].add(row)


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def totals(raw: Path) -> pa.Table:
    """By topic, of all time: sums of each counter, newest source time, and when it last landed."""
    if not DeltaTable.is_deltatable(str(raw / FOLDER)):
        return SCHEMA.empty_table()
    told = ("topic", "consumed", *COUNTERS, *_NEWEST)
    columns = pa.schema([SCHEMA.field(name) for name in told])
    rows = read(DeltaTable(str(raw / FOLDER)), columns)
    # Rows of before do not know every counter.
    zero = pc.ScalarAggregateOptions(min_count=0)
    sums = [(name, "sum", zero) for name in ("consumed", *COUNTERS)]
    grouped = rows.group_by("topic").aggregate([*sums, *((name, "max") for name in _NEWEST)])
    return grouped.rename_columns(
        [name.removesuffix("_sum").removesuffix("_max") for name in grouped.column_names]
    ).sort_by("topic")


def batches_with_rows(raw: Path) -> list[str]:
    """Ids of all batches that brought rows to stage, be these gone by now; heartbeats are none."""
    if not DeltaTable.is_deltatable(str(raw / FOLDER)):
        return []
    column = pa.schema([SCHEMA.field("batch_id")])
    brought = " + ".join(f"coalesce({counter}, 0)" for counter in (LANDED, TRUNCATE, RETIRED))
    rows = read(DeltaTable(str(raw / FOLDER)), column, f"batch_id is not null and {brought} > 0")
    return sorted(pc.unique(rows["batch_id"]).to_pylist())
