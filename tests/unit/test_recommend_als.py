"""Vectors learned elsewhere: tried by the recommender's own code, kept and loaded as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.errors import LakehouseError
from pipelines.ml.digest import digest
from pipelines.ml.gate import judge
from pipelines.ml.kinds.recommend_als import (
    AlsConfig,
    AlsModel,
    RecommendAlsKind,
    factors_of,
    tried,
    vectors_table,
)
from pipelines.recommendation.backtest import score
from pipelines.recommendation.determinism import one_blas_thread
from pipelines.recommendation.evidence import Context, gather
from pipelines.recommendation.interactions import read_interactions
from pipelines.recommendation.recommender import Recommender
from pipelines.recommendation.selection import TASKS, Choice
from pipelines.recommendation.signals.factors import Factors
from pipelines.recommendation.splits import Holdout, Window, last_window
from tests.unit.purchases import habits


@pytest.fixture(scope="module")
def window() -> Window:
    return last_window(read_interactions(habits()), Holdout(28))


@pytest.fixture(scope="module")
def local(window: Window) -> Recommender:
    with one_blas_thread():
        evidence = gather(window.history, Context(), 0)
    return Recommender(evidence, Context(), dict.fromkeys(TASKS, Choice("taste", "")), True, 10)


def of_local(window: Window, local: Recommender) -> Factors:
    """The vectors that implicit has learned for the window."""
    evidence, taste = local.evidence, local.evidence.scorers["taste"]
    return Factors(
        window.history.clients,
        window.history.products[evidence.pool],
        taste._clients,  # type: ignore[attr-defined]
        taste._products,  # type: ignore[attr-defined]
    )


def test_vectors_from_elsewhere_are_tried_as_the_recommender_tries_its_own(
    window: Window, local: Recommender
) -> None:
    trial = tried([(window, of_local(window, local))])
    own = {(each.task, each.contender): each for each in score(window, local)}
    figures = trial.parts[0].metrics
    for task in TASKS:
        assert figures[f"ndcg_{task}"] == own[task, "taste"].scores["ndcg"].mean()
        assert figures[f"recall_{task}"] == own[task, "taste"].scores["recall"].mean()
        assert figures[f"ndcg_{task}_by_popular"] == own[task, "popular"].scores["ndcg"].mean()
    assert figures["ndcg_all_by_buy_again"] == own["all", "buy_again"].scores["ndcg"].mean()
    assert {each.against for each in judge(trial).comparisons} == {"popular", "buy_again"}
    assert figures["ndcg_all"] > 0


def test_vectors_that_mean_nothing_find_nothing_but_by_chance(
    window: Window, local: Recommender
) -> None:
    found = of_local(window, local)
    random = np.random.default_rng(0)
    noise = replace(found, of_clients=random.normal(size=found.of_clients.shape).astype("f4"))
    (good, bad) = (tried([(window, each)]).parts[0].metrics for each in (found, noise))
    assert bad["ndcg_all"] < good["ndcg_all"] / 2


def test_who_is_not_known_scores_zero() -> None:
    factors = Factors(
        np.array([2, 5]), np.array([1, 3]),
        np.array([[1, 0], [0, 1]], "f4"), np.array([[2, 3], [4, 5]], "f4"),
    )  # fmt: skip
    taste = factors.taste(np.array([1, 2, 5, 9]), np.array([0, 1, 3, 7]))
    assert taste.scores(np.arange(4)).tolist() == [
        [0, 0, 0, 0], [0, 2, 4, 0], [0, 3, 5, 0], [0, 0, 0, 0]
    ]  # fmt: skip
    products, scores = factors.best(np.array([5]), 1)
    assert (products.tolist(), scores.tolist()) == ([[3]], [[5]])


def test_kept_vectors_are_loaded_as_they_were(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    vectors = random.normal(size=(4, 3)).astype("f4")
    shuffled = vectors_table(np.array([7, 1, 4, 2]), vectors[[3, 0, 2, 1]])
    factors = factors_of(shuffled, vectors_table(np.array([9, 8, 6, 5]), vectors[::-1]))
    np.testing.assert_array_equal(factors.of_clients, vectors)
    assert factors.clients.tolist() == [1, 2, 4, 7]
    kind, model = RecommendAlsKind(), AlsModel(AlsConfig(factors=3), "2017-12-31", factors)
    for name in ("one", "two"):
        kind.save(model, tmp_path / name)
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    loaded = kind.load(tmp_path / "one")
    assert (loaded.config, loaded.learned_until) == (model.config, model.learned_until)
    for name in ("clients", "products", "of_clients", "of_products"):
        np.testing.assert_array_equal(getattr(loaded.factors, name), getattr(factors, name))
    served = kind.serve(loaded, pd.DataFrame({"client_id": [4, -1]}))
    assert set(served["client_id"]) == {4}
    assert served["score"].is_monotonic_decreasing
    (tmp_path / "one" / "model.json").unlink()
    with pytest.raises(LakehouseError, match="holds no vectors"):
        kind.load(tmp_path / "one")
