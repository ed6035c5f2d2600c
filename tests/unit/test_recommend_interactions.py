"""What purchases are taken in, what is refused, and how windows are cut off their end."""

from __future__ import annotations

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipelines.errors import LakehouseError
from pipelines.recommendation.interactions import Table, read_interactions
from pipelines.recommendation.pairs import MIDDLE, pair_up
from pipelines.recommendation.splits import Holdout, LastBasket, last_window, windows
from tests.unit.purchases import habits

ROWS = pd.DataFrame(
    [
        ("ann", "milk", "2024-01-01 10:00", "a1", 1),
        ("ann", "bread", "2024-01-01 10:00", "a1", 2),
        ("ann", "milk", "2024-01-08 10:00", "a2", 1),
        ("ann", "milk", "2024-01-08 10:00", "a2", 1),
        ("ann", "milk", "2024-01-29 10:00", "a3", 1),
        ("bob", "wine", "2024-01-15 10:00", "b1", 1),
        ("bob", "wine", "2024-01-16 10:00", "b2", -1),
    ],
    columns=["client_id", "product_id", "at", "basket_id", "quantity"],
)


def test_returns_and_repetitions_in_a_basket_are_left_out_and_counted() -> None:
    known = read_interactions(ROWS)
    assert len(known.day) == 5
    assert known.left_out == {"returns": 1, "repeated in a basket": 1}
    assert known.products.tolist() == ["bread", "milk", "wine"]


@pytest.mark.parametrize(
    "table",
    [
        ROWS.sample(frac=1, random_state=3),
        pa.Table.from_pandas(ROWS),
        duckdb.sql("select * from ROWS"),
        ROWS.assign(at=pd.to_datetime(ROWS["at"])),
        ROWS.assign(
            client_id=pd.Categorical(ROWS["client_id"], ["bob", "ann"]),
            quantity=ROWS["quantity"].astype("Int64"),
        ),
    ],
    ids=["shuffled", "arrow", "duckdb", "timestamps", "categories"],
)
def test_neither_the_order_of_rows_nor_their_form_matters(table: Table) -> None:
    expected, found = read_interactions(ROWS), read_interactions(table)
    for name in ("client", "product", "basket", "day", "clients", "products"):
        assert np.array_equal(getattr(expected, name), getattr(found, name)), name


def test_without_basket_ids_a_basket_is_a_clients_day() -> None:
    known = read_interactions(ROWS.drop(columns="basket_id"))
    assert len(np.unique(known.basket)) == 4


def test_a_date_is_the_beginning_of_its_day() -> None:
    days = pd.to_datetime(ROWS["at"]).dt.date
    known = read_interactions(pa.Table.from_pandas(ROWS.assign(at=days)))
    assert known.day.tolist() == np.floor(read_interactions(ROWS).day).tolist()


def test_a_row_without_a_quantity_is_left_out_and_counted() -> None:
    known = read_interactions(ROWS.assign(quantity=[pd.NA] + [1] * 6))
    assert known.left_out["no quantity"] == 1


def test_purchases_after_the_day_of_recommending_are_left_out() -> None:
    known = read_interactions(ROWS, as_of=pd.Timestamp("2024-01-20"))
    assert known.left_out["later"] == 1
    assert known.day.max() < known.today


@pytest.mark.parametrize(
    ("spoiled", "cause"),
    [
        (ROWS.drop(columns="at"), "column at is missing"),
        (ROWS.assign(client_id=[None, *ROWS["client_id"][1:]]), "client_id is null in 1 of 7"),
        (ROWS.assign(product_id=np.nan), "product_id is null in 7 of 7"),
        (ROWS.assign(at="yesterday"), "not a time"),
        (ROWS.assign(at="31/05/2024"), "not a time"),
        (ROWS.assign(at=1_700_000_000), "numbers, not times"),
        (ROWS.assign(quantity="two"), "quantity holds what is not a number"),
        (ROWS.assign(client_id=["ann", 1] + ["bob"] * 5), "mixes text and numbers"),
        (ROWS.assign(client_id="ann"), "all purchases are of one client, ann"),
        (ROWS.assign(quantity=-1), "there are no purchases"),
        (ROWS.head(0), "there are no purchases"),
    ],
)
def test_bad_purchases_are_refused_with_a_cause(spoiled: pd.DataFrame, cause: str) -> None:
    with pytest.raises(LakehouseError) as refused:
        read_interactions(spoiled)
    assert cause in refused.value.cause
    assert refused.value.remedy


def test_a_pair_knows_how_often_and_how_lately_it_was_bought() -> None:
    pairs = pair_up(read_interactions(ROWS, as_of=pd.Timestamp("2024-02-05 10:00")))
    milk = pairs.find(np.array([0]), np.array([1]))[0]
    assert (pairs.count[milk], pairs.last[milk], pairs.first[milk]) == (3, 7, 35)
    assert pairs.visits_since[milk] == 0
    expected = sum(0.5 ** (age / MIDDLE) for age in (7, 28, 35))
    assert pairs.decayed[MIDDLE][milk] == pytest.approx(expected, rel=1e-6)
    bread = pairs.find(np.array([0]), np.array([0]))[0]
    assert pairs.visits_since[bread] == 2
    assert pairs.find(np.array([1]), np.array([1]))[0] == -1


def test_a_window_of_days_holds_nothing_of_what_came_before_it() -> None:
    known = read_interactions(habits())
    window = last_window(known, Holdout(28))
    cut = known.today - 28
    assert window.history.day.max() < cut
    assert window.history.today == cut
    later = known.day >= cut
    pairs = {*zip(known.client[later].tolist(), known.product[later].tolist(), strict=True)}
    assert len(window.truth.client) == len(pairs)


def test_the_last_basket_of_each_client_is_held_out_whole() -> None:
    window = last_window(read_interactions(ROWS.assign(quantity=1)), LastBasket())
    history, truth = window.history, window.truth
    assert len(history.day) == 4
    assert history.clients[truth.client].tolist() == ["ann", "bob"]
    assert history.products[truth.product].tolist() == ["milk", "wine"]
    assert truth.is_new.tolist() == [False, False]
    # Nothing of the held-out visit is known, not even when it was.
    assert history.as_of[0] == history.day[history.client == 0].max()


def test_what_nobody_had_bought_is_unknown_and_who_had_not_come_is_cold() -> None:
    late = pd.DataFrame(
        [("ann", "kiwi", "2024-03-01", "a9", 1), ("eve", "milk", "2024-03-02", "e1", 1)],
        columns=ROWS.columns,
    )
    early = ROWS.assign(at=pd.to_datetime(ROWS["at"])).iloc[:6]
    known = read_interactions(pd.concat([early, late.assign(at=pd.to_datetime(late["at"]))]))
    truth = last_window(known, Holdout(10)).truth
    assert truth.product.tolist() == [-1]
    assert truth.is_new.tolist() == [True]
    assert truth.cold_clients == 1


def test_windows_are_cut_until_the_history_is_shorter_than_one() -> None:
    known = read_interactions(habits())
    found = list(windows(known, Holdout(28), 10))
    assert len(found) == 4
    days = [window.history.today for window in found]
    assert np.diff(days).tolist() == [-28, -28, -28]


def test_a_history_that_is_too_short_is_refused() -> None:
    known = read_interactions(ROWS)
    with pytest.raises(LakehouseError, match="28 days is too short to hold out the last 28 days"):
        last_window(known, Holdout(28))
