"""Models as files: what is loaded predicts what was saved, the same bytes for the same model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import LakehouseError
from pipelines.forecasting import saved as saved_forecast
from pipelines.forecasting.boosting import BoostingConfig
from pipelines.forecasting.model import fit
from pipelines.forecasting.panel import Panel
from pipelines.ml.digest import digest
from pipelines.recommendation import saved as saved_policy
from pipelines.recommendation.interactions import read_interactions
from pipelines.recommendation.recommend import recommend
from pipelines.recommendation.recommender import learn
from pipelines.recommendation.splits import Holdout
from tests.unit.forecast_data import SMALL, panel_from, promoted_sales
from tests.unit.purchases import habits


def with_departments(days: int = 230) -> Panel:
    sold, _ = promoted_sales(days=days)
    panel = panel_from(sold[:, : sold.shape[1] - SMALL.horizon])
    names = np.array(["dairy", "bakery", "meat"], dtype=object)
    return replace(panel, attributes={"department": names[np.arange(len(panel.products)) % 3]})


def test_a_loaded_forecasting_model_forecasts_the_same(tmp_path: Path) -> None:
    panel = with_departments()
    model = fit(panel, SMALL)
    assert model.booster is not None
    for name in ("one", "two"):
        saved_forecast.save(fit(panel, SMALL), tmp_path / name)
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    loaded = saved_forecast.load(tmp_path / "one")
    made, again = model.predict(panel), loaded.predict(panel)
    for name in ("mean", "p10", "p50", "p90"):
        np.testing.assert_array_equal(getattr(made, name), getattr(again, name))
    assert loaded.choice == model.choice
    assert loaded.trained_until == panel.last


def test_another_seed_is_another_model(tmp_path: Path) -> None:
    panel = with_departments()
    other = replace(SMALL, boosting=replace(SMALL.boosting, seed=1))
    saved_forecast.save(fit(panel, SMALL), tmp_path / "one")
    saved_forecast.save(fit(panel, other), tmp_path / "two")
    assert digest(tmp_path / "one") != digest(tmp_path / "two")


def test_a_label_keeps_its_place_when_others_come_and_go() -> None:
    """Bakery is told by the same number, though dairy is gone and a new one sorts before it."""
    panel = with_departments()
    model = fit(panel, SMALL)
    rows = np.flatnonzero(panel.attributes["department"] != "dairy")
    fewer = panel.select(rows)
    renamed = fewer.attributes["department"].copy()
    renamed[renamed == "meat"] = "apples"
    changed = replace(fewer, attributes={"department": renamed})
    bakery = np.flatnonzero(renamed == "bakery")
    np.testing.assert_array_equal(
        model.predict(changed).mean[bakery], model.predict(fewer).mean[bakery]
    )


def test_a_model_refuses_what_lacks_a_column_of_its_training() -> None:
    panel = with_departments()
    model = fit(panel, SMALL)
    with pytest.raises(LakehouseError, match="trained on other columns"):
        model.predict(replace(panel, attributes={}))


def test_a_model_without_trees_is_the_best_baseline(tmp_path: Path) -> None:
    panel = with_departments()
    none = replace(SMALL, boosting=BoostingConfig(trees=0))
    model = fit(panel, none)
    saved_forecast.save(model, tmp_path)
    made = saved_forecast.load(tmp_path).predict(panel)
    assert made.choice.weight == 0
    np.testing.assert_array_equal(made.mean, made.baselines[made.choice.baseline])


def test_a_loaded_policy_recommends_the_same(tmp_path: Path) -> None:
    purchases = read_interactions(habits())
    policy = learn(purchases, Holdout(28))
    assert policy.choices["all"].ranker is not None
    saved_policy.save(policy, tmp_path / "one")
    saved_policy.save(learn(purchases, Holdout(28)), tmp_path / "two")
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    made = recommend(policy.recommender(purchases))
    again = recommend(saved_policy.load(tmp_path / "one").recommender(purchases))
    assert made.equals(again)


def test_windows_at_hand_change_nothing(tmp_path: Path) -> None:
    purchases = read_interactions(habits())
    proofs: dict[str, object] = {}
    for name in ("one", "two"):
        policy = learn(purchases, Holdout(28), proofs=proofs)  # type: ignore[arg-type]
        saved_policy.save(policy, tmp_path / name)
    saved_policy.save(learn(purchases, Holdout(28)), tmp_path / "three")
    assert len({digest(tmp_path / name) for name in ("one", "two", "three")}) == 1


@pytest.mark.parametrize("load", [saved_forecast.load, saved_policy.load])
def test_a_folder_without_a_model_is_said_to_be_one(load: object, tmp_path: Path) -> None:
    assert callable(load)
    with pytest.raises(LakehouseError, match="holds no"):
        load(tmp_path)
