"""A panel may be cut by products: told the sums of the whole, a part gets the same forecasts."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.errors import LakehouseError
from pipelines.forecasting import saved
from pipelines.forecasting.baselines import BASELINES, by_baselines
from pipelines.forecasting.features import Features
from pipelines.forecasting.lines import Span, panel_of
from pipelines.forecasting.model import ForecastConfig, ForecastModel, fit
from pipelines.forecasting.panel import Panel, best
from pipelines.forecasting.selection import Choice
from pipelines.forecasting.totals import Totals
from pipelines.ml.kinds.forecast import Demand, DemandModel, ForecastKind
from spark_jobs.demand import (
    PART,
    PREDICTIONS,
    Chosen,
    ModelFiles,
    ToPanel,
    predictions_of,
    totals_of,
    worth_of,
)
from tests.unit.forecast_data import SMALL, START, lines_of, panel_from, promoted_sales

FIGURES = ("mean", "p10", "p50", "p90")


def whole_panel() -> Panel:
    """More than a year, so that features look a year back; groups that some parts lack."""
    sold, promoted = promoted_sales(products=15, days=440)
    panel = panel_from(sold[:, : sold.shape[1] - SMALL.horizon], {"promo": promoted})
    count = len(panel.products)
    brands = np.array([f"brand {row // 3}" for row in range(count)], dtype=object)
    return replace(
        panel,
        revenue=panel.quantity * 3.25,
        discount=panel.quantity * 0.5,
        attributes={**panel.attributes, "brand": brands},
    )


def predicted_in_parts(model: ForecastModel, panel: Panel) -> dict[str, np.ndarray]:
    rows = np.arange(len(panel.products))
    parts = [panel.select(rows[start::5]) for start in range(5)]
    totals = Totals.of(parts[0])
    for part in parts[1:]:
        totals = totals + Totals.of(part)
    made = [model.predict(part, totals=totals) for part in parts]
    order = np.argsort(np.concatenate([each.products for each in made]).astype(str))
    found = {name: np.concatenate([getattr(each, name) for each in made]) for name in FIGURES}
    simple = [by_baselines(part, model.config.horizon, totals) for part in parts]
    baselines = {name: np.concatenate([each[name] for each in simple]) for name in BASELINES}
    return {name: values[order] for name, values in (found | baselines).items()}


def assert_parts_are_as_the_whole(model: ForecastModel, panel: Panel) -> None:
    whole = model.predict(panel)
    parts = predicted_in_parts(model, panel)
    for name in FIGURES:
        np.testing.assert_allclose(parts[name], getattr(whole, name), rtol=1e-12)
    for name, values in by_baselines(panel, model.config.horizon).items():
        np.testing.assert_allclose(parts[name], values, rtol=1e-12)


@pytest.fixture(scope="module")
def learned() -> ForecastModel:
    return fit(whole_panel(), SMALL)


@pytest.mark.parametrize(
    "choice",
    [
        Choice("theta", 0.0, {}, "the baseline alone"),
        Choice("ma56_weekday", 0.4, {}, "a blend"),
        Choice("ma56_weekday", 1.0, {}, "the model alone"),
    ],
    ids=["baseline", "blend", "model"],
)
def test_parts_of_a_panel_get_the_forecasts_of_the_whole(
    learned: ForecastModel, choice: Choice
) -> None:
    assert learned.booster is not None
    assert_parts_are_as_the_whole(replace(learned, choice=choice), whole_panel())


def test_parts_get_them_from_a_model_without_plan_or_booster() -> None:
    panel = whole_panel().without_plan()
    assert_parts_are_as_the_whole(fit(panel, SMALL), panel)
    simple = ForecastConfig(SMALL.horizon, boosting=replace(SMALL.boosting, trees=0))
    model = fit(panel, simple)
    assert model.booster is None
    assert_parts_are_as_the_whole(model, panel)


def test_without_the_sums_of_the_whole_a_part_gets_others(learned: ForecastModel) -> None:
    model = replace(learned, choice=Choice("ma56_weekday", 1.0, {}, "the model alone"))
    panel = whole_panel()
    part = np.arange(4)
    told = model.predict(panel.select(part), totals=Totals.of(panel)).mean
    np.testing.assert_allclose(told, model.predict(panel).mean[part], rtol=1e-12)
    assert not np.allclose(model.predict(panel.select(part)).mean, told)


def test_each_feature_of_a_part_is_that_of_the_whole() -> None:
    """Also where a part's promotions are far smaller than those of the others."""
    panel = whole_panel()
    sizes = np.where(np.arange(len(panel.products)) < 10, 1.0, 50.0)
    panel = replace(panel, plan={n: v * sizes[:, None] for n, v in panel.plan.items()})
    labels = {name: np.unique(of.astype(str)) for name, of in panel.attributes.items()}
    origin, part, totals = panel.days - 1, np.arange(4), Totals.of(panel)
    whole = Features(panel, SMALL.horizon, labels).at(origin)
    own = Features(panel.select(part), SMALL.horizon, labels, totals).at(origin)
    rows = np.isin(whole.product, part)
    for place, name in enumerate(whole.names):
        np.testing.assert_allclose(
            own.values[:, place], whole.values[rows, place], rtol=1e-6, err_msg=name
        )


