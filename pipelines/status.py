"""What state the lake is in: read from its own tables, without waiting for a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipelines import transform
from pipelines.cdc import dead_letters, ledger, metrics
from pipelines.contract import Contracts, load_contracts
from pipelines.errors import LakehouseError, Unavailable
from pipelines.features.served import freshness as freshness_of_features
from pipelines.lake import lock
from pipelines.lake.ids import now
from pipelines.lake.publish import Manifest, read_manifest
from pipelines.quality.books import last_checks
from pipelines.records import last_runs
from pipelines.settings import Settings


@dataclass(frozen=True)
class Status:
    """A picture of the lake.

    Attributes:
        running: pid, command and start of the run that is on, else None.
        sources: per topic the sums of each counter and the newest source time.
        staged: per topic what became of its landed rows, up to the last green build.
        streams: per topic what its last landing from Kafka told: lag, rows per second, freshness.
        freshness: per source table when it last landed, and whether that is later than its contract
            allows.
        gates: what each gate last found.
        features: per view until when its features are served, and of how many entities.
        alarms: what a person should look at now, in a sentence each.
    """

    home: str
    running: dict[str, str] | None
    sources: list[dict[str, Any]]
    staged: dict[str, dict[str, int]]
    streams: list[dict[str, Any]]
    dead_letters: list[dict[str, Any]]
    freshness: list[dict[str, Any]]
    gates: list[dict[str, Any]]
    features: list[dict[str, Any]]
    alarms: list[str]
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
    sources = ledger.totals(settings.raw).to_pylist()
    freshness = _freshness(load_contracts(settings.project_dir), sources)
    gates, runs = last_checks(settings.quality), last_runs(settings)
    alarms = list(_alarms(freshness, gates, runs, manifest))
    try:
        features = freshness_of_features(settings)
    except Unavailable as error:
        features = []
        alarms.append(f"what features are served is not known: {error.cause}")
    return Status(
        home=str(settings.home),
        running=lock.owner(settings.state),
        sources=sources,
        staged=transform.arrivals(settings),
        streams=metrics.streams(settings.state),
        dead_letters=dead_letters.reasons(settings.raw).to_pylist(),
        freshness=freshness,
        gates=gates,
        features=features,
        alarms=alarms,
        published=[
            {"table": n, "rows": t.rows, "version": t.version, "run_id": t.run_id}
            for n, t in tables
        ],
        published_at=manifest.published_at if manifest else None,
        business_date=manifest.business_date if manifest else None,
        last_runs=runs,
    )


def _freshness(contracts: Contracts, sources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    landed = {row["topic"]: row["committed_at"] for row in sources}
    found = []
    for table in contracts.tables:
        at, allowed = landed.get(table.stream_topic), table.fresh_within
        age = now() - at if at is not None else None
        found.append(
            {
                "table": table.topic,
                "owner": table.owner,
                "landed_at": at,
                "allowed_seconds": allowed.total_seconds() if allowed else None,
                "is_late": None if allowed is None or age is None else age > allowed,
            }
        )
    return found


def _alarms(
    freshness: list[dict[str, Any]],
    gates: list[dict[str, Any]],
    runs: list[dict[str, Any]],
    manifest: Manifest | None,
) -> Iterator[str]:
    late = [row["table"] for row in freshness if row["is_late"]]
    if late:
        yield f"nothing has landed for longer than the contract allows: {', '.join(late)}"
    for row in gates:
        if row["blocking"]:
            yield (
                f"the gate on {row['gate']} ({row['target']}) blocks: {row['blocking']} rules do "
                "not hold; see quality.quarantine"
            )
    if runs and runs[0]["status"] == "failed":
        yield f"the last run failed: {runs[0]['error']}"
    if manifest is not None and manifest.is_held:
        yield (
            f"readers are held at publication {manifest.version}; "
            "`lakehouse publish --latest` ends that"
        )
