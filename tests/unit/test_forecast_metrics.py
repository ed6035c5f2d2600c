"""Each metric of forecasts on numbers computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipelines.forecasting import metrics
from pipelines.forecasting.hierarchy import bottom_up
from pipelines.forecasting.scores import point_score

ACTUAL = np.array([[2.0, 0.0], [4.0, 2.0]])
FORECAST = np.array([[1.0, 1.0], [4.0, 4.0]])


def test_wape_is_the_pooled_error_over_the_pooled_sales() -> None:
    assert metrics.wape(ACTUAL, FORECAST) == pytest.approx(4 / 8)


def test_errors_without_any_sale_are_not_a_number_instead_of_zero() -> None:
    nothing = np.zeros((1, 2))
    assert math.isnan(metrics.wape(nothing, nothing))
    assert math.isnan(metrics.bias(nothing, nothing))


def test_bias_tells_sum_of_forecasts_over_sum_of_sales() -> None:
    assert metrics.bias(ACTUAL, FORECAST) == pytest.approx(10 / 8 - 1)


def test_weeks_are_blocks_of_the_horizon_and_an_incomplete_one_is_left_out() -> None:
    days = np.arange(16.0)[None, :]
    assert metrics.weekly(days).tolist() == [[21.0, 70.0]]


def test_scale_begins_on_a_products_first_day() -> None:
    history = np.array([[0.0, 0.0, 2.0, 5.0, 4.0]])
    assert metrics.naive_scale(history, np.array([2])).tolist() == [(9 + 1) / 2]
    assert metrics.naive_scale(history, np.array([0])).tolist() == [(0 + 4 + 9 + 1) / 4]


def test_rmsse_leaves_out_products_without_scale_and_counts_them() -> None:
    scale = np.array([4.0, np.nan])
    mean, undefined = metrics.rmsse(ACTUAL, FORECAST, scale)
    assert mean == pytest.approx(math.sqrt((1 + 1) / 2 / 4))
    assert undefined == 1


@pytest.mark.parametrize(
    "history", [[0.0, 0.0, 0.0], [3.0, 3.0, 3.0]], ids=["all zero", "constant"]
)
def test_a_history_that_never_moves_has_no_scale(history: list[float]) -> None:
    assert np.isnan(metrics.naive_scale(np.array([history]), np.array([0]))).all()


def test_a_product_of_one_day_has_no_scale() -> None:
    assert np.isnan(metrics.naive_scale(np.array([[0.0, 0.0, 3.0]]), np.array([2]))).all()


def test_pinball_weighs_what_is_missed_above_by_the_level() -> None:
    actual, quantile = np.array([[10.0, 2.0]]), np.array([[6.0, 6.0]])
    assert metrics.pinball(actual, quantile, 0.9) == pytest.approx((0.9 * 4 + 0.1 * 4) / 2)
    assert metrics.pinball(actual, quantile, 0.1) == pytest.approx((0.1 * 4 + 0.9 * 4) / 2)


def test_coverage_counts_the_ends_of_the_interval() -> None:
    actual = np.array([[1.0, 2.0, 3.0, 4.0]])
    low, high = np.full((1, 4), 2.0), np.full((1, 4), 3.0)
    assert metrics.coverage(actual, low, high) == 0.5


def test_department_error_is_that_of_the_sums() -> None:
    departments = np.array(["a", "a"], dtype=object)
    score = point_score(ACTUAL, FORECAST, np.array([1.0, 1.0]), departments)
    assert score.wape_department == pytest.approx((abs(5 - 6) + abs(5 - 2)) / 8)


def test_sums_of_departments_and_of_all_are_the_sums_of_their_products() -> None:
    random = np.random.default_rng(3)
    forecast = random.random((50, 28)) * 9
    labels = np.array([f"d{row % 7}" for row in range(50)], dtype=object)
    sums = bottom_up(forecast, labels)
    for place, name in enumerate(sums.groups):
        np.testing.assert_allclose(sums.group[place], forecast[labels == name].sum(axis=0))
    np.testing.assert_allclose(sums.total, forecast.sum(axis=0))
    assert (sums.total == sums.group.sum(axis=0)).all()
