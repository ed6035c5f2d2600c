"""The notebooks of the docs run from their first cell to the last, on a real slice of the shop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.embedded.conftest import REPOSITORY, Lakehouse

FOLDER = REPOSITORY / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
CLIENTS = 60


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Lakehouse:
    lakehouse = Lakehouse(tmp_path_factory.mktemp("shop") / "lake")
    lakehouse.good("demo", "--clients", str(CLIENTS), "--no-models")
    return lakehouse


def executed(path: Path, lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The notebook with what its cells show; a cell that fails raises."""
    monkeypatch.setenv("LAKEHOUSE_HOME", str(lakehouse.home))
    notebook = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": str(path.parent)}}
    return NotebookClient(notebook, timeout=600, kernel_name="python3", resources=place).execute()


def shown(notebook: Any) -> tuple[int, list[str]]:
    """How many pictures it shows, and its texts."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    data = [output.data for output in outputs if "data" in output]
    return sum("image/png" in each for each in data), [each.get("text/plain", "") for each in data]


def test_there_are_notebooks_and_none_keeps_what_it_once_showed() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["backtest", "exploration", "recommendation"]
    for path in NOTEBOOKS:
        assert shown(nbformat.read(path, as_version=4)) == (0, []), path.name


def test_exploration(shop: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures, texts = shown(executed(FOLDER / "exploration.ipynb", shop, monkeypatch))
    assert pictures == 3
    assert "marts.fct_sale" in texts[0]
    assert "uplift" in texts[-1]


def test_backtest(shop: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTEBOOK_TOP", "30")
    monkeypatch.setenv("NOTEBOOK_TREES", "30")
    pictures, texts = shown(executed(FOLDER / "backtest.ipynb", shop, monkeypatch))
    assert pictures == 2
    for method in ("pipeline", "ma56_weekday", "theta"):
        assert method in texts[0]
    assert not any("NaN" in text for text in texts)


def test_recommendation(shop: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures, texts = shown(executed(FOLDER / "recommendation.ipynb", shop, monkeypatch))
    assert pictures == 1
    for method in ("popular", "buy_again"):
        assert method in texts[0]
    assert "repeat" in texts[-1]
    assert "new" in texts[-1]
