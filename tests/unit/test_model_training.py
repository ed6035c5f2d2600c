"""Who takes part in the contest of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import LakehouseError, Unavailable
from pipelines.ml.registry import Version
from pipelines.ml.training import _champion


class Registry:
    """One that holds a champion, or none."""

    def __init__(self, number: int | None = 3) -> None:
        self.number = number

    def champion(self, kind: str) -> Version | None:
        if self.number is None:
            return None
        return Version(kind, self.number, "run", ("champion",), "sha", "", "2017-12-31")

    def folder(self, version: Version) -> Path:
        return Path(version.name)


class Kind:
    """One whose models fail to load or to predict, as told."""

    name = "forecast"

    def __init__(self, load: Exception | None = None, predict: Exception | None = None) -> None:
        self.failing = {"load": load, "predict": predict}

    def load(self, folder: Path) -> str:
        self._fail("load")
        return f"model of {folder}"

    def predict(self, model: str, data: Any) -> None:
        self._fail("predict")

    def _fail(self, step: str) -> None:
        if (error := self.failing[step]) is not None:
            raise error


def met(registry: Registry, kind: Kind) -> tuple[Any, tuple[str, ...]]:
    return _champion(registry, kind, "data")  # type: ignore[arg-type]


def test_a_champion_that_predicts_takes_part() -> None:
    assert met(Registry(), Kind()) == ("model of forecast/3", ())


@pytest.mark.parametrize("step", ["load", "predict"])
def test_one_that_cannot_be_used_is_no_rival_and_that_is_said(step: str) -> None:
    """Else what is as good as it would be refused, and nothing could ever predict again."""
    error = LakehouseError("it was trained on other columns", "train anew")
    champion, (note,) = met(Registry(), Kind(**{step: error}))
    assert champion is None
    assert note == "the champion took no part: it was trained on other columns"


def test_none_is_said_to_be_none() -> None:
    champion, (note,) = met(Registry(None), Kind())
    assert champion is None
    assert "there was no champion" in note


def test_a_server_that_is_down_is_no_verdict_on_a_champion() -> None:
    with pytest.raises(Unavailable):
        met(Registry(), Kind(load=Unavailable("MLflow is not reached", "start it")))