def test_the_panel_of_a_part_has_the_days_of_the_whole() -> None:
    sold, promoted = promoted_sales(products=4, days=60)
    lines = lines_of(sold[:, :46], department=["a", "b", "a", "b"])
    dates = np.datetime64("2024-01-01") + np.arange(60)
    plan = pa.table(
        {
            "product_id": np.repeat([f"p{row:03d}" for row in range(2)], 60),
            "date": pa.array(np.tile(dates, 2)),
            "promo": promoted[:2].ravel(),
        }
    )
    # The second half of the products comes later, and the plan tells nothing of them.
    of_last = pa.compute.is_in(lines["product_id"], pa.array(["p002", "p003"]))
    late = pa.compute.greater(lines["date"], pa.scalar(dates[9].item()))
    lines = lines.filter(pa.compute.or_(pa.compute.invert(of_last), late))
    whole = panel_of(lines, plan=plan)
    last = lines.filter(pa.compute.is_in(lines["product_id"], pa.array(["p002", "p003"])))
    part = panel_of(last, plan=plan.slice(0, 0), span=Span(whole.start, whole.days, 60))
    same = whole.select(np.array([2, 3]))
    np.testing.assert_array_equal(part.quantity, same.quantity)
    np.testing.assert_array_equal(part.first, same.first)
    np.testing.assert_array_equal(part.plan["promo"], same.plan["promo"])
    assert (part.start, part.days) == (whole.start, whole.days)


def test_the_sums_of_parts_are_those_of_the_whole() -> None:
    panel = whole_panel()
    whole = Totals.of(panel)
    added = Totals.of(panel.select(np.arange(5))) + Totals.of(panel.select(np.arange(5, 15)))
    np.testing.assert_array_equal(added.quantity, whole.quantity)
    for name, group in whole.groups.items():
        assert added.groups[name].labels.tolist() == group.labels.tolist()
        np.testing.assert_array_equal(added.groups[name].products, group.products)
        np.testing.assert_array_equal(added.groups[name].quantity, group.quantity)
        np.testing.assert_array_equal(
            added.groups[name].plan_mean("promo"), group.plan_mean("promo")
        )


def test_workers_make_of_parts_what_the_kind_makes_of_all(tmp_path: Path) -> None:
    sold, _ = promoted_sales(products=20, days=200)
    count, days = sold.shape
    lines = lines_of(sold, department=[f"d{row % 3}" for row in range(count)])
    ids = np.repeat(np.arange(count) * 7 + 1, days)
    lines = lines.set_column(0, "product_id", pa.array(ids))
    closed = (str(START + days + 2),)
    panel = panel_of(lines, closed=closed)
    kind, top = ForecastKind(), 8
    model = DemandModel(fit(panel.select(panel.best(top)), SMALL), top)
    assert model.model.booster is not None
    kind.save(model, tmp_path / "model")
    files = ModelFiles.of(tmp_path / "model")

    to_panel = ToPanel(Span(panel.start, days, days), has_plan=False, closed=closed)
    nothing = lines.slice(0, 0).append_column(PART, pa.array([], pa.int32()))
    panels = []
    for part in range(3):
        own = lines.filter(pa.compute.equal(pa.array(ids % 3), part))
        own = own.append_column(PART, pa.array(np.full(own.num_rows, part)))
        panels += to_panel(own, nothing).to_batches()
    assert not to_panel(nothing, nothing).num_rows
    worth = pa.Table.from_batches(worth_of(iter(panels))).sort_by("product_id")
    rows = best(worth["worth"].to_numpy(), top)
    chosen = Chosen(lambda: files, tuple(worth["product_id"].take(rows).to_pylist()))
    (packed,) = pa.Table.from_batches(totals_of(chosen)(iter(panels)))["totals"].to_pylist()
    totals = pickle.loads(packed)  # noqa: S301 - packed above
    made = predictions_of(chosen, lambda: totals)(iter(panels))
    order = [("product_id", "ascending"), ("horizon_day", "ascending")]
    rows_made = pa.Table.from_batches(made, PREDICTIONS).sort_by(order)
    assert rows_made == kind.predict(model, Demand(panel)).cast(PREDICTIONS).sort_by(order)
    assert rows_made.num_rows == top * SMALL.horizon


def test_a_model_altered_on_its_way_is_not_loaded(learned: ForecastModel, tmp_path: Path) -> None:
    saved.save(learned, tmp_path)
    (tmp_path / "recipe.json").write_text('{"top": 5}')
    files = ModelFiles.of(tmp_path)
    content = tuple((name, text.replace(b"0", b"1", 1)) for name, text in files.content)
    with pytest.raises(LakehouseError, match="altered on its way"):
        replace(files, content=content).loaded()
    assert files.loaded().top == 5
