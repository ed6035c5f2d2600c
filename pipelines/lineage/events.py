"""OpenLineage events as plain mappings, ready for JSON.

The classes of the OpenLineage client would make the same; importing them takes longer than all that
lineage costs a run that finds nothing new. Tests hold these events to those classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pipelines.lake.ids import new_run_id

SPEC = "https://openlineage.io/spec"
PRODUCER = "urn:lakehouse-platform"
_EVENT = f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"

Event = dict[str, Any]
Facets = Mapping[str, Mapping[str, Any]]
State = Literal["START", "RUNNING", "COMPLETE", "FAIL"]


@dataclass(frozen=True)
class Dataset:
    """A table, topic or folder that a job reads or writes.

    Attributes:
        facets: what it is: schema, owner, where it lies.
        of_run: what the run did with it: rows written, checks passed.
    """

    namespace: str
    name: str
    facets: Facets = field(default_factory=dict)
    of_run: Facets = field(default_factory=dict)

    def as_input(self) -> dict[str, Any]:
        """The entry of an event's inputs."""
        return self._entry("inputFacets")

    def as_output(self) -> dict[str, Any]:
        """The entry of an event's outputs."""
        return self._entry("outputFacets")

    def _entry(self, of_run: str) -> dict[str, Any]:
        found: dict[str, Any] = {"namespace": self.namespace, "name": self.name}
        found |= {"facets": dict(self.facets)} if self.facets else {}
        return found | ({of_run: dict(self.of_run)} if self.of_run else {})


@dataclass(frozen=True)
class Run:
    """One run of a job.

    Attributes:
        namespace: of the job.
        job: its name.
        parent: the run that it is a part of; None for the run of the whole chain.
    """

    namespace: str
    job: str
    run_id: str = field(default_factory=new_run_id)
    parent: Run | None = None

    @property
    def root(self) -> Run:
        """The run of the whole chain."""
        return self.parent.root if self.parent else self

    def reference(self) -> dict[str, Any]:
        """How another run names this one."""
        job = {"namespace": self.namespace, "name": self.job}
        return {"run": {"runId": self.run_id}, "job": job}


def facet(name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """A facet; what is None in it is left out.

    Args:
        name: place in the specification: `1-1-1/SchemaDatasetFacet`.
    """
    kind = name.split("/")[-1]
    told = {key: value for key, value in content.items() if value is not None}
    schema = f"{SPEC}/facets/{name}.json#/$defs/{kind}"
    return {"_producer": PRODUCER, "_schemaURL": schema, **told}


def event(
    state: State,
    run: Run,
    at: datetime,
    *,
    inputs: Iterable[Dataset] = (),
    outputs: Iterable[Dataset] = (),
    run_facets: Facets | None = None,
    job_facets: Facets | None = None,
) -> Event:
    """One event of a run: it starts, goes on, or ends."""
    facets: dict[str, Any] = dict(run_facets or {})
    if run.parent:
        told = run.parent.reference() | {"root": run.root.reference()}
        facets["parent"] = facet("1-2-0/ParentRunFacet", told)
    return {
        "eventType": state,
        "eventTime": at.isoformat(),
        "producer": PRODUCER,
        "schemaURL": _EVENT,
        "run": {"runId": run.run_id, "facets": facets},
        "job": {"namespace": run.namespace, "name": run.job, "facets": dict(job_facets or {})},
        "inputs": [dataset.as_input() for dataset in inputs],
        "outputs": [dataset.as_output() for dataset in outputs],
    }
