"""Metrics of churn, on numbers that were worked out by hand and against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as peer

from pipelines.churn.metrics import (
    METRICS,
    auc,
    average_precision,
    brier,
    calibration_error,
    estimate,
    log_loss,
    mean_estimate,
    resamples,
)

CHURNED = np.array([True, False, False, True])
TOLD = np.array([0.8, 0.4, 0.1, 0.4])


def test_log_loss_and_brier_of_each_client() -> None:
    assert log_loss(CHURNED, TOLD) == pytest.approx(-np.log([0.8, 0.6, 0.9, 0.4]))
    assert brier(CHURNED, TOLD) == pytest.approx([0.04, 0.16, 0.01, 0.36])


def test_of_equal_probabilities_half_counts_in_the_auc() -> None:
    assert auc(CHURNED, TOLD) == 3.5 / 4


def test_of_equal_probabilities_all_count_in_the_average_precision() -> None:
    assert average_precision(CHURNED, TOLD) == pytest.approx((1 + 2 / 3) / 2)


def test_auc_and_average_precision_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    told = random.random(500).round(2)
    churned = random.random(500) < told
    assert auc(churned, told) == pytest.approx(peer.roc_auc_score(churned, told))
    assert average_precision(churned, told) == pytest.approx(
        peer.average_precision_score(churned, told)
    )


def test_calibration_error_is_the_mean_distance_of_bins_of_equal_size() -> None:
    told = np.repeat([0.1, 0.9], 50)
    churned = np.r_[np.tile([True, False, False, False, False], 10), np.ones(50, bool)]
    # 0.2 came where 0.1 was told, 1 where 0.9 was.
    assert calibration_error(churned, told) == pytest.approx(0.1)


def test_a_metric_that_is_not_defined_is_not_a_number() -> None:
    nobody = np.zeros(4, bool)
    assert np.isnan(auc(nobody, TOLD))
    assert np.isnan(average_precision(nobody, TOLD))


def test_all_rows_of_a_client_are_drawn_together() -> None:
    client = np.array([7, 7, 9, 9, 9])
    for rows in resamples(client, 20, seed=0):
        drawn = np.bincount(rows, minlength=5)
        assert drawn[0] == drawn[1]
        assert drawn[2] == drawn[3] == drawn[4]
        assert drawn[0] + drawn[2] == 2


def test_intervals_hold_the_metric_and_are_wider_where_rows_are_of_fewer_clients() -> None:
    random = np.random.default_rng(1)
    told = np.tile(random.random(100), 4)
    churned = np.tile(random.random(100) < told[:100], 4)
    alone = estimate(churned, told, np.arange(400), draws=200)
    together = estimate(churned, told, np.tile(np.arange(100), 4), draws=200)
    assert set(alone) == set(METRICS)
    for name in ("log_loss", "brier", "auc"):
        assert alone[name].low < alone[name].value < alone[name].high
        width = alone[name].high - alone[name].low
        assert together[name].high - together[name].low > 1.5 * width


def test_the_difference_of_two_models_is_surer_in_pairs() -> None:
    random = np.random.default_rng(2)
    loss = random.random(200)
    apart = mean_estimate(loss + 0.01 - loss, np.arange(200), draws=100)
    assert apart.low == pytest.approx(0.01)
    assert apart.high == pytest.approx(0.01)
