"""The relations of the published tables, as Mermaid's text and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from statistics import fmean

from pipelines.docs_site.dictionary import Reference, Table

_WIDTH, _GAP, _ROW, _HEAD = 250, 130, 20, 28
_MARGIN, _BETWEEN = 70, 24
_COLOURS = {
    "dim": "#3949ab", "fct": "#00796b", "marts": "#6a1b9a", "features": "#ad6800",
    "predictions": "#b71c1c",
}  # fmt: skip


def related(tables: Mapping[str, Table]) -> dict[str, Table]:
    """The tables that refer to another one, or are referred to."""
    ends = {each.table for table in tables.values() for each in table.references}
    return {name: table for name, table in tables.items() if table.references or name in ends}


def as_mermaid(tables: Mapping[str, Table]) -> str:
    """An entity relationship diagram in Mermaid's language, with keys and references."""
    lines = ["erDiagram"]
    for table in related(tables).values():
        lines.append(f"    {table.short} {{")
        refers = {each.column for each in table.references}
        for column in table.columns:
            marks = [
                mark
                for mark, holds in (("PK", column.name in table.key), ("FK", column.name in refers))
                if holds
            ]
            if marks:
                kind = column.type.lower().replace(",", "_")
                lines.append(f"        {kind} {column.name} {', '.join(marks)}")
        lines.append("    }")
    for table in related(tables).values():
        for each in table.references:
            # To a column that is no key, several rows may fit: a dimension has its versions.
            end = "|o" if tables[each.table].key == (each.field,) else "}o"
            target = tables[each.table].short
            lines.append(f"    {target} {end}--o{{ {table.short} : {each.column}")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class _Box:
    table: Table
    side: int
    left: int
    top: int
    rows: tuple[str, ...]

    @property
    def height(self) -> int:
        return _HEAD + _ROW * len(self.rows) + 6

    def middle(self, column: str) -> int:
        """Where the line of a column begins, from the top."""
        return self.top + _HEAD + _ROW * self.rows.index(column) + _ROW // 2


def as_svg(tables: Mapping[str, Table]) -> str:
    """A picture: dimensions in the middle, facts left of them, all others on the right.

    Each box leads to the page of its table, beside the picture's own.
    """
    boxes = _placed(tables)
    height = max(box.top + box.height for box in boxes.values()) + _MARGIN
    width = 3 * _WIDTH + 2 * _GAP + 2 * _MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="relations" viewBox="0 0 {width} {height}" '
        'role="img" aria-label="Relations of the published tables">',
        "<style>.relations{font:13px system-ui,sans-serif}"
        ".relations .box{fill:var(--md-default-bg-color,#fff);stroke:#8a8fa3}"
        ".relations text{fill:var(--md-default-fg-color,#222)}"
        ".relations .key{font-weight:700}"
        ".relations .head{fill:#fff;font-weight:600}"
        ".relations .line{fill:none;stroke:#8a8fa3;stroke-width:1.3}"
        ".relations .loose{stroke-dasharray:5 4}"
        ".relations .dot{fill:#8a8fa3}</style>",
    ]
    for box in boxes.values():
        lines += [_line(box, each, boxes[each.table]) for each in box.table.references]
    lines += [_drawn(box) for box in boxes.values()]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _placed(tables: Mapping[str, Table]) -> dict[str, _Box]:
    sides: tuple[list[Table], ...] = ([], [], [])
    for table in related(tables).values():
        sides[_side(table)].append(table)
    # By the mean place of what they refer to, so that few lines cross.
    place = {table.name: number for number, table in enumerate(sides[1])}

    def towards(table: Table) -> float:
        return fmean([place[each.table] for each in table.references if each.table in place] or [0])

    columns = (sorted(sides[0], key=towards), sides[1], sorted(sides[2], key=towards))
    found: dict[str, _Box] = {}
    heights = [sum(_height(t, tables) + _BETWEEN for t in column) for column in columns]
    for side, column in enumerate(columns):
        spare = max(heights) - heights[side]
        between = _BETWEEN + spare // (len(column) + 1)
        top = _MARGIN + (between - _BETWEEN)
        for table in column:
            left = _MARGIN + side * (_WIDTH + _GAP)
            found[table.name] = _Box(table, side, left, top, _shown(table, tables))
            top += found[table.name].height + between
    return found


def _side(table: Table) -> int:
    return {"fct": 0, "dim": 1}.get(_kind(table), 2)


def _kind(table: Table) -> str:
    prefix = table.short.partition("_")[0]
    return prefix if table.schema == "marts" and prefix in ("fct", "dim") else table.schema


def _height(table: Table, tables: Mapping[str, Table]) -> int:
    return _HEAD + _ROW * len(_shown(table, tables)) + 6


def _shown(table: Table, tables: Mapping[str, Table]) -> tuple[str, ...]:
    """Columns that identify, refer, or are referred to."""
    ends = {
        each.field for other in tables.values() for each in other.references
        if each.table == table.name
    }  # fmt: skip
    named = ends | set(table.key) | {each.column for each in table.references}
    return tuple(column.name for column in table.columns if column.name in named)


def _line(box: _Box, reference: Reference, to: _Box) -> str:
    """From a column to the one it refers to; between tables of one side, round on the left."""
    out = 1 if box.side < to.side else -1
    into = -1 if box.side <= to.side else 1
    x1 = box.left + (_WIDTH if out > 0 else 0)
    x2 = to.left + (_WIDTH if into > 0 else 0)
    y1, y2 = box.middle(reference.column), to.middle(reference.field)
    bend = _GAP // 2
    loose = "" if reference.is_strict else " loose"
    told = f"{box.table.short}.{reference.column} → {to.table.short}.{reference.field}"
    return (
        f'<path class="line{loose}" d="M{x1} {y1} '
        f'C{x1 + out * bend} {y1} {x2 + into * bend} {y2} {x2} {y2}">'
        f"<title>{escape(told)}</title></path>"
        f'<circle class="dot" cx="{x2}" cy="{y2}" r="3.5"/>'
    )


def _drawn(box: _Box) -> str:
    table = box.table
    colour = _COLOURS[_kind(table)]
    refers = {each.column for each in table.references}
    rows = []
    for number, name in enumerate(box.rows):
        y = box.top + _HEAD + _ROW * number + 15
        style = ' class="key"' if name in table.key else ""
        arrow = " →" if name in refers else ""
        rows.append(f'<text{style} x="{box.left + 10}" y="{y}">{escape(name)}{arrow}</text>')
    return (
        f'<a href="{table.schema}/{table.short}.html"><g>'
        f'<rect class="box" x="{box.left}" y="{box.top}" '
        f'width="{_WIDTH}" height="{box.height}" rx="6"/>'
        f'<path fill="{colour}" d="M{box.left} {box.top + _HEAD} v-{_HEAD - 6} '
        f'q0 -6 6 -6 h{_WIDTH - 12} q6 0 6 6 v{_HEAD - 6} z"/>'
        f'<text class="head" x="{box.left + 10}" y="{box.top + 19}">{escape(table.short)}</text>'
        f"{''.join(rows)}</g></a>"
    )
