"""Training: learn, try, keep, judge; what stands the gate becomes champion."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from pipelines.caller import COMMAND_LINE, Caller
from pipelines.errors import LakehouseError, Unavailable
from pipelines.lake.ids import new_run_id
from pipelines.lineage.events import Dataset
from pipelines.lineage.recording import recording
from pipelines.ml.audit import Action, actor, audit
from pipelines.ml.card import comparisons, write_card
from pipelines.ml.digest import digest
from pipelines.ml.gate import Verdict, judge
from pipelines.ml.kind import Kept, Kind
from pipelines.ml.kinds import kind_named
from pipelines.ml.published import Publication, published
from pipelines.ml.registry import Registry, Version, version_tags
from pipelines.ml.trial import Trial
from pipelines.settings import REPOSITORY, Settings

_SERVED = Path(__file__).with_name("served.py")
_FIGURE_INCHES = (7, 4)
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Trained:
    """What came of a training.

    Attributes:
        version: in the registry; an old one where the very same model was there already.
        used: what its predictions are made of.
        notes: what a person should know beside.
    """

    version: Version
    verdict: Verdict
    trial: Trial
    used: str
    notes: tuple[str, ...] = ()


def train(
    settings: Settings,
    name: str,
    recipe: Mapping[str, Any] | None = None,
    *,
    origins: int = 3,
    by: Caller = COMMAND_LINE,
    on_progress: Progress = lambda told: None,
) -> Trained:
    """Train a kind of model on what is published, and let the gate decide on it.

    Nothing of the lake is held meanwhile: it reads one publication, whatever follows.

    Args:
        name: of the kind.
        recipe: parameters that differ from the default.
        origins: how many past horizons the contest is held on.

    Raises:
        LakehouseError: there is too little to learn from, or what it stands on is missing.
        Unavailable: MLflow is not reached.
    """
    run_id = by.run_id or new_run_id()
    recipe = dict(recipe or {})
    kind, registry = kind_named(name), Registry(settings)
    with (
        recording(settings, run_id, f"lakehouse train {name}") as lineage,
        published(settings) as source,
        lineage.step("train") as told,
    ):
        on_progress("reading")
        data = kind.read(source, settings)
        champion, notes = _champion(registry, kind, data)
        on_progress(f"trying it on {origins} origins")
        trial = kind.trial(data, recipe, champion, origins)
        verdict = judge(trial)
        on_progress("learning from all")
        model = kind.fit(data, recipe)
        on_progress("keeping it")
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "model"
            kind.save(model, folder)
            version, is_new = keep(
                registry, kind, model, data, folder, source, trial, verdict, run_id
            )
        if not is_new:
            notes = (*notes, f"the very same model is {version.name} already")
        _settle(settings, registry, version, verdict, run_id, by)
        told.reads(*(Dataset(lineage.run.namespace, table) for table in source.inputs))
        told.writes(Dataset(lineage.run.namespace, f"models.{name}"))
    version = registry.version(name, str(version.number))
    return Trained(version, verdict, trial, kind.used(model), notes)


def _champion(registry: Registry, kind: Kind[Any, Any], data: Any) -> tuple[Any, tuple[str, ...]]:
    """The champion, if it can still predict: one that cannot is no rival, however well it did."""
    version = registry.champion(kind.name)
    if version is None:
        return None, ("there was no champion: the baselines are what is to be beaten",)
    try:
        model = kind.load(registry.folder(version))
        kind.predict(model, data)
    except Unavailable:
        raise
    except LakehouseError as error:
        return None, (f"the champion took no part: {error.cause}",)
    return model, ()


def _settle(
    settings: Settings,
    registry: Registry,
    version: Version,
    verdict: Verdict,
    run_id: str,
    by: Caller,
) -> None:
    """Promote or refuse, and write it down."""
    who = actor(by)
    trained = f"trained until {version.trained_until}"
    audit(settings, "train", version.kind, version.name, trained, run_id=run_id, actor=who)
    if verdict.is_promoted:
        registry.promote(version)
    action: Action = "promote" if verdict.is_promoted else "refuse"
    audit(settings, action, version.kind, version.name, verdict.reason, run_id=run_id, actor=who)


def keep(
    registry: Registry,
    kind: Kept[Any],
    model: Any,
    data: Any,
    folder: Path,
    source: Publication,
    trial: Trial,
    verdict: Verdict,
    run_id: str,
) -> tuple[Version, bool]:
    """Log the run, and register the model unless it is there already.

    Args:
        folder: where the model is saved.

    Returns:
        The version, and whether it is new.
    """
    import mlflow

    sha256, parameters, code = digest(folder), kind.parameters(model), _code()
    card = write_card(
        kind.name,
        kind.facts,
        used=kind.used(model),
        sha256=sha256,
        trained_until=str(source.last_day),
        inputs=source.inputs.values(),
        trial=trial,
        verdict=verdict,
        parameters=parameters,
        code=code,
    )
    experiment = registry.experiment(kind.name)
    known = next((v for v in registry.versions(kind.name) if v.sha256 == sha256), None)
    with (
        registry.reached(),
        mlflow.start_run(experiment_id=experiment, run_name=f"{kind.name} {run_id}") as run,
    ):
        mlflow.log_params(parameters)
        mlflow.set_tags(code | {"sha256": sha256, "lakehouse.run_id": run_id})
        mlflow.set_tag("verdict", "promoted" if verdict.is_promoted else "refused")
        _log_figures(trial, verdict)
        mlflow.log_dict({each.table: each.told() for each in source.inputs.values()}, "inputs.json")
        mlflow.log_text(card, "model_card.md")
        mlflow.log_text(_packages(), "packages.txt")
        _log_plots(trial, kind.importance(model))
        if known is not None:
            return known, False
        example = kind.example(data)
        # It hints that whole numbers hold no nulls: no id is null.
        warnings.filterwarnings("ignore", "Hint: Inferred schema contains integer")
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(_SERVED),
            artifacts={"model": str(folder)},
            model_config={"kind": kind.name},
            signature=mlflow.models.infer_signature(example, kind.serve(model, example)),
            input_example=example,
            pip_requirements=["lakehouse-platform[ml]"],
            metadata={"sha256": sha256},
        )
    tags = version_tags(sha256, verdict.reason, str(source.last_day))
    return registry.register(kind.name, logged.model_uri, run.info.run_id, tags, card), True


def _log_figures(trial: Trial, verdict: Verdict) -> None:
    """Figures of each origin, the newest being step 0, and those of the contest."""
    import mlflow

    for step, part in enumerate(trial.parts):
        found = {name: value for name, value in part.metrics.items() if value == value}
        found |= {f"loss_{name}": part.value(name) for name in trial.contenders}
        mlflow.log_metrics(found, step=step)
    for each in verdict.comparisons:
        gains = {"gain": each.gain, "gain_low": each.low, "gain_high": each.high}
        mlflow.log_metrics({f"{name}_over_{each.against}": value for name, value in gains.items()})
    mlflow.log_text(comparisons(verdict), "gate.md")


def _log_plots(trial: Trial, importance: Mapping[str, float]) -> None:
    import mlflow
    from matplotlib.figure import Figure

    for plot in trial.plots:
        figure = Figure(figsize=_FIGURE_INCHES, layout="constrained")
        plot.draw(figure.subplots())
        mlflow.log_figure(figure, f"plots/{plot.name}.png")
    if importance:
        best = sorted(importance.items(), key=lambda each: each[1])[-20:]
        figure = Figure(figsize=_FIGURE_INCHES, layout="constrained")
        axes = figure.subplots()
        axes.barh([name for name, _ in best], [gain for _, gain in best])
        axes.set(title="Importance", xlabel="gain")
        mlflow.log_figure(figure, "plots/importance.png")


def _code() -> dict[str, str]:
    """The commit and the packages that a model is made with."""
    lock = REPOSITORY / "requirements" / "demo.lock"
    return {
        "git_sha": _git("rev-parse", "HEAD") or os.environ.get("LAKEHOUSE_GIT_SHA", "unknown"),
        "git_is_clean": str(_git("status", "--porcelain") == "").lower(),
        "lock_sha256": hashlib.sha256(lock.read_bytes()).hexdigest() if lock.exists() else "none",
        "packages_sha256": hashlib.sha256(_packages().encode()).hexdigest(),
    }


def _git(*arguments: str) -> str | None:
    """What git tells, None where this is no clone or there is no git."""
    try:
        found = subprocess.run(  # noqa: S603 - the arguments are those below
            ["git", "-C", str(REPOSITORY), *arguments],  # noqa: S607 - git of the PATH is meant
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return found.stdout.strip() if found.returncode == 0 else None


def _packages() -> str:
    """What is installed, a line each, sorted."""
    named = {f"{found.metadata['Name']}=={found.version}" for found in distributions()}
    return "\n".join(sorted(named, key=str.lower)) + "\n"
