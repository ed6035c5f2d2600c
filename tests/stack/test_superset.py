"""Superset with our configuration, and dashboards there on what Trino shows to readers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from pipelines.dashboards.assets import read
from pipelines.dashboards.client import Superset
from pipelines.dashboards.models import columns_of, metrics_of, models_of
from pipelines.dashboards.platform_tables import places
from pipelines.dashboards.published_views import show_platform_tables
from pipelines.dbt_project import Project
from pipelines.lake.duck import connect
from pipelines.lake.shown import make_readable, shown
from pipelines.semantics import MANIFEST, Semantics
from pipelines.settings import Settings
from tests.dashboard_page import chromium, reading_as
from tests.embedded.conftest import REPOSITORY
from tests.stack.native.loopback import LOOPBACK
from tests.stack.native.stack import Stack
from tests.stack.parity import TrinoServer
from tests.stack.predictions import predict
from tests.stack.state import ask_redis, database
from tests.stack.test_trino import forget_models, forget_tables

_SECONDS = 30


@pytest.fixture(scope="module")
def superset(platform_db: Stack, redis: Stack) -> Iterator[Stack]:
    redis.up(["superset-init", "superset"])
    yield redis
    redis.stop("superset")


def address(stack: Stack, path: str) -> str:
    return f"http://{LOOPBACK}:{stack.port('superset', 8088)}/{path}"


def logged_in(stack: Stack, password: str) -> requests.Response:
    content = {"username": "admin", "password": password, "provider": "db"}
    url = address(stack, "api/v1/security/login")
    return requests.post(url, json=content, timeout=_SECONDS)


def test_the_admin_gets_in_and_others_do_not(superset: Stack) -> None:
    assert logged_in(superset, "admin").status_code == 401
    told = logged_in(superset, superset.secrets["SUPERSET_ADMIN_PASSWORD"])
    bearer = {"Authorization": f"Bearer {told.json()['access_token']}"}
    url = address(superset, "api/v1/database/")
    assert requests.get(url, headers=bearer, timeout=_SECONDS).json()["count"] == 0
    assert requests.get(url, timeout=_SECONDS).status_code == 401


def test_its_state_is_in_the_platform_database_and_its_cache_in_redis(superset: Stack) -> None:
    with database(superset, "superset") as own:
        assert own.execute("select username from ab_user").fetchall() == [("admin",)]
    # The page of the login counts visits there, of all workers together.
    page = requests.get(address(superset, "login/"), timeout=_SECONDS)
    assert "scarf" not in page.headers["Content-Security-Policy"]
    assert "db1:keys=" in ask_redis(superset, "INFO keyspace")


@dataclass(frozen=True)
class Line:
    """The command line on a lake in the store, beside a Superset."""

    home: Path
    variables: dict[str, str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "--home", str(self.home), *arguments],
            cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=900,
            env=os.environ | self.variables,
        )  # fmt: skip

    def good(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def line(
    superset: Stack, trino_server: TrinoServer, tmp_path_factory: pytest.TempPathFactory
) -> Line:
    """Some months of some clients have landed; nothing is built of them yet."""
    forget_tables(trino_server)
    forget_models(trino_server)
    reader = f"analyst:{trino_server.passwords['analyst']}@{LOOPBACK}:{trino_server.port}"
    variables = trino_server.store | trino_server.environment | {
        "LAKEHOUSE_STORE": "s3://lake/shown",
        "LAKEHOUSE_PII_KEY": "a key only for tests, long enough",
        "LAKEHOUSE_SUPERSET_URL": address(superset, ""),
        "LAKEHOUSE_SUPERSET_PASSWORD": superset.secrets["SUPERSET_ADMIN_PASSWORD"],
        "LAKEHOUSE_SUPERSET_TRINO": f"trino://{reader}/{trino_server.catalog}",
        "LAKEHOUSE_SUPERSET_TRINO_CERT": str(trino_server.authority),
    }  # fmt: skip
    del variables["LAKEHOUSE_TRINO_RAW"]
    found = Line(tmp_path_factory.mktemp("shown") / "lake", variables)
    found.good("shop", "capture", "--to", str(found.home / "inbox"), "--clients", "6",
               "--until", "2017-05-01")  # fmt: skip
    found.good("land")
    return found


@pytest.fixture(scope="module")
def settings(line: Line) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in line.variables.items():
            patch.setenv(name, value)
        yield Settings(home=line.home, _env_file=None)


def test_before_anything_is_published_on_trino_nothing_is_deployed(line: Line) -> None:
    refused = line.run("--target", "trino", "dashboards", "deploy")
    assert refused.returncode == 1
    assert "nothing is published on trino" in refused.stderr


@pytest.fixture(scope="module")
def deployed(line: Line, settings: Settings, trino_server: TrinoServer) -> Superset:
    """Dashboards on the tables that DuckDB has published, shown by Trino."""
    predict(settings, 0)
    line.good("run")
    manifest = shown(settings)
    assert manifest is not None
    published = {
        name.replace("._publication", ".embedded_record"): settings.published / table.path
        for name, table in manifest.tables.items()
    }
    for name, place in (published | dict(places(settings))).items():
        schema, _, view = name.partition(".")
        trino_server.query(f"create schema if not exists {schema}")
        trino_server.query(f"call system.register_table('{schema}', '{view}', '{place}')")
    trino_server.query(
        "create table marts._publication as select *, false as is_held from marts.embedded_record"
    )
    told = line.good("--target", "trino", "dashboards", "deploy")
    assert "is not in the code" not in told
    assert line.good("--target", "trino", "dashboards", "deploy") == told
    assert settings.superset_url is not None
    assert settings.superset_password is not None
    return Superset(settings.superset_url, "admin", settings.superset_password)


def test_each_metric_is_the_same_in_superset_on_trino_and_on_duckdb(
    deployed: Superset, settings: Settings
) -> None:
    """What MetricFlow tells of it is held against DuckDB's in `tests/embedded/test_metrics.py`."""
    assets = read(settings.dashboards_dir)
    columns, _ = columns_of(assets, models_of(Project(settings).manifest))
    metrics = metrics_of(assets, columns, Semantics.read(settings.state / "dbt" / MANIFEST))
    there = {str(each["uuid"]): each["id"] for each in deployed.all("dataset", ["id", "uuid"])}
    manifest = shown(settings)
    assert manifest is not None
    compared = 0
    with connect(settings) as connection:
        for name, table in manifest.tables.items():
            make_readable(connection, settings, name, table)
        show_platform_tables(connection, settings)
        for name, dataset in assets.datasets.items():
            rows = f"({dataset.sql}) as told" if dataset.sql else dataset.model
            for metric in metrics[name]:
                asked = {
                    "datasource": {"id": there[str(dataset.uuid)], "type": "table"},
                    "queries": [{"columns": [], "metrics": [metric.name]}],
                }
                (answer,) = deployed.call("POST", "chart/data", json=asked)["result"][0]["data"]
                known = connection.execute(f"select {metric.expression} from {rows}").fetchone()
                assert known is not None
                told = answer[metric.name]
                assert number(told) == pytest.approx(number(known[0]), rel=1e-9), metric.name
                compared += 1
    assert compared > 5


def number(value: Any) -> float | None:
    """What JSON has as a text, a whole number or a float."""
    return None if value is None else float(Decimal(str(value)))


def test_every_chart_shows_something_on_trino(deployed: Superset, settings: Settings) -> None:
    assert settings.superset_url is not None
    assert settings.superset_password is not None
    assets = read(settings.dashboards_dir)
    with (
        chromium() as browser,
        reading_as(
            browser, settings.superset_url.rstrip("/"), "admin", settings.superset_password
        ) as reader,
    ):
        for name, dashboard in assets.dashboards.items():
            reader.open(name.replace("_", "-"), sum(len(row.charts) for row in dashboard.rows))
            reader.keep(f"trino_{name}")
            assert reader.failed() == [], name


def test_a_second_init_brings_a_changed_password(superset: Stack) -> None:
    former = superset.secrets["SUPERSET_ADMIN_PASSWORD"]
    service = superset.services["superset-init"]
    changed = service.environment | {"SUPERSET_ADMIN_PASSWORD": "changed"}
    superset.services["superset-init"] = replace(service, environment=changed)
    superset.start("superset-init")
    assert logged_in(superset, former).status_code == 401
    assert logged_in(superset, "changed").status_code == 200
