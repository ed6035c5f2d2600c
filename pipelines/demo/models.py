"""The models of the demo: trained on a part of the shop that takes a minute, and asked at once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from rich.markup import escape

from pipelines.errors import LakehouseError
from pipelines.settings import Settings
from pipelines.terminal import err

# A fifth of a shop sells few products daily: the best sellers are what can be forecast.
_RECIPES: Mapping[str, Mapping[str, Any]] = {
    "forecast": {"top": 200, "most_rows": 200_000, "trees": 150},
    "recommend": {},
    "churn": {},
}
_ORIGINS = 2
# How forecasts of four weeks ago are called: no registered model has made them.
_LOOK_BACK = "forecast/trial"


def train_and_predict(settings: Settings) -> None:
    """Train each kind of model, let the gate decide, predict, and publish the marts.

    What the shop is too small to learn from is said, and done without.
    """
    from pipelines.ml.batch import infer
    from pipelines.ml.training import train

    taught = []
    known = _trained_already(settings)
    for name, recipe in _RECIPES.items():
        if name in known:
            taught.append(name)
            continue
        began = time.monotonic()
        try:
            with err.status(f"Training: {name} …"):
                found = train(settings, name, recipe, origins=_ORIGINS)
        except LakehouseError as error:
            err.print(f"[yellow]![/] {name}: not trained: {escape(error.cause)}", highlight=False)
            continue
        taught.append(name)
        word = "promoted" if found.verdict.is_promoted else "refused"
        err.print(
            f"[green]✓[/] train    {found.version.name} {word}: {escape(found.verdict.reason)} "
            f"({time.monotonic() - began:.1f} s)",
            highlight=False,
        )
    if not taught:
        return
    began = time.monotonic()
    if "forecast" in set(taught) - known:
        with err.status("Forecasting as of four weeks ago …"):
            look_back(settings)
    with err.status("Predicting …"):
        scored = infer(settings, taught)
    rows = sum(each.rows for each in scored)
    by = ", ".join(each.model_version for each in scored)
    err.print(
        f"[green]✓[/] predict  {rows:,} rows by {by} ({time.monotonic() - began:.1f} s)",
        highlight=False,
    )


def look_back(settings: Settings) -> None:
    """Forecast what has come since, by a model that knew nothing of it.

    So the demo has errors of forecasts to show, for which a shop waits four weeks.
    """
    import pyarrow as pa

    from pipelines.forecasting.model import ForecastConfig
    from pipelines.lake.ids import new_run_id
    from pipelines.lake.inference import append_inference
    from pipelines.ml.inference import note_run
    from pipelines.ml.kinds.forecast import Demand, ForecastKind
    from pipelines.ml.published import Publication, published

    kind, recipe = ForecastKind(), _RECIPES["forecast"]
    with published(settings) as source:
        panel = kind.read(source, settings).panel
    horizon = ForecastConfig().horizon
    known = Demand(panel.until(panel.days - 1 - horizon, ahead=horizon))
    model = kind.fit(known, recipe)
    rows = kind.predict(model, known)
    stamp = {"run_id": new_run_id(), "model_version": _LOOK_BACK}
    for name, value in stamp.items():
        rows = rows.append_column(name, pa.array([value] * rows.num_rows, pa.string()))
    append_inference(settings.raw, kind.table, rows, metadata=stamp)
    ended = source.last_day - timedelta(days=horizon - 1)
    past = Publication(replace(source.manifest, business_date=str(ended)), inputs=source.inputs)
    note_run(
        settings, past, stamp["run_id"], _LOOK_BACK, rows.num_rows, used=kind.used(model),
        who="demo",
    )  # fmt: skip


def _trained_already(settings: Settings) -> set[str]:
    """The kinds that have a model which has seen the last day."""
    from pipelines.ml.published import published
    from pipelines.ml.registry import Registry

    registry = Registry(settings)
    with published(settings) as source:
        last_day = str(source.last_day)
    return {
        name
        for name in _RECIPES
        if any(version.trained_until == last_day for version in registry.versions(name))
    }
