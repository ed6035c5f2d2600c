"""`lakehouse backtest recommend` on files of strangers."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.errors import LakehouseError, UsageError
from pipelines.recommendation.candidates import SOURCES
from pipelines.recommendation.files import read_purchases
from tests.unit.purchases import habits


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["backtest", "recommend", *arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("purchases") / "purchases.csv"
    frame = habits()
    number = frame["product_id"].str[1:].astype(int)
    till = pd.Series(range(len(frame))).mod(2).map({0: "left", 1: "right"})
    department = "d" + (number // 15).astype(str)
    frame.assign(department=department, price=1.5, till=till).to_csv(path, index=False)
    return path


def test_it_prints_every_source_the_blend_and_the_choice(file: Path) -> None:
    text = run("--interactions", str(file), "--k", "5")
    for name in (*SOURCES, "blend", "Recall@5", "NDCG@5", "MAP@5", "coverage", "← used"):
        assert name in text
    assert "attributes of products: department" in text
    assert "ignored columns: price, till" in text


def test_json_tells_all_figures_of_the_held_out_baskets(file: Path) -> None:
    found = json.loads(run("--interactions", str(file), "--last-basket", "--json"))
    assert found["split"] == "each client's last basket"
    rows = {(row["task"], row["contender"]): row for row in found["rows"]}
    best = rows["all", "buy_again"]
    assert best["clients"] == 80
    assert best["ndcg"]["low"] < best["ndcg"]["mean"] < best["ndcg"]["high"]
    assert best["ndcg"]["mean"] > rows["all", "popular"]["ndcg"]["mean"]
    assert ("new", "buy_again") not in rows
    assert sum(row["is_chosen"] for row in found["rows"]) == 2
    assert set(found["windows"][0]["why"]) == {"all", "new"}


def test_both_ways_of_holding_out_exclude_each_other(file: Path) -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        run("--interactions", str(file), "--last-basket", "--holdout-days", "7")


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("none.csv", None, "there is no file"),
        ("bad.parquet", "no parquet", "cannot be read"),
        ("bad.xlsx", "", "neither .parquet nor .csv"),
        ("columns.csv", "client,product_id,at\n1,2,2024-01-01\n", "column client_id is missing"),
        ("short.csv", "client_id,product_id,at\n1,2,2024-01-01\n2,2,2024-01-09\n", "too short"),
    ],
)
def test_a_file_that_cannot_serve_is_refused_with_a_remedy(
    tmp_path: Path, name: str, content: str | None, error: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(LakehouseError, match=error) as refused:
        run("--interactions", str(path))
    assert refused.value.remedy


def test_a_segment_is_the_earliest_of_the_client(tmp_path: Path) -> None:
    path = tmp_path / "purchases.parquet"
    pd.DataFrame(
        {
            "client_id": [1, 1, 2], "product_id": [5, 6, 5], "segment": ["new", "loyal", None],
            "at": pd.to_datetime(["2024-01-01", "2024-02-01", "2024-01-15"]),
        }
    ).to_parquet(path)  # fmt: skip
    assert read_purchases(path).context.segments == {1: "new"}
