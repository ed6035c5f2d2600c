"""Features where there can be none: what is told, before anything is computed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from feast.types import Bool, Float64, Int64, String
from typer.testing import CliRunner

from feature_store.everything import SERVICES, VIEWS
from feature_store.views import client_week
from pipelines.cli import app
from pipelines.errors import LakehouseError, Unavailable, UsageError
from pipelines.features.online import answering, client
from pipelines.features.point_in_time import joined
from pipelines.features.served import (
    Materialised,
    folder,
    forget_served,
    freshness,
    materialised,
    project,
    remember,
)
from pipelines.features.store import DEFINITIONS, open_store
from pipelines.settings import REPOSITORY, Settings

MODELS = REPOSITORY / "dbt_project" / "models" / "features"
TYPES = {Int64: {"bigint", "integer"}, Bool: {"boolean"}, String: {"varchar"}}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"target": "spark"}, "on spark no features are served"),
        ({"store": "s3://lake"}, "not served from a lake in s3"),
        ({"target": "trino"}, "need LAKEHOUSE_REDIS and LAKEHOUSE_FEATURE_REGISTRY"),
        ({"target": "trino", "redis": "redis://here"}, "need LAKEHOUSE_FEATURE_REGISTRY"),
    ],
)
def test_where_features_are_not_served_is_said(
    changed: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=says):
        open_store(Settings(home=tmp_path, _env_file=None, **changed))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--key", "client_id"], "is no NAME=VALUE"),
        (["--key", "client_id=x"], "is no number"),
        (["--key", "day=tomorrow"], "is no instant"),
        (["--key", "client_id=1", "--at", "then"], "--at then is no instant"),
    ],
)
def test_a_key_that_cannot_be_read_is_bad_usage(
    arguments: list[str], says: str, tmp_path: Path
) -> None:
    done = CliRunner().invoke(
        app, ["--home", str(tmp_path), "features", "get", "churn_v1", *arguments]
    )
    assert isinstance(done.exception, UsageError)
    assert says in str(done.exception)


def test_nothing_is_served_of_a_lake_that_has_published_nothing(tmp_path: Path) -> None:
    with pytest.raises(LakehouseError, match="nothing is published yet"):
        open_store(Settings(home=tmp_path, _env_file=None))


def test_what_is_served_is_remembered(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, _env_file=None)
    assert materialised(settings) == {}
    folder(settings).mkdir(parents=True)
    served = {"client": Materialised("features.feat_client", 3, "2018-01-02T00:00:00+00:00", 5, 1)}
    remember(settings, served)
    assert materialised(settings) == served
    assert [row["view"] for row in freshness(settings)] == ["client"]
    forget_served(settings)
    assert materialised(settings) == {}
    assert not folder(settings).exists()


def test_a_project_is_never_the_end_of_another_ones_name(tmp_path: Path) -> None:
    """Redis tells whose a key is by its end."""
    names = [
        project(Settings(home=tmp_path, _env_file=None, target="trino", schema_prefix=prefix))
        for prefix in ("", "anna_", "a_", "lakehouse", "na_", "lakehouse_for_a")
    ]
    assert len(set(names)) == len(names)
    assert not [(a, b) for a in names for b in names if a != b and a.endswith(b)]


@pytest.mark.parametrize(
    ("client", "at", "says"),
    [
        (None, pd.Timestamp("2017-05-01", tz="UTC"), "client_id has values that are no whole"),
        (1.5, pd.Timestamp("2017-05-01", tz="UTC"), "client_id has values that are no whole"),
        (1, pd.NaT, "at is missing in a row"),
    ],
)
def test_a_row_that_nobody_can_know_is_bad_usage(client: Any, at: Any, says: str) -> None:
    frame = pd.DataFrame({"client_id": [1, client], "at": pd.to_datetime([at, at], utc=True)})
    with pytest.raises(UsageError, match=says):
        joined(frame, "at", [client_week], {"client": ["order_count"]}, {"client": "select 1"})


def test_instants_are_asked_for_in_utc_to_the_microsecond() -> None:
    at = pd.Timestamp("2017-05-01 02:00:00.000001", tz="Europe/Berlin")
    frame = pd.DataFrame({"client_id": [7], "at": [at]})
    asked = joined(frame, "at", [client_week], {"client": ["order_count"]}, {"client": "select 1"})
    assert "split('7', ',')" in asked
    assert f"split('{int(at.timestamp() * 1_000_000)}', ',')" in asked


def test_a_redis_is_never_told_by_its_password() -> None:
    url = "redis://:secret@127.0.0.1:1"
    with (
        pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 does not answer") as told,
        answering(url),
    ):
        client(url).ping()
    assert "secret" not in str(told.value)


def test_the_views_have_the_columns_of_the_models_contracts() -> None:
    for view in VIEWS:
        table = view.tags["table"].removeprefix("features.")
        (model,) = yaml.safe_load((MODELS / f"{table}.yml").read_text())["models"]
        columns = {column["name"]: column["data_type"] for column in model["columns"]}
        for field in view.schema:
            kind = columns[field.name]
            assert kind.startswith("decimal") or kind in TYPES[field.dtype], field
            assert kind.startswith("decimal") == (field.dtype == Float64), field


def test_every_view_and_service_has_an_owner_and_says_what_it_is() -> None:
    for one in (*VIEWS, *SERVICES):
        assert one.owner
        assert one.description


def test_no_module_of_the_feature_store_hides_behind_one_of_python() -> None:
    """Feast's command line imports them by their bare names, and would apply what Python has."""
    names = {path.stem for path in DEFINITIONS.glob("*.py")} - {"__init__"}
    assert names
    assert not names & sys.stdlib_module_names
