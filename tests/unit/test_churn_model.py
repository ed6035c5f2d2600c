"""The churn model: no look ahead, the same twice, calibrated, and the simplest that is as good."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipelines.churn.calibration import LEAST_CLIENTS_FOR_STEPS, Calibration, calibrate
from pipelines.churn.config import ChurnConfig
from pipelines.churn.contenders import contenders
from pipelines.churn.examples import Examples
from pipelines.churn.metrics import calibration_error
from pipelines.churn.model import ChurnModel, assemble, fit, learnable
from pipelines.churn.reasons import NOTHING
from pipelines.churn.selection import Choice, Trial, choose, trials
from pipelines.churn.snapshots import read_purchases, read_snapshots
from pipelines.errors import LakehouseError
from tests.unit.churn_data import FEATURES, KNOWN_UNTIL, SMALL, shop

Tables = tuple[pd.DataFrame, pd.DataFrame]


@pytest.fixture(scope="module")
def tables() -> Tables:
    return shop()


@pytest.fixture(scope="module")
def model(tables: Tables) -> ChurnModel:
    return fit(*tables, KNOWN_UNTIL, SMALL)


@pytest.fixture(scope="module")
def examples(tables: Tables) -> Examples:
    given = read_snapshots(tables[0], FEATURES)
    return learnable(given, read_purchases(tables[1], given), KNOWN_UNTIL, SMALL)


def of_contender(name: str, examples: Examples) -> ChurnModel:
    tried = trials(examples, SMALL)
    return assemble(Choice(name, {}, "asked for"), examples, tried, SMALL, ())


def last_day(tables: Tables) -> pd.DataFrame:
    table = tables[0]
    return table[table["feature_date"] == table["feature_date"].max()]


def test_what_comes_after_the_known_day_changes_nothing(tables: Tables) -> None:
    snapshots, purchases = tables
    known = date(2024, 8, 31)
    later_bought = purchases["purchase_date"] > pd.Timestamp(known)
    later_seen = snapshots["feature_date"] > pd.Timestamp(known)
    assert later_bought.any()
    assert later_seen.any()
    planted = pd.DataFrame(
        {"client_id": range(1, 401), "purchase_date": pd.Timestamp("2024-09-01")}
    )
    everybody = pd.concat([purchases, planted])
    scrambled = snapshots.copy()
    scrambled.loc[later_seen, ["tenure_days", "order_count_84d", "net_amount_84d"]] = 77
    expected = fit(snapshots, purchases, known, SMALL).fingerprint
    assert fit(snapshots, everybody, known, SMALL).fingerprint == expected
    assert fit(snapshots, purchases[~later_bought], known, SMALL).fingerprint == expected
    assert fit(scrambled, purchases, known, SMALL).fingerprint == expected


def test_a_purchase_before_the_known_day_does_change_the_model(tables: Tables) -> None:
    snapshots, purchases = tables
    known = date(2024, 8, 31)
    planted = pd.DataFrame(
        {"client_id": range(1, 401), "purchase_date": pd.Timestamp("2024-08-01")}
    )
    everybody = pd.concat([purchases, planted])
    assert (
        fit(snapshots, everybody, known, SMALL).fingerprint
        != fit(snapshots, purchases, known, SMALL).fingerprint
    )


def test_equal_data_give_an_equal_fingerprint_in_any_order_of_rows(
    tables: Tables, model: ChurnModel
) -> None:
    snapshots, purchases = (table.sample(frac=1, random_state=3) for table in tables)
    arrow = pa.Table.from_pandas(snapshots, preserve_index=False)
    assert fit(arrow, purchases, KNOWN_UNTIL, SMALL).fingerprint == model.fingerprint


@pytest.mark.parametrize("name", contenders(FEATURES))
def test_a_model_that_was_saved_is_the_same_again(
    name: str, examples: Examples, tables: Tables, tmp_path: Path
) -> None:
    made = of_contender(name, examples)
    made.save(tmp_path / "one")
    again = ChurnModel.load(tmp_path / "one")
    again.save(tmp_path / "two")
    written = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert written == {path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()}
    assert again.fingerprint == made.fingerprint
    assert again.config == made.config
    assert again.predict(last_day(tables)).equals(made.predict(last_day(tables)))


@pytest.mark.parametrize("name", contenders(FEATURES))
def test_every_contender_learnt_twice_writes_the_same_bytes(name: str, examples: Examples) -> None:
    assert of_contender(name, examples).fingerprint == of_contender(name, examples).fingerprint


def test_trees_that_were_there_before_do_not_stay(examples: Examples, tmp_path: Path) -> None:
    of_contender("trees", examples).save(tmp_path)
    of_contender("rfm", examples).save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.json"]


@pytest.mark.parametrize("broken", ["", "{}", '{"format": 1}', '{"format": 99}', "[1]"])
def test_a_folder_without_a_readable_model_is_refused(broken: str, tmp_path: Path) -> None:
    if broken:
        (tmp_path / "model.json").write_text(broken)
    with pytest.raises(LakehouseError, match=r"no readable churn model|of format 99") as error:
        ChurnModel.load(tmp_path)
    assert error.value.remedy.startswith("train it anew")


def test_trees_that_are_lost_or_cut_short_are_refused(
    examples: Examples, tables: Tables, tmp_path: Path
) -> None:
    of_contender("trees", examples).save(tmp_path)
    (tmp_path / "trees.txt").write_text("tree")
    with pytest.raises(LakehouseError, match="trees of the churn model cannot be read"):
        ChurnModel.load(tmp_path).predict(last_day(tables))
    (tmp_path / "trees.txt").unlink()
    with pytest.raises(LakehouseError, match="no readable churn model"):
        ChurnModel.load(tmp_path)


def test_who_is_away_for_longer_is_reported_and_not_predicted(
    tables: Tables, model: ChurnModel
) -> None:
    asked = last_day(tables).astype({"recency_days": float}).reset_index(drop=True)
    asked.loc[0, "recency_days"] = 28
    asked.loc[1, "recency_days"] = 29
    asked.loc[2, "recency_days"] = np.nan
    told = model.predict(asked)
    assert told["status"].to_pylist()[:3] == ["at_risk", "churned", "never_bought"]
    is_asked = pc.equal(told["status"], "at_risk")
    assert told["probability"].is_valid().equals(is_asked)
    assert told["main_reason"].is_valid().equals(is_asked)
    probability = told["probability"].drop_null().to_numpy()
    assert ((probability > 0) & (probability < 1)).all()


def test_no_client_at_risk_is_no_failure(tables: Tables, model: ChurnModel) -> None:
    asked = last_day(tables).assign(recency_days=100)
    assert set(model.predict(asked)["status"].to_pylist()) == {"churned"}
    assert len(model.predict(asked.iloc[:0])) == 0


def test_the_model_tells_more_than_recency(model: ChurnModel) -> None:
    assert model.choice.winner != "recency"
    assert model.choice.losses[model.choice.winner] < 0.97 * model.choice.losses["recency"]


def test_probabilities_are_what_comes(examples: Examples, tables: Tables) -> None:
    known = date(2024, 8, 31)
    given = read_snapshots(tables[0], FEATURES)
    before = learnable(given, read_purchases(tables[1], given), known, SMALL)
    later = examples.keep(examples.day > np.datetime64(known))
    told = of_contender("logistic", before).probability(later.values)
    assert told.mean() == pytest.approx(later.churned.mean(), abs=0.03)
    assert calibration_error(later.churned, told) < 0.05


def test_a_model_is_calibrated_as_in_its_trial(model: ChurnModel, examples: Examples) -> None:
    tried = trials(examples, SMALL)
    assert tried is not None
    assert model.calibration == tried[model.choice.winner].calibration
    assert model.calibration.kind == "platt"
    score = model.scorer.score(examples.values)
    expected = model.calibration.probability(score)
    np.testing.assert_array_equal(model.probability(examples.values), expected)


@pytest.mark.parametrize("name", contenders(FEATURES))
def test_a_longer_absence_raises_the_risk(name: str, examples: Examples) -> None:
    one = np.repeat(np.nanmedian(examples.values, axis=0)[None], 28, axis=0)
    one[:, FEATURES.index("recency_days")] = np.arange(1, 29)
    told = of_contender(name, examples).probability(one)
    assert (np.diff(told) >= 0).all()
    assert told[-1] > told[0]


def test_the_reason_is_what_sets_the_client_apart(examples: Examples, tables: Tables) -> None:
    made = of_contender("rfm", examples)
    usual = dict(zip(FEATURES, np.nanmedian(examples.values, axis=0), strict=True))
    rows = [
        usual | {"recency_days": 27},
        usual | {"order_count_84d": 1, "net_amount_84d": 60},
        usual | {"recency_days": 0},
    ]
    asked = pd.DataFrame(rows).assign(client_id=[1, 2, 3], feature_date=tables[0].feature_date[0])
    assert made.predict(asked)["main_reason"].to_pylist() == [
        "long since the last purchase",
        "few orders in 12 weeks",
        NOTHING,
    ]


def test_a_feature_that_says_nothing_is_stated_and_does_no_harm(tables: Tables) -> None:
    snapshots, purchases = tables
    config = replace(SMALL, features=(*FEATURES, "order_count", "promo_share_84d"))
    odd = snapshots.assign(order_count=4, promo_share_84d=np.nan, colour="red")
    made = fit(odd, purchases, KNOWN_UNTIL, config)
    assert made.learnt["constant"] == ["order_count", "promo_share_84d"]
    assert made.learnt["left_out"] == ["colour"]
    asked = last_day((odd, purchases)).assign(promo_share_84d=0.3)
    assert np.isfinite(made.predict(asked)["probability"].drop_null().to_numpy()).all()


def test_a_history_too_short_to_compare_gives_a_baseline_and_says_so(tables: Tables) -> None:
    known = date(2024, 3, 25)
    made = fit(*tables, known, SMALL)
    assert made.choice.winner == "rfm"
    assert "too short" in made.choice.reason
    assert made.calibration == Calibration()
    without = replace(SMALL, features=("tenure_days", "recency_days"))
    assert fit(*tables, known, without).choice.winner == "recency"


def test_no_snapshot_whose_horizon_is_over_is_refused(tables: Tables) -> None:
    with pytest.raises(LakehouseError, match="has its 28 days before 2024-02-20") as error:
        fit(*tables, date(2024, 2, 20), SMALL)
    assert "more than 57 days" in error.value.remedy


def test_one_outcome_alone_is_refused(tables: Tables) -> None:
    snapshots, purchases = tables
    days = pd.date_range("2024-01-01", "2024-10-26")
    always = pd.MultiIndex.from_product(
        [snapshots["client_id"].unique(), days], names=["client_id", "purchase_date"]
    ).to_frame(index=False)
    with pytest.raises(LakehouseError, match="of clients that were kept"):
        fit(snapshots, always, KNOWN_UNTIL, SMALL)
    with pytest.raises(LakehouseError, match="of clients that were lost"):
        fit(snapshots, purchases[purchases["purchase_date"] < "2024-01-03"], KNOWN_UNTIL, SMALL)


def test_a_configuration_that_cannot_be_right_is_refused() -> None:
    with pytest.raises(LakehouseError, match="recency_days is not among the features"):
        ChurnConfig(features=("tenure_days",))
    with pytest.raises(LakehouseError, match="less than one day"):
        ChurnConfig(horizon_days=0)


def test_of_models_that_are_alike_the_simplest_is_used() -> None:
    def chosen(*losses: float) -> str:
        names = contenders(FEATURES)
        tried = {name: Trial(Calibration(), loss) for name, loss in zip(names, losses, strict=True)}
        return choose(tried, SMALL).winner

    assert chosen(0.200, 0.180, 0.1795, 0.179) == "rfm"
    assert chosen(0.200, 0.190, 0.1800, 0.179) == "logistic"
    assert chosen(0.200, 0.190, 0.1900, 0.179) == "trees"
    assert chosen(0.1, 0.1, 0.1, 0.1) == "recency"


def scored(clients: int, stretch: float) -> tuple[Examples, np.ndarray, np.ndarray]:
    """Clients with a score that is the log odds, stretched; and their true probability."""
    random = np.random.default_rng(0)
    odds = random.normal(-1, 1.5, clients)
    truth = 1 / (1 + np.exp(-odds))
    churned = random.random(clients) < truth
    day = np.full(clients, np.datetime64("2024-01-01"))
    return Examples(odds[:, None], churned, np.arange(clients), day), odds * stretch, truth


def test_few_clients_are_calibrated_by_a_line_and_many_by_steps() -> None:
    for clients, kind in ((1500, "platt"), (8000, "isotonic")):
        given, score, truth = scored(clients, stretch=3.0)
        assert (given.scarcest >= LEAST_CLIENTS_FOR_STEPS) == (kind == "isotonic")
        found = calibrate(given, score)
        assert found.kind == kind
        told = found.probability(score)
        assert np.abs(told - truth).mean() < 0.03
        assert np.abs(1 / (1 + np.exp(-score)) - truth).mean() > 0.08
        ends = found.probability(np.array([-1e6, 1e6]))
        assert ((ends > 0) & (ends < 1)).all()


def test_a_score_that_falls_with_the_risk_is_not_turned_round() -> None:
    given, score, _ = scored(1500, stretch=-1.0)
    told = calibrate(given, score).probability(score)
    assert np.ptp(told) == 0
    assert told[0] == pytest.approx(given.churned.mean(), abs=0.01)
    equal = np.zeros(1500)
    assert calibrate(given, equal).probability(equal)[0] == pytest.approx(told[0])


def test_what_is_written_is_plain_text(model: ChurnModel, tmp_path: Path) -> None:
    model.save(tmp_path)
    told = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    assert told["choice"]["winner"] == model.choice.winner
    assert told["learnt"]["last_day"] < str(KNOWN_UNTIL)
