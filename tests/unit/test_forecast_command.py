"""The command `lakehouse backtest forecast` on files of a stranger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
import pytest
from typer.testing import CliRunner, Result

from pipelines import cli
from pipelines.errors import LakehouseError, UsageError
from tests.unit.forecast_data import lines_of, promoted_sales


def call(*arguments: object) -> Result:
    return CliRunner().invoke(
        cli.app, ["backtest", "forecast", *map(str, arguments)], catch_exceptions=False
    )


@pytest.fixture(scope="module")
def sales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense CSV of 12 products over 120 days, with a promotion and departments."""
    sold, promoted = promoted_sales(products=12, days=120)
    lines = lines_of(sold, department=[f"d{row % 2}" for row in range(12)])
    lines = lines.append_column("promo", pa.array(promoted.ravel()))
    path = tmp_path_factory.mktemp("sales") / "sales.csv"
    pa.csv.write_csv(lines, path)
    return path


def test_it_prints_every_method_at_every_origin_and_what_the_pipeline_uses(sales: Path) -> None:
    done = call("--sales", sales, "--horizon", 7, "--origins", 2, "--top", 8)
    assert done.exit_code == 0
    for told in ("seasonal_naive", "theta", "pipeline", "8 products", "Mean of 2 origins"):
        assert told in done.stdout
    assert done.stdout.count("the pipeline uses") == 2


def test_json_holds_the_same_and_no_nan(sales: Path) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    arguments = ("--sales", sales, "--horizon", 7, "--origins", 1, "--known-ahead", "promo")
    done = call(*arguments, "--until", "2024-04-20", "--json")
    found: dict[str, Any] = json.loads(done.stdout, parse_constant=refuse)
    assert found["last_day"] == "2024-04-20"
    assert found["known_ahead"] == ["promo"]
    (origin,) = found["origins"]
    assert origin["origin"] == "2024-04-13"
    methods = {score["method"]: score for score in origin["scores"]}
    assert {"ma56_weekday", "pipeline", "pipeline without plan"} <= set(methods)
    assert methods["pipeline"]["quantiles"]["coverage"] > 0
    assert methods["ma56_weekday"]["wape_department"] > 0


def test_a_closed_day_is_told_by_its_date_and_anything_else_is_refused(sales: Path) -> None:
    common = ("--sales", sales, "--horizon", 7, "--origins", 1, "--json")
    plain, told = (
        json.loads(call(*common, *closed).stdout) for closed in ((), ("--closed", "04-26"))
    )

    def bias(found: dict[str, Any], method: str) -> float:
        return next(row["bias"] for row in found["mean"] if row["method"] == method)

    assert bias(told, "pipeline") < bias(plain, "pipeline") - 0.05
    assert bias(told, "ma28") == bias(plain, "ma28")
    assert any("closed" in note for note in told["notes"])
    with pytest.raises(UsageError, match="Christmas is no day"):
        call(*common, "--closed", "Christmas")


def test_a_plan_may_stand_in_a_parquet_file_of_its_own(sales: Path, tmp_path: Path) -> None:
    lines = pa.csv.read_csv(sales)
    whole, plan = tmp_path / "sales.parquet", tmp_path / "plan.parquet"
    pa.parquet.write_table(lines.drop_columns(["promo"]), whole)
    pa.parquet.write_table(lines.select(["product_id", "date", "promo"]), plan)
    common = ("--horizon", 7, "--origins", 1, "--json")
    apart = json.loads(call("--sales", whole, "--plan", plan, *common).stdout)
    within = json.loads(call("--sales", sales, "--known-ahead", "promo", *common).stdout)
    assert apart["mean"] == within["mean"]


def test_further_numbers_are_known_ahead_where_the_file_has_every_day(
    sales: Path, tmp_path: Path
) -> None:
    common = ("--horizon", 7, "--origins", 1, "--json")
    lines = pa.csv.read_csv(sales)
    named = json.loads(call("--sales", sales, "--known-ahead", "promo", *common).stdout)
    found = json.loads(call("--sales", sales, *common).stdout)
    assert found["mean"] == named["mean"]
    assert "taken as known ahead: promo; see --known-ahead" in found["notes"]
    # By which days have a row it would tell which days sell; text and gaps are no plan either.
    sold, odd = tmp_path / "sold.parquet", tmp_path / "odd.parquet"
    pa.parquet.write_table(lines.filter(pc.greater(lines["quantity"], 0)), sold)
    gaps = pc.if_else(pc.equal(lines["quantity"], 0), None, lines["promo"])
    words = pc.cast(lines["promo"], pa.string())
    pa.parquet.write_table(
        lines.drop_columns(["promo"]).append_column("gaps", gaps).append_column("words", words), odd
    )
    for file, unused in ((sold, "promo"), (odd, "gaps, words")):
        notes = json.loads(call("--sales", file, *common).stdout)["notes"]
        assert f"not used: {unused}; see --known-ahead" in notes


def test_what_cannot_be_forecast_is_refused_with_a_remedy(sales: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_text("no parquet")
    other = tmp_path / "other.csv"
    other.write_text("sku,day,units\n1,2024-01-01,3\n")
    sheet = tmp_path / "sales.xlsx"
    sheet.write_text("")
    for arguments, cause in (
        (("--sales", broken), "cannot be read"),
        (("--sales", other), "lack the column product_id, date, quantity"),
        (("--sales", sheet), "neither .parquet nor .csv"),
        (("--sales", tmp_path / "none.csv"), "there is no file"),
        (("--sales", sales, "--origins", 9), "ask"),
        (("--sales", sales, "--until", "2031-01-01"), "outside the sales"),
        (("--sales", sales, "--known-ahead", "price"), "lack the column price"),
    ):
        with pytest.raises(LakehouseError, match=cause) as caught:
            call(*arguments)
        assert caught.value.remedy


def test_a_file_of_few_days_is_too_short(tmp_path: Path) -> None:
    short = tmp_path / "short.csv"
    pa.csv.write_csv(lines_of(np.ones((2, 20))), short)
    with pytest.raises(LakehouseError, match="20 days of sales hold 0 origins"):
        call("--sales", short)
