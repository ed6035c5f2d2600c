"""Reports of a small published lake: what they say, and what they say where there is nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.errors import LakehouseError, UsageError
from pipelines.ml.published import published
from pipelines.reports.charts import BLUE, ORANGE, Line, bars, lines
from pipelines.reports.figures import Kind, written
from pipelines.reports.period import Period, Span, last_whole
from pipelines.reports.report import Report, Subject, make, write
from pipelines.settings import Settings
from tests.report_page import Section, assert_told_truly, read
from tests.unit.published_lake import NASTY, publish_shop

SUBJECTS = list(Subject)
Ask = Callable[[str], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return publish_shop(tmp_path_factory.mktemp("shop") / "lake")


@pytest.fixture(scope="module")
def ask(shop: Settings) -> Iterator[Ask]:
    """Asks a query of everything that is published, as a reader would."""
    with published(shop) as lake:
        every = list(lake.manifest.tables)
        yield lambda query: lake.query(query, every).to_pylist()


@pytest.fixture(scope="module")
def unpredicted(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return publish_shop(tmp_path_factory.mktemp("shop") / "lake", predictions=False)


def named(report: Report, title: str) -> Section:
    return next(each for each in read(report.html) if each.title.startswith(title))


# Periods


@pytest.mark.parametrize(
    ("span", "until", "first", "last"),
    [
        (Span.day, "2017-03-07", "2017-03-07", "2017-03-07"),
        (Span.week, "2017-03-05", "2017-02-27", "2017-03-05"),
        (Span.week, "2017-03-11", "2017-02-27", "2017-03-05"),
        (Span.month, "2017-03-30", "2017-02-01", "2017-02-28"),
        (Span.month, "2016-02-29", "2016-02-01", "2016-02-29"),
        (Span.month, "2017-01-01", "2016-12-01", "2016-12-31"),
    ],
)
def test_the_last_whole_period_is_told(span: Span, until: str, first: str, last: str) -> None:
    found = last_whole(span, date.fromisoformat(until))
    assert found == Period(span, date.fromisoformat(first), date.fromisoformat(last))


@pytest.mark.parametrize("span", list(Span))
def test_periods_follow_each_other_without_a_gap(span: Span) -> None:
    period = last_whole(span, date(2018, 1, 31))
    for _ in range(40):
        assert period.before.after == period
        assert (period.first - period.before.last).days == 1
        period = period.before


def test_a_week_is_named_by_its_iso_year() -> None:
    assert last_whole(Span.week, date(2017, 1, 1)).name == (
        "week 52 of 2016 (26 December 2016 – 1 January 2017)"
    )
    assert last_whole(Span.week, date(2017, 3, 19)).name == "week 11 of 2017 (13 – 19 March 2017)"


# Figures and charts


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (1234567.891, Kind.usd, "1,234,567.89 USD"),
        (-0.001, Kind.usd, "0.00 USD"),
        (-12.5, Kind.difference, "−12.50 USD"),
        (12.5, Kind.difference, "+12.50 USD"),
        (0.0834, Kind.change, "+8.3 %"),
        (-0.0834, Kind.change, "−8.3 %"),
        (0.0, Kind.change, "0.0 %"),
        (0.5, Kind.percent, "50.0 %"),
        (12345, Kind.whole, "12,345"),
        (2.25, Kind.days, "2.2 days"),
        (date(2017, 3, 5), Kind.day, "Sun 2017-03-05"),
        (None, Kind.usd, "–"),
    ],
)
def test_figures_have_separators_and_units(value: Any, kind: Kind, text: str) -> None:
    assert written(value, kind) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_never_written(value: float) -> None:
    with pytest.raises(ValueError, match="no figure"):
        written(value, Kind.usd)


def test_a_line_stops_where_nothing_is_known() -> None:
    drawn = lines("Title", ["a", "b", "c", "d"], [Line("x", [1, None, 3, 4])], "USD")
    (path,) = re.findall(r'<path d="(M[^"h]*)" stroke="#0072B2"', drawn)
    assert path.count("M") == 2
    assert path.count("L") == 1


def test_lines_differ_by_more_than_colour() -> None:
    drawn = lines("T", ["a"], [Line("x", [1], BLUE), Line("y", [2], ORANGE, is_dashed=True)], "")
    assert "stroke-dasharray" in drawn
    assert drawn.count("<circle") == 1


def test_labels_of_charts_are_escaped() -> None:
    drawn = bars(NASTY, [NASTY], [1.0], ["1"])
    assert "<b>" not in drawn
    assert '"Fish"' not in drawn


def test_where_nothing_is_known_there_is_no_chart() -> None:
    assert lines("T", ["a"], [Line("x", [None])], "") == ""
    assert bars("T", [], [], []) == ""


def test_a_chart_of_zeros_has_an_axis() -> None:
    drawn = lines("T", ["a", "b"], [Line("x", [0, 0])], "")
    assert "nan" not in drawn
    assert ">1<" in drawn


# Reports


@pytest.mark.parametrize("span", list(Span))
@pytest.mark.parametrize("subject", SUBJECTS)
def test_each_figure_is_what_its_query_gives(
    subject: Subject, span: Span, shop: Settings, ask: Ask
) -> None:
    made = make(shop, subject, span)
    sections = read(made.html)
    assert assert_told_truly(sections, ask) > 40
    assert len(sections) == len(made.sections)
    assert not re.search(
        r"\b(nan|inf|None)\b", re.sub(r"<pre>.*?</pre>", "", made.html, flags=re.S)
    )


def test_the_headline_is_what_was_sold(shop: Settings) -> None:
    rows = named(make(shop, Subject.sales), "Headline").rows
    # Six days of 4 orders and 992.50 USD, seven of 1,002.50 USD before.
    assert rows[0][:3] == ["Revenue, net", "5,955.00 USD", "7,017.50 USD"]
    assert rows[1][:4] == ["Orders", "24", "28", "−14.3 %"]
    # The fuel's are left out.
    assert rows[3][:2] == ["Pieces", "54"]


def test_names_in_the_data_are_escaped(shop: Settings) -> None:
    made = make(shop, Subject.sales)
    assert NASTY in [row[1] for row in named(made, "Top products").rows]
    assert "GROCERY & <more>" in [row[0] for row in named(made, "Departments").rows]
    assert "<b>" not in made.html


def test_the_new_client_is_told_apart(shop: Settings) -> None:
    rows = named(make(shop, Subject.sales), "New and").rows
    assert [row[:3] for row in rows] == [["New", "1", "0"], ["Returning", "1", "1"]]


def test_the_newest_forecast_of_each_day_is_expected(shop: Settings) -> None:
    expected = named(make(shop, Subject.sales), "Expected")
    assert [row[:3] for row in expected.rows] == [
        ["Mon 2017-03-06", "2", "3.8"], ["Tue 2017-03-07", "1", "3.0"],
    ]  # fmt: skip


def test_what_runs_out_is_to_be_reordered(shop: Settings) -> None:
    rows = named(make(shop, Subject.inventory), "To reorder").rows
    assert rows == [["1", NASTY, "0", "12.5", "Thu 2017-03-09", "13"]]


def test_without_predictions_the_page_says_so(unpredicted: Settings) -> None:
    sales = make(unpredicted, Subject.sales)
    stock = make(unpredicted, Subject.inventory)
    assert named(sales, "Expected").said[0].startswith("There are no forecasts for week 10")
    assert "no stock-out can be expected" in named(stock, "Expected").said[0]
    reorder = named(stock, "To reorder")
    assert "There are no forecasts" in reorder.said[0]
    assert [row[-1] for row in reorder.rows] == ["10", "5"]


def test_a_lake_without_prediction_marts_has_reports_all_the_same(tmp_path: Path) -> None:
    settings = publish_shop(tmp_path / "lake")
    place = settings.published / "manifest.json"
    content = json.loads(place.read_text())
    content["tables"] = {
        name: table for name, table in content["tables"].items() if name.startswith("marts")
    }
    place.write_text(json.dumps(content))
    for subject in SUBJECTS:
        assert "There are no forecasts" in make(settings, subject).html


def test_the_first_week_is_compared_with_nothing(shop: Settings) -> None:
    made = make(shop, Subject.sales, until=date(2017, 1, 1))
    headline = named(made, "Headline")
    assert "mean_before" not in headline.columns
    assert "nothing to compare with" in headline.said[0]
    assert {row[3] for row in headline.rows} == {"–"}
    assert "nothing can have fallen" in named(made, "Falling").said[0]


def test_a_period_that_is_known_in_part_is_not_compared_with(shop: Settings) -> None:
    # Of December, the lake knows the last six days.
    made = make(shop, Subject.sales, Span.month, date(2017, 1, 31))
    for title in ("Departments", "Stores", "Top products", "New and"):
        section = named(made, title)
        before = section.columns.index("previous")
        assert section.rows
        assert {row[before] for row in section.rows} == {"–"}
    assert "nothing can have fallen" in named(made, "Falling").said[0]


def test_the_same_publication_gives_the_same_page(shop: Settings) -> None:
    assert make(shop, Subject.sales).html == make(shop, Subject.sales).html


def test_the_footer_tells_publication_and_tables(shop: Settings) -> None:
    footer = make(shop, Subject.sales).html.partition("<footer>")[2]
    assert "run run-1" in footer
    assert "business date 2017-03-08" in footer
    assert "marts.fct_sale" in footer


# What cannot be told


def test_before_the_first_publication_the_remedy_is_a_run(tmp_path: Path) -> None:
    with pytest.raises(LakehouseError, match="nothing is published") as caught:
        make(Settings(home=tmp_path, _env_file=None), Subject.sales)
    assert "lakehouse run" in caught.value.remedy


def test_a_mart_that_is_not_published_is_named(tmp_path: Path) -> None:
    settings = publish_shop(tmp_path / "lake")
    place = settings.published / "manifest.json"
    content = json.loads(place.read_text())
    del content["tables"]["marts.mart_stock_coverage"]
    place.write_text(json.dumps(content))
    with pytest.raises(LakehouseError, match=r"marts\.mart_stock_coverage is not published"):
        make(settings, Subject.inventory)


def test_where_nothing_is_published_beside_what_is_built_there_are_no_reports(
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError, match="on spark nothing is published"):
        make(Settings(home=tmp_path, target="spark", _env_file=None), Subject.sales)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_period_before_the_data_is_refused(subject: Subject, shop: Settings) -> None:
    with pytest.raises(LakehouseError, match=r"nothing was sold in week 44 of 2016.*2016-12-26"):
        make(shop, subject, until=date(2016, 11, 6))


def test_a_day_without_sales_is_refused(shop: Settings) -> None:
    with pytest.raises(LakehouseError, match="nothing was sold in Saturday, 4 March 2017"):
        make(shop, Subject.sales, Span.day, date(2017, 3, 4))


def test_a_day_that_is_not_over_is_refused(shop: Settings) -> None:
    with pytest.raises(UsageError, match="2017-03-08 is not over"):
        make(shop, Subject.sales, until=date(2017, 3, 8))


def test_a_file_that_cannot_be_written_is_told(shop: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LakehouseError, match="cannot be written"):
        write(make(shop, Subject.sales), tmp_path / "file" / "report.html")


# The command


def test_the_command_writes_the_file_and_tells_the_headline(shop: Settings, tmp_path: Path) -> None:
    out = tmp_path / "new" / "sales.html"
    words = ["--home", str(shop.home), "report", "sales", "--period", "week", "--out", str(out)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "Revenue, net: 5,955.00 USD" in done.output
    assert out.read_text().startswith("<!DOCTYPE html>")


def test_the_command_tells_rows_and_queries_as_json(shop: Settings, tmp_path: Path) -> None:
    out = tmp_path / "stock.html"
    words = ["--home", str(shop.home), "report", "inventory", "--out", str(out), "--json"]
    told = json.loads(CliRunner().invoke(app, words).stdout)
    assert told["file"] == str(out)
    assert told["first_day"] == "2017-02-27"
    assert all(section["query"] and section["note"] is not None for section in told["sections"])


@pytest.mark.parametrize(
    "words", [["profit"], ["sales", "--period", "year"], ["sales", "--until", "2017-02-30"]]
)
def test_what_there_is_not_is_refused(words: list[str], shop: Settings) -> None:
    assert CliRunner().invoke(app, ["--home", str(shop.home), "report", *words]).exit_code == 2
