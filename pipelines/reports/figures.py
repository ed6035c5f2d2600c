"""How figures are written: thousands separators, units, and a dash where there is none."""

from __future__ import annotations

import math
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any

NONE = "–"


class Kind(StrEnum):
    """What a column holds, and so how it is written."""

    text = "text"
    day = "day"
    whole = "whole"
    tenths = "tenths"
    usd = "USD"
    percent = "%"
    change = "change"
    difference = "difference"
    days = "days"
    # Of the row's own column `unit`: one of the above.
    by_unit = "by unit"

    @property
    def is_number(self) -> bool:
        """Whether it is set to the right."""
        return self not in (Kind.text, Kind.day)


def written(value: Any, kind: Kind) -> str:
    """A value as people read it; a missing one is a dash.

    Shares and changes are told as fractions of 1, and written in percent.

    Raises:
        ValueError: it is no finite number.
    """
    if value is None:
        return NONE
    if kind is Kind.text:
        return str(value)
    if kind is Kind.day:
        return _day(value)
    if not math.isfinite(value):
        raise ValueError(f"{value} is no figure to be told")
    if kind is Kind.usd:
        return f"{_rounded(value, 2)} USD"
    if kind is Kind.days:
        return f"{_rounded(value, 1)} days"
    if kind is Kind.percent:
        return f"{_rounded(100 * value, 1)} %"
    if kind is Kind.change:
        return f"{_signed(100 * value, 1)} %"
    if kind is Kind.difference:
        return f"{_signed(value, 2)} USD"
    return _rounded(value, 1 if kind is Kind.tenths else 0)


def _day(value: date) -> str:
    return f"{value:%a} {value.isoformat()}"


def _rounded(value: float | Decimal, decimals: int) -> str:
    text = f"{value:,.{decimals}f}"
    is_zero = not text.strip("-0.,")
    # U+2212: as wide as a plus, and no line is broken behind it.
    return text.lstrip("-") if is_zero else text.replace("-", "−")


def _signed(value: float | Decimal, decimals: int) -> str:
    text = _rounded(value, decimals)
    return text if text.startswith("−") or not text.strip("0.,") else f"+{text}"
