"""Which days a report tells: a day, an ISO week or a calendar month, always whole."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

_ONE_DAY = timedelta(days=1)


class Span(StrEnum):
    """How long a period is."""

    day = "day"
    week = "week"
    month = "month"


@dataclass(frozen=True)
class Period:
    """Whole days, both ends included."""

    span: Span
    first: date
    last: date

    @property
    def days(self) -> int:
        """How many there are."""
        return (self.last - self.first).days + 1

    @property
    def before(self) -> Period:
        """The period that ends when this one begins."""
        return last_whole(self.span, self.first - _ONE_DAY)

    @property
    def after(self) -> Period:
        """The period that begins when this one ends."""
        first = self.last + _ONE_DAY
        if self.span is Span.month:
            return _month(first)
        return Period(self.span, first, self.last + timedelta(days=self.days))

    @property
    def name(self) -> str:
        """As people call it."""
        if self.span is Span.day:
            return f"{self.first:%A}, {_in_full(self.first)}"
        if self.span is Span.month:
            return f"{self.first:%B %Y}"
        year, week, _ = self.first.isocalendar()
        first = str(self.first.day)
        if self.first.month != self.last.month:
            first += f" {self.first:%B}"
        if self.first.year != self.last.year:
            first += f" {self.first.year}"
        return f"week {week} of {year} ({first} – {_in_full(self.last)})"


def last_whole(span: Span, until: date) -> Period:
    """The last whole period that ends on this day or before it."""
    if span is Span.day:
        return Period(span, until, until)
    if span is Span.week:
        last = until - timedelta(days=until.isoweekday() % 7)
        return Period(span, last - timedelta(days=6), last)
    month = _month(until)
    return month if month.last == until else _month(month.first - _ONE_DAY)


def _month(day: date) -> Period:
    first = day.replace(day=1)
    # The 28th and four days is in the next month, whatever this one's length.
    following = (first.replace(day=28) + timedelta(days=4)).replace(day=1)
    return Period(Span.month, first, following - _ONE_DAY)


def _in_full(day: date) -> str:
    return f"{day.day} {day:%B %Y}"
