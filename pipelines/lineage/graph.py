"""What comes from what, over all jobs: the newest event of each that tells it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from pipelines.errors import UsageError
from pipelines.lineage import store
from pipelines.lineage.events import Event
from pipelines.lineage.facets import DIRECT

Direction = Literal["upstream", "downstream"]
STATES = {
    "START": "running or cut off",
    "RUNNING": "running or cut off",
    "COMPLETE": "completed",
    "FAIL": "failed",
}
# What only carries data between tables is told from tables of the same name.
_CARRIERS = ("kafka://", "s3://")
_SHOWN = 5


@dataclass(frozen=True)
class Place:
    """A table, or one column of it."""

    namespace: str
    name: str
    column: str | None = None

    @property
    def table(self) -> Place:
        return Place(self.namespace, self.name)

    def __str__(self) -> str:
        name = self.name
        if self.namespace.startswith(_CARRIERS):
            name = f"{self.namespace}/{name}"
        elif self.namespace == "file":
            name = f"file:{name}"
        return name if self.column is None else f"{name}.{self.column}"


@dataclass(frozen=True)
class Job:
    """A job, and how its last run went.

    Attributes:
        run_id: of the whole run that it was a part of, as logs and Delta commits know it.
        at: when it told so last, ISO 8601.
    """

    name: str
    state: str
    at: str
    run_id: str


@dataclass(frozen=True)
class Edge:
    """A step from one place to another one.

    Attributes:
        ways: how a column gets there; empty between tables.
        masking: how it is made unreadable, if it is.
    """

    origin: Place
    target: Place
    job: Job
    ways: tuple[str, ...] = ()
    masking: str | None = None

    @property
    def is_direct(self) -> bool:
        """Whether the value itself goes there."""
        return not self.ways or any(way in DIRECT for way in self.ways)


@dataclass
class Step:
    """A place in a tree of lineage.

    Attributes:
        via: the edge that led here; None at the root.
        is_repeated: what follows from here was told before in the same tree.
    """

    place: Place
    via: Edge | None = None
    steps: list[Step] = field(default_factory=list)
    is_repeated: bool = False


class Graph:
    """All places and edges that the events tell."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.columns: dict[Place, dict[str, None]] = {}
        self.makers: dict[Place, list[Job]] = {}
        self._edges: dict[Direction, dict[Place, list[Edge]]] = {"upstream": {}, "downstream": {}}
        # What decides about the rows of a table, and so about each of its columns.
        self._deciding: dict[Direction, dict[Place, list[Edge]]] = {
            "upstream": {},
            "downstream": {},
        }
        for newest in store.newest(events):
            if newest.telling is not None:
                self._add(newest.telling, _job(newest.last))

    def _add(self, event: Event, job: Job) -> None:
        inputs, outputs = ([_place(one) for one in event[part]] for part in ("inputs", "outputs"))
        for one in (*event["inputs"], *event["outputs"]):
            known = self.columns.setdefault(_place(one), {})
            known |= dict.fromkeys(_schema(one))
        for target, entry in zip(outputs, event["outputs"], strict=True):
            makers = self.makers.setdefault(target, [])
            if job not in makers:
                makers.append(job)
            for origin in inputs:
                if origin != target:
                    self._connect(Edge(origin, target, job))
            facet = entry.get("facets", {}).get("columnLineage", {})
            for column, told in facet.get("fields", {}).items():
                self.columns[target].setdefault(column)
                at = Place(target.namespace, target.name, column)
                for origin_field in told["inputFields"]:
                    self._connect(self._edge(origin_field, at, job))
            for origin_field in facet.get("dataset", []):
                self._connect(self._edge(origin_field, target, job), of_rows=True)

    def _edge(self, origin: dict[str, Any], target: Place, job: Job) -> Edge:
        place = Place(origin["namespace"], origin["name"], origin["field"])
        self.columns.setdefault(place.table, {}).setdefault(origin["field"])
        told = origin.get("transformations") or []
        masked = next(
            (way.get("description") or "masked" for way in told if way.get("masking")), None
        )
        ways = tuple(str(way.get("subtype") or way["type"]) for way in told)
        return Edge(place, target, job, ways, masked)

    def _connect(self, edge: Edge, *, of_rows: bool = False) -> None:
        edges = self._deciding if of_rows else self._edges
        ends: list[tuple[Direction, Place]] = [
            ("upstream", edge.target),
            ("downstream", edge.origin),
        ]
        for direction, at in ends:
            found = edges[direction].setdefault(at, [])
            if edge not in found:
                found.append(edge)

    def find(self, text: str) -> list[Place]:
        """The tables of this name, or the columns.

        Raises:
            UsageError: there is none; names what is spelt alike.
        """
        asked = text.casefold()
        if tables := [place for place in self.columns if place.name.casefold() == asked]:
            return tables
        table, _, column = asked.rpartition(".")
        of_table = [place for place in self.columns if place.name.casefold() == table]
        found = [
            Place(place.namespace, place.name, known)
            for place in of_table
            for known in self.columns[place]
            if known.casefold() == column
        ]
        if not found:
            raise self._unknown(text, of_table)
        return found

    def _unknown(self, text: str, of_table: list[Place]) -> UsageError:
        if of_table:
            name, asked = of_table[0].name, text.rpartition(".")[2]
            names = sorted({column for place in of_table for column in self.columns[place]})
            like = difflib.get_close_matches(asked.lower(), names, _SHOWN, 0.5) or names
            return UsageError(
                f"no event tells of a column {asked} in {name}",
                f"columns of it are: {', '.join(like)}",
            )
        names = sorted({place.name for place in self.columns})
        found = difflib.get_close_matches(text.lower(), names, _SHOWN, 0.5)
        # Somebody may mean a column, or leave the schema out.
        found += difflib.get_close_matches(text.rpartition(".")[0].lower(), names, _SHOWN, 0.5)
        found += [name for name in names if name.rpartition(".")[2] in text.lower().split(".")]
        like = list(dict.fromkeys(found))[:_SHOWN]
        return UsageError(
            f"no event tells of a table or column {text}",
            f"alike are: {', '.join(like)}"
            if like
            else "write schema.table or schema.table.column",
        )

    def tree(self, place: Place, direction: Direction, *, indirect: bool = False) -> Step:
        """All that a place comes from, or that comes from it.

        Args:
            indirect: columns that only decide about rows or values, too; without it they are
                told where a column has no other origin.
        """
        return self._follow(Step(place), direction, indirect, set())

    def _follow(self, step: Step, direction: Direction, indirect: bool, seen: set[Place]) -> Step:
        edges = self._from(step.place, direction, indirect)
        step.is_repeated = bool(edges) and step.place in seen
        seen.add(step.place)
        if not step.is_repeated:
            for edge in edges:
                place = edge.origin if direction == "upstream" else edge.target
                step.steps.append(self._follow(Step(place, edge), direction, indirect, seen))
        return step

    def _from(self, place: Place, direction: Direction, indirect: bool) -> list[Edge]:
        edges = self._edges[direction].get(place, [])
        if place.column is None:
            return edges
        direct = [edge for edge in edges if edge.is_direct]
        if not indirect:
            return direct or edges
        at = place.table if direction == "upstream" else place
        return edges + self._deciding[direction].get(at, [])


def jobs_of(step: Step) -> dict[str, Job]:
    """The jobs of a tree by their names, the nearest first."""
    found = {step.via.job.name: step.via.job} if step.via else {}
    for below in step.steps:
        found = found | jobs_of(below)
    return found


def _place(entry: dict[str, Any]) -> Place:
    return Place(entry["namespace"], entry["name"])


def _schema(entry: dict[str, Any]) -> list[str]:
    fields = entry.get("facets", {}).get("schema", {}).get("fields", [])
    return [column["name"] for column in fields]


def _job(event: Event) -> Job:
    run = event["run"]
    parent = run["facets"].get("parent") or {}
    root = (parent.get("root") or parent or {"run": run})["run"]["runId"]
    state = STATES.get(event["eventType"], event["eventType"].lower())
    return Job(event["job"]["name"], state, event["eventTime"], root)
