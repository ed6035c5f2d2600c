"""What becomes of sales lines, good and bad, in the panel; and the calendar beside it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from pipelines.errors import LakehouseError
from pipelines.forecasting.calendar import calendar, easter, us_holidays
from pipelines.forecasting.lines import panel_of, unused_columns


def table(rows: list[tuple[Any, ...]], *more: str) -> pa.Table:
    names = ("product_id", "date", "quantity", *more)
    return pa.table({name: [row[place] for row in rows] for place, name in enumerate(names)})


DAY = [date(2024, 3, day) for day in range(1, 10)]


def test_lines_of_a_day_are_summed_whatever_their_order_and_days_between_are_zero() -> None:
    panel = panel_of(
        table([("b", DAY[3], 2), ("a", DAY[1], 1), ("b", DAY[0], 5), ("a", DAY[1], 3)])
    )
    assert panel.products.tolist() == ["a", "b"]
    assert panel.quantity.tolist() == [[0, 4, 0, 0], [5, 0, 0, 2]]
    assert panel.first.tolist() == [1, 0]
    assert str(panel.start) == "2024-03-01"
    assert str(panel.last) == "2024-03-04"
    assert panel.findings.summed == 1
    assert panel.findings.gap_days == 1
    assert panel.findings.sold_once == 1


def test_returns_are_left_out_and_counted() -> None:
    panel = panel_of(table([("a", DAY[0], 5), ("a", DAY[0], -2), ("a", DAY[1], 1)]))
    assert panel.quantity.tolist() == [[5, 1]]
    assert panel.findings.returns == 1
    assert any("returns" in told for told in panel.findings.sentences())


def test_days_told_to_be_closed_that_have_sales_are_counted() -> None:
    lines = table([("a", DAY[0], 5), ("b", DAY[1], 0), ("a", DAY[2], 1)])
    panel = panel_of(lines, closed=[str(DAY[0]), str(DAY[1]), str(DAY[2])[5:]])
    assert panel.findings.sold_though_closed == 2
    assert any("told to be closed" in told for told in panel.findings.sentences())


def test_a_product_begins_with_its_first_sale_or_if_there_is_none_with_its_first_line() -> None:
    panel = panel_of(table([("a", DAY[0], 0), ("a", DAY[2], 1), ("b", DAY[1], 0)]))
    assert panel.first.tolist() == [2, 1]
    assert panel.findings.never_sold == 1


def test_arrow_pandas_and_duckdb_give_the_same_panel() -> None:
    lines = table([("a", DAY[0], 5), ("b", DAY[1], 2)])
    whole = panel_of(lines)
    with duckdb.connect() as connection:
        relation = connection.from_arrow(lines)
        for other in (panel_of(lines.to_pandas()), panel_of(relation)):
            assert (other.quantity == whole.quantity).all()
            assert (other.products == whole.products).all()


@pytest.mark.parametrize(
    "written", ["2024-03-01", datetime(2024, 3, 1, 23, 59, tzinfo=UTC), date(2024, 3, 1)]
)
def test_dates_may_be_text_moments_or_dates(written: object) -> None:
    assert str(panel_of(table([("a", written, 1)])).start) == "2024-03-01"


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        (table([("a", DAY[0], float("nan"))]), "not finite"),
        (table([("a", DAY[0], float("inf"))]), "not finite"),
        (table([("a", DAY[0], None), ("a", DAY[1], 1)]), "have no quantity"),
        (table([(None, DAY[0], 1), ("a", DAY[0], 1)]), "have no product_id"),
        (table([("a", None, 1), ("a", DAY[0], 1)]), "have no date"),
        (table([("a", "in spring", 1)]), "holds no dates"),
        (table([("a", 5, 1)]), "holds no dates"),
        (table([("a", DAY[0], "many")]), "holds no numbers"),
        (table([("a", DAY[0], 1)]).rename_columns(["sku", "date", "quantity"]), "lack the column"),
        (table([("a", DAY[0], 1)]).slice(1), "no sales lines"),
        (table([("a", DAY[0], 1, float("nan"))], "revenue"), "revenue that is not finite"),
    ],
)
def test_bad_lines_are_refused_with_a_remedy(lines: pa.Table, cause: str) -> None:
    with pytest.raises(LakehouseError, match=cause) as caught:
        panel_of(lines)
    assert caught.value.remedy


def test_a_covariate_of_sold_days_alone_is_refused_for_it_would_tell_which_days_sell() -> None:
    lines = table([("a", DAY[0], 1, 1.0), ("b", DAY[0], 1, 1.0), ("b", DAY[5], 1, 0.0)], "promo")
    with pytest.raises(LakehouseError, match="promo would tell ahead"):
        panel_of(lines, known_ahead=["promo"])


def test_on_a_day_without_any_row_a_covariate_stays_as_it_was() -> None:
    rows = [("a", DAY[0], 1, 2.5), ("b", DAY[0], 1, 1.0), ("a", DAY[2], 1, 3.0)]
    lines = table([*rows, ("b", DAY[2], 0, 4.0)], "price")
    panel = panel_of(lines, known_ahead=["price"])
    assert panel.plan["price"].tolist() == [[2.5, 2.5, 3.0], [1.0, 1.0, 4.0]]


def test_a_product_has_the_label_of_its_last_row() -> None:
    rows = [("b", DAY[1], 1, "new"), ("a", DAY[0], 1, None), ("b", DAY[0], 1, "old")]
    assert panel_of(table(rows, "department")).attributes["department"].tolist() == [
        "(none)",
        "old",
    ]


def test_a_covariate_of_all_days_is_taken() -> None:
    lines = table([("a", DAY[0], 1, 0.5), ("a", DAY[1], 0, 2.0)], "promo")
    panel = panel_of(lines, known_ahead=["promo"])
    assert panel.plan["promo"].tolist() == [[0.5, 2.0]]
    assert unused_columns(lines, []) == ["promo"]


def test_a_plan_of_its_own_may_reach_beyond_the_sales_and_is_zero_where_it_tells_nothing() -> None:
    lines = table([("a", DAY[0], 1), ("b", DAY[2], 1)])
    plan = pa.table({"product_id": ["b", "z"], "date": [DAY[4], DAY[1]], "promo": [1.0, 1.0]})
    panel = panel_of(lines, plan=plan)
    assert panel.plan["promo"].tolist() == [[0, 0, 0, 0, 0], [0, 0, 0, 0, 1]]


def test_a_plan_of_other_products_is_refused() -> None:
    plan = pa.table({"product_id": ["z"], "date": [DAY[0]], "promo": [1.0]})
    with pytest.raises(LakehouseError, match="no row of the plan"):
        panel_of(table([("a", DAY[0], 1)]), plan=plan)


def test_what_was_known_on_a_day_holds_no_later_sale_and_no_later_product() -> None:
    panel = panel_of(table([("a", DAY[0], 1), ("b", DAY[4], 1), ("a", DAY[8], 9)]))
    known = panel.until(3, ahead=2)
    assert known.products.tolist() == ["a"]
    assert known.quantity.tolist() == [[1, 0, 0, 0]]


def test_easter_falls_on_known_sundays() -> None:
    known = {2000: (4, 23), 2011: (4, 24), 2017: (4, 16), 2024: (3, 31), 2038: (4, 25)}
    assert {year: (easter(year).month, easter(year).day) for year in known} == known


def test_holidays_of_2017_and_2024() -> None:
    assert [f"{day:%m-%d}" for day in us_holidays(2017)] == [
        "01-01", "04-16", "05-29", "07-04", "09-04", "11-23", "12-25",
    ]  # fmt: skip
    assert f"{us_holidays(2024)[5]:%m-%d}" == "11-28"


def test_the_calendar_counts_to_holidays_across_the_end_of_a_year() -> None:
    days = np.array(["2023-12-24", "2023-12-30", "2024-01-02", "2024-02-15"], dtype="datetime64[D]")
    found = calendar(days)
    assert found["weekday"].tolist() == [6, 5, 1, 3]
    assert found["day_of_month"].tolist() == [24, 30, 2, 15]
    assert found["days_to_holiday"].tolist() == [1, 2, 14, 14]
    assert found["days_since_holiday"].tolist() == [14, 5, 1, 14]
