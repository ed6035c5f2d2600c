"""Debezium messages as lines of a capture file, and a small lake to land them in."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from pipelines.cdc.dead_letters import Choice, find
from pipelines.cdc.land import LandReport, land
from pipelines.cdc.ledger import COUNTERS
from pipelines.cdc.masking import Masker, load_masker
from pipelines.cdc.replay import ReplayReport, drop, replay
from pipelines.contract import Column, Contracts, Table
from pipelines.lake.ids import new_id
from pipelines.settings import Settings

Row = dict[str, Any]

KEY = "a key only for tests, long enough"
T0_US = 1_490_000_000_000_000  # 2017-03-20T08:53:20Z

THING = Table(
    name="thing",
    server="shop",
    namespace="public",
    connector="postgres",
    key=("id",),
    columns=(
        Column(name="id", type="bigint"),
        Column(name="label", type="varchar"),
        Column(name="count", type="integer"),
        Column(name="price", type="decimal(18,2)"),
        Column(name="ratio", type="double"),
        Column(name="day", type="date"),
        Column(name="at", type="timestamp"),
        Column(name="is_on", type="boolean"),
    ),
    file="test",
)
TOPIC = THING.topic
# Enough where types do not matter: decoding few columns is planned sooner.
NARROW = THING.model_copy(update={"columns": THING.columns[:3]})
BRIEF = {"id": 1, "label": "one", "count": 3}
WHOLE = {
    **BRIEF,
    "price": "12.30",
    "ratio": 0.5,
    "day": "2024-05-06Z",
    "at": "2024-05-06T10:00:00.123456Z",
    "is_on": True,
}


def source(offset: int = 0, **changes: Any) -> Row:
    """A PostgreSQL `source` block; a later offset stands later in the log."""
    lsn = 1000 + 10 * offset
    block = {
        "version": "3.7.0.Final",
        "connector": "postgresql",
        "name": "shop",
        "ts_ms": (T0_US + offset) // 1000,
        "ts_us": T0_US + offset,
        "snapshot": "false",
        "db": "shop",
        "sequence": json.dumps([str(lsn), str(lsn)]),
        "schema": "public",
        "table": "thing",
        "lsn": lsn,
    }
    return block | changes


def envelope(
    offset: int, after: Row | None, *, op: str = "c", before: Row | None = None, **changes: Any
) -> Row:
    """A Debezium change event without schema; `changes` replace fields of its source."""
    return {
        "before": before,
        "after": after,
        "source": source(offset, **changes),
        "op": op,
        "ts_ms": T0_US // 1000,
        "transaction": None,
    }


def message(
    offset: int,
    payload: Any,
    *,
    key: Any = None,
    topic: str = TOPIC,
    partition: int = 0,
    **changes: Any,
) -> bytes:
    """A line as `kcat -C -J` prints it. A payload that is no text is written as JSON."""
    line = {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "tstype": "create",
        "ts": T0_US // 1000,
        "headers": [],
        "key": key if key is None or isinstance(key, str) else json.dumps(key),
        "payload": payload if payload is None or isinstance(payload, str) else json.dumps(payload),
    }
    return json.dumps(line | changes, separators=(",", ":")).encode()


def thing(offset: int, *, partition: int = 0, **fields: Any) -> bytes:
    """The creation of a thing whose id is the offset, unless fields say otherwise."""
    after = BRIEF | {"id": offset} | fields
    return message(offset, envelope(offset, after), key={"id": after["id"]}, partition=partition)


def things(first: int, last: int, **fields: Any) -> list[bytes]:
    """Creations at the offsets from first to last, both included."""
    return [thing(offset, **fields) for offset in range(first, last + 1)]


def packed(data: bytes, suffix: str) -> bytes:
    """Compressed as the file suffix says: `.gz`, `.zst`, else plain."""
    codec = {".gz": "gzip", ".zst": "zstd"}.get(suffix)
    return pa.Codec(codec).compress(data, asbytes=True) if codec else data


@dataclass
class Lake:
    """A lake in a folder of its own, with an inbox, and what is written in it read back."""

    folder: Path
    contracts: Contracts

    @cached_property
    def settings(self) -> Settings:
        return Settings(
            home=self.folder / "lake", pii_key=KEY, threads=1, memory_limit="500MB", _env_file=None
        )

    @property
    def raw(self) -> Path:
        return self.settings.raw

    @property
    def inbox(self) -> Path:
        return self.folder / "inbox"

    @cached_property
    def masker(self) -> Masker:
        return load_masker(self.settings)

    def write(
        self,
        lines: Sequence[bytes],
        *,
        topic: str = TOPIC,
        name: str = "a.jsonl",
        end: bytes = b"\n",
        inbox: Path | None = None,
    ) -> Path:
        """Write a capture file; the ending of its name decides on compression."""
        path = (inbox or self.inbox) / topic / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = b"\n".join(lines) + end if lines else b""
        path.write_bytes(packed(data, path.suffix))
        return path

    def land(self, inbox: Path | None = None) -> LandReport:
        """Land the inbox, or another folder."""
        return land(inbox or self.inbox, self.contracts, self.settings, new_id())

    def deliver(self, *lines: bytes, topic: str = TOPIC, name: str = "a.jsonl") -> LandReport:
        """Write one file and land it."""
        self.write(lines, topic=topic, name=name)
        return self.land()

    def table(self, folder: str = TOPIC) -> DeltaTable:
        return DeltaTable(str(self.raw / folder))

    def unpartitioned(self, folder: str) -> list[Row]:
        """All rows of a table without partitions, read from its files: far quicker than a scan."""
        uris = self.table(folder).file_uris()
        files = [pq.read_table(unquote(uri.removeprefix("file://"))) for uri in uris]
        return pa.concat_tables(files).to_pylist() if files else []

    def rows(self, topic: str = TOPIC) -> list[Row]:
        """All rows of a raw table, by partition and offset."""
        rows = self.table(topic).to_pyarrow_table().to_pylist()
        return sorted(rows, key=lambda row: (row["_partition"], row["_offset"]))

    def row(self, topic: str = TOPIC) -> Row:
        """The only row of a raw table."""
        (row,) = self.rows(topic)
        return row

    def places(self, topic: str = TOPIC) -> list[tuple[int, int]]:
        """Partition and offset of every row of a raw table."""
        return [(row["_partition"], row["_offset"]) for row in self.rows(topic)]

    def offsets(self, topic: str = TOPIC) -> list[int]:
        return [offset for _, offset in self.places(topic)]

    def letters(self) -> list[Row]:
        """All dead letters, with the line that was sealed in them."""
        rows = self.unpartitioned("_dead_letters")
        rows.sort(key=lambda row: (row["topic"], row["source_file"], row["line_number"]))
        return [row | {"line": self.masker.unseal(row["sealed_line"])} for row in rows]

    def reasons(self) -> list[str]:
        """The reason codes of all dead letters, in the order of the lines."""
        return [letter["reason_code"] for letter in self.letters()]

    def ledger(self) -> list[Row]:
        return self.unpartitioned("_ledger")

    def counts(self, topic: str = TOPIC, ledger: list[Row] | None = None) -> Counter[str]:
        """Disposition → messages over all time, with `consumed`; without zeros."""
        counts: Counter[str] = Counter()
        for row in ledger or self.ledger():
            if row["topic"] == topic:
                counts.update({name: row[name] or 0 for name in ("consumed", *COUNTERS)})
        return +counts

    def batches(self, ledger: list[Row] | None = None) -> set[str]:
        """Ids of the batches in the ledger."""
        return {row["batch_id"] for row in ledger or self.ledger() if row["batch_id"]}

    def resolutions(self) -> list[Row]:
        """All marks of resolved letters."""
        path = self.raw / "_dead_letter_resolutions"
        return self.unpartitioned(path.name) if path.exists() else []

    def replay(self, repaired: bytes | None = None, **choice: Any) -> ReplayReport:
        """Replay dead letters under the lake's contracts."""
        return replay(self.settings, self.contracts, Choice(**choice), new_id(), repaired)

    def drop(self, **choice: Any) -> int:
        """Drop dead letters."""
        return drop(self.settings, self.contracts, Choice(**choice), "not needed", new_id())

    def open_letters(self) -> list[Row]:
        """The letters that are neither replayed nor dropped."""
        return list(find(self.raw, Choice()).to_pylist())

    def assert_reconciled(self) -> None:
        """The ledger tells every row and letter: all of their batches, and as many as there are.

        Replayed letters count as what their messages are now.
        """
        ledger = self.ledger()
        letters = Counter(letter["topic"] for letter in self.letters())
        resolved = self.resolutions()
        assert len({mark["letter_id"] for mark in resolved}) == len(resolved)
        letters.subtract(x["topic"] for x in resolved if x["resolution"] == "replayed")
        for topic in {row["topic"] for row in ledger} | set(letters):
            counts = self.counts(topic, ledger)
            assert counts["consumed"] == sum(counts[name] for name in COUNTERS), topic
            assert counts["dead"] == letters[topic], topic
            if topic in self.contracts.by_topic:
                rows = self.rows(topic)
                assert counts["landed"] + counts["truncate"] == len(rows), topic
                assert {row["_batch_id"] for row in rows} <= self.batches(ledger), topic
            if tables := self.contracts.sharing(topic):
                own = [self.counts(table.topic, ledger)["consumed"] for table in tables]
                assert counts["routed"] == sum(own), topic

    def everything_below_raw(self) -> Iterable[tuple[Path, bytes]]:
        """The bytes of every file; of Parquet files, all their values uncompressed as well."""
        for path in sorted(self.raw.rglob("*")):
            if path.is_file():
                yield path, path.read_bytes()
                if path.suffix == ".parquet":
                    content = pq.read_table(path, partitioning=None)
                    values = duckdb.sql("select columns(*)::varchar from content").fetchall()
                    blobs = [v for c in content.columns if c.type == pa.binary() for v in c]
                    raw = b"\0".join(blob.as_py() for blob in blobs if blob.is_valid)
                    yield path, json.dumps(values, ensure_ascii=False).encode() + raw
