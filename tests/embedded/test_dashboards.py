"""What Superset reads on this machine: views of what is published, and datasets over them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from pipelines.dashboards.assets import read
from pipelines.dashboards.embedded import INFRA
from pipelines.dashboards.models import columns_of, metrics_of, models_of
from pipelines.dashboards.published_views import database, write_views
from pipelines.dbt_project import Project
from pipelines.semantics import MANIFEST, Semantics
from pipelines.settings import Settings
from tests.embedded.conftest import Lakehouse

# Another process, as Superset is one: nobody has loaded an extension for it.
_ASK = """
import json, sys, duckdb
place, config, queries = json.loads(sys.stdin.read())
with duckdb.connect(place, config=config) as connection:
    print(json.dumps([connection.execute(each).fetchall() for each in queries], default=str))
"""


def asked(told: dict[str, Any], queries: list[str]) -> list[list[list[Any]]]:
    place = told["sqlalchemy_uri"].removeprefix("duckdb:///")
    config = told["extra"]["engine_params"]["connect_args"]["config"]
    done = subprocess.run(
        [sys.executable, "-c", _ASK],
        input=json.dumps([place, config, queries]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[list[list[Any]]] = json.loads(done.stdout)
    return answers


def test_each_dataset_tells_its_metrics_as_sql_does(demo: Lakehouse, tmp_path: Path) -> None:
    home = tmp_path / "lake"
    home.mkdir()
    # The lake is others', too: only the folder of the dashboards is ours.
    for each in demo.home.iterdir():
        (home / each.name).symlink_to(each)
    settings = Settings(home=home, _env_file=None)
    manifest = write_views(settings)
    again = write_views(settings)
    assert again == manifest

    parsed = Settings(home=tmp_path / "parsed", _env_file=None)
    models = models_of(Project(parsed).manifest)
    assets = read(INFRA / "assets")
    columns, _ = columns_of(assets, models)
    metrics = metrics_of(assets, columns, Semantics.read(parsed.state / "dbt" / MANIFEST))
    queries = []
    for name, dataset in assets.datasets.items():
        rows = f"({dataset.sql}) as told" if dataset.sql else dataset.model
        wanted = ", ".join(str(metric.expression) for metric in metrics[name]) or "count(*)"
        queries.append(f"select {wanted} from {rows}")
        queries.append(f"select {', '.join(columns[name])} from {rows} limit 1")
    answers = asked(database(settings), queries)
    for dataset, (totals, some) in zip(
        assets.datasets.values(), zip(answers[::2], answers[1::2], strict=True), strict=True
    ):
        # The demo of the tests has no models: nothing is predicted, and nobody was judged.
        if dataset.model.startswith("predictions."):
            assert not some, dataset.model
            assert not any(totals[0]), dataset.model
            continue
        assert some, dataset.model
        assert None not in totals[0], dataset.model
    of_sales = dict(
        zip(assets.datasets["sales"].metrics, answers[[*assets.datasets].index("sales") * 2][0],
            strict=True)
    )  # fmt: skip
    (told,) = demo.sql(
        "select sum(net_amount) as revenue, count(distinct order_id) as orders from marts.fct_sale"
    )
    metric_order = [metric.name for metric in metrics["sales"]]
    assert metric_order == list(of_sales)
    assert str(of_sales["revenue"]) == str(told["revenue"])
    assert int(of_sales["orders"]) == int(told["orders"])
