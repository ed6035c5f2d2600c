"""The dbt build, in process: staging, marts and tests; tells which test failed, on which rows."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import structlog

from pipelines.cdc.ledger import batches
from pipelines.errors import LakehouseError
from pipelines.lake.duck import connect_warehouse
from pipelines.lake.files import replace_text
from pipelines.lake.publish import Source
from pipelines.settings import EMBEDDED, Settings
from pipelines.targets import environment

log = structlog.get_logger()

PUBLISHED_SCHEMAS = ("marts", "features", "predictions", "quality")
_SHOWN_ROWS = 5


@dataclass(frozen=True)
class Failure:
    """A model or test that failed.

    Attributes:
        node: name of the test or model.
        models: the models that it concerns.
        rows: the first offending rows, as dicts (tests only).
    """

    node: str
    kind: str
    models: list[str]
    message: str
    rows: list[dict[str, Any]] = field(default_factory=list)

    def __str__(self) -> str:
        where = f" on {', '.join(self.models)}" if self.models else ""
        shown = "".join(f"\n    {json.dumps(row, default=str)}" for row in self.rows)
        return f"{self.kind} {self.node}{where}: {self.message}{shown}"


@dataclass
class BuildReport:
    """What a dbt build did. `skipped` tells that nothing was new.

    Attributes:
        build_id: names what was built: the project's files and the batches staged.
        sources: the finished tables that are to be published.
    """

    build_id: str
    skipped: bool = False
    full_refresh: bool = False
    models: int = 0
    tests: int = 0
    warnings: list[str] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)


class BuildFailed(LakehouseError):
    """At least one model or test failed; what is published stays as it was.

    Tables on a server do not.
    """

    def __init__(self, failures: list[Failure], target: str = EMBEDDED) -> None:
        self.failures = failures
        named = "\n  ".join(str(failure) for failure in failures)
        is_server = target != EMBEDDED
        meanwhile = "the published marts stay as they were"
        look = "`lakehouse sql --help` tells how to look at staging"
        if is_server:
            meanwhile = f"and the marts on {target} may hold what failed"
            look = "`dbt show` in the project shows the rows of a test"
        super().__init__(
            f"the dbt build failed, {meanwhile}:\n  {named}",
            f"correct the data or the model, then run again; {look}",
        )


def build(
    settings: Settings,
    *,
    on_node: Callable[[str], None] = lambda name: None,
    on_results: Callable[[list[Any]], None] = lambda results: None,
) -> BuildReport:
    """Build what is new since the last green build; everything anew if the project has changed.

    On a server everything is made anew after a demand, too: it knows neither the marks nor that the
    work file is gone.

    Args:
        on_results: is given dbt's results of all nodes, also where some have failed.

    Raises:
        UsageError: the settings do not tell enough of the server.
        BuildFailed: names each failed test or model, and the first rows of each failed test.
    """
    news = _news(settings)
    former = _read_state(settings)
    if former == news:
        return BuildReport(_build_id(news), skipped=True, sources=_sources_of(settings))
    is_embedded = settings.target == EMBEDDED
    decisive = ("project",) if is_embedded else ("project", "demand")
    full_refresh = former is not None and any(former.get(n) != news.get(n) for n in decisive)
    arguments = ["build", "--exclude-resource-type", "unit_test"]
    if full_refresh:
        log.info("project or contract changed, or raw rows went: everything is built anew")
        arguments.append("--full-refresh")
    results = _dbt(settings, arguments, on_node)
    on_results(results)
    failures = [_failure(result, settings) for result in results if _has_failed(result)]
    if failures:
        raise BuildFailed(failures, settings.target)
    report = BuildReport(_build_id(news), full_refresh=full_refresh)
    for result in results:
        kind = result.node.resource_type
        report.models += kind == "model"
        report.tests += kind == "test"
        if str(result.status) == "warn":
            report.warnings.append(f"{result.node.name}: {result.message}")
    report.sources = _published_sources(results) if is_embedded else []
    _write_state(settings, news, report.sources)
    return report


def _published_sources(results: list[Any]) -> list[Source]:
    nodes = [result.node for result in results if result.node.resource_type == "model"]
    return [
        Source(node.schema, node.name, node.config.meta.get("publish_by"))
        for node in sorted(nodes, key=lambda node: str(node.name))
        if node.schema in PUBLISHED_SCHEMAS and node.config.materialized != "ephemeral"
    ]


def _dbt(settings: Settings, arguments: list[str], on_node: Callable[[str], None]) -> list[Any]:
    # Imported only where a build is due: it takes seconds, which `sql` and `status` need not wait.
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner

    def tell(event: Any) -> None:
        if event.info.name in ("LogModelResult", "LogTestResult"):
            on_node(str(event.data.node_info.node_name))

    common = [
        "--project-dir", str(settings.project_dir),
        "--profiles-dir", str(settings.project_dir),
        "--target", settings.target,
        "--target-path", str(settings.state / "dbt"),
        "--log-path", str(settings.home / "logs"),
        "--log-level", "none",
        "--log-level-file", "info",
        "--no-use-colors",
    ]  # fmt: skip
    settings.scratch.mkdir(parents=True, exist_ok=True)
    with environment(settings):
        try:
            outcome = dbtRunner(callbacks=[tell]).invoke([*arguments, *common])
        finally:
            # dbt keeps the file open, and with it everybody else out.
            DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
    results = list(getattr(outcome.result, "results", None) or [])
    if outcome.exception is not None or (not outcome.success and not results):
        raise LakehouseError(
            f"dbt could not run: {outcome.exception or 'see the log'}",
            f"details are in {settings.home / 'logs' / 'dbt.log'}",
        )
    return results


def _has_failed(result: Any) -> bool:
    return str(result.status) in ("error", "fail", "runtime error")


def _failure(result: Any, settings: Settings) -> Failure:
    node = result.node
    models = [name.split(".")[-1] for name in node.depends_on.nodes if name.startswith("model.")]
    is_test = node.resource_type == "test"
    has_rows = is_test and node.compiled_code and settings.target == EMBEDDED
    rows = _offending_rows(node.compiled_code, settings) if has_rows else []
    return Failure(
        node=node.name,
        kind=str(node.resource_type),
        models=models if is_test else [],
        message=" ".join(str(result.message).split()),
        rows=rows,
    )


def _offending_rows(test_sql: str, settings: Settings) -> list[dict[str, Any]]:
    # A not_null test selects but the empty column; the row around it is what a person needs.
    test_sql = re.sub(
        r"^\s*select\s+(\S+)\s+(from\s.+\swhere\s+\1\s+is\s+null)\s*$",
        r"select * \2",
        test_sql,
        flags=re.IGNORECASE | re.DOTALL,
    )
    with connect_warehouse(settings) as connection:
        try:
            found = connection.execute(f"select * from ({test_sql}) limit {_SHOWN_ROWS}")
            names = [column[0] for column in found.description or []]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        except duckdb.Error as error:
            return [{"rows": f"cannot be shown: {error}"}]


def is_built(settings: Settings) -> bool:
    """Whether there is a work file that a green build has left."""
    return _read_state(settings) is not None


def demand_build(settings: Settings, demand: str) -> None:
    """Make a build due though nothing may be new, and have what it builds published.

    Until a build of this demand is green, each run tries again.

    Args:
        demand: an id that no demand before had.
    """
    replace_text(_demand_file(settings), demand)


def begin_anew(settings: Settings, demand: str) -> None:
    """Have the next build make everything from the raw tables: they no longer hold what they did.

    Needs the lake's lock.

    Args:
        demand: as `demand_build` takes it.
    """
    demand_build(settings, demand)
    for file in (settings.warehouse, settings.warehouse.with_suffix(".duckdb.wal")):
        file.unlink(missing_ok=True)


def _news(settings: Settings) -> dict[str, str]:
    """What a build depends on: the project's files, the batches that may be staged, the demand."""
    project = hashlib.sha256()
    for path in sorted(settings.project_dir.rglob("*")):
        inside = path.relative_to(settings.project_dir)
        if path.suffix in (".sql", ".yml", ".yaml") and inside.parts[0] not in ("target", "logs"):
            project.update(f"{inside}\0".encode() + path.read_bytes())
    staged = hashlib.sha256("\n".join(batches(settings.raw)).encode())
    news = {"project": project.hexdigest(), "batches": staged.hexdigest()}
    if _demand_file(settings).exists():
        news["demand"] = _demand_file(settings).read_text()
    return news


