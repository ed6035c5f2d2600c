"""What became of dead letters: marks in a table of their own, so that no letter is ever rewritten.

A replay commits the rows that now land, then the marks, then the ledger; each commit is idempotent
by itself. A mark tells all that the ledger needs, so a replay cut off before its last commit is
completed from the marks alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import pyarrow as pa
from deltalake import DeltaTable

from pipelines.cdc.decode import DEAD, DISPOSITIONS, LANDED, ROUTED, TRUNCATE
from pipelines.cdc.ledger import Ledger
from pipelines.lake.ids import now
from pipelines.lake.tables import UTC_MICROSECONDS, again_if_overtaken, append, open_or_create, read

FOLDER = "_dead_letter_resolutions"
# Its own app transaction in every table that a replay writes: the progress of a topic-partition
# belongs to the landing.
APP = "dead-letters"

Resolution = Literal["replayed", "dropped"]
REPLAYED: Resolution = "replayed"
DROPPED: Resolution = "dropped"

SCHEMA = pa.schema(
    [
        ("letter_id", pa.string()),
        ("topic", pa.string()),
        ("resolution", pa.string()),
        ("because", pa.string()),
        ("disposition", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("takes_place", pa.bool_()),
        ("landed_in", pa.string()),
        ("routed_to", pa.string()),
        ("batch_id", pa.string()),
        ("run_id", pa.string()),
        ("resolved_at", UTC_MICROSECONDS),
    ]
)


@dataclass(frozen=True)
class Mark:
    """The end of one letter.

    Attributes:
        disposition: what its message is now; None for a dropped letter, which stays dead.
        partition: where the message stands in its topic, as is `offset`.
        takes_place: whether the letter had told no coordinates, so that the ledger learns them.
        landed_in: an earlier batch that wrote the row already, None where this replay did.
        routed_to: of a letter of a shared topic, the `topic` of the table that its message is of.
    """

    letter_id: str
    topic: str
    resolution: Resolution
    because: str | None = None
    disposition: str | None = None
    partition: int | None = None
    offset: int | None = None
    takes_place: bool = False
    landed_in: str | None = None
    routed_to: str | None = None


class Resolutions:
    """The Delta table `raw/_dead_letter_resolutions`: a row a letter that is no longer open."""

    def __init__(self, raw: Path) -> None:
        self._table = open_or_create(raw / FOLDER, SCHEMA, description="ends of dead letters")

    def resolved(self) -> set[str]:
        """Ids of all letters resolved by now."""
        self._table.update_incremental()
        return set(read(self._table, SCHEMA)["letter_id"].to_pylist())

    def add(
        self, marks: Sequence[Mark], *, batch_id: str, run_id: str, resolved_at: datetime
    ) -> None:
        """Append marks of letters that were open when `resolved` was asked last.

        Raises:
            deltalake.exceptions.CommitFailedError: somebody else has resolved letters since.
        """
        common = {"batch_id": batch_id, "run_id": run_id, "resolved_at": resolved_at}
        append(
            self._table,
            pa.Table.from_pylist([vars(mark) | common for mark in marks], SCHEMA),
            metadata={"batch_id": batch_id, "run_id": run_id},
            transactions={APP: next_serial(self._table)},
        )

    def uncounted(self, ledger: Ledger) -> dict[str, list[Mark]]:
        """Batch id → marks of replays that died before the ledger learned of them."""
        self._table.update_incremental()
        found: dict[str, list[Mark]] = {}
        for row in read(self._table, SCHEMA, f"resolution = '{REPLAYED}'").to_pylist():
            if row["batch_id"] not in ledger.progress(row["topic"]).batches:
                mark = Mark(**{name: row[name] for name in Mark.__dataclass_fields__})
                found.setdefault(row["batch_id"], []).append(mark)
        return found


def next_serial(table: DeltaTable) -> int:
    """The next version of the replays' own app transaction in a table."""
    reached = table.transaction_version(APP)
    return 0 if reached is None else reached + 1


@again_if_overtaken
def complete(raw: Path, ledger: Ledger, run_id: str) -> int:
    """Count in the ledger what a replay had marked when it died; returns the letters concerned.

    Raises:
        deltalake.exceptions.CommitFailedError: others keep committing.
    """
    if not DeltaTable.is_deltatable(str(raw / FOLDER)):
        return 0
    uncounted = Resolutions(raw).uncounted(ledger)
    for batch_id, marks in uncounted.items():
        count(ledger, marks, batch_id=batch_id, run_id=run_id)
    return sum(map(len, uncounted.values()))


def count(ledger: Ledger, marks: Sequence[Mark], *, batch_id: str, run_id: str) -> None:
    """Move replayed letters in the ledger from `dead` to what they are now.

    The messages were consumed when they became letters: `consumed` grows by nothing, `dead` shrinks
    by what the other dispositions grow. To the table of a routed message it is news.

    Raises:
        deltalake.exceptions.CommitFailedError: somebody else has counted a replay meanwhile.
    """
    common = {"run_id": run_id, "committed_at": now()}
    rows: list[dict[str, object]] = []
    for (topic, partition, place), dispositions in _grouped(marks).items():
        # Only what a contract knows lands; nothing else is to be staged.
        has_rows = dispositions[LANDED] + dispositions[TRUNCATE] > 0
        rows.append(
            {
                **common,
                **{name: dispositions[name] for name in DISPOSITIONS},
                DEAD: -dispositions.total(),
                "consumed": 0,
                "batch_id": batch_id,
                "topic": topic,
                "table_name": topic if has_rows else None,
                "partition": partition,
                "first_offset": place,
                "last_offset": place,
            }
        )
    rows += [row | common | {"batch_id": batch_id} for row in _rows_of_routed(marks)]
    landed_in = {(m.routed_to or m.topic, m.landed_in) for m in marks if m.landed_in}
    for topic, earlier in sorted(landed_in):
        named = {"consumed": 0, "batch_id": earlier, "topic": topic, "table_name": topic}
        rows.append({**common, **dict.fromkeys(DISPOSITIONS, 0), **named})
    ledger.commit(rows, {"batch_id": batch_id, "run_id": run_id}, serial=APP)


def _grouped(marks: Iterable[Mark]) -> Mapping[tuple[str, int | None, int | None], Counter[str]]:
    """Dispositions by topic, partition, and the offset of those that take a place."""
    groups: dict[tuple[str, int | None, int | None], Counter[str]] = {}
    for mark in marks:
        place = mark.offset if mark.takes_place else None
        group = groups.setdefault((mark.topic, mark.partition, place), Counter())
        group[ROUTED if mark.routed_to else str(mark.disposition)] += 1
    return groups


def _rows_of_routed(marks: Iterable[Mark]) -> Iterator[dict[str, object]]:
    """Rows of the ledger for the tables of routed messages, by partition."""
    groups: dict[tuple[str, int | None], list[Mark]] = {}
    for mark in marks:
        if mark.routed_to:
            groups.setdefault((mark.routed_to, mark.partition), []).append(mark)
    for (topic, partition), own in groups.items():
        dispositions = Counter(str(mark.disposition) for mark in own)
        offsets = [mark.offset for mark in own if mark.offset is not None]
        yield {
            **{name: dispositions[name] for name in DISPOSITIONS},
            "consumed": len(own),
            "topic": topic,
            "table_name": topic,
            "partition": partition,
            "first_offset": min(offsets),
            "last_offset": max(offsets),
        }
