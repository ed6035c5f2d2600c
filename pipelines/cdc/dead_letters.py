"""Dead letters: messages that could not land, kept whole (sealed) with coordinates and reason."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from pipelines.cdc.masking import Masker
from pipelines.lake.tables import UTC_MICROSECONDS, append, open_or_create

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
        rows = self._table.to_pyarrow_table(
            columns=["letter_id", "batch_id"], filters=[("topic", "in", sorted(topics))]
        )
        return dict(zip(rows["letter_id"].to_pylist(), rows["batch_id"].to_pylist(), strict=True))


def reasons(raw: Path) -> pa.Table:
    """Number of dead letters by topic and reason code."""
    path = raw / FOLDER
    if not DeltaTable.is_deltatable(str(path)):
        return pa.table({"topic": [], "reason_code": [], "letters": []})
    rows = DeltaTable(str(path)).to_pyarrow_table(columns=["topic", "reason_code"])
    counted = rows.group_by(["topic", "reason_code"]).aggregate([([], "count_all")])
    counted = counted.rename_columns(["topic", "reason_code", "letters"])
    return counted.take(
        pc.sort_indices(counted, [("topic", "ascending"), ("letters", "descending")])
    )
