"""The command `lakehouse lineage`: where a table or column comes from, and what comes of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table as RichTable
from rich.tree import Tree

from pipelines.commands.options import Json
from pipelines.errors import LakehouseError
from pipelines.lineage import store
from pipelines.lineage.graph import Direction, Edge, Graph, Job, Step, jobs_of
from pipelines.settings import Settings
from pipelines.terminal import out, print_json

_TITLES: dict[Direction, str] = {"upstream": "comes from", "downstream": "goes into"}
_WAYS = {"AGGREGATION": "aggregated", "TRANSFORMATION": "computed", "IDENTITY": "unchanged"}
_STYLES = {"completed": "green", "failed": "red"}


def lineage(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Table or column, as `sql` or the source knows it.")],
    upstream: Annotated[
        bool, typer.Option("--upstream", help="Where it comes from; without either option both.")
    ] = False,
    downstream: Annotated[bool, typer.Option("--downstream", help="What comes of it.")] = False,
    indirect: Annotated[
        bool, typer.Option("--indirect", help="Also columns that only filter, join or sort.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Trace a table or column back to its source, or on to what is made of it."""
    settings: Settings = context.obj
    graph = Graph(store.events(settings))
    if not graph.columns:
        raise LakehouseError(
            f"no lineage is collected yet in {store.folder(settings)}",
            "land and build first: `lakehouse run`, or `lakehouse demo`",
        )
    wanted: list[Direction] = []
    wanted += ["upstream"] if upstream or not downstream else []
    wanted += ["downstream"] if downstream or not upstream else []
    places = graph.find(name)
    trees = {
        (place, way): graph.tree(place, way, indirect=indirect)
        for place in places
        for way in wanted
    }
    if as_json:
        print_json(
            [
                {"direction": way} | _as_json(tree, graph.makers.get(place.table, []))
                for (place, way), tree in trees.items()
            ]
        )
        return
    jobs: dict[str, Job] = {}
    for (place, way), step in trees.items():
        out.print(_tree(step, way), soft_wrap=True)
        jobs |= {job.name: job for job in graph.makers.get(place.table, [])} | jobs_of(step)
    if jobs:
        out.print(_table(jobs))


def _tree(step: Step, direction: Direction) -> Tree:
    tree = Tree(f"[bold]{escape(str(step.place))}[/] {_TITLES[direction]}")
    if not step.steps:
        tree.add("[dim]nothing that an event tells of[/]")
    for below in step.steps:
        _grow(tree, below)
    return tree


def _grow(tree: Tree, step: Step) -> None:
    told = _how(step.via) if step.via else ""
    repeated = " [dim](as above)[/]" if step.is_repeated else ""
    branch = tree.add(f"{escape(str(step.place))}  [dim]{escape(told)}[/]{repeated}")
    for below in step.steps:
        _grow(branch, below)


def _how(edge: Edge) -> str:
    if edge.masking:
        how = f"masked ({edge.masking}) by "
    elif not edge.ways:
        how = "by "
    elif edge.is_direct:
        how = f"{next(_WAYS[way] for way in _WAYS if way in edge.ways)} by "
    else:
        decides = ", ".join(way.lower().replace("_", " ") for way in edge.ways)
        how = f"only decides ({decides}) in "
    return how + edge.job.name


def _table(jobs: dict[str, Job]) -> RichTable:
    table = RichTable("job", "last run", "at (UTC)", "of run", title="Jobs")
    for job in jobs.values():
        style = _STYLES.get(job.state, "yellow")
        at = datetime.fromisoformat(job.at)
        table.add_row(job.name, f"[{style}]{job.state}[/]", f"{at:%Y-%m-%d %H:%M:%S}", job.run_id)
    return table


def _as_json(step: Step, makers: list[Job]) -> dict[str, Any]:
    return _place_json(step) | {"made_by": [vars(job) for job in makers], "steps": _below(step)}


def _below(step: Step) -> list[dict[str, Any]]:
    found = []
    for below in step.steps:
        via = below.via
        told: dict[str, Any] = {}
        if via is not None:
            told = {"ways": via.ways, "masking": via.masking, "job": vars(via.job)}
        found.append(_place_json(below) | told | {"steps": _below(below)})
    return found


def _place_json(step: Step) -> dict[str, Any]:
    place = step.place
    return {
        "name": str(place),
        "namespace": place.namespace,
        "table": place.name,
        "column": place.column,
        "repeated": step.is_repeated,
    }
