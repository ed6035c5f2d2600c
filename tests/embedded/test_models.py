"""The loop on a real slice of the shop: trained, judged, registered, predicted, published."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines.demo.models import look_back
from pipelines.settings import Settings
from tests.embedded.conftest import Lakehouse
from tests.embedded.test_main_line import copied

CLIENTS = 80
FORECAST = ("--origins", "1", "--set", "top=60", "--set", "trees=40", "--set", "most_rows=60000")


def trained(lakehouse: Lakehouse, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lakehouse.good("train", *arguments, "--json"))
    return found


def versions(lakehouse: Lakehouse, kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(lakehouse.good("models", "list", kind, "--json"))
    return found


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Lakehouse:
    """A home without a model; tests must leave it as it is."""
    lakehouse = Lakehouse(tmp_path_factory.mktemp("shop") / "lake")
    lakehouse.good("demo", "--clients", str(CLIENTS), "--no-models")
    return lakehouse


@pytest.fixture(scope="module")
def learned(shop: Lakehouse, tmp_path_factory: pytest.TempPathFactory) -> Lakehouse:
    """The same with a recommender; tests must leave it as it is."""
    lakehouse = copied(shop, tmp_path_factory.mktemp("learned"))
    assert trained(lakehouse, "recommend", "--origins", "1")["is_promoted"]
    return lakehouse


@pytest.fixture(scope="module")
def scored(learned: Lakehouse, tmp_path_factory: pytest.TempPathFactory) -> Lakehouse:
    """The same with its recommendations; tests must leave it as it is."""
    lakehouse = copied(learned, tmp_path_factory.mktemp("scored"))
    lakehouse.good("score", "recommend")
    return lakehouse


@pytest.fixture(scope="module")
def challenged(
    scored: Lakehouse, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Lakehouse, dict[str, Any]]:
    """The same with a challenger of another seed, and what its training told."""
    lakehouse = copied(scored, tmp_path_factory.mktemp("challenged"))
    return lakehouse, trained(lakehouse, "recommend", "--origins", "1", "--set", "seed=1")


def test_before_any_score_the_marts_are_there_and_empty(shop: Lakehouse) -> None:
    for name in ("mart_forecast_product_day", "mart_reco_client_top_n", "mart_churn_client"):
        assert shop.sql(f"select count(*) as rows from predictions.{name}") == [{"rows": 0}]


def test_without_a_champion_a_simple_method_predicts_and_says_so(
    shop: Lakehouse, tmp_path: Path
) -> None:
    lakehouse = copied(shop, tmp_path)
    (scored,) = json.loads(lakehouse.good("score", "forecast", "--json"))
    assert scored["model_version"] == "forecast/baseline"
    assert "there is no champion" in scored["note"]
    (found,) = lakehouse.sql(
        "select count(*) as rows, count(distinct product_id) as products, "
        "count(distinct forecast_date) as days, min(horizon_day) as first, "
        "max(horizon_day) as last, min(mean) >= 0 as is_positive, "
        "min(origin_date) as origin, count(*) filter (p10 <= p50 and p50 <= p90) as ordered "
        "from predictions.mart_forecast_product_day"
    )
    assert found["rows"] == scored["rows"] == found["products"] * 28 == found["ordered"]
    assert (found["days"], found["first"], found["last"]) == (28, 1, 28)
    assert found["is_positive"]
    # The business date, 2018-01-01, is not over: the day before it is the last that counts.
    assert found["origin"] == "2017-12-31"
    (stock,) = lakehouse.sql(
        "select count(*) as rows, count(*) filter (order_quantity > 0) as to_order "
        "from predictions.mart_stock_projection"
    )
    assert stock["rows"] > stock["to_order"] >= 0
    # The same model on the same content has nothing to add.
    (again,) = json.loads(lakehouse.good("score", "forecast", "--json"))
    assert not again["is_news"]
    assert lakehouse.sql("select count(*) as runs from predictions.model_predictions") == [
        {"runs": 1}
    ]


def test_the_demo_looks_four_weeks_back_and_leaves_today_to_those_who_predict(
    shop: Lakehouse, tmp_path: Path
) -> None:
    lakehouse = copied(shop, tmp_path)
    look_back(Settings(home=lakehouse.home, _env_file=None))
    lakehouse.good("score", "forecast")
    (measured,) = lakehouse.sql(
        "select min(origin_date) as first, max(origin_date) as last, max(model_version) as model, "
        "min(forecast_date) as since, max(forecast_date) as until, "
        "count(*) = 28 * count(distinct product_id) as is_whole, "
        "sum(absolute_error) > 0 as is_judged from predictions.mart_forecast_accuracy"
    )
    assert measured == {
        "first": "2017-12-03", "last": "2017-12-03", "model": "forecast/trial",
        "since": "2017-12-04", "until": "2017-12-31", "is_whole": True, "is_judged": True,
    }  # fmt: skip
    assert lakehouse.sql(
        "select distinct origin_date, model_version from predictions.mart_stock_projection"
    ) == [{"origin_date": "2017-12-31", "model_version": "forecast/baseline"}]


def test_a_forecast_trained_twice_is_the_same_model(shop: Lakehouse, tmp_path: Path) -> None:
    lakehouse = copied(shop, tmp_path)
    first, second = (trained(lakehouse, "forecast", *FORECAST) for _ in range(2))
    assert first["sha256"] == second["sha256"]
    assert first["model"] == second["model"]
    assert any("the very same model" in note for note in second["notes"])
    assert {each["against"] for each in first["comparisons"]} >= {"ma56_weekday", "theta"}
    assert {check["subject"] for check in first["checks"]} == {
        "data", "leakage", "drift", "performance"
    }  # fmt: skip


def test_churn_is_trained_and_told(shop: Lakehouse, tmp_path: Path) -> None:
    lakehouse = copied(shop, tmp_path)
    found = trained(lakehouse, "churn", "--origins", "2")
    assert {each["against"] for each in found["comparisons"]} == {"recency", "rfm"}
    lakehouse.good("models", "promote", "churn", "1")
    (scored,) = json.loads(lakehouse.good("score", "churn", "--json"))
    assert scored["model_version"] == "churn/1"
    (told,) = lakehouse.sql(
        "select count(*) as clients, min(probability) > 0 and max(probability) < 1 as is_told, "
        "max(feature_date) as day from predictions.mart_churn_client"
    )
    assert 0 < told["clients"] == scored["rows"] <= CLIENTS
    assert told["is_told"]
    assert told["day"] == "2018-01-01"
    acts = lakehouse.sql("select action, reason from predictions.ai_audit_log order by audit_id")
    assert [act["action"] for act in acts][:2] == ["train", acts[1]["action"]]
    assert acts[-1]["action"] == "score"
    assert any(act["reason"].startswith("by hand") for act in acts)


def test_lists_hold_what_can_be_offered(scored: Lakehouse) -> None:
    (found,) = scored.sql(
        "select count(distinct client_id) as clients, max(rank) as last, "
        "count(*) filter (list = 'repeat' and not bought) as wrongly_repeated, "
        "count(*) filter (list = 'new' and bought) as wrongly_new, "
        "count(*) filter (not is_active) as inactive "
        "from (select r.*, p.is_active, exists (select 1 from marts.fct_sale s where "
        "s.client_id = r.client_id and s.product_id = r.product_id "
        "and s.sale_date <= r.origin_date and s.quantity > 0) as bought "
        "from predictions.mart_reco_client_top_n r "
        "join marts.dim_product p on p.product_id = r.product_id and p.is_current)"
    )
    (clients,) = scored.sql(
        "select count(*) as rows from marts.dim_client where is_current and not is_deleted"
    )
    assert found["clients"] == clients["rows"]
    assert found["last"] == 10
    assert found["wrongly_repeated"] == found["wrongly_new"] == found["inactive"] == 0


def test_a_worse_challenger_and_another_seed_are_refused(
    challenged: tuple[Lakehouse, dict[str, Any]], tmp_path: Path
) -> None:
    home, seeded = challenged
    lakehouse = copied(home, tmp_path)
    worse = trained(lakehouse, "recommend", "--origins", "1", "--set", "blend=false")
    assert not worse["is_promoted"]
    assert worse["reason"].startswith("not better than")
    assert not seeded["is_promoted"]
    assert "not better than champion beyond noise" in seeded["reason"]
    (against,) = [c for c in seeded["comparisons"] if c["against"] == "champion"]
    assert against["low"] <= 0
    assert seeded["sha256"] != worse["sha256"]
    known = versions(lakehouse, "recommend")
    assert [each["number"] for each in known if "champion" in each["aliases"]] == [1]
    refused = lakehouse.sql(
        "select count(*) as acts from raw.inference_audit where action = 'refuse'"
    )
    assert refused == [{"acts": 2}]


def test_a_rollback_restores_the_marts_of_the_former_champion(
    challenged: tuple[Lakehouse, dict[str, Any]], tmp_path: Path
) -> None:
    lakehouse = copied(challenged[0], tmp_path)
    query = (
        "select client_id, list, rank, product_id, score, reason, model_version "
        "from predictions.mart_reco_client_top_n order by all"
    )
    before = lakehouse.sql(query)
    assert {row["model_version"] for row in before} == {"recommend/1"}
    lakehouse.good("models", "promote", "recommend", "2")
    lakehouse.good("score", "recommend")
    between = lakehouse.sql(query)
    assert {row["model_version"] for row in between} == {"recommend/2"}
    assert "recommend/1 is champion" in lakehouse.good("models", "rollback", "recommend")
    assert lakehouse.sql(query) == before
    assert lakehouse.sql(
        "select action from raw.inference_audit order by audit_id desc limit 2"
    ) == [{"action": "score"}, {"action": "rollback"}]
    too_far = lakehouse("models", "rollback", "recommend")
    assert too_far.returncode == 1
    assert "no champion before" in too_far.stderr


def test_an_altered_model_is_not_loaded(learned: Lakehouse, tmp_path: Path) -> None:
    lakehouse = copied(learned, tmp_path)
    policy = Path(json.loads(lakehouse.good("models", "show", "recommend", "--json"))["files"])
    policy /= "policy.json"
    assert policy.is_relative_to(lakehouse.home)
    kept = policy.read_bytes()
    policy.write_bytes(kept.replace(b"leaf_value=", b"leaf_value=1", 1))
    assert policy.read_bytes() != kept
    done = lakehouse("score", "recommend")
    assert done.returncode == 1
    assert "its files are not those that were registered" in done.stderr
    assert "models rollback recommend" in done.stderr
    shutil.rmtree(policy.parent)
    assert "its files are gone" in lakehouse("score", "recommend").stderr
    assert lakehouse.sql("select count(*) as runs from raw.inference_run") == [{"runs": 0}]


def test_a_card_tells_what_a_model_is_and_is_not(learned: Lakehouse) -> None:
    card = learned.good("models", "card", "recommend")
    for heading in ("Verdict", "Data", "Checks", "Limits", "Parameters and code"):
        assert f"## {heading}" in card
    assert "marts.fct_sale" in card
    assert "git_sha" in card


def test_mlflow_itself_can_serve_the_model(
    learned: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its own interface, from its own store, on the input example that it keeps."""
    import mlflow

    store = f"sqlite:///{learned.home / 'mlflow' / 'mlflow.db'}"
    # MLflow sets the variable, too, for all processes to come.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    mlflow.set_tracking_uri(store)
    model = mlflow.pyfunc.load_model("models:/recommend@champion")
    example = model.input_example
    told = model.predict(example)
    assert set(told["client_id"]) == {1, 2, 3}
    assert set(told["list"]) <= {"repeat", "new"}
    run = mlflow.get_run(model.metadata.run_id)
    assert len(run.data.tags["git_sha"]) in (7, 40)
    artefacts = {each.path for each in mlflow.MlflowClient().list_artifacts(run.info.run_id)}
    assert artefacts >= {"inputs.json", "model_card.md", "packages.txt", "plots", "gate.md"}


