"""The commands `lakehouse flows deploy`, `work` and `tell`, on Prefect's server."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Annotated

import typer

from pipelines.checks import prefect as server
from pipelines.errors import LakehouseError, UsageError
from pipelines.settings import Settings
from pipelines.terminal import err, out

app = typer.Typer(help="Flows on Prefect's server.", no_args_is_help=True)


@app.command()
def deploy(context: typer.Context) -> None:
    """Bring work pool, deployments, recipients and alarms to the server; may be repeated."""
    settings: Settings = context.obj
    _reach(settings)
    # Seconds to import, and read its settings then.
    from pipelines.orchestration.deploy import deploy

    with err.status("Deploying …"):
        found = deploy(settings)
    out.print(f"deployments: {', '.join(found.deployments)}", highlight=False)
    out.print(f"recipients:  {', '.join(found.recipients) or 'none'}", highlight=False)
    out.print(f"automations: {len(found.automations)}", highlight=False)


@app.command()
def work(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="How many runs at once.")] = 2,
    name: Annotated[str | None, typer.Option(help="Of the worker, as the server shows it.")] = None,
    queue: Annotated[
        str | None, typer.Option(help="`models` or `default`, the rest; both, unless told.")
    ] = None,
) -> None:
    """Work runs off until a signal comes; each is given the settings of this command."""
    settings: Settings = context.obj
    _reach(settings)
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "lakehouse",
               "--type", "process", "--limit", str(limit), "--with-healthcheck"]  # fmt: skip
    if name:
        command += ["--name", name]
    if queue:
        command += ["--work-queue", queue]
    os.execv(sys.executable, command)  # noqa: S606


@app.command()
def tell(
    context: typer.Context,
    text: Annotated[str, typer.Argument(help="What to tell.")] = "a test of the alarms",
) -> None:
    """Try the recipients of alarms: tell each something, from this machine."""
    settings: Settings = context.obj
    _reach(settings)
    from pipelines.orchestration.recipients import tell

    out.print(f"told: {', '.join(tell(settings, text))}", highlight=False)


def _reach(settings: Settings) -> None:
    """Hand the settings to what is started from here, once it is known that the server answers.

    Raises:
        LakehouseError: it does not, or Prefect is not installed here.
    """
    if settings.prefect_api_url is None:
        raise UsageError(
            "no server of Prefect is named",
            "tell its address by PREFECT_API_URL, for example http://localhost:4200/api",
        )
    if importlib.util.find_spec("prefect") is None:
        raise LakehouseError(
            "Prefect is not installed", "pip install 'lakehouse-platform[prefect]'"
        )
    for finding in server.check(settings):
        if not finding.ok:
            raise LakehouseError(finding.detail, finding.remedy)
    os.environ.update(settings.variables())
    os.environ.setdefault("DO_NOT_TRACK", "1")
