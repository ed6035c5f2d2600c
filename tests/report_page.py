"""Reads the page of a report back, and asks its queries again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from html.parser import HTMLParser
from typing import Any


@dataclass
class Section:
    """A section as a reader has it.

    Attributes:
        columns: names in the query's result.
        rows: texts of the cells.
        said: paragraphs.
    """

    title: str = ""
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    query: str = ""
    said: list[str] = field(default_factory=list)
    charts: int = 0


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.sections: list[Section] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self._text: str | None = None
        self._is_within = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.tags.add(tag)
        self.addresses += [str(told[name]) for name in ("src", "href", "srcset") if name in told]
        if tag == "section":
            self.sections.append(Section())
            self._is_within = True
        if not self._is_within:
            return
        section = self.sections[-1]
        if tag == "th":
            section.columns.append(str(told["data-column"]))
        elif tag == "tr":
            section.rows.append([])
        elif tag == "svg":
            section.charts += 1
        if tag in ("h2", "td", "pre", "p"):
            self._text = ""

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "section":
            self._is_within = False
        if not self._is_within or self._text is None or tag not in ("h2", "td", "pre", "p"):
            return
        section, text = self.sections[-1], self._text
        self._text = None
        if tag == "h2":
            section.title = text
        elif tag == "td":
            section.rows[-1].append(text)
        elif tag == "pre":
            section.query = text
        else:
            section.said.append(text)


def read(html: str) -> list[Section]:
    """The sections of a page.

    Raises:
        AssertionError: the page needs something beside it.
    """
    reader = _Reader()
    reader.feed(html)
    assert not reader.tags & {"script", "link", "img", "iframe", "object", "b"}
    assert reader.addresses == []
    assert "url(" not in html
    assert "@import" not in html
    for section in reader.sections:
        # The row of the headings has no cells.
        section.rows = [row for row in section.rows if row]
    return reader.sections


def assert_told_truly(sections: list[Section], ask: Callable[[str], list[dict[str, Any]]]) -> int:
    """Hold each cell to the query that stands below it; returns how many figures there were."""
    figures = 0
    for section in sections:
        answer = ask(section.query)
        assert len(answer) == len(section.rows), section.title
        assert answer or section.said, section.title
        for told, row in zip(section.rows, answer, strict=True):
            for text, value in zip(told, (row[name] for name in section.columns), strict=True):
                where = (section.title, text, value)
                figures += _holds(text, value, where)
    return figures


def _holds(text: str, value: Any, where: tuple[object, ...]) -> bool:
    """Whether a cell held a figure, which must be the value, rounded as it is written."""
    if value is None:
        assert text == "–", where
        return False
    if isinstance(value, date):
        assert text.endswith(value.isoformat()), where
        return False
    if isinstance(value, str):
        assert text == value, where
        return False
    number, _, unit = text.replace("−", "-").replace(",", "").partition(" ")
    assert unit in ("", "USD", "%", "days"), where
    scale = 100 if unit == "%" else 1
    half = 0.5 * 10 ** -len(number.partition(".")[2])
    assert math.isclose(float(number), scale * float(value), abs_tol=half * 1.0001), where
    return True
