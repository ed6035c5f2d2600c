"""Changed models built on a copy of the work file: neither readers nor the next run notice."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pipelines.dbt_project import Project
from pipelines.errors import LakehouseError
from pipelines.green_project import has_kept_project, put_kept_project
from pipelines.lake import lock
from pipelines.lake.publish import PUBLICATION, Manifest, read_manifest
from pipelines.quality.promises import Model, models
from pipelines.records import last_runs
from pipelines.settings import Settings
from pipelines.transform import (
    PUBLISHED_SCHEMAS,
    green_build_id,
    has_unbuilt_batches,
)

# Below dbt's `target`, which git ignores: each working copy has one of its own.
FOLDER = "preview"
_REMEMBERED_RUNS = 50


@dataclass(frozen=True)
class Preview:
    """Changed models, built beside.

    Attributes:
        settings: of the home in which they were built.
        published: what readers see.
        built: the models that changed and those that follow from them, in the order of building.
        tables: of these, the ones that readers would see.
        gone: published tables of which the project has no model any more.
        notes: why differences may have another cause than the change.
    """

    settings: Settings
    published: Manifest
    built: list[str] = field(default_factory=list)
    tables: list[Model] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def preview(settings: Settings, on_node: Callable[[str], None] = lambda name: None) -> Preview:
    """Build what differs from the project of the publication, and what follows from it.

    All else is there as the last run has left it. Data tests and unit tests of what is built run.

    Args:
        on_node: told the name of each model and test that is done.

    Raises:
        LakehouseError: nothing is published, or not by the last build; dbt cannot parse the
            project.
        Busy: a run is on.
        BuildFailed: a model or a test failed.
    """
    published = _published(settings)
    own = settings.model_copy(update={"home": settings.project_dir / "target" / FOLDER})
    own.home.mkdir(parents=True, exist_ok=True)
    _link_raw(settings, own)
    project = Project(own, on_node)
    known = models(project.manifest)
    gone = [name for name in published.tables if name not in known and name != PUBLICATION]
    changed = ("--select", "state:modified+", "--state", str(put_kept_project(settings, own)))
    if not project.selected(*changed):
        return Preview(own, published, gone=gone)
    _copy_work_file(settings, own)
    results = project.build(*changed, "--full-refresh", unit_tests=True)
    built = [result.node for result in results if result.node.resource_type == "model"]
    tables = [known[name] for name in map(_full_name, built) if _is_published(name, known)]
    names = [node.name for node in built]
    return Preview(own, published, names, tables, gone, _notes(settings, published, built))


def _published(settings: Settings) -> Manifest:
    """The publication, of which the project is kept."""
    published = read_manifest(settings.published)
    if published is None:
        raise LakehouseError(
            f"nothing is published in {settings.home}", "run `lakehouse demo`, or `lakehouse run`"
        )
    if published.build_id != green_build_id(settings):
        remedy = "let readers see the last build: `lakehouse run`"
        if published.is_held:
            remedy = "end the rollback: `lakehouse publish --latest`, then `lakehouse run`"
        raise LakehouseError("readers do not see what the last run has built", remedy)
    if not has_kept_project(settings):
        raise LakehouseError(
            "the project of the last build is not kept, for an older release has built it",
            "`lakehouse run` keeps it with the next build: once something has landed or changed",
        )
    return published


def _link_raw(settings: Settings, own: Settings) -> None:
    """Raw tables are read where they lie."""
    if settings.store is None:
        link = own.home / "raw"
        link.unlink(missing_ok=True)
        link.symlink_to(settings.raw.resolve())


def _copy_work_file(settings: Settings, own: Settings) -> None:
    """What is not built now stands as the last run has left it, with all that it has consumed."""
    with lock.shared(settings.state):
        for suffix in (".duckdb.wal", ".duckdb"):
            source = settings.warehouse.with_suffix(suffix)
            copy = own.warehouse.with_suffix(suffix)
            copy.unlink(missing_ok=True)
            try:
                if source.exists():
                    shutil.copyfile(source, copy)
            except OSError as error:
                raise LakehouseError(
                    f"the work file could not be copied: {error}",
                    f"make room for a copy of {settings.warehouse} in {own.home}",
                ) from None


def _full_name(node: Any) -> str:
    return f"{node.config.schema}.{node.alias}"


def _is_published(name: str, known: dict[str, Model]) -> bool:
    return name in known and name.partition(".")[0] in PUBLISHED_SCHEMAS


def _notes(settings: Settings, published: Manifest, built: list[Any]) -> list[str]:
    found = []
    for record in last_runs(settings, _REMEMBERED_RUNS):
        if record["run_id"] == published.run_id:
            break
        if record["status"] != "completed":
            found.append(
                f"a run since the publication was {record['status']}: models that were not built "
                "now may hold rows that readers do not see"
            )
            break
    reads_raw = [n.name for n in built if any(d.startswith("source.") for d in n.depends_on.nodes)]
    if reads_raw and has_unbuilt_batches(settings):
        found.append(f"more has landed since the last build, and {', '.join(reads_raw)} hold it")
    return found
