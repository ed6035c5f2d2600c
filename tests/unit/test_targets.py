"""Servers that build the models: what they must be told, and what a run remembers of each."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any, Literal

import pytest

from pipelines import chain, transform
from pipelines.errors import LakehouseError, UsageError
from pipelines.lake.shown import shown
from pipelines.settings import Settings
from pipelines.targets import environment, refuse_server


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("LAKEHOUSE_")]:
        monkeypatch.delenv(name)


def settings_of(folder: Path, target: str, **told: Any) -> Settings:
    key = "a key only for tests, long enough"
    return Settings(home=folder / "lake", target=target, pii_key=key, _env_file=None, **told)


def test_the_profile_is_told_each_setting_of_the_server(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path, "trino", store="s3://lake", trino_host="trino", trino_port=8443,
        trino_password="secret", spark_host="spark",
    )  # fmt: skip
    with environment(settings):
        assert os.environ["LAKEHOUSE_TARGET"] == "trino"
        assert os.environ["LAKEHOUSE_TRINO_HOST"] == "trino"
        assert os.environ["LAKEHOUSE_TRINO_PORT"] == "8443"
        assert os.environ["LAKEHOUSE_TRINO_PASSWORD"] == "secret"
        assert os.environ["LAKEHOUSE_TRINO_RAW"] == "s3://lake/raw"
        assert "LAKEHOUSE_TRINO_CERT" not in os.environ
        assert "LAKEHOUSE_SPARK_HOST" not in os.environ
    assert not [name for name in os.environ if name.startswith("LAKEHOUSE_")]


@pytest.mark.parametrize(
    ("told", "missing"),
    [
        ({"store": "s3://lake"}, "LAKEHOUSE_SPARK_HOST"),
        ({"spark_host": "spark"}, "LAKEHOUSE_SPARK_RAW"),
    ],
)
def test_what_is_missing_is_told_before_anything_lands(
    tmp_path: Path, told: dict[str, str], missing: str
) -> None:
    settings = settings_of(tmp_path, "spark", **told)
    with pytest.raises(UsageError) as refused:
        chain.run(settings)
    assert missing in refused.value.remedy
    assert not settings.home.exists()


def test_a_missing_adapter_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    settings = settings_of(tmp_path, "trino", store="s3://lake", trino_host="trino")
    with pytest.raises(LakehouseError) as refused:
        chain.run(settings)
    assert "lakehouse-platform[trino]" in refused.value.remedy


def test_what_concerns_the_work_file_is_refused_on_a_server(tmp_path: Path) -> None:
    refuse_server(settings_of(tmp_path, "embedded"), "lakehouse erase")
    with pytest.raises(UsageError, match="lakehouse erase"):
        refuse_server(settings_of(tmp_path, "trino"), "lakehouse erase")


def test_where_nothing_is_published_there_is_nothing_to_learn_from(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="on spark nothing is published"):
        shown(settings_of(tmp_path, "spark"))
    assert shown(settings_of(tmp_path, "embedded")) is None


def test_each_server_is_built_when_it_lacks_something_and_anew_after_a_demand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, bool]] = []

    class Project:
        def __init__(self, settings: Settings, on_node: Any) -> None:
            self.target = settings.target

        def build(self, *arguments: str, on_results: Any = None) -> list[Any]:
            asked.append((self.target, "--full-refresh" in arguments))
            return []

    def built(target: Literal["trino", "spark"]) -> bool:
        settings = settings_of(tmp_path, target, project_dir=project)
        settings.state.mkdir(parents=True, exist_ok=True)
        build = transform.Build(settings)
        if build.report.skipped:
            return False
        build.make()
        build.accept()
        return True

    monkeypatch.setattr(transform, "Project", Project)
    monkeypatch.setattr(transform, "batches_with_rows", lambda raw: ["one"])
    project = tmp_path / "project"
    project.mkdir()
    assert [built("trino"), built("trino"), built("spark"), built("spark")] == [
        True, False, True, False
    ]  # fmt: skip
    assert asked == [("trino", False), ("spark", False)]
    transform.demand_build(settings_of(tmp_path, "embedded"), "raw rows went")
    assert [built("trino"), built("trino")] == [True, False]
    assert asked[2:] == [("trino", True)]
    (project / "model.sql").write_text("select 1")
    assert built("spark")
    assert asked[3:] == [("spark", True)]
