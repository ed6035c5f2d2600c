"""Makes a report: reads what is published, and writes the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any

from pipelines.errors import LakehouseError, UsageError
from pipelines.lake.files import replace_text
from pipelines.lake.publish import Manifest
from pipelines.ml.goods import is_goods
from pipelines.ml.published import Published, published
from pipelines.reports import inventory, sales
from pipelines.reports.page import page
from pipelines.reports.period import Period, Span, last_whole
from pipelines.reports.section import Filled, Frame, Row, Section
from pipelines.settings import Settings

FOLDER = "reports"
_SALES = "marts.fct_sale"
_PROJECTION = "predictions.mart_stock_projection"
# Predictions may be missing from a lake; what is measured may not.
_OPTIONAL = "predictions."


class Subject(StrEnum):
    """What a report is about."""

    sales = "sales"
    inventory = "inventory"


_SECTIONS: dict[Subject, Callable[[Frame], list[Section]]] = {
    Subject.sales: sales.sections,
    Subject.inventory: inventory.sections,
}


@dataclass(frozen=True)
class Report:
    """A report with all its rows.

    Attributes:
        html: the whole page.
    """

    subject: Subject
    period: Period
    manifest: Manifest
    sections: list[Filled]
    html: str

    @property
    def title(self) -> str:
        """What is told, of when."""
        return _title(self.subject, self.period)

    @property
    def file_name(self) -> str:
        """Tells subject and period apart; the same report again has the same name."""
        return f"{self.subject}-{self.period.span}-{self.period.last.isoformat()}.html"

    def headline(self) -> list[str]:
        """The figures of the first section, a line each."""
        first = self.sections[0]
        columns = {column.name: column for column in first.section.columns}
        return [
            f"{row['measure']}: {first.cell(row, columns['value'])} "
            f"({first.cell(row, columns['change'])})"
            for row in first.rows
        ]

    def told(self) -> dict[str, Any]:
        """As a mapping, for JSON."""
        return {
            "report": str(self.subject),
            "period": str(self.period.span),
            "first_day": self.period.first,
            "last_day": self.period.last,
            "business_date": self.manifest.business_date,
            "run_id": self.manifest.run_id,
            "sections": [
                {
                    "title": each.section.title,
                    "note": each.section.note if each.rows else each.section.empty,
                    "query": each.section.query,
                    "rows": each.rows,
                }
                for each in self.sections
            ],
        }


def make(
    settings: Settings, subject: Subject, span: Span = Span.week, until: date | None = None
) -> Report:
    """Tell the last whole period, by what is published now.

    Args:
        until: the last day that may be told; None means the day before the business date.

    Raises:
        UsageError: the day is not over yet, or the target publishes nothing.
        LakehouseError: nothing is published, a table of the report is not, or nothing was sold in
            the period.
    """
    with published(settings) as lake:
        frame = _frame(lake, settings, span, until)
        filled = [_fill(lake, section) for section in _SECTIONS[subject](frame)]
        tables = {name: lake.table(name) for name in lake.inputs}
        html = page(_title(subject, frame.period), frame, filled, lake.manifest, tables)
        return Report(subject, frame.period, lake.manifest, filled, html)


def write(report: Report, out: Path) -> None:
    """Write the page; a former one is replaced at once.

    Raises:
        LakehouseError: it cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        replace_text(out, report.html)
    except OSError as error:
        raise LakehouseError(
            f"{out} cannot be written: {error.strerror}", "name a file elsewhere by --out"
        ) from None


def _title(subject: Subject, period: Period) -> str:
    return f"{subject.capitalize()}, {period.name}"


def _frame(lake: Published, settings: Settings, span: Span, until: date | None) -> Frame:
    last_day = lake.last_day
    if until is not None and until > last_day:
        raise UsageError(
            f"{until} is not over: the business date is {lake.manifest.business_date}",
            f"name a day up to {last_day} by --until",
        )
    period = last_whole(span, until or last_day)
    (known,) = _rows(
        lake,
        f"""select
            min(sale_date) as first_day,
            max(sale_date) as last_day,
            count(*) filter (where sale_date between date '{period.first}' and date '{period.last}')
                as sales
        from {_SALES}""",
        [_SALES],
    )
    if known["first_day"] is None:
        raise LakehouseError("no sale is published", "land sales, then `lakehouse run`")
    if not known["sales"]:
        raise LakehouseError(
            f"nothing was sold in {period.name}: sales are known from {known['first_day']} to "
            f"{known['last_day']}",
            "name another day by --until, or a longer --period",
        )
    has_forecast = bool(_rows(lake, f"select 1 as one from {_PROJECTION} limit 1", [_PROJECTION]))
    today = date.fromisoformat(str(lake.manifest.business_date))
    return Frame(
        period,
        today,
        known_from=known["first_day"],
        left_out=settings.departments_left_out.replace(",", ", "),
        is_goods=is_goods(settings, "d"),
        has_forecast=has_forecast,
    )


def _fill(lake: Published, section: Section) -> Filled:
    return Filled(section, _rows(lake, section.query, section.tables))


def _rows(lake: Published, sql: str, tables: Sequence[str]) -> list[Row]:
    if any(name.startswith(_OPTIONAL) and name not in lake.manifest.tables for name in tables):
        return []
    rows: list[Row] = lake.query(sql, tables).to_pylist()
    return rows
