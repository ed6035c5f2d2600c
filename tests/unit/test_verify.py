"""Reconciliation, as far as no database is needed: forms, checksums and order in the lake."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import duckdb
import pymysql
import pytest

from pipelines.contract import Column
from pipelines.source.mariadb_types import NEVER_EMPTY
from pipelines.source.schema import SourceColumn
from pipelines.verify import checksums, differences
from pipelines.verify.canonical import Form, form
from pipelines.verify.checksums import Pair, Side
from pipelines.verify.dialect import Dialect
from pipelines.verify.differences import Difference
from pipelines.verify.mariadb import MARIADB, MariaDbDatabase
from pipelines.verify.postgres import POSTGRES


@pytest.fixture
def lake() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        yield connection


def made(
    type: str,  # noqa: A002
    base: str,
    name: str = "c",
    dialect: Dialect = POSTGRES,
    **told: object,
) -> Form:
    found = form(Column(name=name, type=type, **told), base, dialect)  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("type", "base", "value", "expected"),
    [
        ("bigint", "int8", "-9007199254740993", "-9007199254740993"),
        ("decimal(18,2)", "numeric", "12.30", "12.3"),
        ("decimal(18,2)", "numeric", "100.00", "100"),
        ("decimal(18,2)", "numeric", "-0.50", "-0.5"),
        ("decimal(18,2)", "numeric", "0.00", "0"),
        ("decimal(18,0)", "numeric", "100", "100"),
        ("boolean", "bool", "true", "true"),
        ("date", "date", "0044-03-15", "0044-03-15"),
        ("timestamp", "timestamptz", "1969-12-31 23:59:59.999999+00", "-1"),
        ("timestamp", "timestamptz", "2024-10-27 02:30:00.000001+01", "1729992600000001"),
        ("varchar", "text", "Ünï 🦆", "Ünï 🦆"),
        ("varchar", "text", "", ""),
        ("double", "float8", "nan", "NaN"),
        ("double", "float8", "1.5", "0011111111111" + 51 * "0"),
        ("double", "float8", "-0.0", "1" + 63 * "0"),
        # What JSON tells of a real is no real: rounded to one, it is the one that it was.
        ("double", "float4", "0.1", "00111101110011001100110011001101"),
    ],
)  # fmt: skip
def test_a_value_of_the_lake_has_one_text(
    lake: duckdb.DuckDBPyConnection,
    type: str,  # noqa: A002
    base: str,
    value: str,
    expected: str,
) -> None:
    stored = "timestamptz" if type == "timestamp" else type
    text = made(type, base).lake
    ((found, nothing),) = lake.execute(
        f"select (select {text} from (select cast(? as {stored}) as c)), "
        f"(select {text} from (select cast(null as {stored}) as c))",
        [value],
    ).fetchall()
    assert found == expected
    assert nothing is None


def test_a_person_is_compared_by_being_there_only() -> None:
    for rule in ("hash", "mask"):
        told = made("varchar", "text", pii=rule)
        assert told.source == told.lake == "case when \"c\" is not null then 'present' end"


@pytest.mark.parametrize(
    ("type", "base"),
    [("varchar", "point"), ("varchar", "tstzrange"), ("varchar", "date[]"), ("integer", "text"),
     ("double", "numeric"), ("varchar", "timestamptz")],
)  # fmt: skip
def test_types_without_a_common_text_are_not_compared(type: str, base: str) -> None:  # noqa: A002
    assert form(Column(name="c", type=type), base, POSTGRES) is None


def test_texts_are_read_as_a_person_writes_them() -> None:
    assert made("double", "float8").reads("0011111111111000" + 48 * "0") == "1.5"
    assert made("double", "float8").reads("NaN") == "NaN"
    assert made("timestamp", "timestamptz").reads("-1") == "1969-12-31T23:59:59.999999+00:00"
    assert made("timestamp", "timestamptz").reads(str(10**18)).endswith("since 1970")


def pair(relation: str, key: tuple[str, ...], **types: tuple[str, str]) -> Pair:
    forms = {name: made(*told, name) for name, told in types.items()}
    return Pair(Side(relation), Side(relation), forms, key)


NUMBERED = {"id": ("bigint", "int8"), "label": ("varchar", "text")}


def test_ranges_are_cut_at_every_so_many_rows_and_hold_all(
    lake: duckdb.DuckDBPyConnection,
) -> None:
    lake.execute("create table t as select i as id, 'x' || i as label from range(-3, 97) as r(i)")
    told = pair("t", ("id",), **NUMBERED)
    assert checksums.bounds(lake, told, 30) == ["27", "57", "87"]
    sums = checksums.of_lake(lake, told)
    assert {place: rows for place, (rows, _) in sums.items()} == {0: 30, 1: 30, 2: 30, 3: 10}
    for place in range(4):
        sql, limits = checksums.rows_of_range(told, ["27", "57", "87"], place, is_source=False)
        assert len(lake.execute(sql, limits).fetchall()) == sums[place][0]


def test_many_rows_of_one_value_are_one_range(lake: duckdb.DuckDBPyConnection) -> None:
    lake.execute("create table t as select 7 as id, 'x' as label from range(50)")
    told = pair("t", ("id",), **NUMBERED)
    assert checksums.bounds(lake, told, 20) == ["7"]
    assert {n: rows for n, (rows, _) in checksums.of_lake(lake, told).items()} == {1: 50}


def test_an_empty_table_has_one_range_without_rows(lake: duckdb.DuckDBPyConnection) -> None:
    lake.execute("create table t (id bigint, label varchar)")
    told = pair("t", ("id",), **NUMBERED)
    assert checksums.bounds(lake, told) == []
    assert checksums.of_lake(lake, told) == {}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("(1, 'a', 'bc')", "(1, 'ab', 'c')"),
        ("(1, null, '')", "(1, '', null)"),
        ("(1, '1:a', 'b')", "(1, '', '1:ab')"),
        ("(1, null, 'a')", "(1, '-', 'a')"),
    ],
)
def test_values_do_not_run_into_each_other(
    lake: duckdb.DuckDBPyConnection, one: str, other: str
) -> None:
    told = pair("t", ("id",), id=("bigint", "int8"), a=("varchar", "text"), b=("varchar", "text"))
    sums = []
    for row in (one, other):
        lake.execute("create or replace table t (id bigint, a varchar, b varchar)")
        lake.execute(f"insert into t values {row}")
        checksums.bounds(lake, told)
        sums.append(checksums.of_lake(lake, told))
    assert sums[0] != sums[1]


def test_changes_without_a_key_add_up_after_the_last_truncate(
    lake: duckdb.DuckDBPyConnection,
) -> None:
    told = pair("h", (), **NUMBERED)
    lake.execute("create table t as from (values (2, 'b'), (2, 'b')) as v (id, label)")
    (expected,) = checksums.of_lake(lake, pair("t", (), **NUMBERED)).values()
    lake.execute(
        """create table h as from (values
            (9, 'z', 'c', '1'), (null, null, 't', '2'), (1, 'a', 'r', '3'), (2, 'b', 'c', '4'),
            (2, 'b', 'c', '5'), (1, 'a', 'd', '6')) as v (id, label, _op, _order_key)"""
    )
    assert checksums.of_changes(lake, told) == expected
    lake.execute("insert into h values (2, 'c', 'u', '7')")
    assert checksums.of_changes(lake, told) == (2, None)


def merged(source: list[tuple[str | None, ...]], lake: list[tuple[str | None, ...]]) -> object:
    told = pair("t", ("id",), **NUMBERED)
    return differences._merged(told, iter(source), iter(lake))


def test_the_first_difference_is_the_one_with_the_least_key() -> None:
    # As numbers: 9 comes before 10.
    assert merged([("9", "a"), ("10", "b")], [("9", "a"), ("10", "b")]) is None
    assert merged([("9", "a"), ("10", "b")], [("10", "b")]) == Difference({"id": "9"}, "source")
    assert merged([("10", "b")], [("9", "a"), ("10", "b")]) == Difference({"id": "9"}, "lake")
    assert merged([("9", "a")], []) == Difference({"id": "9"}, "source")
    assert merged([], [("9", "a")]) == Difference({"id": "9"}, "lake")
    assert merged([("9", None)], [("9", "a")]) == Difference(
        {"id": "9"}, "both", {"label": (None, "a")}
    )


# MariaDB


@pytest.mark.parametrize(
    ("type", "base", "value", "expected"),
    [
        ("decimal(20,0)", "bigint unsigned", "18446744073709551615", "18446744073709551615"),
        ("smallint", "year", "2024", "2024"),
        ("decimal(18,4)", "decimal", "-12.3400", "-12.34"),
        ("timestamp", "datetime", "1000-01-01 00:00:00+00", "-30610224000000000"),
        ("boolean", "bit", "false", "false"),
        ("double", "double", "-0.0", "1" + 63 * "0"),
    ],
)
def test_a_value_from_mariadb_has_one_text(
    lake: duckdb.DuckDBPyConnection,
    type: str,  # noqa: A002
    base: str,
    value: str,
    expected: str,
) -> None:
    stored = "timestamptz" if type == "timestamp" else type
    text = made(type, base, dialect=MARIADB).lake
    ((found,),) = lake.execute(
        f"select {text} from (select cast(? as {stored}) as c)", [value]
    ).fetchall()
    assert found == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        # By a change and by a snapshot.
        ("0.12345679", "0.123457"), ("0.123457", "0.123457"), ("16777216", "16777200.0"),
        # Just between two of six digits: to the even one, as the server does.
        ("100000.5", "100000.0"), ("100001.5", "100002.0"), ("-3.4028235e38", "-3.40282e+38"),
    ],
)  # fmt: skip
def test_six_digits_of_mariadbs_floats_are_compared(
    lake: duckdb.DuckDBPyConnection, value: str, expected: str
) -> None:
    told = made("double", "float", dialect=MARIADB)
    ((found,),) = lake.execute(
        f"select {told.lake} from (select cast(? as double) as c)", [value]
    ).fetchall()
    assert told.reads(found) == expected


@pytest.mark.parametrize(
    ("type", "base"),
    [("varchar", "point"), ("varchar", "uuid"), ("varchar", "datetime"), ("double", "float4"),
     ("double", "decimal"), ("boolean", "tinyint"), ("integer", "varchar")],
)  # fmt: skip
def test_types_of_mariadb_without_a_common_text_are_not_compared(type: str, base: str) -> None:  # noqa: A002
    assert form(Column(name="c", type=type), base, MARIADB) is None


def test_a_person_in_mariadb_is_compared_by_being_there_only() -> None:
    told = made("varchar", "uuid", dialect=MARIADB, pii="hash")
    assert told.source == told.lake == "case when \"c\" is not null then 'present' end"


@pytest.mark.parametrize("count", [0, 1, 2, 3, 8, 1000])
def test_mariadb_finds_the_range_of_a_row_in_a_tree(
    lake: duckdb.DuckDBPyConnection, count: int
) -> None:
    starts = [str(10 * number) for number in range(1, count + 1)]
    place, parameters = MARIADB.place("c", "bigint", starts)
    assert sorted(parameters, key=int) == starts
    rows = lake.execute(
        f"select c, {place.replace('%s', '?')} from range(0, {10 * count + 10}) as r(c)", parameters
    ).fetchall()
    assert all(number == min(c // 10, count) for c, number in rows)


def test_a_key_of_texts_is_held_to_bounds_byte_by_byte() -> None:
    told = Pair(Side('"d"."t"'), Side("t"), {"c": made("varchar", "enum", dialect=MARIADB)}, ("c",))
    sql, limits = checksums.rows_of_range(told, ["a", "b"], 1, is_source=True)
    text = 'convert("c" using utf8mb4) collate utf8mb4_bin'
    assert sql == (
        f'select {text} as "t0" from "d"."t" where true '
        f"and cast({text} as binary) >= cast(%s as binary) "
        f"and cast({text} as binary) < cast(%s as binary) order by cast({text} as binary)"
    )
    assert limits == ["a", "b"]


def test_a_decimal_bound_keeps_all_digits() -> None:
    assert made("decimal(38,10)", "decimal", dialect=MARIADB).source_bound == "decimal(65, 10)"
    assert made("decimal(20,0)", "bigint unsigned", dialect=MARIADB).source_bound == "unsigned"
    assert made("bigint", "int unsigned", dialect=MARIADB).source_bound == "signed"


class Answering:
    """Stands in for a cursor of MariaDB: what it is asked → its rows, or how it refuses."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers

    def execute(self, statement: str, parameters: object = ()) -> None:
        self.rows = self.answers.get(statement, ())
        if isinstance(self.rows, Exception):
            raise self.rows

    def fetchall(self) -> Any:
        return self.rows


