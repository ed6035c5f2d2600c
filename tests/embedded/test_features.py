"""Features as models get them: of the past as it was known, of now as it is published."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipelines.errors import LakehouseError, UsageError
from pipelines.features import read
from pipelines.features.materialise import materialise
from pipelines.features.served import folder, freshness, materialised, remember
from pipelines.lake.catalog import create_published_views
from pipelines.lake.duck import connect
from pipelines.lake.publish import Source, publish, read_manifest
from pipelines.settings import Settings
from tests.embedded.conftest import Lakehouse

PLANTED = 12345.0
PRODUCT_DAY = Source("features", "feat_product_day", "feature_month")
Republish = Callable[[str], None]


@pytest.fixture(scope="module")
def settings(demo: Lakehouse, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("features") / "lake"
    shutil.copytree(demo.home, home)
    return Settings(home=home, _env_file=None)


@pytest.fixture
def republish(settings: Settings) -> Republish:
    """Publish `feat_product_day` once more, as a query over what is published makes it."""

    def made(select: str) -> None:
        manifest = read_manifest(settings.published)
        assert manifest is not None
        with connect(settings) as connection:
            create_published_views(connection, settings.published)
            connection.execute(f"create table changed as {select}")
            connection.execute("drop view features.feat_product_day")
            connection.execute("create view features.feat_product_day as from changed")
            sources = [Source(*name.split(".")) for name in manifest.tables]
            kept = [s for s in sources if s.schema == "features" and s != PRODUCT_DAY]
            publish(
                connection, [*(s for s in kept if s.name != PRODUCT_DAY.name), PRODUCT_DAY],
                settings.published, run_id="again", build_id="again",
                business_date=manifest.business_date,
            )  # fmt: skip

    return made


def ask(settings: Settings, query: str) -> list[tuple[Any, ...]]:
    with connect(settings) as connection:
        create_published_views(connection, settings.published)
        return connection.execute(query).fetchall()


def business_date(settings: Settings) -> date:
    manifest = read_manifest(settings.published)
    assert manifest is not None
    return date.fromisoformat(str(manifest.business_date))


def end(settings: Settings) -> datetime:
    return datetime.combine(business_date(settings) + timedelta(days=1), datetime.min.time(), UTC)


def served(settings: Settings) -> list[tuple[Any, ...]]:
    """All that the online store holds, but when it was written."""
    with sqlite3.connect(folder(settings) / "online.db") as connection:
        names = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
        return [
            (name, *row)
            for (name,) in sorted(names)
            for row in connection.execute(
                f"select entity_key, feature_name, value, event_ts from [{name}] order by 1, 2"
            )
        ]


def test_what_is_served_is_what_history_tells_of_now(settings: Settings) -> None:
    """The data is of 2017: nothing may hang on the clock, and nothing be None because of it."""
    materialise(settings)
    day = pd.Timestamp("2017-12-24", tz="UTC")
    samples = {
        "forecast_v1": [
            {"product_id": row[0], "day": day}
            for row in ask(settings, "select distinct product_id from features.feat_product_day")
        ],
        "churn_v1": [
            {"client_id": row[0]}
            for row in ask(settings, "select distinct client_id from features.feat_client")
        ],
        "recommend_v1": [
            {"client_id": row[0], "product_id": row[1]}
            for row in ask(
                settings,
                "select client_id, product_id from features.feat_client_product"
                " order by all limit 20",
            )
        ],
    }
    for service, keys in samples.items():
        assert len(keys) > 3, service
        frame = pd.DataFrame(keys)
        frame[read.EVENT_TIME] = end(settings)
        past = read.historical(settings, frame, service)
        told = {tuple(row[name] for name in keys[0]): row for row in past.to_dict("records")}
        for key, now in zip(keys, read.online(settings, keys, service), strict=True):
            then = told[tuple(key.values())]
            assert all(now.pop("known").values()), (service, key)
            for name, value in now.items():
                missing = value is None and pd.isna(then[name])
                assert missing or value == then[name], (service, key, name)


def test_to_materialise_twice_writes_nothing(settings: Settings) -> None:
    materialise(settings)
    before = served(settings)
    keys = {(name, key) for name, key, *_ in before}
    assert len(keys) == sum(told.entities for told in materialised(settings).values())
    assert {view: told.written for view, told in materialise(settings).items()} == dict.fromkeys(
        materialised(settings), 0
    )
    assert served(settings) == before
    assert {row["until"] for row in freshness(settings)} == {end(settings).isoformat()}


def test_a_correction_arrives_and_who_is_gone_is_served_no_more(
    settings: Settings, republish: Republish
) -> None:
    materialise(settings)
    corrected, gone = (
        row[0]
        for row in ask(
            settings, "select distinct product_id from features.feat_product_day order by 1 limit 2"
        )
    )
    last = business_date(settings)
    republish(
        f"""select * replace (case when product_id = {corrected} and feature_date = '{last}'
            then {PLANTED} else quantity_mean_28 end as quantity_mean_28)
            from features.feat_product_day where product_id <> {gone}"""
    )
    assert materialise(settings)["product_day"].written == 2
    day = pd.Timestamp(last, tz="UTC")
    (told,) = read.online(settings, [{"product_id": corrected, "day": day}], "forecast_v1")
    assert told["quantity_mean_28"] == PLANTED
    with pytest.raises(LakehouseError, match=f"product_id {gone}.*unknown to product_day"):
        read.online(settings, [{"product_id": gone, "day": day}], "forecast_v1")
    assert materialise(settings)["product_day"].written == 0


def test_a_day_is_known_from_the_midnight_after_it(
    settings: Settings, republish: Republish
) -> None:
    """A value planted on a day shows neither before nor at noon of that day, but from then on."""
    ((product, day),) = ask(
        settings,
        "select product_id, min(feature_date) + 40 from features.feat_product_day"
        " group by all order by all limit 1",
    )
    republish(
        f"""select * replace (case when product_id = {product} and feature_date = '{day}'
            then {PLANTED} else quantity_mean_7 end as quantity_mean_7)
            from features.feat_product_day"""
    )
    noon = datetime.combine(day, datetime.min.time(), UTC) + timedelta(hours=12)
    instants = [noon + timedelta(hours=hours) for hours in (-24, 0, 11.9, 12, 35)]
    frame = pd.DataFrame(
        {"product_id": product, read.EVENT_TIME: instants, "day": pd.Timestamp(day, tz="UTC")}
    )
    told = read.historical(settings, frame, "forecast_v1").sort_values(read.EVENT_TIME)
    assert list(told["quantity_mean_7"] == PLANTED) == [False, False, False, True, True]


def test_what_cannot_be_compared_is_served_anew(settings: Settings) -> None:
    """Maintenance may have deleted the version that was served last."""
    found = materialise(settings)
    before = served(settings)
    told = found["client"].__class__("features.feat_client", 99, found["client"].until, 0, 0)
    remember(settings, found | {"client": told})
    again = materialise(settings)["client"]
    assert again.written == again.entities > 3
    assert served(settings) == before


def test_who_asks_wrongly_is_told_what_to_give(settings: Settings, tmp_path: Path) -> None:
    materialise(settings)
    with pytest.raises(UsageError, match=r"no feature service churn_v9.*churn_v1"):
        read.online(settings, [{"client_id": 1}], "churn_v9")
    with pytest.raises(UsageError, match="forecast_v1 needs day"):
        read.online(settings, [{"product_id": 1}], "forecast_v1")
    with pytest.raises(LakehouseError, match="client_id 999999: unknown to client"):
        read.online(settings, [{"client_id": 999999}], "churn_v1")
    frame = pd.DataFrame({"client_id": [999999], read.EVENT_TIME: [end(settings)]})
    with pytest.raises(LakehouseError, match="of none of the 1 rows anything was known"):
        read.historical(settings, frame, "churn_v1")
    with pytest.raises(LakehouseError, match="nothing is published yet"):
        materialise(Settings(home=tmp_path, _env_file=None))
