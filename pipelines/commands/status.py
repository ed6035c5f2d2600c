"""The command `lakehouse status`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

import typer
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table as RichTable

from pipelines import status as state
from pipelines.cdc.decode import ROUTED
from pipelines.cdc.ledger import RETIRED
from pipelines.commands.options import Json
from pipelines.status import Status
from pipelines.terminal import out, print_json

_CONTROL = ("heartbeat", "message", "txmeta", "schema_change", "truncate")


def status(context: typer.Context, as_json: Json = False) -> None:
    """Tables, freshness, gates, last runs, dead letters, published versions and open alarms."""
    found = state.collect(context.obj)
    if as_json:
        print_json(asdict(found))
        return
    running = found.running
    doing = f"{running['command']} (pid {running['pid']})" if running else "nothing is running"
    out.print(f"[bold]{found.home}[/]: {doing}", highlight=False)
    for table in _tables(found):
        out.print(table)
    for alarm in found.alarms:
        out.print(f"[red]![/] {escape(alarm)}", highlight=False)


def _tables(found: Status) -> Iterator[RenderableType]:
    yield _sources(found)
    if found.staged:
        yield _staged(found)
    if found.streams:
        yield _streams(found)
    if found.dead_letters:
        letters = RichTable("topic", "reason", "letters", title="Dead letters")
        for row in found.dead_letters:
            letters.add_row(row["topic"], row["reason_code"], f"{row['letters']:,}")
        yield letters
    if found.gates:
        yield _gates(found)
    if found.features:
        yield _features(found)
    yield _published(found) if found.published else "nothing is published yet"
    yield _runs(found)


def _sources(found: Status) -> RichTable:
    seldom = [name for name in (ROUTED, RETIRED) if any(row[name] for row in found.sources)]
    late = {row["table"] for row in found.freshness if row["is_late"]}
    table = RichTable(
        "topic", "consumed", "landed", *seldom, "tombstones", "control",
        "dead", "newest change (UTC)", "last landed (UTC)", title="Sources",
    )  # fmt: skip
    for row in found.sources:
        counted = (row[name] for name in ("consumed", "landed", *seldom, "tombstone"))
        control = sum(row[name] for name in _CONTROL)
        table.add_row(
            row["topic"],
            *(f"{n:,}" for n in (*counted, control, row["dead"])),
            _moment(row["newest_source_ts"]),
            _moment(row["committed_at"]) + (" [red]late[/]" if row["topic"] in late else ""),
        )
    return table


def _staged(found: Status) -> RichTable:
    names = ("applied", "duplicate", "stale")
    table = RichTable("topic", *names, title="Staged, as of the last green build")
    for topic, arrived in found.staged.items():
        table.add_row(topic, *(f"{arrived[name]:,}" for name in names))
    return table


def _streams(found: Status) -> RichTable:
    table = RichTable("topic", "lag", "rows/s", "fresh to (s)", "read (UTC)", title="Kafka")
    for row in found.streams:
        table.add_row(
            row["topic"],
            f"{row['lag_messages']:,}",
            f"{row['rows_per_second']:,}" if "rows_per_second" in row else "",
            f"{row['freshness_seconds']:,}" if row.get("freshness_seconds") is not None else "",
            _moment(datetime.fromisoformat(row["read_at"])),
        )
    return table


def _gates(found: Status) -> RichTable:
    table = RichTable(
        "target", "gate", "rules", "blocking", "warnings", "checked (UTC)", title="Gates"
    )
    for row in found.gates:
        numbers = (row[name] for name in ("rules", "blocking", "warnings"))
        table.add_row(row["target"], row["gate"], *map(str, numbers), _moment(row["checked_at"]))
    return table


def _features(found: Status) -> RichTable:
    table = RichTable(
        "view", "table version", "known until (UTC)", "entities", title="Features served"
    )
    for row in found.features:
        table.add_row(row["view"], str(row["version"]), row["until"][:16], f"{row['entities']:,}")
    return table


def _published(found: Status) -> RichTable:
    title = f"Published {found.published_at}, business date {found.business_date}"
    table = RichTable("table", "rows", "version", "written in run", title=title)
    for row in found.published:
        table.add_row(row["table"], f"{row['rows']:,}", str(row["version"]), row["run_id"])
    return table


def _runs(found: Status) -> RichTable:
    table = RichTable("run", "command", "status", "landed", "dead", "seconds", title="Last runs")
    for row in found.last_runs:
        table.add_row(
            row["run_id"], row["command"], row["status"], str(row.get("landed", "")),
            str(row.get("dead", "")), " ".join(f"{k} {v}" for k, v in row["seconds"].items()),
        )  # fmt: skip
    return table


def _moment(at: Any) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}" if at else ""
