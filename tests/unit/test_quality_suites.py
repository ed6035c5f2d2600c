"""Suites are data: rules of the contract and of people, and what a broken file gets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipelines.errors import LakehouseError
from pipelines.quality.promises import Model
from pipelines.quality.rules import NO_ROWS, QUERY, Rule
from pipelines.quality.suites import load_suites

UNIQUE = Rule("unique_stg_sale", "expect_column_values_to_be_unique", {"column": "sale_id"},
              "block", "models/stg_sale.yml")  # fmt: skip
MODELS = {
    "staging.stg_sale": Model("staging", "dev_staging", "stg_sale", ("sale_id",), (UNIQUE,)),
    "staging.stg_order": Model("staging", "dev_staging", "stg_order", (), ()),
    "marts.fct_sale": Model("marts", "dev_marts", "fct_sale", ("sale_id",), ()),
}


def written(folder: Path, text: str) -> Path:
    place = folder / "expectations" / "staging"
    place.mkdir(parents=True)
    (place / "stg_sale.yml").write_text(text)
    return place.parent


def test_a_suite_holds_the_promises_of_the_contract_and_the_written_rules(tmp_path: Path) -> None:
    folder = written(
        tmp_path,
        "table: staging.stg_sale\n"
        "rules:\n"
        "  - {name: sold, no_row_where: quantity < 0}\n"
        "  - {name: dear, severity: warn, type: expect_column_mean_to_be_between,"
        " kwargs: {column: net_amount, min_value: 1}}\n",
    )
    (suite,) = load_suites(folder, MODELS)
    assert suite.gate == "staging"
    assert [(r.name, r.severity) for r in suite.rules] == [
        ("unique_stg_sale", "block"), ("sold", "block"), ("dear", "warn")
    ]  # fmt: skip
    sold, dear = suite.rules[1:]
    assert (sold.type, sold.kwargs) == (
        NO_ROWS, {QUERY: "select * from {batch} where quantity < 0"}
    )  # fmt: skip
    assert dear.columns == ["net_amount"]
    assert sold.origin == "expectations/staging/stg_sale.yml"


def test_other_tables_are_looked_up_where_the_target_has_them(tmp_path: Path) -> None:
    folder = written(
        tmp_path,
        "table: staging.stg_sale\n"
        "rules:\n"
        "  - {name: early, no_row_where: sold_at > (select max(a.ordered_at) from"
        " staging.stg_order as a)}\n",
    )
    (suite,) = load_suites(folder, MODELS)
    assert "from dev_staging.stg_order as a" in suite.rules[1].kwargs[QUERY]
    assert "a.ordered_at" in suite.rules[1].kwargs[QUERY]


def test_without_a_folder_the_promises_remain(tmp_path: Path) -> None:
    (suite,) = load_suites(tmp_path / "expectations", MODELS)
    assert suite.rules == (UNIQUE,)


@pytest.mark.parametrize(
    ("text", "says", "remedy"),
    [
        ("table: [", "is not YAML", "correct"),
        ("table: staging.stg_sale\n", "rules: Field required", "rules:"),
        ("table: staging.stg_sales\nrules: []\n", "no table staging.stg_sales", "staging.stg_sale"),
        (
            "table: staging.stg_sale\nrules: [{name: a}]\n",
            "one of `type`, `no_row_where` and `usual_weeks`",
            "data-engineer",
        ),
        (
            "table: staging.stg_sale\nrules: [{name: a, no_row_where: x, severity: fatal}]\n",
            "severity",
            "data-engineer",
        ),
        (
            "table: staging.stg_sale\nrules: [{name: unique_stg_sale, no_row_where: x}]\n",
            "two rules of staging.stg_sale are called 'unique_stg_sale'",
            "name",
        ),
    ],
)
def test_a_broken_file_is_told_with_its_place(
    tmp_path: Path, text: str, says: str, remedy: str
) -> None:
    with pytest.raises(LakehouseError, match=re.escape(says)) as refused:
        load_suites(written(tmp_path, text), MODELS)
    assert remedy in refused.value.remedy
