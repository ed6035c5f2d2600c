"""Comparing the rows of a database with the living rows that the lake has staged of them.

The database is read in one transaction, so that all its tables are of one moment.
The lake is as its last build left it: changes that have not been landed and built yet are
differences. How far the source's log has gone on meanwhile is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import duckdb

from pipelines.contract import Column, Connector, Contracts, Table
from pipelines.errors import LakehouseError, UsageError
from pipelines.lake import lock, staged
from pipelines.lake.duck import connect_warehouse
from pipelines.settings import Settings
from pipelines.source.reader import connector
from pipelines.source.schema import SourceSchema, SourceTable, matching
from pipelines.targets import refuse_server
from pipelines.verify import checksums, mariadb, postgres
from pipelines.verify.canonical import form
from pipelines.verify.checksums import Pair, Side
from pipelines.verify.database import Database
from pipelines.verify.differences import Difference, first_difference

_LIVING = "not _is_deleted"
_PRODUCTS: dict[Connector, str] = {"postgres": "PostgreSQL", "mariadb": "MariaDB"}


@dataclass
class TableReport:
    """What a comparison of one table found.

    Attributes:
        table: its topic.
        result: counted tables have as many rows on both sides; their values cannot be compared.
        source_rows, lake_rows: living rows; None where the table is missing.
        ranges, ranges_differing: parts of the key whose checksums were compared.
        first: the first row that differs, in the order of the key, where rows have an order.
        not_compared: column → why its values were not compared.
        why: what else there is to say.
    """

    table: str
    result: Literal["equal", "different", "counted"] = "equal"
    source_rows: int | None = None
    lake_rows: int | None = None
    ranges: int = 0
    ranges_differing: int = 0
    first: Difference | None = None
    not_compared: dict[str, str] = field(default_factory=dict)
    why: str | None = None


@dataclass
class VerifyReport:
    """What a comparison found.

    Attributes:
        behind_bytes: how much the source has written to its log, of whatever tables, since the
            newest change that is staged; None where nothing is, or the source does not tell.
        newest_change: when the source committed that change, UTC.
    """

    server: str
    tables: list[TableReport]
    behind_bytes: int | None = None
    newest_change: datetime | None = None

    @property
    def is_equal(self) -> bool:
        return all(table.result != "different" for table in self.tables)


def verify(
    settings: Settings,
    contracts: Contracts,
    url: str,
    *,
    server: str | None = None,
    tables: str | None = None,
    on_progress: Callable[[str], None] = lambda topic: None,
    rows_a_range: int = checksums.ROWS_A_RANGE,
) -> VerifyReport:
    """Compare the tables of one server with its database; memory does not grow with their rows.

    Args:
        url: of the database: postgresql://… as libpq takes it, or mariadb://… (mysql://…).
        server: as the contracts call it; None where they have but one of such a database.
        tables: regular expression of whole table names; None: all of the server.

    Raises:
        UsageError: the URL, server or tables make no sense.
        Busy: a run is on, and would change what is compared.
        LakehouseError: the database refuses something, or a table is not staged as its contract
            says.
    """
    captured_by = connector(url)
    chosen = _chosen(contracts, captured_by, server, tables)
    refuse_server(settings, "lakehouse verify")
    if not settings.warehouse.exists():
        raise LakehouseError(f"nothing is staged in {settings.home} yet", "run `lakehouse run`")
    with (
        lock.shared(settings.state),
        connect_warehouse(settings) as lake,
        (mariadb if captured_by == "mariadb" else postgres).opened(url) as database,
    ):
        try:
            return _compared_all(database, lake, chosen, on_progress, rows_a_range)
        except duckdb.BinderException as error:
            raise LakehouseError(
                f"the staged tables are not those of the contracts: {error}",
                "the contracts have changed since the last build: `lakehouse run`, then again",
            ) from None


def _compared_all(
    database: Database,
    lake: duckdb.DuckDBPyConnection,
    chosen: Sequence[Table],
    on_progress: Callable[[str], None],
    rows_a_range: int,
) -> VerifyReport:
    report = VerifyReport(chosen[0].server, [])
    newest = ""
    schemas = database.schemas({table.namespace for table in chosen})
    for table in chosen:
        on_progress(table.topic)
        models = staged.models_of(lake, table)
        schema = schemas[table.namespace]
        report.tables.append(_compared(database, lake, table, schema, models, rows_a_range))
        position, at = _newest(lake, models)
        if position > newest:
            newest, report.newest_change = position, at
    if newest:
        report.behind_bytes = database.written_since(newest)
    return report


def _chosen(
    contracts: Contracts, captured_by: Connector, server: str | None, tables: str | None
) -> list[Table]:
    product = _PRODUCTS[captured_by]
    servers = sorted({t.server for t in contracts.tables if t.connector == captured_by})
    if server is None and len(servers) != 1:
        raise UsageError(
            f"the contracts name {len(servers)} {product} servers",
            f"say with --server whose database this is: {', '.join(servers) or 'there is none'}",
        )
    server = server if server is not None else servers[0]
    if server not in servers:
        raise UsageError(
            f"no contract is of a {product} server {server}",
            f"there are: {', '.join(servers)}",
        )
    wanted = matching(tables)
    chosen = [t for t in contracts.tables if t.server == server and wanted.fullmatch(t.name)]
    if not chosen:
        known = ", ".join(t.name for t in contracts.tables if t.server == server)
        raise UsageError(f"no table of {server} is called {tables}", f"there are: {known}")
    return chosen


def _compared(
    database: Database,
    lake: duckdb.DuckDBPyConnection,
    table: Table,
    schema: SourceSchema,
    models: dict[str, bool],
    rows_a_range: int,
) -> TableReport:
    report = TableReport(table.topic)
    wanted_model = next((m for m, keeps in models.items() if keeps != bool(table.key)), None)
    if wanted_model is None:
        raise LakehouseError(
            f"nothing of {table.topic} is staged yet",
            "run `lakehouse run`, or leave the table out with --tables",
        )
    found = next((t for t in schema.tables if t.name == table.name), None)
    if found is None:
        unread = schema.skipped.get(table.name)
        report.result = "different"
        report.why = f"it cannot be read: {unread}" if unread else "the source has no such table"
        return report
    lacking = _lacking(table, found)
    if lacking:
        report.result = "different"
        report.why = f"the source has no column {', '.join(lacking)}; marked `dropped: true`?"
        return report
    pair = _pair(database, table, found, wanted_model, report)
    if table.key:
        _compare_rows(database, lake, pair, report, rows_a_range)
    else:
        _compare_changes(database, lake, pair, report)
    return report


def _lacking(table: Table, found: SourceTable) -> list[str]:
    there = {column.name for column in found.columns}
    return [c.name for c in table.landed_columns if not c.dropped and c.name not in there]


def _pair(
    database: Database, table: Table, found: SourceTable, model: str, report: TableReport
) -> Pair:
    """Both sides of a table; what cannot be compared goes to the report."""
    by_name = {column.name: column for column in found.columns}
    in_order = sorted(table.columns, key=lambda c: _place_in_key(table, c))
    forms = {}
    for column in in_order:
        why = _why_not(column) or database.why_not(by_name[column.name])
        if why is None:
            made = form(column, by_name[column.name].base, database.dialect)
            if made is not None:
                forms[column.name] = made
            else:
                declared = by_name[column.name].declared
                why = f"{declared} has no common form as {column.type}"
        if column.pii in ("hash", "mask"):
            why = "personal: compared is whether it has a value"
        if why is not None:
            report.not_compared[column.name] = why
    known = {column.name for column in table.columns}
    for name in by_name:
        if name not in known:
            report.not_compared[name] = "not in the contract"
    relation = database.relation(table.namespace, found)
    return Pair(
        # The drivers read a percent sign as the beginning of a parameter.
        source=Side(relation.replace("%", "%%")),
        lake=Side(model, _LIVING if table.key else "true"),
        forms=forms,
        key=table.key if all(name in forms for name in table.key) else (),
    )


def _place_in_key(table: Table, column: Column) -> int:
    return table.key.index(column.name) if column.name in table.key else len(table.key)


def _why_not(column: Column) -> str | None:
    if column.pii == "drop":
        return "personal: never enters the lake"
    return "dropped: the source has it no longer" if column.dropped else None


def _compare_rows(
    database: Database,
    lake: duckdb.DuckDBPyConnection,
    pair: Pair,
    report: TableReport,
    rows_a_range: int,
) -> None:
    starts: Sequence[str] = checksums.bounds(lake, pair, rows_a_range) if pair.key else ()
    there = checksums.of_source(database, pair, starts)
    here = checksums.of_lake(lake, pair)
    report.source_rows = sum(rows for rows, _ in there.values())
    report.lake_rows = sum(rows for rows, _ in here.values())
    report.ranges = len(starts) + 1
    differing = sorted(n for n in there.keys() | here.keys() if there.get(n) != here.get(n))
    report.ranges_differing = len(differing)
    if differing:
        report.result = "different"
        if pair.key:
            report.first = first_difference(database, lake, pair, starts, differing[0])


def _compare_changes(
    database: Database, lake: duckdb.DuckDBPyConnection, pair: Pair, report: TableReport
) -> None:
    """A table without a key: the sum of its changes must be the sum of its rows."""
    (there,) = checksums.of_source(database, pair, ()).values() or ((0, 0),)
    rows, total = checksums.of_changes(lake, pair)
    report.source_rows, report.lake_rows, report.ranges = there[0], rows, 1
    if rows != there[0] or total not in (None, there[1]):
        report.result, report.ranges_differing = "different", 1
        report.why = "without a key, rows have no order in which one could be the first"
    elif total is None:
        report.result = "counted"
        report.why = "without a key, an update does not tell the row that it replaced"


def _newest(lake: duckdb.DuckDBPyConnection, models: dict[str, bool]) -> tuple[str, Any]:
    """The position of the newest change staged, and when it was committed."""
    found = [
        lake.execute(
            f"select _order_key, _source_ts from {model} "
            "where _op <> 'p' order by _order_key desc limit 1"
        ).fetchone()
        for model in models
    ]
    return max((row for row in found if row is not None), default=("", None))
