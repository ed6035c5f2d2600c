"""What the gates found, as Delta tables: every result for good, and the rows that fail now.

They are no part of a publication: who asks why nothing was published must find them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, QueryBuilder, write_deltalake

from pipelines.lake.catalog import QUALITY_TABLES
from pipelines.lake.ids import now
from pipelines.lake.tables import (
    COMPRESSED,
    UTC_MICROSECONDS,
    again_if_overtaken,
    open_or_create,
    read,
)
from pipelines.quality.results import GateReport, Result

RESULTS, QUARANTINE = QUALITY_TABLES

RESULTS_SCHEMA = pa.schema(
    [
        ("run_id", pa.string()),
        ("target", pa.string()),
        ("gate", pa.string()),
        ("table_name", pa.string()),
        ("rule", pa.string()),
        ("expectation", pa.string()),
        ("columns", pa.string()),
        ("severity", pa.string()),
        ("is_met", pa.bool_()),
        ("checked_rows", pa.int64()),
        ("failed_rows", pa.int64()),
        ("observed", pa.string()),
        ("origin", pa.string()),
        ("checked_at", UTC_MICROSECONDS),
    ]
)
QUARANTINE_SCHEMA = pa.schema(
    [
        ("run_id", pa.string()),
        ("target", pa.string()),
        ("gate", pa.string()),
        ("table_name", pa.string()),
        ("reason", pa.string()),
        ("severity", pa.string()),
        ("key", pa.string()),
        ("row", pa.string()),
        ("checked_at", UTC_MICROSECONDS),
    ]
)


def keep(folder: Path, report: GateReport, *, run_id: str, target: str) -> None:
    """Add the results of a gate, and put the rows that fail it now in place of those before."""
    _append_results(folder, report, run_id, target)
    _replace_quarantine(folder, report, run_id, target)


def last_checks(folder: Path) -> list[dict[str, Any]]:
    """What each gate last found, by target.

    Returns:
        Rows of target, gate, run_id, checked_at, rules, and how many of them blocked and warned.
    """
    if not DeltaTable.is_deltatable(str(folder / RESULTS)):
        return []
    query = QueryBuilder().register("results", DeltaTable(str(folder / RESULTS)))
    found = query.execute("""
        select target, gate, run_id, max(checked_at) as checked_at, count(*) as rules,
            sum(case when not is_met and severity = 'block' then 1 else 0 end) as blocking,
            sum(case when not is_met and severity = 'warn' then 1 else 0 end) as warnings
        from results
        group by target, gate, run_id
        order by checked_at
    """)
    newest = {(row["target"], row["gate"]): row for row in pa.table(found).to_pylist()}
    return sorted(newest.values(), key=lambda row: (row["target"], row["checked_at"]))


@again_if_overtaken
def clear_quarantine(folder: Path, run_id: str) -> None:
    """Take all rows out, of all targets; the next gate of each puts back what fails then."""
    if DeltaTable.is_deltatable(str(folder / QUARANTINE)):
        table = DeltaTable(str(folder / QUARANTINE))
        _write(table, QUARANTINE_SCHEMA.empty_table(), run_id, "true")


@again_if_overtaken
def _append_results(folder: Path, report: GateReport, run_id: str, target: str) -> None:
    at = now()
    rows = [
        {
            "run_id": run_id,
            "target": target,
            "gate": report.gate,
            "table_name": result.table,
            "rule": result.rule.name,
            "expectation": result.rule.type,
            "columns": ", ".join(result.rule.columns) or None,
            "severity": result.rule.severity,
            "is_met": result.success,
            "checked_rows": result.checked,
            "failed_rows": result.failed,
            "observed": result.observed,
            "origin": result.rule.origin,
            "checked_at": at,
        }
        for result in report.results
    ]
    table = open_or_create(
        folder / RESULTS, RESULTS_SCHEMA, description="what became of each rule of each gate"
    )
    _write(table, pa.Table.from_pylist(rows, RESULTS_SCHEMA), run_id)


@again_if_overtaken
def _replace_quarantine(folder: Path, report: GateReport, run_id: str, target: str) -> None:
    at = now()
    mine = f"target = '{target}' and gate = '{report.gate}'"
    rows = [
        {
            "run_id": run_id,
            "target": target,
            "gate": report.gate,
            "table_name": result.table,
            "reason": result.rule.name,
            "severity": result.rule.severity,
            "key": _json({name: row[name] for name in result.key if name in row}),
            "row": _json(row),
            "checked_at": at,
        }
        for result in _failed(report)
        for row in result.rows
    ]
    table = open_or_create(
        folder / QUARANTINE, QUARANTINE_SCHEMA, description="rows that break a rule of a gate"
    )
    if rows or _holds(table, mine):
        _write(table, pa.Table.from_pylist(rows, QUARANTINE_SCHEMA), run_id, mine)


def _failed(report: GateReport) -> Iterable[Result]:
    return (result for result in report.results if not result.success)


def _holds(table: DeltaTable, where: str) -> bool:
    return bool(read(table, QUARANTINE_SCHEMA, where).num_rows)


def _write(table: DeltaTable, rows: pa.Table, run_id: str, instead_of: str | None = None) -> None:
    properties = CommitProperties(custom_metadata={"run_id": run_id})
    if instead_of is None:
        write_deltalake(
            table, rows, mode="append", writer_properties=COMPRESSED, commit_properties=properties
        )
    else:
        write_deltalake(
            table,
            rows,
            mode="overwrite",
            predicate=instead_of,
            writer_properties=COMPRESSED,
            commit_properties=properties,
        )


def _json(values: dict[str, object]) -> str:
    return json.dumps(values, default=str, ensure_ascii=False)
