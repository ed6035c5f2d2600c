"""The commands `lakehouse dashboards …`: Superset's dashboards as code."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from pipelines.commands.options import Json
from pipelines.dashboards import PORT
from pipelines.errors import LakehouseError, UsageError
from pipelines.settings import EMBEDDED, Settings
from pipelines.terminal import err, out, print_json

if TYPE_CHECKING:
    from pipelines.dashboards.assets import Assets
    from pipelines.dashboards.deploy import Deployed
    from pipelines.dashboards.differences import Difference
    from pipelines.lake.publish import Manifest

app = typer.Typer(help="Dashboards: Superset, as code.", no_args_is_help=True)
_LOOKS_EVERY_S = 5.0
# Of a value in a table.
_LONGEST = 60
Prune = Annotated[
    bool, typer.Option("--prune", help="Delete what is on the server and not in the code.")
]


@app.command()
def up(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=1024, max=65535, help="On this machine.")] = PORT,
    prune: Prune = False,
) -> None:
    """Start Superset on this machine with all dashboards; it ends with Ctrl-C."""
    from pipelines.dashboards import embedded
    from pipelines.dashboards.client import Superset
    from pipelines.dashboards.deploy import deploy
    from pipelines.dashboards.published_views import write_views
    from pipelines.lake.publish import read_manifest

    settings: Settings = context.obj
    if settings.target != EMBEDDED:
        raise UsageError(
            f"dashboards are shown of what is published on this machine, not on {settings.target}",
            "leave out --target, or name a Superset: `lakehouse dashboards deploy`",
        )
    manifest = write_views(settings)
    with err.status("Superset's environment (a minute, the first time) …") as progress:
        instance = embedded.instance(settings, embedded.environment(), port)
        is_new = instance.is_new
        progress.update("Superset's state …")
        instance.initialise()
        progress.update("Superset starts …")
        with instance.running() as process:
            progress.update("Dashboards …")
            superset = Superset(instance.url, embedded.ADMIN, instance.password)
            assets, files = _compiled(settings, manifest)
            _tell(deploy(superset, assets, files, prune=prune))
            progress.stop()
            out.print(f"\nSuperset: [bold]{instance.url}/[/]", highlight=False)
            shown = f" [bold]{instance.password}[/] (shown once)," if is_new else ""
            kept = instance.folder / "password"
            out.print(f"user [bold]{embedded.ADMIN}[/], password{shown} in {kept}", highlight=False)
            out.print("Ctrl-C ends it", highlight=False)
            try:
                while process.poll() is None:
                    time.sleep(_LOOKS_EVERY_S)
                    if read_manifest(settings.published) != manifest:
                        manifest = write_views(settings)
                        out.print(f"shows run {manifest.run_id} now", highlight=False)
            except KeyboardInterrupt:
                return
    raise LakehouseError("Superset has ended", f"see {instance.folder / 'superset.log'}")


@app.command()
def deploy(context: typer.Context, prune: Prune = False) -> None:
    """Bring dashboards, roles and rules to a running Superset; repeated, it ends in the same."""
    from pipelines.dashboards.deploy import deploy
    from pipelines.dashboards.server import superset

    settings: Settings = context.obj
    assets, files = _compiled(settings, _shown(settings))
    _tell(deploy(superset(settings), assets, files, prune=prune))


@app.command()
def diff(context: typer.Context, as_json: Json = False) -> None:
    """Show what a running Superset holds otherwise than the code says; exits with 1 if anything."""
    from pipelines.dashboards.access import changed_by_hand
    from pipelines.dashboards.differences import differences
    from pipelines.dashboards.server import superset

    settings: Settings = context.obj
    assets, files = _compiled(settings, _shown(settings))
    there = superset(settings)
    found = [*differences(files, there.held()), *changed_by_hand(there, assets)]
    if as_json:
        print_json([asdict(each) for each in found])
    else:
        _show(found)
    if found:
        raise typer.Exit(1)


@app.command()
def export(context: typer.Context) -> None:
    """Write what somebody has edited on a running Superset back into the files of the code."""
    from pipelines.dashboards.differences import differences
    from pipelines.dashboards.server import superset
    from pipelines.dashboards.take_over import take_over

    settings: Settings = context.obj
    manifest = _shown(settings)
    assets, files = _compiled(settings, manifest)
    theirs = superset(settings).held()

    def check(folder: Path) -> None:
        _compiled(settings, manifest, folder)

    taken = take_over(settings.dashboards_dir, assets, differences(files, theirs), theirs, check)
    for file in taken.files:
        out.print(f"[green]✓[/] {file}", highlight=False)
    if taken.left:
        out.print("left, for the files of the code do not tell it, or not so:")
        _show(taken.left)
    elif not taken.files:
        out.print("the code says the same already")


@app.command()
def exposures(context: typer.Context) -> None:
    """Tell dbt which dashboard reads which models: writes models/exposures.yml of its project."""
    from pipelines.dashboards.assets import read
    from pipelines.dashboards.exposures import FILE, exposures
    from pipelines.dashboards.models import columns_of, models_of
    from pipelines.dbt_project import Project

    settings: Settings = context.obj
    assets = read(settings.dashboards_dir)
    _, read_by_datasets = columns_of(assets, models_of(Project(settings).manifest))
    path = settings.project_dir / FILE
    path.write_text(exposures(assets, read_by_datasets), encoding="utf-8")
    out.print(f"{len(assets.dashboards)} dashboards in {path}", highlight=False)


def _shown(settings: Settings) -> Manifest:
    from pipelines.lake.shown import shown

    manifest = shown(settings)
    if manifest is None:
        raise LakehouseError(
            f"nothing is published on {settings.target}", "run `lakehouse run`, then try again"
        )
    return manifest


def _compiled(
    settings: Settings, manifest: Manifest, folder: Path | None = None
) -> tuple[Assets, dict[str, dict[str, Any]]]:
    """The assets and the files of their bundle, for what is published."""
    from pipelines.dashboards.deploy import compiled
    from pipelines.dashboards.server import database
    from pipelines.dbt_project import Project
    from pipelines.semantics import MANIFEST, Semantics

    if manifest.business_date is None:
        raise LakehouseError("the publication tells no business date", "run `lakehouse run` again")
    manifest_of_dbt = Project(settings).manifest
    return compiled(
        folder or settings.dashboards_dir,
        manifest_of_dbt,
        Semantics.read(settings.state / "dbt" / MANIFEST),
        database(settings),
        date.fromisoformat(manifest.business_date),
    )


def _show(found: Sequence[Difference]) -> None:
    if not found:
        out.print("the server holds what the code says")
        return
    table = Table("", "asset", "what", "in the code", "on the server")
    for each in found:
        what = each.what or ("not on the server" if each.there is None else "not in the code")
        table.add_row(each.kind, escape(each.title), what, _value(each.here), _value(each.there))
    out.print(table)


def _value(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, list) and value and isinstance(value[0], dict) and "charts" in value[0]:
        return f"{len(value)} rows, {sum(len(row.get('charts', ())) for row in value)} charts"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return escape(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…")


def _tell(deployed: Deployed) -> None:
    for name, title in deployed.dashboards.items():
        out.print(f"[green]✓[/] {title}  /superset/dashboard/{name.replace('_', '-')}/")
    for each in deployed.foreign:
        out.print(f"[yellow]![/] {each.kind} {each.title!r} is not in the code", highlight=False)
