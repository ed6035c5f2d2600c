"""Two states of a table, row by row: what was added, removed and changed, and in which columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import duckdb

# A sum of floats depends on the order of its rows.
_RELATIVE_DIFFERENCE = "1e-9"
_FLOATS = ("DOUBLE", "FLOAT")

Kind = Literal["added", "removed", "changed"]


@dataclass(frozen=True)
class Example:
    """A row that differs.

    Attributes:
        key: column → value; empty without a key.
        values: column → value, of an added or removed row; column → [before, after] of the columns
            that differ, of a changed one.
    """

    kind: Kind
    key: dict[str, Any]
    values: dict[str, Any]


@dataclass(frozen=True)
class TableDiff:
    """How a table differs from what readers see.

    Attributes:
        state: `new` and `gone` tables are on one side only, and are not compared.
        key: columns by which rows are the same row; without any, a changed row is one removed and
            one added.
        rows_before: None where readers have no such table.
        rows_after: None where there will be none.
        columns: column → rows in which it differs, of those in both states.
        columns_added: columns with their types.
        columns_removed: columns with their types.
        columns_retyped: column → [type before, type after].
    """

    table: str
    state: Literal["same", "differs", "new", "gone"]
    key: list[str] = field(default_factory=list)
    rows_before: int | None = None
    rows_after: int | None = None
    added: int = 0
    removed: int = 0
    changed: int = 0
    columns: dict[str, int] = field(default_factory=dict)
    columns_added: list[str] = field(default_factory=list)
    columns_removed: list[str] = field(default_factory=list)
    columns_retyped: dict[str, list[str]] = field(default_factory=dict)
    examples: list[Example] = field(default_factory=list)


@dataclass(frozen=True)
class Sides:
    """Two relations of one connection, and the columns that both have.

    Attributes:
        columns: column → condition under which it differs between `b` (before) and `a` (after).
    """

    before: str
    after: str
    key: list[str]
    columns: dict[str, str]

    @property
    def joined(self) -> str:
        """Rows of both, by key: `b._is` and `a._is` tell on which side there is one."""
        on = " and ".join(f'b."{name}" is not distinct from a."{name}"' for name in self.key)
        return (
            f"(select *, true as _is from {self.before}) as b "
            f"full join (select *, true as _is from {self.after}) as a on {on}"
        )

    @property
    def differ(self) -> str:
        return "(" + (" or ".join(self.columns.values()) or "false") + ")"


@dataclass(frozen=True)
class _Rows:
    added: int
    removed: int
    changed: int
    columns: dict[str, int]
    examples: list[Example]


def compare(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    before: str,
    after: str,
    key: tuple[str, ...],
    examples: int,
) -> TableDiff:
    """Compare two states of a table.

    Columns of the build itself, which begin with an underscore, are left out. Floats are the same
    up to a billionth of their size.

    Args:
        before: a relation of the connection, quoted where it must be.
        after: another one.
        key: columns that identify a row; those that either side lacks are no key.
        examples: so many rows of each kind are shown.
    """
    old, new = _types(connection, before), _types(connection, after)
    both = [name for name in new if name in old]
    has_key = bool(key) and set(key) <= set(both)
    retyped = {name: [old[name], new[name]] for name in both if old[name] != new[name]}
    values = {
        name: _differs(name, new[name], is_retyped=name in retyped)
        for name in both
        if not (has_key and name in key)
    }
    sides = Sides(before, after, list(key) if has_key else [], values)
    rows = (_by_key if has_key else _whole)(connection, sides, examples)
    added = [f"{name} {kind}" for name, kind in new.items() if name not in old]
    removed = [f"{name} {kind}" for name, kind in old.items() if name not in new]
    differs = rows.added or rows.removed or rows.changed or added or removed or retyped
    return TableDiff(
        table,
        "differs" if differs else "same",
        sides.key,
        rows_before=count(connection, before),
        rows_after=count(connection, after),
        added=rows.added,
        removed=rows.removed,
        changed=rows.changed,
        columns=rows.columns,
        columns_added=added,
        columns_removed=removed,
        columns_retyped=retyped,
        examples=rows.examples,
    )


def count(connection: duckdb.DuckDBPyConnection, relation: str) -> int:
    """Rows of a relation."""
    ((rows,),) = connection.execute(f"select count(*) from {relation}").fetchall()
    return int(rows)


def _types(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    described = connection.execute(f"describe select * from {relation}").fetchall()
    return {row[0]: row[1] for row in described if not row[0].startswith("_")}


def _differs(name: str, kind: str, *, is_retyped: bool) -> str:
    old, new = f'b."{name}"', f'a."{name}"'
    if is_retyped:
        return f"cast({old} as varchar) is distinct from cast({new} as varchar)"
    if kind in _FLOATS:
        allowed = f"{_RELATIVE_DIFFERENCE} * greatest(abs({old}), abs({new}))"
        is_near = f"coalesce(abs({old} - {new}) <= {allowed}, false)"
        return f"({old} is distinct from {new} and not {is_near})"
    return f"{old} is distinct from {new}"


def _by_key(connection: duckdb.DuckDBPyConnection, sides: Sides, examples: int) -> _Rows:
    in_both = "a._is and b._is"
    sums = [
        f"count(*) filter ({condition})"
        for condition in (
            "b._is is null",
            "a._is is null",
            f"{in_both} and {sides.differ}",
            *(f"{in_both} and {differs}" for differs in sides.columns.values()),
        )
    ]
    (counted,) = connection.execute(f"select {', '.join(sums)} from {sides.joined}").fetchall()
    added, removed, changed, *by_column = counted
    shown: list[Example] = []
    one_sided: tuple[tuple[Kind, str, str], ...] = (
        ("added", "a", "b._is is null"),
        ("removed", "b", "a._is is null"),
    )
    for kind, side, condition in one_sided:
        rows = _rows(
            connection,
            f"select {_listed(side, [*sides.key, *sides.columns])} from {sides.joined} "
            f"where {condition} order by {_listed(side, sides.key)} limit {examples}",
        )
        shown += [
            Example(kind, dict(zip(sides.key, row, strict=False)),
                    dict(zip(sides.columns, row[len(sides.key):], strict=True)))
            for row in rows
        ]  # fmt: skip
    shown += _changed_rows(connection, sides, examples)
    told = {name: n for name, n in zip(sides.columns, by_column, strict=True) if n}
    return _Rows(added, removed, changed, told, shown)


def _changed_rows(
    connection: duckdb.DuckDBPyConnection, sides: Sides, examples: int
) -> list[Example]:
    if not sides.columns:
        return []
    triples = ", ".join(
        f'{differs}, b."{name}", a."{name}"' for name, differs in sides.columns.items()
    )
    rows = _rows(
        connection,
        f"select {_listed('a', sides.key)}, {triples} from {sides.joined} "
        f"where a._is and b._is and {sides.differ} "
        f"order by {_listed('a', sides.key)} limit {examples}",
    )
    found = []
    for row in rows:
        key, told = row[: len(sides.key)], row[len(sides.key) :]
        by_column = zip(sides.columns, told[0::3], told[1::3], told[2::3], strict=True)
        values = {name: [before, after] for name, differs, before, after in by_column if differs}
        found.append(Example("changed", dict(zip(sides.key, key, strict=True)), values))
    return found


def _whole(connection: duckdb.DuckDBPyConnection, sides: Sides, examples: int) -> _Rows:
    """Without a key: rows that one side has more often than the other."""
    names = list(sides.columns)
    counts: dict[Kind, int] = {}
    shown: list[Example] = []
    pairs: tuple[tuple[Kind, str, str], ...] = (
        ("added", sides.after, sides.before),
        ("removed", sides.before, sides.after),
    )
    columns = ", ".join(f'"{name}"' for name in names)
    for kind, these, others in pairs:
        if not names:
            counts[kind] = 0
            continue
        only = f"(select {columns} from {these} except all select {columns} from {others})"
        counts[kind] = count(connection, only)
        rows = _rows(connection, f"select * from {only} order by all limit {examples}")
        shown += [Example(kind, {}, dict(zip(names, row, strict=True))) for row in rows]
    return _Rows(counts["added"], counts["removed"], 0, {}, shown)


def _listed(side: str, names: list[str]) -> str:
    return ", ".join(f'{side}."{name}"' for name in names)


def _rows(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    return connection.execute(sql).fetchall()
