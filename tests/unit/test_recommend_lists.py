"""Two lists per client: what is on them, what never is, and what they depend on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipelines.errors import LakehouseError
from pipelines.recommendation.backtest import backtest
from pipelines.recommendation.candidates import SOURCES
from pipelines.recommendation.evidence import Context
from pipelines.recommendation.interactions import read_interactions
from pipelines.recommendation.recommend import recommend
from pipelines.recommendation.recommender import Recommender, fit
from pipelines.recommendation.selection import BLEND
from pipelines.recommendation.signals.content import Catalogue
from pipelines.recommendation.splits import Holdout, LastBasket, Split, last_window
from tests.unit.purchases import films, habits

HABITS = habits()
# Tastes are departments; p99 is a product of the first taste that nobody has bought.
CATALOGUE = pd.DataFrame(
    {"department": [f"d{number // 15}" for number in range(70)] + ["d0"]},
    index=[f"p{number:02}" for number in range(70)] + ["p99"],
)
SEGMENTS = {f"c{client:03}": f"taste {client % 4}" for client in range(80)}


@pytest.fixture(scope="module")
def model() -> Recommender:
    return fit(read_interactions(HABITS), Holdout(28))


@pytest.fixture(scope="module")
def rich() -> Recommender:
    """With a catalogue and segments; `newcomer` has no history."""
    context = Context(Catalogue(CATALOGUE), SEGMENTS | {"newcomer": "taste 2"})
    return fit(read_interactions(HABITS), Holdout(28), context)


@pytest.fixture(scope="module")
def once() -> Recommender:
    """Of purchases that are never repeated."""
    return fit(read_interactions(films()), Holdout(28))


def lists(table: pa.Table, name: str) -> pd.DataFrame:
    frame = table.to_pandas()
    return frame[frame["list"] == name]


def bought() -> set[tuple[str, str]]:
    return {*HABITS[["client_id", "product_id"]].itertuples(index=False, name=None)}


def pairs(frame: pd.DataFrame) -> set[tuple[str, str]]:
    return {*frame[["client_id", "product_id"]].itertuples(index=False, name=None)}


def test_one_list_holds_what_was_bought_and_the_other_what_was_not(model: Recommender) -> None:
    table = recommend(model)
    assert pairs(lists(table, "repeat")) <= bought()
    assert pairs(lists(table, "new")).isdisjoint(bought())
    frame = table.to_pandas()
    assert not frame.duplicated(["client_id", "product_id"]).any()


def test_every_client_has_ranked_rows_with_scores_and_reasons(model: Recommender) -> None:
    frame = recommend(model).to_pandas()
    assert frame["client_id"].nunique() == 80
    assert np.isfinite(frame["score"]).all()
    assert set(frame["reason"]) <= set(SOURCES)
    assert set(frame.loc[frame["list"] == "repeat", "reason"]) == {"buy_again"}
    for _, each in frame.groupby(["client_id", "list"]):
        assert each["rank"].tolist() == list(range(1, len(each) + 1))
        assert each["score"].is_monotonic_decreasing
    assert (frame[frame["list"] == "new"].groupby("client_id").size() == 10).all()


def test_favourites_come_first_and_new_products_are_of_the_clients_taste(
    model: Recommender,
) -> None:
    frame = recommend(model, ["c000"]).to_pandas()
    number = frame["product_id"].str[1:].astype(int)
    first = HABITS[HABITS["client_id"] == "c000"]["product_id"].value_counts().index[:5]
    assert set(frame["product_id"][:5]) == set(first)
    new = number[frame["list"] == "new"].tolist()[:4]
    assert all(product < 15 or product >= 60 for product in new)


@pytest.mark.parametrize("split", [Holdout(28), LastBasket()], ids=["days", "last basket"])
def test_nothing_after_the_cut_changes_what_is_recommended(split: Split) -> None:
    known = read_interactions(HABITS)
    held = last_window(known, split)
    later = ~np.isin(known.basket, held.history.basket)
    assert later.any()
    scrambled = dataclasses.replace(
        known, product=np.where(later, known.product[::-1], known.product)
    )
    assert not np.array_equal(scrambled.product, known.product)
    found = [recommend(fit(last_window(each, split).history, split)) for each in (known, scrambled)]
    assert found[0].equals(found[1])


def test_the_same_purchases_in_any_order_give_the_same_bytes(rich: Recommender) -> None:
    shuffled = read_interactions(HABITS.sample(frac=1, random_state=5))
    again = fit(shuffled, Holdout(28), rich.context)
    assert recommend(again).equals(recommend(rich))


def test_a_product_out_of_stock_is_on_no_list(model: Recommender) -> None:
    gone = [f"p{number:02}" for number in range(0, 70, 2)]
    table = recommend(model, unavailable=[*gone, "never heard of"])
    assert set(table["product_id"].to_pylist()).isdisjoint(gone)
    assert lists(table, "new")["client_id"].nunique() == 80


def test_while_one_product_is_allowed_everybody_gets_it(model: Recommender) -> None:
    gone = [f"p{number:02}" for number in range(70) if number != 3]
    table = recommend(model, [*model.evidence.history.clients, "stranger"], unavailable=gone)
    assert table["product_id"].to_pylist() == ["p03"] * 81


def test_ids_of_another_type_are_refused_for_none_would_be_found(model: Recommender) -> None:
    with pytest.raises(LakehouseError, match="client 7 is not of the type"):
        recommend(model, ["c001", 7])
    with pytest.raises(LakehouseError, match="product 3 is not of the type"):
        recommend(model, unavailable=[3])


def test_no_product_allowed_is_an_error(model: Recommender) -> None:
    with pytest.raises(LakehouseError, match="all are unavailable"):
        recommend(model, unavailable=[f"p{number:02}" for number in range(70)])


def test_a_client_without_a_history_gets_what_is_popular(model: Recommender) -> None:
    frame = recommend(model, ["stranger", "c001"]).to_pandas()
    cold = frame[frame["client_id"] == "stranger"]
    assert frame["client_id"].iloc[0] == "stranger"
    assert set(cold["list"]) == {"new"}
    assert set(cold["reason"]) == {"popular"}
    late = HABITS[HABITS["at"] > HABITS["at"].max() - pd.Timedelta(days=28)]
    popular = late.groupby("product_id")["client_id"].nunique()
    assert cold["product_id"].iloc[0] == popular.idxmax()
    assert len(cold) == 10


def test_a_client_without_a_history_gets_the_best_of_the_segment(rich: Recommender) -> None:
    frame = recommend(rich, ["newcomer", "stranger"]).to_pandas()
    own, others = (
        frame[frame["client_id"] == each]["product_id"].str[1:].astype(int)
        for each in ("newcomer", "stranger")
    )
    assert set(own) <= {*range(30, 45), *range(60, 70)}
    assert set(own) != set(others)


def test_a_product_that_nobody_bought_is_shown_to_those_who_buy_its_like(
    rich: Recommender,
) -> None:
    table = recommend(rich)
    shown = table.to_pandas().query("product_id == 'p99'")
    assert set(shown["reason"]) == {"similar_product"}
    assert set(shown["rank"]) == {10}
    taste = shown["client_id"].str[1:].astype(int) % 4
    assert (taste == 0).all()
    assert len(shown) == 20
    assert "p99" not in recommend(rich, unavailable=["p99"])["product_id"].to_pylist()


def test_where_nothing_is_bought_twice_what_was_bought_is_not_ranked(once: Recommender) -> None:
    assert not once.buys_again
    assert once.choices["all"].ndcg == once.choices["new"].ndcg


def test_a_simple_source_ranks_where_the_blend_does_not_win(once: Recommender) -> None:
    choice = once.choices["new"]
    assert choice.ranker is not None
    assert choice.ndcg[BLEND] < choice.ndcg[choice.winner]
    assert choice.winner != BLEND
    assert "the blend is not used" in choice.why


def test_a_history_too_short_to_compare_on_still_gives_lists() -> None:
    short = HABITS[HABITS["at"] < HABITS["at"].min() + pd.Timedelta(days=20)]
    model = fit(read_interactions(short), Holdout(28))
    assert {task: choice.winner for task, choice in model.choices.items()} == {
        "all": "buy_again", "new": "popular"
    }  # fmt: skip
    assert "too few purchases" in model.choices["all"].why
    assert lists(recommend(model), "new")["client_id"].nunique() == 80


def test_products_unknown_before_the_cut_change_nothing_that_is_measured() -> None:
    known = read_interactions(HABITS)
    whole = Catalogue(pd.concat([pd.DataFrame({"department": ["d1"]}, index=["a0"]), CATALOGUE]))
    sold = whole.only(known.products)
    found = [backtest(known, Holdout(28), Context(each)) for each in (whole, sold)]
    assert found[0] == found[1]
    assert found[0].mean("all", "buy_again") > 0.5


def test_a_catalogue_with_a_product_twice_is_refused() -> None:
    with pytest.raises(LakehouseError, match="p00 stands in the catalogue more than once"):
        Catalogue(pd.concat([CATALOGUE, CATALOGUE]))
