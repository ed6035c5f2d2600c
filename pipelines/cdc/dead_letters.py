"""Dead letters: messages that could not land, kept whole (sealed) with coordinates and reason.

The table only grows. What became of a letter stands in another one (`resolutions`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from pipelines.cdc import resolutions
from pipelines.cdc.masking import Masker
from pipelines.errors import UsageError
from pipelines.lake.tables import UTC_MICROSECONDS, append, open_or_create, read

FOLDER = "_dead_letters"

SCHEMA = pa.schema(
    [
        ("letter_id", pa.string()),
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("source_file", pa.string()),
        ("line_number", pa.int64()),
        ("reason_code", pa.string()),
        ("reason", pa.string()),
        ("sealed_line", pa.binary()),
        ("contract_version", pa.string()),
        ("epoch", pa.int32()),
        ("batch_id", pa.string()),
        ("run_id", pa.string()),
        ("landed_at", UTC_MICROSECONDS),
    ]
)


@dataclass(frozen=True)
class Letter:
    """One message that could not land. Partition and offset are None where it told none."""

    topic: str
    partition: int | None
    offset: int | None
    source_file: str
    line_number: int
    reason_code: str
    reason: str
    line: bytes

    @property
    def is_placeless(self) -> bool:
        """Whether the message did not tell its partition and offset."""
        return self.partition is None or self.offset is None

    @property
    def letter_id(self) -> str:
        """Stays the same however often, and from wherever, the message is delivered."""
        place = f"{self.topic}:{self.partition}:{self.offset}"
        if self.is_placeless:
            place = f"{self.topic}:line {self.line_number}:" + hashlib.sha256(self.line).hexdigest()
        return hashlib.sha256(place.encode()).hexdigest()[:32]


class DeadLetters:
    """The Delta table `raw/_dead_letters`."""

    def __init__(self, raw: Path, masker: Masker) -> None:
        self.path = raw / FOLDER
        self._masker = masker
        self._table = open_or_create(self.path, SCHEMA, description="messages that did not land")

    def add(
        self,
        letters: Sequence[Letter],
        *,
        counted_batches: Collection[str],
        contract_version: str | None,
        epoch: int | None,
        batch_id: str,
        run_id: str,
        landed_at: datetime,
    ) -> tuple[list[Letter], dict[Letter, str]]:
        """Append the letters not yet there.

        Args:
            counted_batches: the batches of these topics that the ledger knows.

        Returns:
            the letters added; and those that a batch had left which never reached the ledger, each
            with the id of that batch.

        Raises:
            deltalake.exceptions.CommitFailedError: another lander added letters meanwhile.
        """
        if not letters:
            return [], {}
        self._table.update_incremental()
        known = self._known_batches({letter.topic for letter in letters})
        fresh = {x.letter_id: x for x in letters if x.letter_id not in known}
        orphans = {
            letter: known[letter.letter_id]
            for letter in letters
            if letter.letter_id in known and known[letter.letter_id] not in counted_batches
        }
        if not fresh:
            return [], orphans
        rows = [
            {
                "letter_id": letter_id,
                "topic": letter.topic,
                "partition": letter.partition,
                "offset": letter.offset,
                "source_file": letter.source_file,
                "line_number": letter.line_number,
                "reason_code": letter.reason_code,
                "reason": letter.reason,
                "sealed_line": self._masker.seal(letter.line),
                "contract_version": contract_version,
                "epoch": epoch,
                "batch_id": batch_id,
                "run_id": run_id,
                "landed_at": landed_at,
            }
            for letter_id, letter in fresh.items()
        ]
        serial = self._table.transaction_version(FOLDER)
        append(
            self._table,
            pa.Table.from_pylist(rows, SCHEMA),
            metadata={"batch_id": batch_id, "run_id": run_id},
            transactions={FOLDER: 0 if serial is None else serial + 1},
        )
        return list(fresh.values()), orphans

    def _known_batches(self, topics: set[str]) -> dict[str, str]:
        """Letter id → batch id."""
        columns = pa.schema([SCHEMA.field(name) for name in ("letter_id", "batch_id")])
        named = ", ".join("'" + topic.replace("'", "''") + "'" for topic in sorted(topics))
        rows = read(self._table, columns, f"topic in ({named})")
        return dict(zip(rows["letter_id"].to_pylist(), rows["batch_id"].to_pylist(), strict=True))


@dataclass(frozen=True)
class Choice:
    """Which letters are meant; every condition that is given must hold.

    Attributes:
        ids: letter ids, or their first characters.
        since: not before this moment (of landing).
        resolved_too: also the replayed and the dropped.
    """

    ids: tuple[str, ...] = ()
    topic: str | None = None
    reason_code: str | None = None
    since: datetime | None = None
    resolved_too: bool = False


_NOT_SEALED = [name for name in SCHEMA.names if name != "sealed_line"]


def find(raw: Path, choice: Choice, *, with_lines: bool = False) -> pa.Table:
    """The letters chosen, oldest first.

    Returns:
        The columns of the letters, without `sealed_line` unless asked for, then `state` (open,
        replayed or dropped), `because`, `resolved_at` and `resolved_in` (a batch id).

    Raises:
        UsageError: an id names no letter, or several.
    """
    columns = SCHEMA.names if with_lines else _NOT_SEALED
    wanted = _conditions(choice)
    if DeltaTable.is_deltatable(str(raw / FOLDER)):
        dataset = DeltaTable(str(raw / FOLDER)).to_pyarrow_dataset()
        letters = dataset.to_table(columns=columns, filter=wanted)
    else:
        letters = SCHEMA.empty_table().select(columns)
    if choice.ids:
        letters = letters.take(_rows_named(letters["letter_id"].to_pylist(), choice.ids))
    letters = _with_state(letters, raw)
    if not choice.resolved_too:
        letters = letters.filter(pc.field("state") == "open")
    return letters.sort_by([("landed_at", "ascending"), ("line_number", "ascending")])


def _conditions(choice: Choice) -> pc.Expression | None:
    found: pc.Expression | None = None
    for column, value in (("topic", choice.topic), ("reason_code", choice.reason_code)):
        if value is not None:
            holds = pc.field(column) == value
            found = holds if found is None else found & holds
    if choice.since is not None:
        holds = pc.field("landed_at") >= pa.scalar(choice.since, UTC_MICROSECONDS)
        found = holds if found is None else found & holds
    return found


def _rows_named(known: list[str], names: Sequence[str]) -> list[int]:
    rows: dict[int, None] = {}
    for name in names:
        found = [row for row, letter_id in enumerate(known) if letter_id.startswith(name)]
        if len(found) != 1:
            raise UsageError(
                f"{len(found) or 'no'} dead letter{'s' * (len(found) != 1)} of this choice "
                f"begin{'s' * (len(found) == 1)} with {name}",
                "copy the id from `lakehouse dead-letters list --all`",
            )
        rows[found[0]] = None
    return list(rows)


def _with_state(letters: pa.Table, raw: Path) -> pa.Table:
    ends: dict[str, dict[str, Any]] = {}
    if DeltaTable.is_deltatable(str(raw / resolutions.FOLDER)):
        marks = read(DeltaTable(str(raw / resolutions.FOLDER)), resolutions.SCHEMA)
        ends = {mark["letter_id"]: mark for mark in marks.to_pylist()}
    own = [ends.get(letter_id, {}) for letter_id in letters["letter_id"].to_pylist()]
    states = [end.get("resolution", "open") for end in own]
    letters = letters.append_column("state", pa.array(states, pa.string()))
    for name, column in (("because", "because"), ("resolved_in", "batch_id")):
        texts = [end.get(column) for end in own]
        letters = letters.append_column(name, pa.array(texts, pa.string()))
    times = pa.array([end.get("resolved_at") for end in own], UTC_MICROSECONDS)
    return letters.append_column("resolved_at", times)


def reasons(raw: Path) -> pa.Table:
    """Number of open dead letters by topic and reason code."""
    rows = find(raw, Choice())
    counted = rows.group_by(["topic", "reason_code"]).aggregate([([], "count_all")])
    counted = counted.rename_columns(["topic", "reason_code", "letters"])
    return counted.take(
        pc.sort_indices(counted, [("topic", "ascending"), ("letters", "descending")])
    )
