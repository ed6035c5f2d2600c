"""What state the lake is in: read from its own tables, without waiting for a run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from pipelines import transform
from pipelines.cdc import dead_letters, ledger, metrics
from pipelines.cdc.decode import ROUTED
from pipelines.cdc.ledger import RETIRED
from pipelines.chain import last_runs
from pipelines.errors import LakehouseError
from pipelines.lake import lock
from pipelines.lake.publish import read_manifest
from pipelines.settings import Settings


@dataclass(frozen=True)
class Status:
    """A picture of the lake.

    Attributes:
        running: pid, command and start of the run that is on, else None.
        sources: per topic the sums of each counter and the newest source time.
        staged: per topic what became of its landed rows, up to the last green build.
        streams: per topic what its last landing from Kafka told: lag, rows per second, freshness.
    """

    home: str
    running: dict[str, str] | None
    sources: list[dict[str, Any]]
    staged: dict[str, dict[str, int]]
    streams: list[dict[str, Any]]
    dead_letters: list[dict[str, Any]]
    published: list[dict[str, Any]]
    published_at: str | None
    business_date: str | None
    last_runs: list[dict[str, Any]]


def collect(settings: Settings) -> Status:
    """Collect the status.

    Raises:
        LakehouseError: there is no lake at the given home.
    """
    if not settings.home.is_dir():
        raise LakehouseError(
            f"there is no lake in {settings.home}",
            "run `lakehouse demo` first, or name another with --home",
        )
    manifest = read_manifest(settings.published)
    tables = manifest.tables.items() if manifest else ()
    return Status(
        home=str(settings.home),
        running=lock.owner(settings.state),
        sources=ledger.totals(settings.raw).to_pylist(),
        staged=transform.arrivals(settings),
        streams=metrics.streams(settings.state),
        dead_letters=dead_letters.reasons(settings.raw).to_pylist(),
        published=[
            {"table": n, "rows": t.rows, "version": t.version, "run_id": t.run_id}
            for n, t in tables
        ],
        published_at=manifest.published_at if manifest else None,
        business_date=manifest.business_date if manifest else None,
        last_runs=last_runs(settings),
    )


def show(found: Status, console: Console) -> None:
    """Print the status as tables."""
    running = found.running
    doing = f"{running['command']} (pid {running['pid']})" if running else "nothing is running"
    console.print(f"[bold]{found.home}[/]: {doing}", highlight=False)
    seldom = [name for name in (ROUTED, RETIRED) if any(row[name] for row in found.sources)]
    sources = RichTable(
        "topic", "consumed", "landed", *seldom, "tombstones", "control",
        "dead", "newest change (UTC)", title="Sources",
    )  # fmt: skip
    for row in found.sources:
        control = sum(
            row[k] for k in ("heartbeat", "message", "txmeta", "schema_change", "truncate")
        )
        counted = ("consumed", "landed", *seldom, "tombstone")
        numbers = (*(row[name] for name in counted), control, row["dead"])
        newest = row["newest_source_ts"]
        sources.add_row(
            row["topic"],
            *(f"{n:,}" for n in numbers),
            f"{newest:%Y-%m-%d %H:%M:%S}" if newest else "",
        )
    console.print(sources)
    if found.staged:
        names = ("applied", "duplicate", "stale")
        staged = RichTable("topic", *names, title="Staged, as of the last green build")
        for topic, arrived in found.staged.items():
            staged.add_row(topic, *(f"{arrived[name]:,}" for name in names))
        console.print(staged)
    if found.streams:
        streams = RichTable("topic", "lag", "rows/s", "fresh to (s)", "read (UTC)", title="Kafka")
        for row in found.streams:
            streams.add_row(
                row["topic"],
                f"{row['lag_messages']:,}",
                f"{row['rows_per_second']:,}" if "rows_per_second" in row else "",
                f"{row['freshness_seconds']:,}" if row.get("freshness_seconds") is not None else "",
                f"{datetime.fromisoformat(row['read_at']):%Y-%m-%d %H:%M:%S}",
            )
        console.print(streams)
    if found.dead_letters:
        letters = RichTable("topic", "reason", "letters", title="Dead letters")
        for row in found.dead_letters:
            letters.add_row(row["topic"], row["reason_code"], f"{row['letters']:,}")
        console.print(letters)
    title = f"Published {found.published_at}, business date {found.business_date}"
    published = RichTable("table", "rows", "version", "written in run", title=title)
    for row in found.published:
        published.add_row(row["table"], f"{row['rows']:,}", str(row["version"]), row["run_id"])
    console.print(published if found.published else "nothing is published yet")
    runs = RichTable("run", "command", "status", "landed", "dead", "seconds", title="Last runs")
    for row in found.last_runs:
        runs.add_row(
            row["run_id"], row["command"], row["status"], str(row.get("landed", "")),
            str(row.get("dead", "")), " ".join(f"{k} {v}" for k, v in row["seconds"].items()),
        )  # fmt: skip
    console.print(runs)