def test_the_registry_of_a_home_is_not_the_server_of_the_next(
    learned: Lakehouse, shop: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.ml.registry import Registry

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert Registry(Settings(home=learned.home, _env_file=None)).champion("recommend")
    assert Settings(home=shop.home, _env_file=None).mlflow_tracking_uri is None
    assert Registry(Settings(home=shop.home, _env_file=None)).champion("recommend") is None


def test_a_server_of_mlflow_that_is_down_is_said_to_be(shop: Lakehouse) -> None:
    done = shop("score", "churn", env={"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"})
    assert done.returncode == 1
    assert "MLflow at http://127.0.0.1:9 is not reached" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("train", "weather"), 2, "there is no model 'weather'"),
        (("train", "forecast", "--set", "tres=3"), 2, "no parameter 'tres'"),
        (("train", "forecast", "--set", "trees"), 2, "is no parameter"),
        (("models", "show", "forecast"), 2, "there is no champion of the model forecast"),
        (("train", "forecast", "--origins", "40"), 1, "origins of 28 days"),
    ],
)
def test_bad_usage_gets_a_cause(
    shop: Lakehouse, arguments: tuple[str, ...], code: int, told: str
) -> None:
    done = shop(*arguments)
    assert done.returncode == code
    assert told in done.stderr
    assert "remedy:" in done.stderr


