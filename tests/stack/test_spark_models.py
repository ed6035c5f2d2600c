"""Models on Spark: the rows, vectors and lists are those of the local path."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from pipelines.lake.inference import SCHEMAS, inference_path
from pipelines.lake.tables import read
from pipelines.ml.inference import score
from pipelines.ml.kinds.recommend_als import RecommendAlsKind
from pipelines.ml.registry import CHALLENGER, CHAMPION, Registry
from pipelines.ml.training import train
from pipelines.settings import Settings, load_settings
from tests.stack.native.components import Components
from tests.stack.published_shop import CLIENTS, publish_shop
from tests.stack.submit import finished, submit

TOP, HORIZON = 15, 28
_ORDER = [("product_id", "ascending"), ("horizon_day", "ascending")]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    settings = load_settings(tmp_path_factory.mktemp("shop") / "lake")
    publish_shop(settings)
    return settings


def rows_of(settings: Settings, name: str) -> pa.Table:
    return read(DeltaTable(str(inference_path(settings.raw, name))), SCHEMAS[name])


def runs_of(settings: Settings, kind: str) -> list[dict[str, Any]]:
    runs = [row for row in rows_of(settings, "run").to_pylist() if row["kind"] == kind]
    return sorted(runs, key=lambda row: int(row["scored_at_us"]))


def test_spark_forecasts_row_for_row_what_the_command_does(
    components: Components, shop: Settings
) -> None:
    recipe = {"top": TOP, "trees": 40, "leaves": 15, "least_rows_in_leaf": 20}
    trained = train(shop, "forecast", recipe, origins=1)
    assert "model" in trained.used  # else nothing would be told of features
    Registry(shop).promote(trained.version)
    (by_command,) = score(shop, ["forecast"])
    job = ("spark_jobs/score_forecast.py", {}, "--home", str(shop.home))
    told = finished(submit(components, *job, "--again", "--products-a-part", "5"))
    assert f"{TOP * HORIZON:,} predictions by forecast/1" in told

    local, spark = runs_of(shop, "forecast")
    assert local["row_count"] == by_command.rows == spark["row_count"] == TOP * HORIZON
    assert local["run_id"] != spark["run_id"]
    same = ("model_version", "origin_date", "inputs")
    assert [local[name] for name in same] == [spark[name] for name in same]
    found = rows_of(shop, "forecast")
    made = [
        found.filter(pa.compute.equal(found["run_id"], run["run_id"]))
        .drop_columns("run_id")
        .sort_by(_ORDER)
        for run in (local, spark)
    ]
    assert made[0] == made[1]
    # What stands there is seen by both: neither predicts it once more.
    (again,) = score(shop, ["forecast"])
    assert not again.is_news


def test_vectors_of_mllib_are_kept_and_give_its_own_lists(
    components: Components, shop: Settings, tmp_path: Path
) -> None:
    lists = tmp_path / "lists.json"
    told = finished(
        submit(components, "tests/stack/spark_als_lists.py", {"LISTS": str(lists)},
               "--home", str(shop.home), "--factors", "8")
    )  # fmt: skip
    assert "recommend_als/1: a source of candidates, which is never champion" in told
    registry = Registry(shop)
    version = registry.version("recommend_als", CHALLENGER)
    assert CHAMPION not in version.aliases
    model = RecommendAlsKind().load(registry.folder(version))
    assert model.factors.of_clients.shape == (CLIENTS, 8)

    by_mllib = {int(client): rows for client, rows in json.loads(lists.read_text()).items()}
    clients = np.array(sorted(by_mllib))
    assert clients.tolist() == model.factors.clients.tolist()
    products, scores = model.factors.best(clients, 10)
    for client, own, points in zip(clients, products, scores, strict=True):
        theirs = [points for _, points in by_mllib[client]]
        assert points.tolist() == pytest.approx(theirs, rel=1e-4, abs=1e-5)
        # Up to ties: products that change places score the same.
        moved = [at for at, (id_, _) in enumerate(by_mllib[client]) if id_ != own[at]]
        assert len(moved) <= 2 or np.ptp(points[moved]) < 1e-4
    same = sum(own.tolist() == [id_ for id_, _ in by_mllib[client]]
               for client, own in zip(clients, products, strict=True))  # fmt: skip
    assert same >= 0.9 * CLIENTS

    figures = registry.client.get_run(version.run_id).data.metrics
    assert figures["ndcg_all"] > figures["ndcg_all_by_popular"]
    assert {"ndcg_new", "recall_new", "recall_all", "ndcg_all_by_buy_again"} <= set(figures)