SNAPSHOT = (("Binlog_snapshot_file", "mariadb-bin.000012"), ("Binlog_snapshot_position", "700"))
FILES = (("mariadb-bin.000010", 5000), ("mariadb-bin.000011", 300), ("mariadb-bin.000012", 900))
REFUSED = pymysql.OperationalError(1227, "Access denied; you need the BINLOG MONITOR privilege")


@pytest.mark.parametrize(
    ("snapshot", "files", "file", "place", "expected"),
    [
        (SNAPSHOT, REFUSED, 12, 400, 300),
        (SNAPSHOT, REFUSED, 12, 900, 0),
        (SNAPSHOT, REFUSED, 11, 100, None),
        (SNAPSHOT, FILES, 11, 100, 900),
        (SNAPSHOT, FILES, 10, 1000, 5000),
        # Purged; of another server; no log at all.
        (SNAPSHOT, FILES, 9, 1000, None),
        (SNAPSHOT, FILES, 13, 1000, None),
        ((), FILES, 12, 400, None),
    ],
)
def test_how_far_mariadbs_log_has_gone_on(
    snapshot: object, files: object, file: int, place: int, expected: int | None
) -> None:
    cursor = Answering(
        {"show status like 'binlog_snapshot_%%'": snapshot, "show binary logs": files}
    )
    key = f"00000001.{file:020d}.{place:020d}.{0:020d}.0.{0:020d}"
    assert MariaDbDatabase(cursor).written_since(key) == expected


def test_what_the_connector_sends_wrongly_is_not_compared_with_the_readers_reason() -> None:
    database = MariaDbDatabase(Answering({}))
    sound = SourceColumn("at", "time", "time", "varchar", "no type of its own")
    assert database.why_not(sound) is None
    assert database.why_not(replace(sound, type=None, note=NEVER_EMPTY)) == NEVER_EMPTY
