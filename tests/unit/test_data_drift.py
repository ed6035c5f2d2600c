"""Drift: a shift is found, a resample of the same data is not, and what cannot be told is said."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipelines.drift import LEAST_ROWS, Drift, measure, write_report
from pipelines.errors import LakehouseError

NUMBERS = ["amount", "visits", "zeros"]
CATEGORIES = ["segment", "department", "is_new"]


def frame(rows: int = 3000, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "amount": random.lognormal(3, 1, rows),
            "visits": random.poisson(3, rows),
            "zeros": random.exponential(5, rows) * (random.random(rows) < 0.4),
            "segment": random.choice(["loyal", "new", "lost"], rows, p=[0.6, 0.3, 0.1]),
            "department": random.zipf(1.3, rows).clip(max=200).astype(str),
            "is_new": random.random(rows) < 0.2,
        }
    )


@pytest.fixture(scope="module")
def reference() -> pd.DataFrame:
    return frame()


def of(found: list[Drift], column: str) -> Drift:
    return next(each for each in found if each.column == column)


def test_a_resample_of_the_same_data_is_no_drift(reference: pd.DataFrame) -> None:
    columns = NUMBERS + CATEGORIES
    for seed in range(5):
        current = reference.sample(LEAST_ROWS, replace=True, random_state=seed)
        found = measure(reference, current, columns)
        assert [each.column for each in found] == columns
        assert [each.column for each in found if each.is_drifted] == []
        assert all(each.note is None for each in found)


def test_the_same_data_have_an_index_of_zero_and_no_test_against_them(
    reference: pd.DataFrame,
) -> None:
    arrow = pa.Table.from_pandas(reference, preserve_index=False)
    for each in measure(reference, arrow, NUMBERS + CATEGORIES):
        assert each.psi == pytest.approx(0)
        assert each.ks_p_value == (pytest.approx(1) if each.column in NUMBERS else None)


@pytest.mark.parametrize("column", NUMBERS + CATEGORIES)
def test_a_shift_of_one_column_is_found_and_no_other(reference: pd.DataFrame, column: str) -> None:
    current = frame(2000, seed=1)
    if column in NUMBERS:
        current[column] = current[column] * 2 + 0.5
    elif column == "is_new":
        current[column] = np.arange(2000) % 2 == 0
    else:
        frequent = current[column].mode()[0]
        current.loc[::2, column] = frequent
        current.loc[1::4, column] = "never seen"
    found = measure(reference, current, NUMBERS + CATEGORIES)
    assert [each.column for each in found if each.is_drifted] == [column]
    if column in NUMBERS:
        assert of(found, column).ks_p_value == pytest.approx(0, abs=1e-6)


def test_the_index_is_that_of_the_shares_of_the_bins() -> None:
    reference = pd.DataFrame({"kind": ["a"] * 300 + ["b"] * 100})
    current = pd.DataFrame({"kind": ["a"] * 200 + ["b"] * 200})
    (found,) = measure(reference, current, ["kind"])
    expected = (0.5 - 0.75) * np.log(0.5 / 0.75) + (0.5 - 0.25) * np.log(0.5 / 0.25)
    assert found.psi == pytest.approx(expected)
    assert found.is_drifted == (expected >= 0.2)


def test_numbers_that_are_no_longer_defined_are_drift(reference: pd.DataFrame) -> None:
    current = frame(2000, seed=1)
    current.loc[::3, "amount"] = np.nan
    current.loc[1::3, "amount"] = np.inf
    (found,) = measure(reference, current, ["amount"])
    assert found.is_drifted
    # Those that are left are spread as before.
    assert found.ks_p_value is not None
    assert found.ks_p_value > 0.01


def test_constants_and_columns_without_a_value_are_stated() -> None:
    rows = 400
    nothing = np.full(rows, np.nan)
    various = np.random.default_rng(0).random(rows)
    reference = pd.DataFrame(
        {"same": 7, "moved": 7, "empty": nothing, "filled": nothing, "emptied": various},
        index=range(rows),
    )
    current = pd.DataFrame(
        {"same": 7, "moved": 8, "empty": nothing, "filled": various, "emptied": nothing},
        index=range(rows),
    )
    found = measure(reference, current, list(reference.columns))
    assert {each.column: (each.is_drifted, each.note) for each in found} == {
        "same": (False, "constant"),
        "moved": (True, "constant in the reference table"),
        "empty": (False, "no value at all"),
        "filled": (True, "no value in the reference table"),
        "emptied": (True, "no value in the current table"),
    }
    assert all(each.psi is not None and np.isfinite(each.psi) for each in found)
    assert [each.column for each in found if each.ks_p_value is None] == [
        "empty",
        "filled",
        "emptied",
    ]


def test_a_column_without_a_type_is_taken_as_the_other_table_has_it() -> None:
    reference = pa.table({"kind": ["a", "b"] * 200, "size": pa.nulls(400)})
    current = pa.table({"kind": pa.nulls(400), "size": pa.array(range(400), pa.int32())})
    assert [each.is_drifted for each in measure(reference, current, ["kind", "size"])] == [
        True,
        True,
    ]


def test_of_few_rows_nothing_is_told(reference: pd.DataFrame, tmp_path: Path) -> None:
    few = reference.head(LEAST_ROWS - 1)
    note = f"too few rows: {LEAST_ROWS - 1} of at least {LEAST_ROWS}"
    expected = [Drift("amount", None, None, False, note)]
    assert measure(reference, few, ["amount"]) == expected
    assert measure(few, reference, ["amount"]) == expected
    with pytest.raises(LakehouseError, match="too few rows"):
        write_report(tmp_path / "drift.html", reference, few, ["amount"])
    assert not list(tmp_path.iterdir())


def test_columns_that_cannot_be_compared_are_refused(reference: pd.DataFrame) -> None:
    with pytest.raises(LakehouseError, match="the current table has no column amount"):
        measure(reference, reference.drop(columns="amount"), ["amount"])
    with pytest.raises(LakehouseError, match="amount is a number in one of the tables"):
        measure(reference, reference.astype({"amount": str}), ["amount"])
    dated = reference.assign(day=pd.Timestamp("2017-01-01"))
    with pytest.raises(LakehouseError, match="drift of day, a column of timestamp") as error:
        measure(dated, dated, ["day"])
    assert error.value.remedy


class _Resources(HTMLParser):
    """What a page loads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [
            value or ""
            for name, value in attrs
            if (name == "src" or (tag == "link" and name == "href"))
            and not (value or "").startswith("data:")
        ]


def test_the_report_is_one_page_that_loads_nothing(reference: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "reports" / "drift.html"
    write_report(path, reference, frame(2000, seed=1), ["amount", "segment"])
    page = path.read_text(encoding="utf-8")
    parser = _Resources()
    parser.feed(page)
    assert parser.loaded == []
    assert "amount, in bins" in page
    assert "segment" in page


def test_evidently_is_imported_when_something_is_measured_and_not_before() -> None:
    code = "import sys, pipelines.drift; sys.exit('evidently' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