def _build_id(news: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(news).encode()).hexdigest()[:16]


def _demand_file(settings: Settings) -> Path:
    return settings.state / "demanded-build"


def _state_file(settings: Settings) -> Path:
    where = "" if settings.target == EMBEDDED else f"-on-{settings.target}"
    return settings.state / f"last-green-build{where}.json"


def _read_state(settings: Settings) -> dict[str, str] | None:
    has_tables = settings.target != EMBEDDED or settings.warehouse.exists()
    if not has_tables or not _state_file(settings).exists():
        return None
    news: dict[str, str] = json.loads(_state_file(settings).read_text())["news"]
    return news


def arrivals(settings: Settings) -> dict[str, dict[str, int]]:
    """What became of the landed rows of each topic, up to the last green build.

    Returns:
        topic → `applied`, `duplicate` and `stale`; their sum is what was staged.
    """
    if not _state_file(settings).exists():
        return {}
    content = json.loads(_state_file(settings).read_text())
    found: dict[str, dict[str, int]] = content.get("arrivals", {})
    return found


def _count_arrivals(settings: Settings) -> dict[str, dict[str, int]]:
    names = ("applied", "duplicate", "stale")
    sums = ", ".join(f"cast(sum({name}) as bigint)" for name in names)
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        rows = connection.execute(
            f"select upstream, {sums} from state.arrival group by upstream order by upstream"
        ).fetchall()
    return {topic: dict(zip(names, counted, strict=True)) for topic, *counted in rows}


def _write_state(settings: Settings, news: dict[str, str], sources: list[Source]) -> None:
    content = {
        "news": news,
        "arrivals": _count_arrivals(settings) if settings.target == EMBEDDED else {},
        "sources": [[s.schema, s.name, s.partition_by] for s in sources],
    }
    replace_text(_state_file(settings), json.dumps(content, indent=1))


def _sources_of(settings: Settings) -> list[Source]:
    content = json.loads(_state_file(settings).read_text())
    return [Source(*source) for source in content["sources"]]
