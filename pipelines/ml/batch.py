"""Batch inference as one piece: predict, then build, check and publish the prediction marts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipelines import chain
from pipelines.caller import COMMAND_LINE, Caller
from pipelines.lake.ids import new_run_id
from pipelines.ml.audit import actor, audit
from pipelines.ml.inference import Scored, score
from pipelines.ml.kinds import NAMES
from pipelines.ml.registry import Registry, Version
from pipelines.settings import Settings


def infer(
    settings: Settings,
    kinds: Sequence[str] | None = None,
    *,
    again: bool = False,
    by: Caller = COMMAND_LINE,
    on_progress: Callable[[str], None] = lambda told: None,
) -> list[Scored]:
    """Predict with the champions, and publish the marts of it.

    Args:
        kinds: names; default all.
        again: predict also where the same model has seen the same data.

    Raises:
        LakehouseError: as `score` and `chain.rebuild`; what is published stays as it was.
    """

    def tell(name: str) -> None:
        on_progress(f"Predicting: {name}")

    names = tuple(kinds or NAMES)
    found: list[Scored] = by.call(
        "score", lambda: score(settings, names, again=again, by=by, on_progress=tell)
    )
    on_progress("Building the prediction marts")
    # The predictions are in the tables by now: what the build holds against them is no loss.
    chain.rebuild(settings, "lakehouse score", Caller(call=by.call))
    return found


def roll_back(settings: Settings, kind: str, by: Caller = COMMAND_LINE) -> Version:
    """Make the former champion champion again, and its predictions those that readers see.

    Raises:
        LakehouseError: there was no champion before, or as `infer`.
    """
    registry = Registry(settings)
    former = registry.champion(kind)
    version = registry.roll_back(kind)
    reason = f"{former.name if former else 'no champion'} gives way to {version.name}"
    run_id = by.run_id or new_run_id()
    audit(settings, "rollback", kind, version.name, reason, run_id=run_id, actor=actor(by))
    infer(settings, [kind], by=by)
    return version


def promote(settings: Settings, kind: str, number: str, by: Caller = COMMAND_LINE) -> Version:
    """Make a version champion by a person's word, without the gate.

    Raises:
        UsageError: there is no such version.
        LakehouseError: its files are damaged.
    """
    registry = Registry(settings)
    version = registry.version(kind, number)
    registry.folder(version)
    registry.promote(version)
    reason = f"by hand; the gate had found: {version.verdict}"
    run_id = by.run_id or new_run_id()
    audit(settings, "promote", kind, version.name, reason, run_id=run_id, actor=actor(by))
    return version
