"""Somebody's own MariaDB, from `source add` to staging: what is drafted fits what is sent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
import pymysql
import pytest
import requests

from pipelines.contract import load_contracts
from pipelines.errors import LakehouseError
from pipelines.source.reader import read_schema
from tests.embedded.conftest import REPOSITORY
from tests.stack.bare_project import bare_project
from tests.stack.native.loopback import LOOPBACK
from tests.stack.native.processes import eventually
from tests.stack.native.stack import Stack

SCHEMA, ROWS = (Path(__file__).with_name(name) for name in ("ward.sql", "ward_rows.sql"))
DATABASE, SERVER = "my_ward", "my_ward"
PASSWORD = "a password with ' and \" and \\ in it"
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

    def good(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300,
            env=os.environ | {
                "LAKEHOUSE_HOME": str(self.home), "LAKEHOUSE_PROJECT_DIR": str(self.project)
            },
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
    assert "verify" not in told
    place.administer()
    place.register()
    assert eventually(place.is_streaming, 60)
    place.execute(
        f"set @n = 100;\n{rows};\nupdate indexed set serial = 'y' where serial = 'x-1';\n"
        "delete from keyless where a = 1 limit 1"
    )
    land = ("land", "--kafka", f"{LOOPBACK}:{mariadb.port('kafka', 9092)}", "--topics",
            rf"{SERVER}\..*\.(every|indexed|keyless)")  # fmt: skip

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
    assert set(tables) == {"every", "indexed", "keyless", "parent", "child", "shift"}
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
