"""Who is at risk, who was lost, and what may be learnt from on a day."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipelines.churn.examples import examples_before, has_churned, split
from pipelines.churn.snapshots import Snapshots, read_purchases, read_snapshots
from pipelines.errors import LakehouseError
from tests.unit.churn_data import FEATURES, KNOWN_UNTIL, SMALL, changed, shop

DAY = np.datetime64("2024-03-01")


@pytest.fixture(scope="module")
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    return shop(clients=120)


def snapshot(recency: float = 3.0) -> Snapshots:
    table = pa.table({"client_id": [1], "feature_date": [DAY.item()], "recency_days": [recency]})
    return read_snapshots(table, ("recency_days",))


@pytest.mark.parametrize(
    ("days_after", "is_lost"), [(-1, True), (0, True), (1, False), (28, False), (29, True)]
)
def test_who_buys_after_the_snapshot_up_to_the_last_day_of_the_horizon_is_kept(
    days_after: int, is_lost: bool
) -> None:
    one = snapshot()
    bought = pa.table({"client_id": [1], "purchase_date": [(DAY + days_after).item()]})
    assert has_churned(one, read_purchases(bought, one), 28).tolist() == [is_lost]


def test_purchases_of_others_keep_nobody() -> None:
    one = snapshot()
    bought = pa.table({"client_id": [1, 2], "purchase_date": [DAY.item(), (DAY + 5).item()]})
    assert has_churned(one, read_purchases(bought, one), 28).tolist() == [True]


def test_examples_are_of_clients_at_risk_whose_horizon_is_over(
    tables: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    given = read_snapshots(tables[0], FEATURES)
    found = examples_before(given, read_purchases(tables[1], given), KNOWN_UNTIL, SMALL)
    assert np.nanmax(found.values[:, FEATURES.index("recency_days")]) == 28
    assert found.day.max() + 28 < np.datetime64(KNOWN_UNTIL)
    # The seven days of a snapshot later would not be over on that day.
    assert found.day.max() + 28 + 7 >= np.datetime64(KNOWN_UNTIL)
    assert found.day.min() >= tables[1]["purchase_date"].min() + pd.Timedelta(days=28)


def test_a_horizon_that_ends_on_the_known_day_is_not_over(
    tables: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    given = read_snapshots(tables[0], FEATURES)
    found = examples_before(given, read_purchases(tables[1], given), date(2024, 10, 20), SMALL)
    assert found.day.max() == np.datetime64("2024-09-15")


def test_the_horizon_of_what_is_learnt_from_ends_before_what_is_validated_on(
    tables: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    given = read_snapshots(tables[0], FEATURES)
    found = examples_before(given, read_purchases(tables[1], given), KNOWN_UNTIL, SMALL)
    early, late = split(found, SMALL)
    assert early.day.max() + SMALL.horizon_days < late.day.min()
    assert late.day.max() == found.day.max()
    assert len(np.unique(late.day)) == 4


def test_other_columns_are_left_out_and_named(tables: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    given = read_snapshots(tables[0].assign(next_purchase_days=1, segment="a"), FEATURES)
    assert given.left_out == ("next_purchase_days", "segment")
    assert given.values.shape[1] == len(FEATURES)


def test_decimals_and_columns_without_any_value_are_read() -> None:
    table = pa.table(
        {
            "client_id": ["b", "a"],
            "feature_date": [DAY.item()] * 2,
            "recency_days": pa.array([1, None], pa.int32()),
            "net_amount_84d": pa.array([2, 1], pa.decimal128(18, 2)),
            "mean_gap_days": pa.nulls(2),
        }
    )
    given = read_snapshots(table, ("recency_days", "net_amount_84d", "mean_gap_days"))
    assert given.client.tolist() == ["a", "b"]
    np.testing.assert_array_equal(given.values, [[np.nan, 1, np.nan], [1, 2, np.nan]])


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"order_count_84d": np.inf}, "order_count_84d is infinite in 1 snapshots"),
        ({"recency_days": -1}, "knows purchases that came after it"),
        ({"client_id": None}, "client_id is null in 1 rows of the snapshots"),
        ({"feature_date": None}, "feature_date is null in 1 rows of the snapshots"),
    ],
)
def test_a_snapshot_that_cannot_be_right_is_refused(
    tables: tuple[pd.DataFrame, pd.DataFrame], values: dict[str, object], told: str
) -> None:
    table = tables[0].astype({"order_count_84d": float})
    with pytest.raises(LakehouseError, match=told) as error:
        read_snapshots(changed(table, 5, **values), FEATURES)
    assert error.value.remedy


def test_a_second_snapshot_of_a_client_and_day_is_refused(
    tables: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    twice = pd.concat([tables[0], tables[0].iloc[[7]]])
    with pytest.raises(LakehouseError, match="more than one snapshot of 2024-01-07"):
        read_snapshots(twice, FEATURES)


def test_a_missing_column_and_a_feature_of_text_are_refused(
    tables: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    with pytest.raises(LakehouseError, match="have no column tenure_days; they have client_id"):
        read_snapshots(tables[0].drop(columns="tenure_days"), FEATURES)
    with pytest.raises(LakehouseError, match="the feature tenure_days is no number but string"):
        read_snapshots(tables[0].assign(tenure_days="long"), FEATURES)
    with pytest.raises(LakehouseError, match="feature_date of the snapshots is no date"):
        read_snapshots(tables[0].assign(feature_date="soon"), FEATURES)


def test_purchases_of_none_of_the_clients_are_refused(
    tables: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    given = read_snapshots(tables[0], FEATURES)
    other = tables[1].assign(client_id=tables[1]["client_id"].astype(str))
    with pytest.raises(LakehouseError, match="no client of the snapshots is among the purchases"):
        read_purchases(other, given)


def test_without_any_purchase_known_there_is_no_example(
    tables: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    given = read_snapshots(tables[0], FEATURES)
    bought = read_purchases(tables[1], given)
    assert len(examples_before(given, bought, date(2023, 12, 31), SMALL)) == 0
