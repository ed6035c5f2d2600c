"""Whether ledger, raw tables and dead letters tell the same story, before anything is added.

A landing passes over what the ledger knows. If the rows that the ledger counted are no longer
there, that would lose them silently; if the ledger is gone, staging would no longer find the rows.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from pipelines.cdc import dead_letters, ledger, resolutions
from pipelines.cdc.decode import DEAD, LANDED, TRUNCATE
from pipelines.cdc.ledger import Ledger
from pipelines.contract import Contracts
from pipelines.errors import LakehouseError
from pipelines.lake.tables import EXPIRY

_ANEW = "move {raw} and the work file warehouse.duckdb aside and land all capture files anew"


@dataclass
class _Counted:
    """What the ledger says there is.

    Attributes:
        rows: raw table → rows.
        letters: all letters, resolved or not.
        replayed: letters that were replayed.
    """

    rows: Counter[str] = field(default_factory=Counter)
    letters: int = 0
    replayed: int = 0


def open_ledger(raw: Path, contracts: Contracts) -> tuple[Ledger, pa.Table]:
    """The ledger and its overview, if the other tables agree with it.

    More rows or letters than the ledger counts are left by a crash, and found by their coordinates.

    Raises:
        LakehouseError: the ledger is gone though rows are there; a table holds less than the ledger
            counted; or app transactions of a table may expire.
    """
    topics = [table.topic for table in contracts.tables]
    if _open(raw, ledger.FOLDER) is None:
        _refuse_rows_without_ledger(raw, topics)
    found = Ledger(raw)
    # The ledger is read first: landings that go on meanwhile commit to it last.
    overview = found.overview()
    counted = _counted(overview)
    for topic in topics:
        _refuse_less(raw, topic, "rows", counted.rows[topic])
    _refuse_less(raw, dead_letters.FOLDER, "letters", counted.letters)
    _refuse_less(raw, resolutions.FOLDER, "replayed letters", counted.replayed)
    return found, overview


def _counted(overview: pa.Table) -> _Counted:
    counted = _Counted()
    rows = overview.append_column("replayed", pc.min_element_wise(overview[DEAD], 0))
    sums = rows.group_by("topic").aggregate(
        [(name, "sum") for name in (LANDED, TRUNCATE, DEAD, "replayed")]
    )
    for row in sums.to_pylist():
        counted.rows[row["topic"]] = (row["landed_sum"] or 0) + (row["truncate_sum"] or 0)
        counted.replayed -= row["replayed_sum"] or 0
        counted.letters += (row["dead_sum"] or 0) - (row["replayed_sum"] or 0)
    return counted


def _open(raw: Path, folder: str) -> DeltaTable | None:
    if not DeltaTable.is_deltatable(str(raw / folder)):
        return None
    table = DeltaTable(str(raw / folder))
    if table.metadata().configuration.get(EXPIRY):
        raise LakehouseError(
            f"{raw / folder} has the property {EXPIRY}: once its app transactions expire, nothing "
            "tells any more how far it was landed",
            'empty that property: python -c "from deltalake import DeltaTable; '
            f"DeltaTable('{raw / folder}').alter.set_table_properties({{'{EXPIRY}': ''}})\"",
        )
    return table


def _refuse_rows_without_ledger(raw: Path, topics: list[str]) -> None:
    for topic in topics:
        table = _open(raw, topic)
        if table is None or not table.count():
            continue
        # A landing that began a moment ago makes the ledger before it commits rows.
        if _open(raw, ledger.FOLDER) is None:
            raise LakehouseError(
                f"{raw / topic} holds rows, but {raw / ledger.FOLDER} is gone: nobody knows which "
                "batches are whole",
                f"restore {ledger.FOLDER} from a backup, or {_ANEW.format(raw=raw)}",
            )


def _refuse_less(raw: Path, folder: str, what: str, counted: int) -> None:
    table = _open(raw, folder)
    found = 0 if table is None else table.count()
    if found < counted:
        state = "is gone" if table is None else f"holds {found:,} {what}"
        raise LakehouseError(
            f"{raw / folder} {state}, but the ledger has counted {counted:,} {what}: messages "
            "would be passed over as landed",
            f"restore {folder} and {ledger.FOLDER} from one backup, or {_ANEW.format(raw=raw)}",
        )
