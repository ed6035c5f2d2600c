"""Reconciliation, as far as no database is needed: forms, checksums and order in the lake."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from pipelines.contract import Column
from pipelines.verify import checksums, differences
from pipelines.verify.canonical import Form, form
from pipelines.verify.checksums import Pair, Side
from pipelines.verify.dialect import Dialect
from pipelines.verify.differences import Difference
from pipelines.verify.mariadb import MARIADB
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
