"""Features on the stack: of the past from Trino, of now from Redis, by one definition."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest
import yaml
from redis import Redis

from pipelines.errors import LakehouseError, Unavailable
from pipelines.features import read
from pipelines.features.materialise import materialise
from pipelines.features.served import materialised, remember
from pipelines.lake.publish import Source
from pipelines.lake.publish_on_trino import publish_on_trino
from pipelines.settings import Settings
from tests.embedded.conftest import REPOSITORY
from tests.stack.native.loopback import LOOPBACK
from tests.stack.native.stack import Stack
from tests.stack.parity import TrinoServer
from tests.stack.prefect_client import Prefect, within

MODELS = REPOSITORY / "dbt_project" / "models" / "features"
PREFIX = "served_"
LAST = date(2017, 12, 31)
# The midnight at which the last day is over.
END = pd.Timestamp("2018-01-01", tz="UTC")
ENTITIES = 6
VIEWS = ("product_day", "client", "client_product", "price_elasticity", "product_content")
PLANTED = 12345.0
# Of the tables that have a past.
DAYS = {
    "feat_product_day": [LAST - timedelta(days=n) for n in range(20)],
    "feat_client": [LAST, *(LAST - timedelta(days=7 * n) for n in range(1, 4))],
}


@dataclass(frozen=True)
class Lake:
    """A published lake of few features, and how to change it."""

    settings: Settings
    server: TrinoServer

    def change(self, statement: str) -> None:
        """Change a table beside its view, as a build does, and publish."""
        self.server.query(statement, "dbt")
        self.publish()

    def publish(self) -> None:
        sources = [Source(f"{PREFIX}features_audit", table) for table in contracts()]
        publish_on_trino(self.settings, sources, run_id="run", build_id="build")


@pytest.fixture(scope="module")
def lake(
    redis: Stack, platform_db: Stack, trino_server: TrinoServer, tmp_path_factory: Any
) -> Iterator[Lake]:
    password = platform_db.secrets["FEAST_DB_PASSWORD"]
    database = f"{LOOPBACK}:{platform_db.port('platform-db', 5433)}/feast"
    settings = Settings(
        _env_file=None,
        home=tmp_path_factory.mktemp("features") / "lake",
        target="trino",
        schema_prefix=PREFIX,
        trino_host=trino_server.host,
        trino_port=trino_server.port,
        trino_scheme="https",
        trino_cert=str(trino_server.authority),
        trino_user="dbt",
        trino_password=trino_server.passwords["dbt"],
        redis=redis_url(redis),
        feature_registry=f"postgresql://feast:{password}@{database}",
    )
    schemas = [f"{PREFIX}{name}" for name in ("features_audit", "features", "marts")]
    for schema in (*schemas, f"{PREFIX}intermediate"):
        trino_server.query(f"create schema if not exists {schema}", "dbt")
    trino_server.query(
        f"create table {PREFIX}intermediate.int_business_date as "
        f"select date '{LAST}' as business_date",
        "dbt",
    )
    for table, columns in contracts().items():
        trino_server.query(
            f"create table {PREFIX}features_audit.{table} as {rows(table, columns)}", "dbt"
        )
    made = Lake(settings, trino_server)
    made.publish()
    try:
        yield made
    finally:
        for schema in (*schemas, f"{PREFIX}intermediate"):
            trino_server.query(f"drop schema if exists {schema} cascade")


def contracts() -> dict[str, dict[str, str]]:
    """Of each table of features the type of each column."""
    models = [
        yaml.safe_load(file.read_text())["models"][0] for file in sorted(MODELS.glob("feat_*.yml"))
    ]
    return {
        model["name"]: {column["name"]: column["data_type"] for column in model["columns"]}
        for model in models
    }


def rows(table: str, columns: dict[str, str]) -> str:
    """A query for rows as the contract has them, each number another one, some of them missing."""
    days = ", ".join(f"date '{day}'" for day in DAYS.get(table, [LAST]))
    number = "nullif(entity * {0} + day_of_year(day), 7 * {0} + 300)"
    made = {
        "date": "day", "boolean": "(entity + {0}) % 2 = 0",
        "varchar": "concat('text ', cast(entity + {0} as varchar))",
    }  # fmt: skip
    values = [
        f"cast({made.get(kind, number).format(place)} as {kind}) as {name}"
        if name not in ("client_id", "product_id")
        else f"cast(entity as {kind}) as {name}"
        for place, (name, kind) in enumerate(columns.items())
    ]
    return (
        f"select {', '.join(values)} from unnest(sequence(1, {ENTITIES})) as named (entity) "
        f"cross join unnest(array[{days}]) as known (day)"
    )


def redis_url(stack: Stack) -> str:
    return f"redis://:{stack.secrets['REDIS_PASSWORD']}@{LOOPBACK}:{stack.port('redis', 6379)}"


def test_what_is_served_is_what_trino_tells_of_now(lake: Lake) -> None:
    """And what Redis keeps for others stays; the registry is in PostgreSQL."""
    kept = Redis.from_url(str(lake.settings.redis))
    # What an entity's key of another project looks like, and a cache.
    others = [b"cache", b"\x01\x00\x00\x00\x02\x00\x00\x00\x09\x00\x00\x00client_id-elsewhere"]
    for key in others:
        kept.set(key, 1)
    found = materialise(lake.settings)
    assert {told.entities for told in found.values()} == {ENTITIES}
    assert {told.written for told in found.values()} == {ENTITIES}
    keys = {
        "forecast_v1": [{"product_id": n, "day": END} for n in (1, 2, 5)],
        "churn_v1": [{"client_id": n} for n in (1, 2, 5)],
        "recommend_v1": [{"client_id": n, "product_id": n} for n in (1, 2, 5)],
    }
    for service, asked in keys.items():
        frame = pd.DataFrame(asked).assign(**{read.EVENT_TIME: END})
        past = read.historical(lake.settings, frame, service).to_dict("records")
        for then, now in zip(past, read.online(lake.settings, asked, service), strict=True):
            assert all(now.pop("known").values())
            for name, value in now.items():
                missing = value is None and pd.isna(then[name])
                assert missing or value == then[name], (service, name)
    assert kept.exists(*others) == len(others)
    kept.delete(*others)
    with psycopg.connect(str(lake.settings.feature_registry)) as registry:
        views = registry.execute("select feature_view_name from feature_views").fetchall()
    assert {name for (name,) in views} == set(found)


def test_a_day_is_known_from_the_midnight_after_it(lake: Lake) -> None:
    """A value planted on a day shows neither before nor at noon of that day, but from then on."""
    day = LAST - timedelta(days=10)
    lake.change(
        f"update {PREFIX}features_audit.feat_product_day set quantity_mean_7 = {PLANTED} "
        f"where product_id = 3 and feature_date = date '{day}'"
    )
    noon = datetime.combine(day, datetime.min.time(), UTC) + timedelta(hours=12)
    instants = [noon + timedelta(hours=hours) for hours in (35, -24, 0, 11.9, 12)]
    frame = pd.DataFrame(
        {"product_id": 3, read.EVENT_TIME: instants, "day": END, "number": range(5)}
    )
    told = read.historical(lake.settings, frame, "forecast_v1")
    assert list(told["number"]) == list(range(5))
    assert list(told["quantity_mean_7"] == PLANTED) == [True, False, False, False, True]
    # After two days a row counts no more, and before the first there is none.
    first = datetime.combine(min(DAYS["feat_product_day"]), datetime.min.time(), UTC)
    ends = [END + timedelta(days=days, hours=1) for days in (1, 2)]
    frame = pd.DataFrame({"product_id": 1, read.EVENT_TIME: [first, *ends], "day": END})
    told = read.historical(lake.settings, frame, "forecast_v1")
    assert list(told["stores_on_display"].notna()) == [False, True, False]
    with pytest.raises(LakehouseError, match="of none of the 1 rows anything was known"):
        read.historical(lake.settings, frame.iloc[:1], "forecast_v1")


def test_a_correction_arrives_and_who_is_gone_is_served_no_more(lake: Lake) -> None:
    """As old as what is served, a corrected row must be written all the same."""
    materialise(lake.settings)
    lake.change(
        f"update {PREFIX}features_audit.feat_product_day set quantity_mean_28 = {PLANTED} "
        f"where product_id = 1 and feature_date = date '{LAST}'"
    )
    lake.change(f"delete from {PREFIX}features_audit.feat_product_day where product_id = 2")
    written = {name: told.written for name, told in materialise(lake.settings).items()}
    assert written == dict.fromkeys(written, 0) | {"product_day": 2}
    (told,) = read.online(lake.settings, [{"product_id": 1, "day": END}], "forecast_v1")
    assert told["quantity_mean_28"] == PLANTED
    with pytest.raises(LakehouseError, match=r"product_id 2.*unknown to product_day"):
        read.online(lake.settings, [{"product_id": 2, "day": END}], "forecast_v1")
    written = {told.written for told in materialise(lake.settings).values()}
    assert written == {0}


def test_what_cannot_be_compared_is_served_anew(lake: Lake) -> None:
    """Maintenance may have deleted the version that was served last."""
    found = materialise(lake.settings)
    told = replace(found["price_elasticity"], version=99)
    remember(lake.settings, found | {"price_elasticity": told})
    assert materialise(lake.settings)["price_elasticity"].written == ENTITIES


def test_a_server_that_is_down_is_told_and_nothing_half_remembered(
    lake: Lake, redis: Stack
) -> None:
    materialise(lake.settings)
    lake.change(
        f"update {PREFIX}features_audit.feat_client set order_count = 77 "
        f"where client_id = 1 and feature_date = date '{LAST}'"
    )
    before = materialised(lake.settings)
    redis.stop("redis")
    try:
        for ask in (materialise, materialised):
            with pytest.raises(Unavailable, match=r"Redis at .* does not answer"):
                ask(lake.settings)
    finally:
        redis.up(["redis"])
    assert materialised(lake.settings) == before
    for name, url in {
        "trino_port": 1,
        "feature_registry": f"postgresql://feast:x@{LOOPBACK}:1/feast",
    }.items():
        with pytest.raises(Unavailable, match="does not answer"):
            materialise(lake.settings.model_copy(update={name: url}))
    assert materialised(lake.settings) == before
    found = materialise(lake.settings)
    assert {name for name, told in found.items() if told.written} == {"client"}
    (told,) = read.online(lake.settings, [{"client_id": 1}], "churn_v1")
    assert told["order_count"] == 77


def test_the_flow_serves_what_is_published_and_has_nothing_to_do_again(
    lake: Lake, platform_db: Stack, tmp_path: Path
) -> None:
    """As a worker runs it, with the settings of `lakehouse flows work` and nothing else."""
    platform_db.up(["prefect"])
    try:
        prefect = Prefect.of(platform_db, tmp_path)
        prefect.told = lake.settings.variables()
        assert "features" in prefect.lakehouse("flows", "deploy")
        prefect.switch_links(on=False)
        lake.change(
            f"update {PREFIX}features_audit.feat_client set order_count = 88 "
            f"where client_id = 3 and feature_date = date '{LAST}'"
        )

        def written_by_a_run() -> dict[str, int]:
            run = prefect.start("features")
            within(180, lambda: bool(prefect.run(run)["end_time"]), lambda: prefect.run(run))
            assert prefect.state(run) == "Completed", prefect.run(run)["state"]
            assert prefect.tasks(run) == {"features": "Completed"}
            served = json.loads(prefect.artifacts(run)["served"])
            return {view["view"]: view["rows written"] for view in served}

        # Of products one may be gone already.
        there = {name: told.entities for name, told in materialise(lake.settings).items()}
        assert set(there) == set(VIEWS)
        Redis.from_url(str(lake.settings.redis)).flushdb()
        with prefect.worker("of-features"):
            assert written_by_a_run() == there
            (told,) = read.online(lake.settings, [{"client_id": 3}], "churn_v1")
            assert told["order_count"] == 88
            assert written_by_a_run() == dict.fromkeys(VIEWS, 0)
        # Of any machine with these settings, once it has a home.
        served = json.loads(prefect.lakehouse("status", "--json"))["features"]
        versions = dict(
            lake.server.query(f"select table_name, version from {PREFIX}marts._publication", "dbt")[
                1
            ]
        )
        assert {view["view"] for view in served} == set(VIEWS)
        for view in served:
            assert view["version"] == versions[f"{PREFIX}{view['table']}"]
            assert (view["until"], view["entities"]) == (END.isoformat(), there[view["view"]])
    finally:
        platform_db.stop("prefect")


def test_doctor_looks_at_the_registry(lake: Lake, tmp_path: Path) -> None:
    def told(url: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "--home", str(tmp_path), "doctor"],
            cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120,
            env=os.environ | {"LAKEHOUSE_FEATURE_REGISTRY": url},
        ).stdout  # fmt: skip

    url = str(lake.settings.feature_registry)
    assert "database feast" in told(url)
    assert "password authentication failed" in told(url.replace("feast:", "feast:wrong"))
