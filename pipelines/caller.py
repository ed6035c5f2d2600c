"""Who has a run made: the command line calls each step as it is, Prefect makes a task of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")


class Call(Protocol):
    """Calls a step of a run, once or until it succeeds; raises what the step raises."""

    def __call__(self, name: str, step: Callable[[], T], /) -> T: ...


def directly(name: str, step: Callable[[], T]) -> T:
    """Call a step as it is, once."""
    return step()


@dataclass(frozen=True)
class Caller:
    """Who has a run made.

    Attributes:
        run_id: by which the caller knows the run, a UUID; None where it is to be given one.
        call: how steps are called.
    """

    run_id: str | None = None
    call: Call = directly


COMMAND_LINE = Caller()
