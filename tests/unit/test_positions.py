"""Source positions sort as text in the order in which the source committed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from pipelines.cdc.positions import is_snapshot, position, source_fields
from pipelines.contract import Connector

Block = dict[str, Any]


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def positions_of(
    database: duckdb.DuckDBPyConnection, connector: Connector, *blocks: Block
) -> list[str | None]:
    found = []
    names = source_fields(connector)
    for block in blocks:
        fields = ", ".join(f'"{name}" := cast(? as varchar)' for name in names)
        values = [block.get(name) for name in names]
        (row,) = database.execute(
            f"select {position(connector, 's')} from (select struct_pack({fields}) as s)", values
        ).fetchall()
        found.append(row[0])
    return found


def assert_sorted(database: duckdb.DuckDBPyConnection, connector: Connector, *all_: Block) -> None:
    found = positions_of(database, connector, *all_)
    assert None not in found
    assert len({len(text or "") for text in found}) == 1, "positions have one width"
    assert found == sorted(set(found), key=str)


def postgres(commit: int | None, lsn: int | None, snapshot: str = "false") -> Block:
    last = "null" if commit is None else f'"{commit}"'
    return {"sequence": f'[{last},"{lsn}"]', "lsn": lsn, "snapshot": snapshot}


def test_postgres_sorts_by_last_commit_then_by_record(database: duckdb.DuckDBPyConnection) -> None:
    assert_sorted(
        database,
        "postgres",
        postgres(100, 90),
        postgres(100, 110),
        postgres(200, 50),
        postgres(200, 60),
    )


def test_postgres_numbers_sort_as_numbers(database: duckdb.DuckDBPyConnection) -> None:
    assert_sorted(
        database,
        "postgres",
        postgres(999, 5),
        postgres(1000, 4),
        postgres(1000, 999),
        postgres(1000, 1000),
        postgres(2**63, 1),
        postgres(2**64 - 1, 1),
    )


def test_a_postgres_snapshot_sorts_before_what_was_streamed_after_the_same_commit(
    database: duckdb.DuckDBPyConnection,
) -> None:
    # The streamed record can have a smaller LSN than the snapshot that did not see it.
    assert_sorted(
        database,
        "postgres",
        postgres(99, 500),
        postgres(100, 400, "incremental"),
        postgres(100, 300),
        postgres(101, 10, "true"),
    )


def test_a_first_postgres_snapshot_knows_no_commit_and_sorts_lowest(
    database: duckdb.DuckDBPyConnection,
) -> None:
    without_sequence = {"sequence": None, "lsn": 5, "snapshot": "first"}
    assert_sorted(
        database,
        "postgres",
        {"sequence": None, "lsn": None, "snapshot": "true"},
        without_sequence,
        postgres(None, 10**15, "last"),
        postgres(None, 1),
        postgres(1, 1),
    )


@pytest.mark.parametrize(
    "block",
    [
        {"sequence": '["1","2"]', "lsn": None, "snapshot": "false"},
        {"sequence": '["one","2"]', "lsn": 2},
        {"sequence": '["1","2"]', "lsn": "two"},
        {},
    ],
)
def test_a_postgres_change_without_a_readable_position_has_none(
    database: duckdb.DuckDBPyConnection, block: Block
) -> None:
    assert positions_of(database, "postgres", block) == [None]


def sqlserver(commit: int, change: int | None, serial: int | None = 1) -> Block:
    def lsn(number: int) -> str:
        return f"00000025:{number:08X}:0002"

    change_lsn = None if change is None else lsn(change)
    return {"commit_lsn": lsn(commit), "change_lsn": change_lsn, "event_serial_no": serial}


def test_sqlserver_sorts_by_commit_change_and_serial_number(
    database: duckdb.DuckDBPyConnection,
) -> None:
    assert_sorted(
        database,
        "sqlserver",
        sqlserver(10, 2, 1),
        sqlserver(10, 9, 1),
        sqlserver(10, 10, 2),
        sqlserver(10, 10, 10),
        sqlserver(255, 1),
        sqlserver(256, 1),
    )


def test_a_sqlserver_snapshot_has_no_change_and_sorts_first_within_its_commit(
    database: duckdb.DuckDBPyConnection,
) -> None:
    assert_sorted(
        database,
        "sqlserver",
        sqlserver(9, 9),
        sqlserver(10, None, None),
        sqlserver(10, 1),
    )


def test_sqlserver_positions_do_not_depend_on_the_case_of_digits(
    database: duckdb.DuckDBPyConnection,
) -> None:
    upper = sqlserver(171, 205)
    lower = upper | {name: upper[name].lower() for name in ("commit_lsn", "change_lsn")}
    first, second = positions_of(database, "sqlserver", upper, lower)
    assert first == second


def mariadb(file: int, pos: int, row: int | None = 0) -> Block:
    return {"file": f"mariadb-bin.{file:06}", "pos": pos, "row": row}


def test_mariadb_sorts_by_the_number_of_the_file_position_and_row(
    database: duckdb.DuckDBPyConnection,
) -> None:
    assert_sorted(
        database,
        "mariadb",
        mariadb(9, 10**9),
        mariadb(10, 4),
        mariadb(10, 999),
        mariadb(10, 1000, None),
        mariadb(10, 1000, 2),
        mariadb(10, 1000, 10),
        mariadb(999_999, 1),
        mariadb(1_000_000, 1),
    )


@pytest.mark.parametrize("connector", ["sqlserver", "mariadb"])
def test_a_source_without_its_fields_has_no_position(
    database: duckdb.DuckDBPyConnection, connector: Connector
) -> None:
    assert positions_of(database, connector, {"lsn": 5, "snapshot": "true"}) == [None]


@pytest.mark.parametrize(
    ("snapshot", "expected"),
    [(None, False), ("false", False), ("true", True), ("last", True), ("incremental", True)],
)
def test_every_kind_of_snapshot_is_one(
    database: duckdb.DuckDBPyConnection, snapshot: str | None, expected: bool
) -> None:
    sql = f"select {is_snapshot('s')} from (select struct_pack(snapshot := ?::varchar) as s)"
    assert database.execute(sql, [snapshot]).fetchall() == [(expected,)]
