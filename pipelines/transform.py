"""The dbt build: what is new since the last green one, and what of it is to be published."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import structlog

from pipelines.cdc.ledger import batches_with_rows
from pipelines.dbt_project import Project
from pipelines.green_project import keep_project
from pipelines.lake.files import replace_text
from pipelines.lake.inference import create_inference_tables, inference_versions
from pipelines.lake.publish import Source
from pipelines.settings import EMBEDDED, Settings

if TYPE_CHECKING:
    from pipelines.quality.results import GateReport

log = structlog.get_logger()

# The folder of the layer that is built, and judged, first.
STAGING = "staging"
# The folder of the models that read what was inferred, and nobody reads but people.
PREDICTIONS = "predictions"
_INFERENCE = "inference"
PUBLISHED_SCHEMAS = ("marts", "features", "predictions")


@dataclass
class BuildReport:
    """What a dbt build did. `skipped` tells that nothing was new.

    Attributes:
        build_id: names what was built: the project's files and the batches staged.
        sources: the finished tables that are to be published.
        gates: what the gates found in it.
    """

    build_id: str
    skipped: bool = False
    full_refresh: bool = False
    models: int = 0
    tests: int = 0
    warnings: list[str] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    gates: list[GateReport] = field(default_factory=list)


class Build:
    """What is new since the last green build; all is made anew if the project has changed.

    On a server everything is made anew after a demand, too: it knows neither the marks nor that the
    work file is gone.

    Attributes:
        report: what has been done so far.
        only_predictions: new predictions are the only news.
    """

    def __init__(
        self, settings: Settings, on_node: Callable[[str], None] = lambda name: None
    ) -> None:
        self._settings = settings
        self._on_node = on_node
        create_inference_tables(settings.raw)
        self._news = _news(settings)
        self.only_predictions = False
        former = _read_state(settings)
        is_embedded = settings.target == EMBEDDED
        decisive = ("project",) if is_embedded else ("project", "demand")

        def is_other(before: dict[str, str]) -> bool:
            return any(before.get(name) != self._news.get(name) for name in decisive)

        # Tables may be those of a project that failed its gate, and that nobody wants any more.
        is_made_anew = any(is_other(each) for each in (former, _read_attempt(settings)) if each)
        self.report = BuildReport(
            _build_id(self._news), skipped=former == self._news and not is_made_anew
        )
        if self.report.skipped:
            self.report.sources = _sources_of(settings)
            return
        self.report.full_refresh = is_made_anew
        self.only_predictions = (
            not is_made_anew
            and former is not None
            and all(
                former.get(name) == value
                for name, value in self._news.items()
                if name != _INFERENCE
            )
        )
        if self.only_predictions:
            # What is not built now stands as it was.
            self.report.sources = _sources_of(settings)
        if self.report.full_refresh:
            log.info("project or contract changed, or raw rows went: everything is built anew")

    @cached_property
    def project(self) -> Project:
        """dbt's project, parsed when it is asked for; raises as `Project`."""
        return Project(self._settings, self._on_node)

    def make(
        self,
        *selection: str,
        on_results: Callable[[list[Any]], None] = lambda results: None,
    ) -> None:
        """Build and test what dbt's arguments select; raises as `Project.build`.

        Args:
            on_results: is given dbt's results of all nodes, also where some have failed.
        """
        if self.report.full_refresh:
            selection = (*selection, "--full-refresh")
        replace_text(_attempt_file(self._settings), json.dumps(self._news))
        results = self.project.build(*selection, on_results=on_results)
        for result in results:
            kind = result.node.resource_type
            self.report.models += kind == "model"
            self.report.tests += kind == "test"
            if str(result.status) == "warn":
                self.report.warnings.append(f"{result.node.name}: {result.message}")
        built = _published_sources(results)
        self.report.sources += [each for each in built if each not in self.report.sources]

    def accept(self) -> None:
        """Remember it as the last green build: what it has seen is no news to the next one."""
        _write_state(self._settings, self._news, self.report.sources)
        if self._settings.target == EMBEDDED:
            keep_project(self._settings, self.project.artifacts)


def _published_sources(results: list[Any]) -> list[Source]:
    nodes = [result.node for result in results if result.node.resource_type == "model"]
    return [
        Source(node.schema, node.name, node.config.meta.get("publish_by"))
        for node in sorted(nodes, key=lambda node: str(node.name))
        if node.config.schema in PUBLISHED_SCHEMAS and node.config.materialized != "ephemeral"
    ]


def is_built(settings: Settings) -> bool:
    """Whether there is a work file that a green build has left."""
    return _read_state(settings) is not None


def green_build_id(settings: Settings) -> str | None:
    """What the last green build was called, None before the first one."""
    news = _read_state(settings)
    return None if news is None else _build_id(news)


def has_unbuilt_batches(settings: Settings) -> bool:
    """Whether rows have landed since the last green build."""
    former = _read_state(settings)
    return former is None or former["batches"] != _news(settings)["batches"]


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
    """What a build depends on: the files of project and rules, the batches to stage, the demand."""
    project = hashlib.sha256()
    for path in sorted(settings.project_dir.rglob("*")):
        inside = path.relative_to(settings.project_dir)
        if path.suffix in (".sql", ".yml", ".yaml") and inside.parts[0] not in ("target", "logs"):
            project.update(f"{inside}\0".encode() + path.read_bytes())
    staged = hashlib.sha256("\n".join(batches_with_rows(settings.raw)).encode())
    rules = hashlib.sha256()
    for path in sorted(settings.expectations_dir.rglob("*.y*ml")):
        rules.update(f"{path.name}\0".encode() + path.read_bytes())
    news = {
        "project": project.hexdigest(), "rules": rules.hexdigest(), "batches": staged.hexdigest()
    }  # fmt: skip
    versions = inference_versions(settings.raw)
    if any(versions.values()):
        news[_INFERENCE] = json.dumps(versions)
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


def _attempt_file(settings: Settings) -> Path:
    """Of what the last build was made, whatever became of it."""
    return _state_file(settings).with_name(_state_file(settings).name.replace("green", "attempted"))


def _has_tables(settings: Settings) -> bool:
    return settings.target != EMBEDDED or settings.warehouse.exists()


def _read_attempt(settings: Settings) -> dict[str, str] | None:
    if not _has_tables(settings) or not _attempt_file(settings).exists():
        return None
    news: dict[str, str] = json.loads(_attempt_file(settings).read_text())
    return news


def _read_state(settings: Settings) -> dict[str, str] | None:
    if not _has_tables(settings) or not _state_file(settings).exists():
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
