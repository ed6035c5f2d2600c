"""What a run tells of itself: that it and each of its steps began, how they ended, what they moved.

Lineage serves the run, never the other way round: whatever goes wrong here is logged, and the run
goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from pipelines.contract import Contracts, load_contracts
from pipelines.errors import LakehouseError
from pipelines.lake.ids import now
from pipelines.lineage import facets, store
from pipelines.lineage.events import Dataset, Event, Facets, Run, State, event
from pipelines.lineage.sender import Sender
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.cdc.kafka import KafkaSource
    from pipelines.cdc.land import LandReport
    from pipelines.lake.publish import Manifest

log = structlog.get_logger()

_BATCH = {"jobType": facets.job_type("LAKEHOUSE", "STEP")}


@dataclass(frozen=True)
class Finished:
    """A part of a step that has run: the landing of a table, the building of a model.

    Attributes:
        job: its name, unique within the lake.
        error: why it failed; None if it did not.
    """

    job: str
    began: datetime
    ended: datetime
    inputs: Sequence[Dataset] = ()
    outputs: Sequence[Dataset] = ()
    error: str | None = None
    job_facets: Facets = field(default_factory=dict)
    run_facets: Facets = field(default_factory=dict)


class Lineage:
    """The events of one run of the chain; `recording` opens it."""

    def __init__(self, settings: Settings, run: Run) -> None:
        self.run = run
        self._settings = settings
        self._sender: Sender | None = None
        self._can_write = True
        if settings.lineage_url:
            # Imported here: only what is sent needs a client.
            from pipelines.lineage.transports import transport_of

            try:
                transport = transport_of(settings.lineage_url, settings)
                self._sender = Sender(transport, settings.lineage_timeout)
            except LakehouseError as error:
                log.warning("lineage not sent", cause=error.cause, remedy=error.remedy)

    @cached_property
    def contracts(self) -> Contracts:
        """The contracts of the project; raises as `load_contracts`."""
        return load_contracts(self._settings.project_dir)

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """A part of the run, from its start to its end, good or not.

        Args:
            name: of the job: `land`, `build`.
        """
        run = Run(self.run.namespace, name, parent=self.run)
        step = Step(self, run, self._settings)
        with self._told(run, step):
            yield step

    @contextmanager
    def whole(self) -> Iterator[Lineage]:
        """The run itself, from its start to its end; then what is on its way is waited for."""
        try:
            with self._told(self.run, Step(self, self.run, self._settings)):
                yield self
        finally:
            if self._sender:
                self._sender.close()
            with _harmless("events of older runs not folded"):
                store.fold(self._settings)

    @contextmanager
    def _told(self, run: Run, step: Step) -> Iterator[None]:
        self.emit([event("START", run, now(), job_facets=_BATCH)])
        try:
            yield
        except BaseException as error:
            self._end("FAIL", run, step, facets.failure(_reason(error)))
            raise
        self._end("COMPLETE", run, step)

    def _end(
        self, state: State, run: Run, step: Step, failure: Mapping[str, Any] | None = None
    ) -> None:
        run_facets = {"errorMessage": failure} if failure else {}
        ended = event(
            state, run, now(), inputs=step.inputs, outputs=step.outputs, run_facets=run_facets,
            job_facets=_BATCH,
        )  # fmt: skip
        self.emit([ended])

    def emit(self, events: Sequence[Event]) -> None:
        """Keep events, and have them sent."""
        if self._can_write:
            try:
                store.append(self._settings, self.run.run_id, events)
            except OSError as error:
                self._can_write = False
                log.warning("lineage not kept", error=str(error))
        if self._sender:
            self._sender.send(events)


class Step:
    """One step of a run. What it is told goes into the event of its end, or of its parts."""

    def __init__(self, lineage: Lineage, run: Run, settings: Settings) -> None:
        self.inputs: list[Dataset] = []
        self.outputs: list[Dataset] = []
        # The runs of parts that have begun, by job.
        self._parts: dict[str, Run] = {}
        self._lineage = lineage
        self._run = run
        self._settings = settings

    def reads(self, *datasets: Dataset) -> None:
        """The step reads these."""
        self.inputs.extend(datasets)

    def writes(self, *datasets: Dataset) -> None:
        """The step writes these."""
        self.outputs.extend(datasets)

    def finished(self, parts: Iterable[Finished]) -> None:
        """Tell of parts that have run, each with its own start and end."""
        events: list[Event] = []
        for part in parts:
            events += self._begin(part)
            events.append(self._state("FAIL" if part.error else "COMPLETE", part))
        if events:
            self._lineage.emit(events)

    def going_on(self, parts: Iterable[Finished]) -> None:
        """Tell, once, of parts that do not end soon; `finished` tells their end."""
        events: list[Event] = []
        for part in parts:
            if begun := self._begin(part):
                events += [*begun, self._state("RUNNING", part)]
        if events:
            self._lineage.emit(events)

    def _begin(self, part: Finished) -> list[Event]:
        if part.job in self._parts:
            return []
        run = self._parts[part.job] = Run(self._run.namespace, part.job, parent=self._run)
        # All of a job's facets come with its end; at the start its type will do.
        kind = {name: told for name, told in part.job_facets.items() if name == "jobType"}
        return [event("START", run, part.began, job_facets=kind)]

    def _state(self, state: State, part: Finished) -> Event:
        failed = {"errorMessage": facets.failure(part.error)} if part.error else {}
        return event(
            state,
            self._parts[part.job],
            part.ended,
            inputs=part.inputs,
            outputs=part.outputs,
            run_facets={**part.run_facets, **failed},
            job_facets=part.job_facets,
        )

    def landed(
        self,
        report: LandReport,
        source: Path | KafkaSource | None,
        began: datetime,
        *,
        goes_on: bool = False,
    ) -> None:
        """Tell what a landing brought, table by table.

        Args:
            source: where it came from; None means the inbox.
            began: when the landing began, UTC.
            goes_on: whether it follows its source, and more is to come.
        """
        from pipelines.lineage import landing

        if not any(topic.counts.total() for topic in report.topics.values()):
            return
        with _harmless("landing has no lineage"):
            contracts = self._lineage.contracts
            parts = landing.parts(report, source, self._settings, contracts, began)
            if goes_on:
                self.going_on(parts)
            else:
                self.finished(parts)

    def built(self, results: Sequence[Any]) -> None:
        """Tell of each model that dbt has built, and of its tests.

        Args:
            results: dbt's results of nodes, as its runner gives them.
        """
        # Imported here: it reads SQL, for which a run that builds nothing need not wait.
        from pipelines.lineage import models

        with _harmless("build has no lineage"):
            self.finished(models.parts(results, self._settings, self._lineage.contracts))

    def checked(self, checks: Mapping[str, Sequence[facets.Check]]) -> None:
        """The step has checked these tables.

        Args:
            checks: name of the table (`marts.mart_client_rfm`) → what each check told.
        """
        for name, told in checks.items():
            assertions = {"dataQualityAssertions": facets.assertions(told)}
            self.reads(Dataset(self._run.namespace, name, of_run=assertions))

    def published(self, manifest: Manifest) -> None:
        """Tell which published tables this run has written."""
        from pipelines.lineage import publication

        with _harmless("publication has no lineage"):
            namespace, run_id = self._run.namespace, self._run.root.run_id
            self.writes(*publication.written(manifest, self._settings, namespace, run_id))


def _reason(error: BaseException) -> str:
    """The first line: those below it may show rows, which stay in the lake."""
    told = error.cause if isinstance(error, LakehouseError) else str(error)
    return told.partition("\n")[0].rstrip(":") or type(error).__name__


@contextmanager
def recording(settings: Settings, run_id: str, command: str) -> Iterator[Lineage]:
    """Record the lineage of a run from here to its end.

    Args:
        run_id: a UUID; that of the flow where an orchestrator runs it.
        command: names the job: `lakehouse run`.
    """
    lineage = Lineage(settings, Run(settings.lineage_namespace, command, run_id))
    with lineage.whole():
        yield lineage


@contextmanager
def _harmless(what: str) -> Iterator[None]:
    """Let no error out: a run is not to fail for what it tells of itself."""
    try:
        yield
    except Exception as error:
        log.warning(what, error=f"{type(error).__name__}: {error}")
