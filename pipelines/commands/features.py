"""The commands `lakehouse features`: serve what is published, and ask for it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table as RichTable

from pipelines.commands.options import Json
from pipelines.errors import UsageError
from pipelines.settings import Settings
from pipelines.terminal import out, print_json

app = typer.Typer(help="Features for models.", no_args_is_help=True)


@app.command()
def materialize(context: typer.Context, as_json: Json = False) -> None:
    """Serve what is published now; what is served already is not written again."""
    from pipelines.features.materialise import materialise
    from pipelines.features.served import freshness

    settings: Settings = context.obj
    materialise(settings)
    rows = freshness(settings)
    if as_json:
        print_json(rows)
        return
    table = RichTable("view", "known until (UTC)", "entities", "written", title="Features served")
    for row in rows:
        table.add_row(row["view"], row["until"][:16], f"{row['entities']:,}", f"{row['written']:,}")
    out.print(table)


@app.command()
def get(
    context: typer.Context,
    service: Annotated[str, typer.Argument(help="forecast_v1, recommend_v1 or churn_v1.")],
    key: Annotated[
        list[str],
        typer.Option(
            "--key", metavar="NAME=VALUE", help="client_id=7; day=2017-12-24; may be repeated."
        ),
    ],
    at: Annotated[
        str | None,
        typer.Option(metavar="INSTANT", help="What was known then, ISO, UTC; else what is served."),
    ] = None,
) -> None:
    """Print the features of one entity as JSON: those that are served, or those of the past."""
    from pipelines.features.read import EVENT_TIME, historical, online

    settings: Settings = context.obj
    keys = dict(_key(text) for text in key)
    if at is None:
        print_json(online(settings, [keys], service)[0])
        return
    import pandas as pd

    frame = pd.DataFrame([keys | {EVENT_TIME: _instant(at, "--at")}])
    row = historical(settings, frame, service).iloc[0]
    print_json({name: None if pd.isna(value) else _plain(value) for name, value in row.items()})


def _key(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign or not value:
        raise UsageError(f"--key {text} is no NAME=VALUE", "write as in --key product_id=819765")
    if name == "day":
        return name, _instant(value, "--key day")
    try:
        return name, int(value)
    except ValueError:
        raise UsageError(f"--key {text} is no number", "keys are numbers of the shop") from None


def _instant(text: str, option: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} {text} is no instant", "write as 2017-06-30T12:00") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _plain(value: Any) -> Any:
    """A number of numpy as Python has it."""
    return value.item() if hasattr(value, "item") else value
