"""The commands `lakehouse dashboards …`: Superset's dashboards as code."""

from __future__ import annotations

import time
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.dashboards import PORT
from pipelines.errors import LakehouseError, UsageError
from pipelines.settings import EMBEDDED, Settings
from pipelines.terminal import err, out

if TYPE_CHECKING:
    from pipelines.dashboards.client import Superset
    from pipelines.dashboards.deploy import Deployed
    from pipelines.lake.publish import Manifest

app = typer.Typer(help="Dashboards: Superset, as code.", no_args_is_help=True)
_LOOKS_EVERY_S = 5.0
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
            _tell(_deploy(settings, superset, manifest, prune))
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
    from pipelines.dashboards.server import superset
    from pipelines.lake.shown import shown

    settings: Settings = context.obj
    manifest = shown(settings)
    if manifest is None:
        raise LakehouseError(
            f"nothing is published on {settings.target}", "run `lakehouse run`, then deploy again"
        )
    _tell(_deploy(settings, superset(settings), manifest, prune))


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


def _deploy(settings: Settings, superset: Superset, manifest: Manifest, prune: bool) -> Deployed:
    from pipelines.dashboards.deploy import compiled, deploy
    from pipelines.dashboards.server import database
    from pipelines.dbt_project import Project
    from pipelines.semantics import MANIFEST, Semantics

    if manifest.business_date is None:
        raise LakehouseError("the publication tells no business date", "run `lakehouse run` again")
    business_date = date.fromisoformat(manifest.business_date)
    manifest_of_dbt = Project(settings).manifest
    semantics = Semantics.read(settings.state / "dbt" / MANIFEST)
    assets, content = compiled(
        settings.dashboards_dir, manifest_of_dbt, semantics, database(settings), business_date
    )
    return deploy(superset, assets, content, prune=prune)


def _tell(deployed: Deployed) -> None:
    for name, title in deployed.dashboards.items():
        out.print(f"[green]✓[/] {title}  /superset/dashboard/{name.replace('_', '-')}/")
    for each in deployed.foreign:
        out.print(f"[yellow]![/] {each.kind} {each.title!r} is not in the code", highlight=False)
