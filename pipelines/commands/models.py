"""The commands `lakehouse models …`: the registry of models."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markdown import Markdown
from rich.table import Table as RichTable

from pipelines.commands.options import Json
from pipelines.terminal import err, out, print_json

if TYPE_CHECKING:
    from pipelines.ml.registry import Version

app = typer.Typer(help="Models: versions, cards, who predicts.", no_args_is_help=True)

Kind = Annotated[str, typer.Argument(help="forecast, recommend, churn or recommend_als.")]
Which = Annotated[str, typer.Argument(help="Number of a version, champion or challenger.")]


@app.command("list")
def list_(
    context: typer.Context,
    kind: Annotated[str | None, typer.Argument(help="Default all.")] = None,
    as_json: Json = False,
) -> None:
    """List the versions of the models, newest first."""
    from pipelines.ml.kinds import REGISTERED, refuse_unknown
    from pipelines.ml.registry import Registry

    registry = Registry(context.obj)
    names = REGISTERED if kind is None else (refuse_unknown(kind, REGISTERED),)
    found = [version for name in names for version in registry.versions(name)]
    if as_json:
        print_json([asdict(version) | {"name": version.name} for version in found])
        return
    if not found:
        out.print("no model is trained yet: [bold]lakehouse train forecast[/]", highlight=False)
        return
    table = RichTable("model", "is", "trained until", "verdict of the gate", "SHA-256")
    for version in found:
        is_ = ", ".join(version.aliases)
        table.add_row(
            version.name, is_, version.trained_until, version.verdict, version.sha256[:12]
        )
    out.print(table)


@app.command()
def show(
    context: typer.Context, kind: Kind, which: Which = "champion", as_json: Json = False
) -> None:
    """Show one version, its files verified."""
    from pipelines.ml.registry import Registry

    registry = Registry(context.obj)
    version = registry.version(kind, which)
    folder = registry.folder(version)
    told = asdict(version) | {"name": version.name, "files": str(folder)}
    if as_json:
        print_json(told)
        return
    for name, value in told.items():
        shown = ", ".join(value) if isinstance(value, tuple) else value
        out.print(f"{name:>14}  {shown}", highlight=False, markup=False)


@app.command()
def card(context: typer.Context, kind: Kind, which: Which = "champion") -> None:
    """Print the model card of a version."""
    from pipelines.ml.registry import Registry

    registry = Registry(context.obj)
    text = registry.card(registry.version(kind, which))
    if out.is_terminal:
        out.print(Markdown(text))
    else:
        print(text)


@app.command()
def promote(context: typer.Context, kind: Kind, which: Which) -> None:
    """Make a version champion by hand; the next `lakehouse score` predicts with it."""
    from pipelines.ml.batch import promote

    _tell(promote(context.obj, kind, which))


@app.command()
def rollback(context: typer.Context, kind: Kind) -> None:
    """Go back to the former champion: it predicts anew, and its marts are published."""
    from pipelines.ml.batch import roll_back

    with err.status("Going back …"):
        version = roll_back(context.obj, kind)
    _tell(version)


@app.command()
def drift(
    context: typer.Context,
    kind: Annotated[str | None, typer.Argument(help="Default all with a champion.")] = None,
    as_json: Json = False,
) -> None:
    """Tell whether what the champions see, and how they err, has moved since their training."""
    from pipelines.ml.kinds import refuse_unknown
    from pipelines.ml.watch import watch

    with err.status("Comparing …"):
        found = watch(context.obj, None if kind is None else [refuse_unknown(kind)])
    if as_json:
        print_json([asdict(each) | {"is_drifted": each.is_drifted} for each in found])
        return
    if not found:
        out.print("there is no champion to watch", highlight=False)
    for each in found:
        out.print(f"[bold]{each.model_version}[/], {each.subject}: {each.note}", highlight=False)
        if not each.drifts:
            continue
        table = RichTable("column", "PSI", "p of KS", "", "note")
        for one in each.drifts:
            table.add_row(
                one.column,
                "–" if one.psi is None else f"{one.psi:.3f}",
                "–" if one.ks_p_value is None else f"{one.ks_p_value:.3f}",
                "[yellow]drifted[/]" if one.is_drifted else "",
                one.note or "",
            )
        out.print(table)


def _tell(version: Version) -> None:
    out.print(f"{version.name} is champion", highlight=False)
