"""Somebody's own MariaDB, from `source add` to `verify`: what is drafted fits what is sent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec
from urllib.parse import quote

import duckdb
import pymysql
import pytest
import requests

from pipelines.checks import source_database
from pipelines.contract import Contracts, load_contracts
from pipelines.errors import LakehouseError, UsageError
from pipelines.lake import duck
from pipelines.settings import Settings
from pipelines.source import mariadb as reader
from pipelines.source.reader import read_schema
from pipelines.verify.reconcile import TableReport, VerifyReport, verify
from tests.embedded.conftest import REPOSITORY
from tests.stack.bare_project import bare_project
from tests.stack.native.loopback import LOOPBACK
from tests.stack.native.processes import eventually
from tests.stack.native.stack import Stack

SCHEMA, ROWS = (Path(__file__).with_name(name) for name in ("ward.sql", "ward_rows.sql"))
DATABASE, SERVER = "my_ward", "my_ward"
PASSWORD = "a password with ' and \" and \\ in it"
LANDED = "every|indexed|keyless|shelf"
# Column of `every` → its value in the lake, as text; of the rows that the snapshot brings and of
# those that changes bring alike.
EXPECTED = {
    "tiny": "-128", "tiny_u": "255", "flag": "1", "small": "-32768", "small_u": "65535",
    "medium": "-8388608", "medium_u": "16777215", "whole": "-536870912", "whole_u": "4294967295",
    "big": "-9223372036854775808", "big_u": "18446744073709551615",
    "amount": "-12345678901234.5678", "longest": "1234567890123456789012345678.0123456789",
    "beyond": "12345678901234567890123456789012345.123456789012345678901234567890",
    "real_": "1.1", "double_": "-1.7976931348623157e+308", "bit_": "true", "bits": "AwAAAIA=",
    "year_": "2024", "day_": "2024-02-29", "at_": "23:59:59.123456Z",
    "seen": "1000-01-01 00:00:00+00", "seen_us": "9999-12-31 23:59:59.999999+00",
    "stamp": "2024-02-29 10:11:12+00", "stamp_us": "2038-01-19 03:14:07.999999+00",
    "kind": "b c", "kinds": "x,z", "doc": '{"a": 1,  "b": "é"}', "bin": "YWIAAAAA",
    "varbin": "YWIA", "blob_": "YmxvYgAx", "padded": "ab", "text_": "é 😀", "latin": "é",
    "spot": '{"x":1.0,"y":2.0,"wkb":"AQEAAAAAAAAAAADwPwAAAAAAAABA","srid":null}',
    "twice": "-1073741824", "thrice": "-1610612736", "name_": "vc  ",
}  # fmt: skip


class Ward:
    """A checkout with the drafted files in it, and a lake that follows the ward."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.root, self.home = folder / "checkout", folder / "lake"
        self.project = bare_project(self.root)
        self.url = (
            f"mysql://ward:{quote(PASSWORD)}@{LOOPBACK}:{stack.port('mariadb', 3306)}/{DATABASE}"
        )
        self.connector = f"http://{LOOPBACK}:{stack.port('connect', 8083)}/connectors/{SERVER}"

    @property
    def socket(self) -> str:
        return str(self.stack.volume("mariadb-sockets") / "mysqld.sock")

    def execute(self, text: str, *, database: str | None = DATABASE) -> None:
        """Statements of the administrator, each committed by itself; all times are UTC."""
        with pymysql.connect(
            unix_socket=self.socket, user="root", database=database, autocommit=True,
            password=self.stack.secrets["MARIADB_ROOT_PASSWORD"], charset="utf8mb4",
        ) as connection, connection.cursor() as cursor:  # fmt: skip
            cursor.execute("set time_zone = '+00:00'")
            for statement in filter(str.strip, text.split(";\n")):
                cursor.execute(statement)

    @property
    def variables(self) -> dict[str, str]:
        return os.environ | {
            "LAKEHOUSE_HOME": str(self.home), "LAKEHOUSE_PROJECT_DIR": str(self.project)
        }  # fmt: skip

    def good(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300,
            env=self.variables,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def lakehouse(self, *arguments: str) -> str:
        return self.good(sys.executable, "-m", "pipelines.cli", *arguments)

    def administer(self) -> None:
        """Run the drafted script as its first lines say."""
        escaped = PASSWORD.replace("\\", "\\\\").replace("'", "''")
        done = subprocess.run(
            ["mariadb", "--no-defaults", "--user=root", f"--socket={self.socket}",
             f"--init-command=set @cdc_password = '{escaped}'"],
            stdin=(self.root / f"infra/mariadb/{SERVER}.sql").open(), check=False,
            env=os.environ | {"MYSQL_PWD": self.stack.secrets["MARIADB_ROOT_PASSWORD"]},
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def register(self) -> None:
        """Give Connect the drafted configuration; these variables are not in its environment."""
        text = (self.root / f"infra/connect/connectors/{SERVER}.json").read_text()
        for name, value in {
            "MY_WARD_DB_HOST": LOOPBACK,
            "MY_WARD_DB_PORT": str(self.stack.port("mariadb", 3306)),
            "MY_WARD_CDC_PASSWORD": json.dumps(PASSWORD)[1:-1],
        }.items():
            assert f"${{env:{name}}}" in text
            text = text.replace(f"${{env:{name}}}", value)
        answer = requests.put(f"{self.connector}/config", json=json.loads(text), timeout=60)
        assert answer.ok, answer.text

    def is_streaming(self) -> bool:
        """Whether the snapshot is over: its place in the log has been committed."""
        tasks = requests.get(f"{self.connector}/status", timeout=30).json().get("tasks", [])
        assert all(task["state"] != "FAILED" for task in tasks), tasks
        answer = requests.get(f"{self.connector}/offsets", timeout=30).json()
        places = [told["offset"] for told in answer.get("offsets", [])]
        return any("snapshot" not in place and "pos" in place for place in places)

    @property
    def connectors_url(self) -> str:
        """The database for the user that was drafted."""
        return self.url.replace("//ward:", f"//{SERVER}_cdc:")

    def settings(self, **told: Any) -> Settings:
        return Settings(home=self.home, project_dir=self.project, _env_file=None, **told)

    def report(self, url: str | None = None, rows_a_range: int = 20_000) -> VerifyReport:
        """What `verify` finds in the tables that have landed."""
        contracts = load_contracts(self.project)
        return verify(
            self.settings(), contracts, url or self.url, tables=LANDED, rows_a_range=rows_a_range
        )

    def compare(self, rows_a_range: int = 20_000) -> dict[str, TableReport]:
        """Table → what `verify` finds."""
        found = self.report(rows_a_range=rows_a_range).tables
        return {table.table.rpartition(".")[2]: table for table in found}

    def difference(self, table: str, rows_a_range: int = 20_000) -> TableReport:
        """The report of a table, which alone differs."""
        found = self.compare(rows_a_range)
        assert [name for name, t in found.items() if t.result != "equal"] == [table]
        return found[table]

    @contextmanager
    def planted(self, table: str, row: str, column: str, value: Any) -> Iterator[None]:
        """One value is another one at the source for a while."""
        with pymysql.connect(
            unix_socket=self.socket, user="root", database=DATABASE, autocommit=True,
            password=self.stack.secrets["MARIADB_ROOT_PASSWORD"], charset="utf8mb4",
        ) as connection, connection.cursor() as cursor:  # fmt: skip
            cursor.execute("set time_zone = '+00:00'")
            cursor.execute(f"select {column} from {table} where {row}")
            ((old,),) = cursor.fetchall()
            cursor.execute(f"update {table} set {column} = %s where {row}", [value])
            now = row.replace(f"{column} = {old}", f"{column} = {value}")
            try:
                yield
            finally:
                cursor.execute(f"update {table} set {column} = %s where {now}", [old])

    def sql(self, statement: str) -> list[Any]:
        """What the lake answers."""
        with duckdb.connect(str(self.home / "warehouse.duckdb"), read_only=True) as lake:
            lake.execute("set TimeZone = 'UTC'")
            return lake.execute(statement).fetchall()


@pytest.fixture(scope="module")
def ward(mariadb: Stack, tmp_path_factory: pytest.TempPathFactory) -> Ward:
    """The database with rows before the capture began, and others after that."""
    place = Ward(mariadb, tmp_path_factory.mktemp("ward"))
    escaped = PASSWORD.replace("\\", "\\\\").replace("'", "''")
    place.execute(
        f"create database {DATABASE};\ncreate user ward identified by '{escaped}';\n"
        f"grant all on {DATABASE}.* to ward",
        database=None,
    )
    place.execute(SCHEMA.read_text())
    rows = ROWS.read_text()
    place.execute(f"set @n = 1;\n{rows}")
    told = place.lakehouse("source", "add", place.url)
    assert "< infra/mariadb/my_ward.sql" in told
    assert "lakehouse verify URL --server my_ward" in told
    place.administer()
    place.register()
    assert eventually(place.is_streaming, 60)
    place.execute(
        f"set @n = 100;\n{rows};\nupdate indexed set serial = 'y' where serial = 'x-1';\n"
        "delete from keyless where a = 1 limit 1"
    )
    land = ("land", "--kafka", f"{LOOPBACK}:{mariadb.port('kafka', 9092)}", "--topics",
            rf"{SERVER}\..*\.(every|indexed|keyless|shelf)")  # fmt: skip

    def has_landed() -> bool:
        place.lakehouse(*land)
        told = json.loads(place.lakehouse("status", "--json"))["sources"]
        (last,) = (t for t in told if t["topic"].endswith(".keyless"))
        return bool(last["landed"] >= 5)

    assert eventually(has_landed, 60)
    place.good(
        str(Path(sys.executable).with_name("dbt")), "--quiet", "build",
        "--project-dir", str(place.project), "--profiles-dir", str(place.project),
    )  # fmt: skip
    return place


def test_what_cannot_be_captured_is_left_out(ward: Ward) -> None:
    tables = {table.name: table for table in load_contracts(ward.project).tables}
    assert set(tables) == {"every", "indexed", "keyless", "parent", "child", "shelf", "shift"}
    assert [column.name for column in tables["shift"].columns] == ["id"]
    assert {column.name for column in tables["every"].columns} == {*EXPECTED, "id", "hidden"}
    assert tables["indexed"].key == ("made_in", "serial")
    assert not tables["keyless"].key


def test_every_value_is_typed_and_the_same_by_snapshot_and_by_change(ward: Ward) -> None:
    status = json.loads(ward.lakehouse("status", "--json"))
    assert status["dead_letters"] == []
    told = ", ".join(f"{name}::varchar" for name in EXPECTED)
    rows = ward.sql(f"select id::varchar, {told} from staging.base_my_ward_every where tiny = -128")
    found = {row[0]: dict(zip(EXPECTED, row[1:], strict=True)) for row in rows}
    assert set(found) == {str(2**64 - 2), str(2**64 - 101)}
    for number, row in found.items():
        assert row == EXPECTED, number
    empty = ward.sql(f"select {told} from staging.base_my_ward_every where id in (1, 100)")
    assert [set(row) for row in empty] == [{None}, {None}]
    blank = "select text_, amount::varchar, bits, at_ from staging.base_my_ward_every where id in "
    assert ward.sql(f"{blank} (2, 101)") == [("", "0.0000", "AAAAAAA=", "00:00:00Z")] * 2


def test_a_float_has_six_digits_by_a_snapshot_and_all_by_a_change(ward: Ward) -> None:
    """The server tells no more as text, which is how a snapshot reads."""
    rows = "select real_ from staging.base_my_ward_every where id in (3, 4, 102, 103) order by id"
    assert ward.sql(rows) == [(0.123457,), (16777200.0,), (0.12345679,), (16777216.0,)]


def test_a_day_that_no_calendar_has_is_empty_and_the_end_of_a_day_its_beginning(
    ward: Ward,
) -> None:
    empty = "select day_, seen, seen_us from staging.base_my_ward_every where id in (7, 106)"
    assert ward.sql(empty) == [(None, None, None)] * 2
    ends = "select at_ from staging.base_my_ward_every where id in (5, 104)"
    assert ward.sql(ends) == [("00:00:00Z",)] * 2


def test_a_unique_index_stands_in_for_a_key(ward: Ward) -> None:
    """A row whose index columns change is another one: nothing is left under the former."""
    rows = ward.sql("select made_in, serial from staging.stg_my_ward_indexed order by serial")
    assert rows == [("de", "x-100"), ("de", "y")]


def test_rows_alike_without_a_key_are_kept_apart(ward: Ward) -> None:
    rows = ward.sql("select a, _op, count(*) from staging.hist_my_ward_keyless group by all")
    assert sorted(rows) == [(1, "d", 1), (1, "r", 2), (100, "c", 2)]


def test_what_stands_in_the_way_of_a_capture_is_told(ward: Ward) -> None:
    found = read_schema(ward.url)
    assert "cannot read definitions with inet6" in found.skipped["network"]
    assert found.skipped["seen"] == "it is a view, which has no changes of its own"
    assert found.has_unreadable
    (child,) = (table for table in found.tables if table.name == "child")
    assert "the foreign key child_ibfk_1 changes by itself" in child.notes[0]
    (network,) = found.notes
    assert network.startswith("network can stop the capture of all others")
    ward.execute("set global binlog_format = 'MIXED'")
    try:
        assert read_schema(ward.url).notes[0].startswith("binlog_format is MIXED: set it to ROW")
    finally:
        ward.execute("set global binlog_format = 'ROW'")


def test_a_wrong_password_and_a_wrong_database_are_errors_with_a_remedy(ward: Ward) -> None:
    with pytest.raises(LakehouseError, match="refuses: Access denied") as refused:
        read_schema(ward.url.replace(quote(PASSWORD), "wrong"))
    assert PASSWORD not in str(refused.value)
    with pytest.raises(LakehouseError, match="refuses"):
        read_schema(ward.url.replace(f"/{DATABASE}", "/nothing"))


# verify


@pytest.fixture
def without_delta(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compared is no Delta, and loading the extension takes most of the time."""
    monkeypatch.setattr(duck, "load_delta", create_autospec(duck.load_delta))


def test_a_lake_that_follows_is_equal(ward: Ward) -> None:
    # The connector's user is enough to ask.
    told = ward.lakehouse("verify", ward.connectors_url, "--tables", LANDED, "--json")
    report = json.loads(told)
    assert report["is_equal"] is True
    assert report["behind_bytes"] >= 0
    tables = {t["table"].rpartition(".")[2]: t for t in report["tables"]}
    assert {name: (t["result"], t["lake_rows"]) for name, t in tables.items()} == {
        "every": ("equal", 16), "indexed": ("equal", 2), "keyless": ("equal", 3),
        "shelf": ("equal", 12),
    }  # fmt: skip
    assert all(t["source_rows"] == t["lake_rows"] for t in tables.values())


@pytest.mark.usefixtures("without_delta")
def test_what_is_not_compared_is_told_with_its_reason(ward: Ward) -> None:
    told = ward.compare()["every"].not_compared
    assert told == {
        "spot": "point has no common form as varchar",
        "code": "not in the contract",
        "odd": "not in the contract",
    }


FIRST = f"id = {2**64 - 2}"


@pytest.mark.usefixtures("without_delta")
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("tiny", -127), ("tiny_u", 254), ("flag", 5), ("small", -32767), ("small_u", None),
        ("medium", 8388607), ("medium_u", 0), ("whole_u", 4294967294), ("big", 2**63 - 1),
        ("big_u", 2**64 - 2), ("amount", "-12345678901234.5679"), ("amount", None),
        ("longest", "1234567890123456789012345678.0123456788"),
        ("beyond", "12345678901234567890123456789012345.123456789012345678901234567891"),
        ("real_", 1.10001), ("real_", None), ("double_", -1.7976931348623155e308),
        ("double_", 5e-324), ("bit_", 0), ("bit_", None), ("bits", 2**39 + 2), ("year_", 2023),
        ("day_", "2024-02-28"), ("at_", "23:59:59.123457"), ("at_", "23:59:59"),
        ("seen", "1000-01-01 00:00:01"), ("seen_us", "9999-12-31 23:59:59.999998"),
        ("stamp", "2024-02-29 10:11:13"), ("stamp_us", "2038-01-19 03:14:07.999998"),
        ("kind", "a"), ("kinds", "x,y,z"), ("kinds", ""), ("doc", '{"a": 1, "b": "é"}'),
        ("bin", b"ac"), ("varbin", b"ab"), ("blob_", b"blob\0\2"), ("blob_", b"x" * 1000),
        ("padded", "aB"), ("name_", "vc "), ("text_", "e 😀"), ("text_", "é 😁"), ("text_", ""),
        ("latin", "è"), ("hidden", 7),
    ],
)  # fmt: skip
def test_one_value_that_differs_is_found_by_key_and_column(
    ward: Ward, column: str, value: Any
) -> None:
    with ward.planted("every", FIRST, column, value):
        first = ward.difference("every").first
    assert first is not None
    assert (first.key, first.found_in) == ({"id": str(2**64 - 2)}, "both")
    assert list(first.columns) == [column]


@pytest.mark.usefixtures("without_delta")
@pytest.mark.parametrize(
    ("column", "value"),
    [("real_", 1.1000001), ("at_", "23:59:59.1234569"), ("padded", "ab   "), ("kinds", "z,x,z")],
)
def test_what_the_connector_sends_alike_is_no_difference(
    ward: Ward, column: str, value: Any
) -> None:
    with ward.planted("every", FIRST, column, value):
        assert ward.compare()["every"].result == "equal"


@pytest.mark.usefixtures("without_delta")
@pytest.mark.parametrize("rows_a_range", [1, 2, 20_000])
@pytest.mark.parametrize(
    ("place", "level"), [("B1", 0), ("a1", -2), ("a1", -1), ("b100", 1), ("Ä1", -3), ("😀100", 3)]
)
def test_a_row_is_missed_or_found_in_any_range(
    ward: Ward, place: str, level: int, rows_a_range: int
) -> None:
    """While its key is another one at the source, only the lake has the row."""
    with ward.planted("shelf", f"binary place = '{place}' and level = {level}", "level", 77):
        report = ward.difference("shelf", rows_a_range)
    assert report.source_rows == report.lake_rows == 12
    assert report.first is not None
    assert (report.first.found_in, report.first.key) == (
        "lake", {"place": place, "level": str(level)}
    )  # fmt: skip
    assert report.ranges == 1 or rows_a_range < 100
    assert ward.compare(rows_a_range)["shelf"].ranges_differing == 0


@pytest.mark.usefixtures("without_delta")
def test_a_row_that_only_the_source_has_is_the_first_difference(ward: Ward) -> None:
    ward.execute("insert into every (id) values (0)")
    try:
        report = ward.difference("every", rows_a_range=2)
    finally:
        ward.execute("delete from every where id = 0")
    assert report.first is not None
    assert (report.first.key, report.first.found_in) == ({"id": "0"}, "source")


@pytest.mark.usefixtures("without_delta")
def test_a_table_without_a_key_is_compared_by_the_sum_of_its_changes(ward: Ward) -> None:
    ward.execute("update keyless set b = 'Alike' where a = 1")
    try:
        report = ward.difference("keyless")
    finally:
        ward.execute("update keyless set b = 'alike' where a = 1")
    assert (report.source_rows, report.lake_rows, report.first) == (3, 3, None)
    assert ward.compare()["keyless"].result == "equal"


def test_the_command_shows_the_difference_and_fails(ward: Ward) -> None:
    command = (sys.executable, "-m", "pipelines.cli", "verify", ward.url, "--tables", LANDED)
    with ward.planted("every", FIRST, "amount", 99):
        done = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300,
            env=ward.variables | {"COLUMNS": "200"},
        )  # fmt: skip
    assert done.returncode == 1
    assert (
        f"my_ward.my_ward.every: first difference at id {2**64 - 2}: "
        "amount: source '99', lake '-12345678901234.5678'" in done.stdout
    )
    assert "The newest change staged is of" in done.stdout


@pytest.mark.usefixtures("without_delta")
def test_how_much_was_written_since_is_known_across_files_to_who_may_see_them(ward: Ward) -> None:
    before = ward.report()
    assert before.newest_change is not None
    assert before.behind_bytes is not None
    ward.execute("flush binary logs", database=None)
    assert ward.report().behind_bytes is None
    after = ward.report(ward.connectors_url).behind_bytes
    assert after is not None
    assert before.behind_bytes < after < before.behind_bytes + 100_000


@pytest.mark.usefixtures("without_delta")
def test_a_table_that_the_source_does_not_show_is_a_difference(ward: Ward) -> None:
    ward.execute(
        "create user guest identified by 'guest';\ngrant select on my_ward.every to guest;\n"
        "grant select (a) on my_ward.keyless to guest"
    )
    shown = ward.report(ward.url.replace(f"ward:{quote(PASSWORD)}", "guest:guest")).tables
    results = {t.table.rpartition(".")[2]: (t.result, t.why) for t in shown}
    assert results["every"] == ("equal", None)
    assert results["shelf"] == ("different", "the source has no such table")
    assert results["keyless"][0] == "different"
    assert "no column b" in str(results["keyless"][1])


def test_names_that_mean_nothing_are_refused(ward: Ward) -> None:
    contracts, settings = load_contracts(ward.project), ward.settings()
    elsewhere = ward.url.replace(f"/{DATABASE}", "/information_schema")
    with pytest.raises(UsageError, match="the contracts' tables are of my_ward"):
        verify(settings, contracts, elsewhere)
    with pytest.raises(UsageError, match="no contract is of a MariaDB server shop"):
        verify(settings, contracts, ward.url, server="shop")
    with pytest.raises(UsageError, match="the contracts name 0 MariaDB servers"):
        verify(settings, Contracts([]), ward.url)


def test_the_source_is_read_as_of_one_moment_and_cannot_be_written_to(ward: Ward) -> None:
    with reader.snapshot(ward.url) as cursor:
        ward.execute("insert into parent values (77)")
        assert cursor.execute("select 1 from parent") == 0
    with (
        pytest.raises(LakehouseError, match="READ ONLY transaction"),
        reader.snapshot(ward.url) as cursor,
    ):
        cursor.execute("delete from parent")
    ward.execute("delete from parent where id = 77")


def test_reading_the_schema_keeps_the_time_limit_of_the_user(ward: Ward) -> None:
    with reader.snapshot(ward.url) as cursor:
        cursor.execute("set session max_statement_time = 77")
        reader.read_schema(cursor)
        cursor.execute("select @@session.max_statement_time")
        assert cursor.fetchall() == ((77.0,),)


# doctor


def test_doctor_finds_nothing_wrong_with_a_server_as_it_should_be(ward: Ward) -> None:
    found = {
        f.check: f for f in source_database.check(ward.settings(source_url=ward.connectors_url))
    }
    assert [f for f in found.values() if not f.ok] == []
    assert found["source database"].detail.startswith("MariaDB 1")
    assert found["source database: binlog_format"].detail == "ROW"
    assert found["source database: log"].detail == "kept for 168 hours"
    assert found["source database: tables"].detail == "7 of the contracts are there, in my_ward"
    assert "source database: clock" in found


def test_doctor_tells_what_would_lose_changes(ward: Ward) -> None:
    ward.execute(
        "set global binlog_row_image = 'MINIMAL';\nset global binlog_expire_logs_seconds = 7200"
    )
    try:
        wrong = [
            f for f in source_database.check(
                ward.settings(source_url=ward.url.replace(f"ward:{quote(PASSWORD)}", "guest:guest"))
            ) if not f.ok
        ]  # fmt: skip
    finally:
        ward.execute(
            "set global binlog_row_image = 'FULL';\nset global binlog_expire_logs_seconds = 604800"
        )
    image, log, tables = wrong
    assert (image.check, image.detail) == ("source database: binlog_row_image", "MINIMAL")
    assert image.remedy == "set it to FULL and restart the server"
    assert log.detail == "kept for 2 hours"
    assert "binlog_expire_logs_seconds = 604800" in log.remedy
    assert tables.detail == "2 of the contracts are there, in my_ward"
    assert "child, indexed, parent, shelf, shift" in tables.remedy