def test_an_erased_client_is_gone_from_the_predictions(scored: Lakehouse, tmp_path: Path) -> None:
    lakehouse = copied(scored, tmp_path)
    (someone,) = lakehouse.sql("select max(client_id) as id from raw.inference_recommendation")
    shutil.rmtree(lakehouse.home / "inbox")
    lakehouse.good("erase", "--client", str(someone["id"]), "--yes")
    for table in ("raw.inference_recommendation", "predictions.mart_reco_client_top_n"):
        assert lakehouse.sql(
            f"select count(*) as rows from {table} where client_id = {someone['id']}"
        ) == [{"rows": 0}]


def test_a_champion_of_last_summer_is_compared_with_what_came_since(
    learned: Lakehouse, tmp_path: Path
) -> None:
    """On the day of the training there is nothing to compare."""
    from mlflow import MlflowClient

    lakehouse = copied(learned, tmp_path)
    (at_once,) = json.loads(lakehouse.good("models", "drift", "--json"))
    assert at_once["drifts"] == []
    assert "fewer than 7 days" in at_once["note"]
    store = f"sqlite:///{lakehouse.home / 'mlflow' / 'mlflow.db'}"
    client = MlflowClient(store, registry_uri=store)
    client.set_model_version_tag("recommend", "1", "trained_until", "2017-08-01")
    (since,) = json.loads(lakehouse.good("models", "drift", "recommend", "--json"))
    assert since["model_version"] == "recommend/1"
    assert since["note"] == "the 56 days up to 2017-08-01 against those up to 2017-12-31"
    told = {each["column"]: each["psi"] for each in since["drifts"]}
    assert set(told) == {"department", "brand", "quantity"}
    assert all(0 < psi < 1 for psi in told.values())
    assert since["is_drifted"] == any(psi >= 0.2 for psi in told.values())
