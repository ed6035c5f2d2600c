"""The forecast: no look ahead, the same twice, never below zero, and no model where it loses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipelines.errors import LakehouseError
from pipelines.forecasting import baselines
from pipelines.forecasting.backtest import backtest, origins_before
from pipelines.forecasting.boosting import training_rows
from pipelines.forecasting.features import Features
from pipelines.forecasting.model import Forecast, fit, forecast
from pipelines.forecasting.panel import Floats, Panel
from pipelines.forecasting.selection import choose
from pipelines.forecasting.validation import validation_windows
from tests.unit.forecast_data import SMALL, panel_from, promoted_sales

HORIZON = SMALL.horizon


def promoted_panel(length: int = 230) -> Panel:
    sold, promoted = promoted_sales(days=length)
    days = sold.shape[1] - HORIZON
    panel = panel_from(sold[:, :days], {"promo": promoted})
    return replace(panel, revenue=panel.quantity * 3.0, discount=panel.quantity * 0.5)


@pytest.fixture(scope="module")
def made() -> Forecast:
    return forecast(promoted_panel(), SMALL)


def test_features_hold_nothing_of_what_was_sold_after_their_origin() -> None:
    panel, origin = promoted_panel(480), 440
    random = np.random.default_rng(0)

    def scrambled(values: Floats) -> Floats:
        other = values.copy()
        other[:, origin + 1 :] = random.random(other[:, origin + 1 :].shape) * 99
        return other

    assert panel.revenue is not None
    assert panel.discount is not None
    other = replace(
        panel,
        quantity=scrambled(panel.quantity),
        revenue=scrambled(panel.revenue),
        discount=scrambled(panel.discount),
    )
    rows, others = Features(panel, HORIZON).at(origin), Features(other, HORIZON).at(origin)
    leaking = [
        name
        for place, name in enumerate(rows.names)
        if not np.array_equal(rows.values[:, place], others.values[:, place], equal_nan=True)
    ]
    assert leaking == []
    np.testing.assert_array_equal(rows.level, others.level)
    assert not np.isnan(rows.values[:, rows.names.index("year_ago")]).any()
    # Not because nothing is seen at all: a day earlier is.
    later = Features(other, HORIZON).at(origin + 1)
    assert not np.array_equal(
        Features(panel, HORIZON).at(origin + 1).values, later.values, equal_nan=True
    )


def test_a_plan_of_the_target_day_is_seen_and_one_beyond_the_horizon_is_not() -> None:
    panel, origin = promoted_panel(), 150
    promo = panel.plan["promo"].copy()
    promo[:, origin + HORIZON + 1 :] = 7
    beyond = Features(replace(panel, plan={"promo": promo}), HORIZON).at(origin)
    rows = Features(panel, HORIZON).at(origin)
    assert np.array_equal(rows.values, beyond.values, equal_nan=True)
    ahead = rows.values[:, rows.names.index("promo")].reshape(-1, HORIZON)
    np.testing.assert_array_equal(ahead, panel.plan["promo"][:, origin + 1 : origin + 1 + HORIZON])


def test_two_fits_give_the_same_model_and_the_same_forecast(made: Forecast) -> None:
    again = forecast(promoted_panel(), SMALL)
    assert made.fingerprint is not None
    assert again.fingerprint == made.fingerprint
    for name in ("mean", "p10", "p50", "p90"):
        assert getattr(again, name).tobytes() == getattr(made, name).tobytes()


def test_the_model_is_used_where_the_plan_carries_the_news(made: Forecast) -> None:
    assert made.choice.weight > 0
    assert made.choice.losses["ma56_weekday"] == 1.0


def test_nothing_is_forecast_for_a_day_on_which_no_shop_opens(made: Forecast) -> None:
    panel = promoted_panel()
    closed = str(panel.day(panel.days + 2))
    told = forecast(replace(panel, closed=(closed,)), SMALL)
    opens = np.arange(HORIZON) != 2
    for name in ("model", "mean", "p10", "p50", "p90"):
        own, usual = getattr(told, name), getattr(made, name)
        assert (own[:, ~opens] == 0).all()
        np.testing.assert_array_equal(own[:, opens], usual[:, opens])
    assert (told.baselines["ma56_weekday"] == made.baselines["ma56_weekday"]).all()
    yearly = forecast(replace(panel, closed=(closed[5:],)), SMALL)
    np.testing.assert_array_equal(yearly.mean, told.mean)


def test_a_closed_day_of_the_past_teaches_nothing_unless_something_sold() -> None:
    panel = promoted_panel()
    shut, window = panel.days - 30, panel.days - 10
    quantity = panel.quantity.copy()
    quantity[:, [shut, window]] = 0
    days = (str(panel.day(shut)), str(panel.day(window)), str(panel.day(panel.days - 40)))
    panel = replace(panel, quantity=quantity, closed=days)
    rows = training_rows(panel, Features(panel, HORIZON), HORIZON, SMALL.boosting).rows
    learnt = set(rows.target.tolist())
    assert {shut, window} & learnt == set()
    assert {panel.days - 40, shut - 1, shut + 1} <= learnt
    (late, early) = validation_windows(panel, HORIZON, 2)
    assert np.flatnonzero(late.closed).tolist() == [HORIZON - 10]
    assert not early.closed.any()
    # What lay off on a day that was told is no error that quantiles should know of.
    model = fit(panel, SMALL)
    other = late.actual.copy()
    other[:, late.closed] = 5000
    assert not model.residuals.values[2].max() > 50
    again = fit(panel, SMALL, windows=[replace(late, actual=other), early])
    np.testing.assert_array_equal(again.residuals.values, model.residuals.values)


def test_quantiles_do_not_cross_and_nothing_is_negative_or_undefined(made: Forecast) -> None:
    assert made.mean.shape == (24, HORIZON)
    assert (made.p10 >= 0).all()
    assert (made.p10 <= made.p50).all()
    assert (made.p50 <= made.p90).all()
    assert (made.mean >= 0).all()
    assert np.isfinite([made.mean, made.p10, made.p50, made.p90]).all()


def test_the_interval_holds_about_four_days_of_five_where_counts_are_large() -> None:
    sold, promoted = promoted_sales(products=40, seed=5)
    panel = panel_from(sold, {"promo": promoted})
    found = backtest(panel, origins_before(panel, HORIZON, 1), SMALL)
    (mean,) = [row for row in found.rows if row.origin is None and row.method == "pipeline"]
    assert mean.quantiles is not None
    assert 0.72 < mean.quantiles.coverage < 0.88


def test_where_there_is_nothing_but_noise_the_pipeline_uses_a_baseline_and_says_so() -> None:
    random = np.random.default_rng(4)
    noise = random.poisson(random.uniform(1, 8, 24)[:, None], (24, 200)).astype(float)
    found = forecast(panel_from(noise), SMALL)
    assert found.model is not None
    assert found.choice.weight == 0
    assert found.choice.baseline in found.choice.reason
    np.testing.assert_array_equal(found.mean, found.baselines[found.choice.baseline])


def test_a_perfect_model_is_chosen_and_a_useless_one_is_not() -> None:
    panel = promoted_panel()
    windows = validation_windows(panel, HORIZON, 2)
    assert choose(windows, [window.actual for window in windows]).name == "model"
    far = choose(windows, [window.actual + 50 for window in windows])
    assert far.weight == 0


def test_a_history_too_short_for_the_model_gets_a_baseline_and_too_short_for_that_an_error() -> (
    None
):
    sold, _ = promoted_sales(days=85)
    found = forecast(panel_from(sold), SMALL)
    assert found.model is None
    assert "too short for the model" in found.choice.reason
    with pytest.raises(LakehouseError, match="too few to forecast 14 days"):
        forecast(panel_from(sold[:, :60]), SMALL)


def test_a_plan_that_ends_within_the_horizon_is_refused() -> None:
    panel = promoted_panel()
    short = {"promo": panel.plan["promo"][:, : panel.days + 3]}
    with pytest.raises(LakehouseError, match="promo is planned up to"):
        forecast(replace(panel, plan=short), SMALL)


def test_new_products_get_the_baseline_and_products_that_never_sold_get_zero() -> None:
    sold, _ = promoted_sales()
    sold[0, :-5] = 0
    sold[1] = 0
    sold[2, :-1] = 0
    sold[2, -1] = 40
    found = forecast(panel_from(sold), SMALL)
    assert found.model is not None
    usual = found.baselines["ma56_weekday"]
    np.testing.assert_allclose(found.model[:3], usual[:3])
    assert (found.mean[1] == 0).all()
    # One sale of forty pieces is no forty pieces a day.
    assert (found.mean[2] < 10).all()


def test_a_shop_that_opened_lately_gets_a_baseline_and_one_of_new_products_alone_an_error() -> None:
    sold, _ = promoted_sales()
    sold[:, :-40] = 0
    found = forecast(panel_from(sold), SMALL)
    assert found.model is None
    assert np.isfinite(found.mean).all()
    sold[:, :-10] = 0
    with pytest.raises(LakehouseError, match="every product is new"):
        forecast(panel_from(sold), SMALL)


def test_a_shop_that_sold_nothing_lately_is_forecast_by_a_baseline() -> None:
    sold, _ = promoted_sales()
    sold[:, -40:] = 0
    found = forecast(panel_from(sold), SMALL)
    assert found.choice.reason == "nothing was sold in the validation windows"
    assert np.isfinite(found.mean).all()


def test_baselines_on_numbers_computed_by_hand() -> None:
    week = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]])
    panel = panel_from(np.tile(week, 12))
    np.testing.assert_allclose(baselines.seasonal_naive(panel, 9)[0], [*week[0], 1, 2])
    np.testing.assert_allclose(baselines.moving_average(panel, 2), [[4.0, 4.0]])
    np.testing.assert_allclose(baselines.weekday_average(panel, 7), week)
    np.testing.assert_allclose(baselines.weekday_means(panel, 9)[0], [*week[0], 1, 2])
    np.testing.assert_allclose(baselines.theta(panel, 7), week, atol=0.5)


def test_a_backtest_scores_every_method_at_every_origin_and_in_the_mean() -> None:
    sold, promoted = promoted_sales()
    panel = panel_from(sold, {"promo": promoted})
    origins = origins_before(panel, HORIZON, 2)
    assert origins == [230 - 1 - 14, 230 - 1 - 28]
    found = backtest(panel, origins, SMALL, top=10)
    methods = [
        "seasonal_naive", "ma28", "ma56_weekday", "weekday_means", "theta",
        "model", "pipeline", "model without plan", "pipeline without plan",
    ]  # fmt: skip
    days = [panel.day(origin) for origin in origins]
    assert [(row.origin, row.method) for row in found.rows] == [
        (day, method) for day in [*days, None] for method in methods
    ]
    assert set(found.products.values()) == {10}
    scores = {(row.origin, row.method): row.score.wape_day for row in found.rows}
    mean = np.mean([scores[day, "model"] for day in days])
    assert scores[None, "model"] == pytest.approx(mean)
    assert scores[None, "model"] < scores[None, "model without plan"]


def test_sales_after_an_origin_change_neither_its_products_nor_its_choice() -> None:
    sold, promoted = promoted_sales()
    origin = 230 - 1 - HORIZON
    other = sold.copy()
    other[:, origin + 1 :] = other[::-1, origin + 1 :] * 3
    first, second = (
        backtest(panel_from(each, {"promo": promoted}), [origin], SMALL, top=10)
        for each in (sold, other)
    )
    assert first.choices == second.choices


def test_more_origins_than_the_history_holds_are_refused() -> None:
    sold, _ = promoted_sales(days=100)
    with pytest.raises(LakehouseError, match="hold 2 origins of 14 days"):
        origins_before(panel_from(sold), HORIZON, 3)


def test_a_backtest_over_days_without_sales_is_refused() -> None:
    sold, _ = promoted_sales()
    sold[:, -HORIZON:] = 0
    panel = panel_from(sold)
    with pytest.raises(LakehouseError, match="no error is defined"):
        backtest(panel, origins_before(panel, HORIZON, 1), SMALL)


def test_the_week_a_year_ago_stands_against_the_weeks_that_led_to_its_origin() -> None:
    sold = np.full((2, 450), 2.0)
    origin = 440
    # The third day of the horizon, 364 days earlier, and three days about it.
    sold[0, origin + 3 - 364 - 3 : origin + 3 - 364 + 4] = 6.0
    rows = Features(panel_from(sold), HORIZON).at(origin)
    found = rows.values[:, rows.names.index("year_ago")].reshape(2, HORIZON)
    led = (2 * 55 + 6) / 56
    assert found[0, 2] == pytest.approx(6 / led)
    assert found[1].tolist() == [1.0] * HORIZON


def test_levels_stand_against_the_one_that_the_model_corrects() -> None:
    sold = np.full((2, 200), 2.0)
    origin = 150
    sold[0, origin - 6 : origin + 1] = 4.0
    rows = Features(panel_from(sold), HORIZON).at(origin)

    def found(name: str) -> Floats:
        return rows.values[:, rows.names.index(name)].reshape(2, HORIZON)[:, 0]

    usual = (2 * 49 + 4 * 7) / 56
    assert found("mean_7_to_usual") == pytest.approx([np.log(4.05 / (usual + 0.05)), 0.0])
    assert found("mean_364_to_usual")[1] == pytest.approx(0.0)


def test_the_plan_tells_since_when_a_product_is_promoted_and_what_was_planned_a_week_before() -> (
    None
):
    sold = np.full((3, 130), 2.0)
    origin = 129
    promo = np.zeros((3, 130 + HORIZON))
    # On from the third day ahead to the sixth; on since long; never on.
    promo[0, origin + 3 : origin + 7] = 0.8
    promo[1] = 1.0
    rows = Features(panel_from(sold, {"promo": promo}), HORIZON).at(origin)

    def found(name: str) -> Floats:
        return rows.values[:, rows.names.index(name)].reshape(3, HORIZON)

    assert found("promo_days_on")[0, :8].tolist() == [0, 0, 1, 2, 3, 4, 0, 0]
    assert found("promo_days_off")[0, :8].tolist() == [112, 112, 0, 0, 0, 0, 1, 2]
    assert found("promo_days_on")[1].tolist() == [112] * HORIZON
    assert found("promo_days_off")[2].tolist() == [112] * HORIZON
    assert found("promo_1_weeks_before")[0, 9:14].tolist() == pytest.approx([0.8] * 4 + [0])
    assert (found("promo_2_weeks_before")[0] == 0).all()


def test_of_more_rows_than_asked_for_the_same_part_is_learnt_from_each_time() -> None:
    panel = promoted_panel()
    features = Features(panel, HORIZON)
    every = training_rows(panel, features, HORIZON, SMALL.boosting)
    few = replace(SMALL.boosting, most_rows=len(every.sold) // 4)
    first, again = (training_rows(panel, features, HORIZON, few) for _ in range(2))
    assert 0 < len(first.sold) < len(every.sold) / 3
    assert (first.rows.target == again.rows.target).all()
    assert (first.sold == again.sold).all()
