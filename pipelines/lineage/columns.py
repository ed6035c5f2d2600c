"""Which columns a query's columns come from, read from its SQL.

Where a value goes into the other one it is a DIRECT origin; where it only decides about rows or
branches (a filter, a join, a `case`) it is an INDIRECT one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope

from pipelines.lineage.facets import (
    AGGREGATION,
    CONDITIONAL,
    DIRECT,
    FILTER,
    GROUP_BY,
    IDENTITY,
    JOIN,
    SORT,
    TRANSFORMATION,
    WINDOW,
)

# Table and column → the ways in which it is reached.
Origins = dict[tuple[str, str], set[str]]
# Of the parts of a select, those that decide about its rows.
_DECIDE = {"where": FILTER, "having": FILTER, "qualify": FILTER, "group": GROUP_BY}


# Schema → table → column → type.
_Tables = dict[str, dict[str, dict[str, str]]]


class NotTraced(Exception):
    """The columns of a query cannot be told; the text says why."""


@dataclass
class Traced:
    """What a query's columns come from.

    Attributes:
        columns: in the order of the query.
        rows: what decides which rows there are.
    """

    columns: dict[str, Origins] = field(default_factory=dict)
    rows: Origins = field(default_factory=dict)


def trace(
    query: str,
    dialect: str,
    relations: Mapping[str, str],
    schemas: Mapping[str, Mapping[str, str]],
) -> Traced:
    """Trace the columns of a query back to those of the tables that it reads.

    Args:
        dialect: duckdb, trino or spark.
        relations: how the query writes a table → its name, `schema.table`; others are passed over.
        schemas: name of a table → its columns and their types.

    Returns:
        All names in lower case, as these engines compare them.

    Raises:
        NotTraced: the SQL is not understood, or a `*` cannot be resolved.
    """
    known = {relation_key(text, dialect): name.lower() for text, name in relations.items()}
    try:
        tree = sqlglot.parse_one(query, dialect=dialect)
        tables = _nested(schemas)
        for table in list(tree.find_all(exp.Table)):
            if not _rename(table, known):
                _assume(table, tables)
        qualified = qualify(
            tree,
            schema=dict(tables),
            dialect=dialect,
            validate_qualify_columns=False,
            identify=False,
        )
        scope = build_scope(qualified)
    except (SqlglotError, RecursionError) as error:
        raise NotTraced(" ".join(str(error).split())[:200]) from None
    if scope is None:
        raise NotTraced("it is no select")
    return _Tracer(set(known.values())).of(scope)


def relation_key(text: str, dialect: str) -> str:
    """One spelling for a table or table function, however it is quoted."""
    table = sqlglot.parse_one(f"select * from {text}", dialect=dialect).find(exp.Table)
    return _key(table) if table else text


def _key(table: exp.Table) -> str:
    if isinstance(table.this, exp.Identifier):
        return ".".join(part.name.lower() for part in table.parts)
    return str(table.this.sql()).lower()


def _rename(table: exp.Table, known: Mapping[str, str]) -> bool:
    """Give a table its name in the lake; tells whether it has one."""
    name = known.get(_key(table))
    if name is None:
        # The catalog is left out of all names, or those with and without it would not meet.
        table.set("catalog", None)
        return False
    schema, _, short = name.partition(".")
    table.replace(exp.table_(short, db=schema, alias=table.alias or short))
    return True


def _assume(table: exp.Table, tables: _Tables) -> None:
    """Let a table of the bookkeeping have the columns that its own select names."""
    select = table.parent_select
    if table.db and isinstance(select, exp.Select) and not select.args.get("joins"):
        named = {column.name.lower(): "text" for column in select.find_all(exp.Column)}
        if named:
            known = tables.setdefault(table.db.lower(), {}).setdefault(table.name.lower(), {})
            known |= named


def _nested(schemas: Mapping[str, Mapping[str, str]]) -> _Tables:
    found: _Tables = {}
    for name, columns in schemas.items():
        schema, _, table = name.lower().partition(".")
        if not columns:
            continue
        found.setdefault(schema, {})[table] = {column.lower(): "text" for column in columns}
    return found


class _Tracer:
    """Goes down the scopes of one query, each of them once."""

    def __init__(self, tables: set[str]) -> None:
        self._tables = tables
        self._found: dict[int, Traced] = {}

    def of(self, scope: Scope) -> Traced:
        """What the columns of a scope come from."""
        if id(scope) not in self._found:
            # A recursive query meets itself: what it adds to itself is known already.
            self._found[id(scope)] = Traced()
            self._found[id(scope)] = self._trace(scope)
        return self._found[id(scope)]

    def _trace(self, scope: Scope) -> Traced:
        if isinstance(scope.expression, exp.SetOperation):
            return self._union(scope)
        if isinstance(scope.expression, exp.Select):
            return self._select(scope, scope.expression)
        return Traced()

    def _union(self, scope: Scope) -> Traced:
        parts = [self.of(part) for part in scope.set_operation_scopes]
        found = Traced()
        by_name = bool(scope.expression.args.get("by_name"))
        names = list(parts[0].columns)
        for part in parts:
            for place, (name, origins) in enumerate(part.columns.items()):
                own = name if by_name or place >= len(names) else names[place]
                _add(found.columns.setdefault(own, {}), origins)
            _add(found.rows, part.rows)
        return found

    def _select(self, scope: Scope, select: exp.Select) -> Traced:
        found = Traced()
        for projection in select.selects:
            if projection.is_star:
                raise NotTraced(f"the columns of `{projection.sql()}` are not known")
            origins = found.columns.setdefault(projection.alias_or_name, {})
            _add(origins, self._collect(projection.unalias(), IDENTITY, scope))
        for node, way in _deciding(select):
            _add(found.rows, self._collect(node, way, scope))
        for _, source in scope.selected_sources.values():
            if isinstance(source, Scope):
                _add(found.rows, self.of(source).rows)
        return found

    def _collect(self, node: Any, way: str, scope: Scope) -> Origins:
        found: Origins = {}
        for origin, own in self._walk(node, way, scope):
            found.setdefault(origin, set()).add(own)
        return found

    def _walk(self, node: Any, way: str, scope: Scope) -> Iterator[tuple[tuple[str, str], str]]:
        """Each column below a node, and the way by which it gets to the top."""
        if isinstance(node, exp.Column):
            yield from self._resolve(node, way, scope)
        elif isinstance(node, exp.Query):
            yield from self._subquery(node, way, scope)
        elif isinstance(node, exp.Expression):
            for part, children in node.args.items():
                step = _step(node, part)
                for child in children if isinstance(children, list) else [children]:
                    yield from self._walk(child, _joined(way, step), scope)

    def _subquery(
        self, node: exp.Query, way: str, scope: Scope
    ) -> Iterator[tuple[tuple[str, str], str]]:
        inner = node.unnest()
        at: Scope | None = scope
        while at is not None:
            for found in (one for one in at.subquery_scopes if one.expression is inner):
                traced = self.of(found)
                for origins in traced.columns.values():
                    yield from _onwards(origins, way)
                yield from _onwards(traced.rows, way if way not in DIRECT else FILTER)
            at = at.parent

    def _resolve(
        self, column: exp.Column, way: str, scope: Scope
    ) -> Iterator[tuple[tuple[str, str], str]]:
        at: Scope | None = scope
        while at is not None and column.table not in at.sources:
            at = at.parent
        source = at.sources[column.table] if at is not None else None
        if isinstance(source, Scope) and isinstance(source.expression, exp.Query):
            yield from _onwards(self.of(source).columns.get(column.name, {}), way)
        elif isinstance(source, Scope):
            # A function that makes rows, as `unnest`: whatever it is given is in each column.
            yield from self._walk(source.expression, _joined(way, TRANSFORMATION), source)
        elif isinstance(source, exp.Table):
            name = f"{source.db}.{source.name}"
            if name in self._tables:
                yield (name, column.name), way


def _deciding(select: exp.Select) -> Iterator[tuple[Any, str]]:
    """The parts of a select that decide which rows there are, each with its way."""
    for part, way in _DECIDE.items():
        yield select.args.get(part), way
    if select.args.get("limit"):
        yield select.args.get("order"), SORT
    for join in select.args.get("joins") or []:
        for node in (join.args.get("on"), *(join.args.get("using") or ())):
            yield node, JOIN


def _step(node: exp.Expression, part: str) -> str:
    """By what way a part of an expression gets into its value."""
    if isinstance(node, exp.Paren | exp.Alias | exp.Subquery):
        return IDENTITY
    if isinstance(node, exp.Window):
        return TRANSFORMATION if part == "this" else WINDOW
    if isinstance(node, exp.Case | exp.If) and part == "this":
        return CONDITIONAL
    if isinstance(node, exp.Filter) and part == "expression":
        return FILTER
    return AGGREGATION if isinstance(node, exp.AggFunc) else TRANSFORMATION


def _joined(outer: str, inner: str) -> str:
    """The way of a column through an inner expression and an outer one."""
    if inner not in DIRECT:
        return inner
    if outer not in DIRECT:
        return outer
    return max(outer, inner, key=DIRECT.index)


def _onwards(origins: Origins, way: str) -> Iterator[tuple[tuple[str, str], str]]:
    for origin, ways in origins.items():
        for own in ways:
            yield origin, _joined(way, own)


def _add(found: Origins, more: Origins) -> None:
    for origin, ways in more.items():
        found.setdefault(origin, set()).update(ways)
