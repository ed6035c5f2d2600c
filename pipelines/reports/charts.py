"""Lines and bars as SVG that stands within a page: no script, no font, no file beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

# Of Okabe and Ito: told apart by all kinds of colour vision, and grey in print differs, too.
BLUE = "#0072B2"
ORANGE = "#D55E00"
_GREY = "#595959"
_RULE = "#d0d0d0"

_WIDTH = 720
_HEIGHT = 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 30, 26
_BAR, _BAR_LEFT, _BAR_RIGHT = 24, 190, 96
_TICKS = 4
_MOST_LABELS = 10
_LONGEST_LABEL = 28


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        values: one a label; None leaves a gap.
        is_dashed: so that it is told apart without colour, too.
    """

    name: str
    values: Sequence[float | None]
    colour: str = BLUE
    is_dashed: bool = False


def lines(title: str, labels: Sequence[str], drawn: Sequence[Line], unit: str) -> str:
    """A chart of lines over the same labels, from zero up; '' where nothing can be drawn."""
    known = [value for line in drawn for value in line.values if value is not None]
    if not known:
        return ""
    ticks = _ticks(max(known))
    top = ticks[-1]
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def x(index: int) -> float:
        return _LEFT + (wide * index / (len(labels) - 1) if len(labels) > 1 else wide / 2)

    def y(value: float) -> float:
        return _TOP + high * (1 - value / top)

    parts = []
    for tick in ticks:
        parts.append(_rule(_LEFT, _WIDTH - _RIGHT, y(tick)))
        parts.append(_text(_LEFT - 6, y(tick) + 4, f"{tick:,.10g}", anchor="end"))
    step = math.ceil(len(labels) / _MOST_LABELS)
    for index in range(0, len(labels), step):
        parts.append(_text(x(index), _HEIGHT - 8, labels[index], anchor="middle"))
    at = _LEFT
    for line in drawn:
        dash = ' stroke-dasharray="6 4"' if line.is_dashed else ""
        pen = f'stroke="{line.colour}" stroke-width="2.5" fill="none"{dash}'
        parts.append(f'<path d="M{at} 12h26" {pen}/>')
        parts.append(_text(at + 32, 16, line.name))
        at += 60 + 7 * len(line.name)
        points = [(x(i), y(v)) if v is not None else None for i, v in enumerate(line.values)]
        parts.append(f'<path d="{_path(points)}" {pen}/>')
        if not line.is_dashed:
            parts += [
                f'<circle cx="{point[0]:.1f}" cy="{point[1]:.1f}" r="3" fill="{line.colour}"/>'
                for point in points
                if point
            ]
    parts.append(_text(_WIDTH - _RIGHT, 16, unit, anchor="end"))
    return _svg(title, _HEIGHT, parts)


def bars(title: str, labels: Sequence[str], values: Sequence[float], told: Sequence[str]) -> str:
    """Horizontal bars, the first on top; '' where there are none.

    Args:
        values: below zero counts as zero.
        told: what stands at the end of each bar.
    """
    if not values:
        return ""
    longest = max(*values, 0) or 1
    wide = _WIDTH - _BAR_LEFT - _BAR_RIGHT
    parts = []
    for row, (label, value, text) in enumerate(zip(labels, values, told, strict=True)):
        top = _BAR * row
        length = wide * max(value, 0) / longest
        parts.append(_text(_BAR_LEFT - 8, top + 16, _short(label), anchor="end"))
        parts.append(
            f'<rect x="{_BAR_LEFT}" y="{top + 4}" width="{length:.1f}" height="{_BAR - 8}" '
            f'fill="{BLUE}"/>'
        )
        parts.append(_text(_BAR_LEFT + length + 6, top + 16, text))
    return _svg(title, _BAR * len(values) + 4, parts)


def _ticks(highest: float) -> list[float]:
    """Round values from 0 to at least the highest."""
    highest = highest if highest > 0 else 1.0
    rough = highest / _TICKS
    power: float = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    # What is a hair above a tick by rounding alone needs no further one.
    count = max(math.ceil(highest / step - 1e-9), 1)
    return [step * number for number in range(count + 1)]


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    drawn = []
    is_begun = False
    for point in points:
        if point is None:
            is_begun = False
            continue
        drawn.append(f"{'L' if is_begun else 'M'}{point[0]:.1f} {point[1]:.1f}")
        is_begun = True
    return "".join(drawn)


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 1]}…"


def _text(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="12" fill="{_GREY}">'
        f"{escape(text)}</text>"
    )


def _rule(left: float, right: float, y: float) -> str:
    return f'<path d="M{left} {y:.1f}H{right}" stroke="{_RULE}"/>'


def _svg(title: str, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="100%" '
        f'role="img" aria-label="{escape(title)}" font-family="Arial, Helvetica, sans-serif">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )
