"""Steps of the chain as tasks: each with a time limit, and tried again where that may help."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task, exponential_backoff

from pipelines.caller import Call
from pipelines.errors import Unavailable
from pipelines.lake.storage import told_clearly
from pipelines.orchestration import artifacts
from pipelines.quality.gatekeeper import GateBlocked
from pipelines.settings import Settings

T = TypeVar("T")

_MINUTE = 60
_JITTER = 0.5


@dataclass(frozen=True)
class Limits:
    """How long a step may take, and how often it is tried again where it may help.

    Attributes:
        minutes: of one try.
        retries: after the first try.
        seconds: to wait before the first retry; doubled for each one after it, and up to half as
            long again by chance, so that those who failed together do not come back together.
    """

    minutes: int
    retries: int = 3
    seconds: int = 10


LIMITS = {
    # Another run holds the lake: it may need as long as a build.
    "hold": Limits(minutes=2, retries=6, seconds=30),
    "reach": Limits(minutes=2),
    "land": Limits(minutes=60),
    "mark": Limits(minutes=30),
    "stage": Limits(minutes=120),
    "gate-staging": Limits(minutes=30),
    "build": Limits(minutes=120),
    "gate-marts": Limits(minutes=30),
    "publish": Limits(minutes=60),
    "features": Limits(minutes=60),
    "maintain": Limits(minutes=240),
    "train": Limits(minutes=240),
    "watch": Limits(minutes=30),
    "score": Limits(minutes=120),
    "report": Limits(minutes=30),
    "tell": Limits(minutes=5),
}


def as_tasks(settings: Settings) -> Call:
    """Make each step of a run a task of the flow run that is on.

    What a step has made or found is shown as an artifact; also what a gate that blocks has found.
    Nothing is cached by Prefect: what has been done is known by its content to the chain itself,
    which a run on the command line shares.
    """

    def call(name: str, step: Callable[[], T], /) -> T:
        limits = LIMITS[name]

        def tried() -> T:
            try:
                with told_clearly(settings):
                    result = step()
            except GateBlocked as blocked:
                artifacts.show(blocked.report, settings)
                raise
            artifacts.show(result, settings)
            return result

        return task(
            name=name,
            retries=limits.retries,
            retry_delay_seconds=exponential_backoff(limits.seconds),
            retry_jitter_factor=_JITTER,
            retry_condition_fn=is_worth_another_try,
            timeout_seconds=limits.minutes * _MINUTE,
            cache_policy=NO_CACHE,
            persist_result=False,
        )(tried)()

    return call


def is_worth_another_try(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether a step failed for what may be over soon; what a person must mend is not retried."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, Unavailable)
