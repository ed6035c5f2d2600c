"""What the demo shows at its end."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.commands import shop
from pipelines.settings import Settings


@pytest.mark.parametrize(("models", "shown"), [(True, "of the predictions"), (False, "of the run")])
def test_the_summary_is_of_what_is_published_when_all_is_done(
    models: bool, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published, told = ["none"], []

    def publish(what: str) -> SimpleNamespace:
        published[0] = what
        return SimpleNamespace(manifest=what)

    @contextmanager
    def reader(*_: Any) -> Any:
        yield None

    monkeypatch.setattr(shop, "clear_about_storage", lambda _: nullcontext())
    monkeypatch.setattr(shop, "capture", lambda *_, **__: SimpleNamespace(events=1))
    monkeypatch.setattr(shop, "run_chain", lambda *_: publish("of the run"))
    monkeypatch.setattr(shop, "train_and_predict", lambda _: publish("of the predictions"))
    monkeypatch.setattr(shop, "read_manifest", lambda _: published[0])
    monkeypatch.setattr(shop, "load_contracts", lambda _: None)
    monkeypatch.setattr(shop, "reader", reader)
    monkeypatch.setattr(shop.summary, "show", lambda _, manifest, *__, **___: told.append(manifest))
    context: Any = SimpleNamespace(obj=Settings(home=tmp_path / "lake", _env_file=None))
    shop.demo(context, clients="3", models=models)
    assert told == [shown]
