"""A section of a report: one query, and how its rows are shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pipelines.reports.figures import Kind, written
from pipelines.reports.period import Period

Row = dict[str, Any]
RELATIVE = "Changes are relative, those of shares, too."
_BEFORE = 8


@dataclass(frozen=True)
class Frame:
    """What a report tells of.

    Attributes:
        today: the business date of the publication.
        known_from: first day of which the lake has sales.
        left_out: departments whose lines are no goods in pieces, as settings name them.
        is_goods: condition in SQL on the product `d` that leaves them out.
        has_forecast: whether stock has been projected upon forecasts.
    """

    period: Period
    today: date
    known_from: date
    left_out: str = ""
    is_goods: str = "true"
    has_forecast: bool = False

    @property
    def earlier(self) -> list[Period]:
        """Up to eight whole periods before this one that the lake knows, the latest first."""
        found: list[Period] = []
        period = self.period.before
        while period.first >= self.known_from and len(found) < _BEFORE:
            found.append(period)
            period = period.before
        return found


@dataclass(frozen=True)
class Column:
    """A column of a section's table.

    Attributes:
        name: in the query's result.
    """

    name: str
    title: str
    kind: Kind = Kind.text


@dataclass(frozen=True)
class Section:
    """What is asked and how it is shown, before anything is read.

    Attributes:
        tables: all that the query reads, by full name.
        empty: the sentence that stands where there are no rows.
        note: how the rows are to be read.
        draw: rows → SVG.
    """

    title: str
    query: str
    tables: Sequence[str]
    columns: Sequence[Column]
    empty: str
    note: str = ""
    draw: Callable[[list[Row]], str] | None = None


@dataclass(frozen=True)
class Filled:
    """A section with the rows that its query gave."""

    section: Section
    rows: list[Row] = field(default_factory=list)

    @property
    def chart(self) -> str:
        """SVG, '' where the section has none."""
        return self.section.draw(self.rows) if self.section.draw and self.rows else ""

    def cell(self, row: Row, column: Column) -> str:
        """A value of a row as people read it."""
        kind = Kind(row["unit"]) if column.kind is Kind.by_unit else column.kind
        return written(row[column.name], kind)


def sql_day(day: date) -> str:
    """A day as SQL writes it."""
    return f"date '{day.isoformat()}'"


def sql_periods(frame: Frame) -> str:
    """Rows (back, first_day, last_day): 0 is the period told, 1 the one before, and so on."""
    rows = [
        f"({back}, {sql_day(period.first)}, {sql_day(period.last)})"
        for back, period in enumerate([frame.period, *frame.earlier])
    ]
    listed = ",\n        ".join(rows)
    return (
        "periods as (\n    select * from (values\n        "
        f"{listed}\n    ) as told (back, first_day, last_day)\n)"
    )


def sql_headline(counted: str, measures: Sequence[tuple[str, Kind, str]]) -> str:
    """Measures of each period, one a row, with the change and the mean of the periods before.

    Args:
        counted: CTEs of which the last is named `counted` and has a row a period, with `back`.
        measures: name, kind and expression over `counted` of each.
    """
    measured = "\n    union all\n".join(
        f"    select back, {rank} as rank, '{name}' as measure, '{kind}' as unit, "
        f"cast({value} as double) as told\n    from counted"
        for rank, (name, kind, value) in enumerate(measures, start=1)
    )
    return f"""with {counted},
measured as (
{measured}
)
select
    measure,
    unit,
    max(told) filter (where back = 0) as value,
    max(told) filter (where back = 1) as previous,
    max(told) filter (where back = 0) / nullif(max(told) filter (where back = 1), 0) - 1 as change,
    avg(told) filter (where back > 0) as mean_before
from measured
group by rank, measure, unit
order by rank"""


def headline_columns(frame: Frame) -> list[Column]:
    """The columns of `sql_headline`."""
    span = frame.period.span
    count = len(frame.earlier)
    columns = [
        Column("measure", "Measure"),
        Column("value", f"This {span}", Kind.by_unit),
        Column("previous", f"{span} before".capitalize(), Kind.by_unit),
        Column("change", "Change", Kind.change),
    ]
    if count > 1:
        columns.append(Column("mean_before", f"Mean of {count} {span}s before", Kind.by_unit))
    return columns


def comparison_note(frame: Frame) -> str:
    """With what is compared."""
    if not frame.earlier:
        return f"No whole {frame.period.span} before it is known: there is nothing to compare with."
    return f"Compared with {frame.period.before.name}."
