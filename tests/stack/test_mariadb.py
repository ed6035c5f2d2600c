"""From a commit in MariaDB to staging, by its binlog, Debezium and Kafka: the tables end alike."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pymysql
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from pipelines.contract import load_contracts
from tests.embedded.conftest import REPOSITORY
from tests.stack.bare_project import bare_project
from tests.stack.native.loopback import LOOPBACK
from tests.stack.native.processes import eventually
from tests.stack.native.stack import Stack

SCHEMA, MODELS = (Path(__file__).with_name(name) for name in ("depot.sql", "depot"))
TOPICS = r"depot\.depot\.(article|stock|movement)"
# Kafka takes messages of a megabyte, and an update tells both the former and the new row.
LARGE = "é" * 100_000


class Depot:
    """A store of goods on the stack's MariaDB, and a lake that follows it."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.home = folder / "lake"
        self.project = bare_project(folder)
        shutil.copytree(MODELS, self.project / "models" / "staging" / "depot")
        self.tables = load_contracts(self.project).tables
        self.variables = os.environ | {
            "LAKEHOUSE_HOME": str(self.home),
            "LAKEHOUSE_PROJECT_DIR": str(self.project),
        }
        self._marks = 0

    def database(self, **options: Any) -> Any:
        """A connection of the depot's own program; its times are UTC."""
        return pymysql.connect(
            host=LOOPBACK, port=self.stack.port("mariadb", 3306), user="depot", database="depot",
            password=self.stack.secrets["DEPOT_DB_PASSWORD"], charset="utf8mb4",
            init_command="set time_zone = '+00:00'", **({"autocommit": True} | options),
        )  # fmt: skip

    def execute(self, *statements: str) -> None:
        """Statements, each committed by itself."""
        with self.database() as database, database.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def rotate(self) -> str:
        """Go on in the next file of the log; returns its name."""
        with pymysql.connect(
            unix_socket=str(self.stack.volume("mariadb-sockets") / "mysqld.sock"), user="root",
            password=self.stack.secrets["MARIADB_ROOT_PASSWORD"],
        ) as database, database.cursor() as cursor:  # fmt: skip
            cursor.execute("flush binary logs")
            cursor.execute("show binlog status")
            return str(cursor.fetchone()[0])

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "pipelines.cli", *arguments]

    def land(self) -> list[str]:
        kafka = f"{LOOPBACK}:{self.stack.port('kafka', 9092)}"
        return self.command("land", "--kafka", kafka, "--topics", TOPICS)

    def lakehouse(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, check=False,
            timeout=300, env=self.variables,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout

    def follow(self) -> None:
        """Wait until Kafka has what is committed now, land it, and stage it."""
        self._marks += 1
        self.execute(f"insert into marker values ({self._marks})")
        assert eventually(lambda: self._marks in self.marks_in_kafka(), 180)
        self.lakehouse(*self.land())
        self.lakehouse(
            str(Path(sys.executable).with_name("dbt")), "--quiet", "run",
            "--project-dir", str(self.project), "--profiles-dir", str(self.project),
        )  # fmt: skip

    def marks_in_kafka(self) -> set[int]:
        """The numbers that the connector has committed to Kafka: what came before them is there."""
        topic = "depot.depot.marker"
        consumer = Consumer(
            {
                "bootstrap.servers": f"{LOOPBACK}:{self.stack.port('kafka', 9092)}",
                "group.id": "marks",
                "isolation.level": "read_committed",
            }
        )
        known = consumer.list_topics(timeout=30).topics
        parts = known[topic].partitions if topic in known else ()
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in parts])
        found = set()
        while parts and (message := consumer.poll(1)) is not None:
            assert message.error() is None, message.error()
            found.add(json.loads(message.value())["after"]["number"])
        consumer.close()
        return found

    def batches(self) -> int:
        """How often something has landed."""
        return len(list((self.home / "raw" / "_ledger" / "_delta_log").glob("*.json")))

    def sql(self, statement: str) -> list[Any]:
        """What the lake answers."""
        warehouse = str(self.home / "warehouse.duckdb")
        with duckdb.connect(warehouse, read_only=True) as lake:
            lake.execute("set TimeZone = 'UTC'")
            return lake.execute(statement).fetchall()

    def assert_equal_to_source(self) -> None:
        """Each staged table holds what MariaDB holds, row for row."""
        with self.database() as database, database.cursor() as cursor:
            for table in self.tables:
                names = [column.name for column in table.columns]
                cursor.execute(f"select {', '.join(names)} from {table.name}")
                source = Counter(cursor.fetchall())
                staged = Counter(self.staged(table))
                assert staged == source, (table.name, staged - source, source - staged)

    def staged(self, table: Any) -> list[Any]:
        """The living rows; of a table without a key those that were ever made."""
        told = ", ".join(
            f"{c.name}::timestamp" if c.type == "timestamp" else c.name for c in table.columns
        )
        if not table.key:
            return self.sql(
                f"select {told} from staging.hist_depot_{table.name} where _op in ('c', 'r')"
            )
        return self.sql(f"select {told} from staging.base_depot_{table.name} where not _is_deleted")


@pytest.fixture(scope="module")
def depot(mariadb: Stack, tmp_path_factory: pytest.TempPathFactory) -> Depot:
    place = Depot(mariadb, tmp_path_factory.mktemp("depot"))
    place.execute(
        *SCHEMA.read_text().split(";")[:-1],
        "insert into article (article_id, sku, price, weight, listed_on, leaflet) values "
        "(1, 'a-1', 1.5, 0.1, '2024-02-29', 'plain'), (2, 'b-2', null, null, null, null), "
        "(3, 'c-3', 99999999.9999, 1e300, '1000-01-01', '')",
        "insert into article (article_id, sku) values (18446744073709551614, 'the last one')",
        "insert into stock values (1, 1, 5, '2024-02-29 10:11:12.5'), (1, 2, 0, null), "
        "(2, 18446744073709551614, -7, '1999-12-31 23:59:59.999')",
        "insert into movement values ('2024-02-29 10:11:12.123456', 'a-1', 5), "
        "('2024-02-29 10:11:12.123456', 'a-1', 5)",
    )
    mariadb.up(["mariadb-init"])
    return place


def test_the_snapshot_is_staged_as_it_is(depot: Depot) -> None:
    depot.follow()
    depot.assert_equal_to_source()
    assert len(depot.sql("select 1 from staging.base_depot_article")) == 4


def test_changes_are_staged_as_they_leave_the_tables(depot: Depot) -> None:
    """Keys that change and swap, rows that go and come back, a long text, alike rows."""
    depot.execute(
        "insert into article (article_id, sku, price, leaflet) "
        f"values (4, 'd-4', 0.0001, '{LARGE}')",
        "update article set price = price * 2, is_sold = 0 where sku in ('a-1', 'd-4')",
        "update stock set site = 9 where site = 1 and article_id = 2",
        # Each row takes the key that the one before it has just left.
        "update stock set site = site + 1 order by site desc",
        "delete from article where sku = 'b-2'",
        "insert into movement values ('2024-03-01', 'd-4', 1), ('2024-03-01', 'd-4', 1)",
    )
    with depot.database(autocommit=False) as database, database.cursor() as cursor:
        for statement in (
            "delete from stock where site = 2",
            "insert into stock select 2, article_id, 1, now(3) from article",
            "update stock set amount = 2 where site = 2",
            "update stock set amount = amount + 1 where site = 2",
            "update stock set site = 20 where site = 2 and article_id = 1",
            "update stock set site = 2, article_id = 1 where site = 3",
            "update stock set site = 3 where site = 20",
        ):
            cursor.execute(statement)
        cursor.execute("savepoint so_far")
        cursor.execute("delete from article")
        cursor.execute("rollback to so_far")
        database.commit()
        cursor.execute("delete from article")
        database.rollback()
    depot.follow()
    depot.assert_equal_to_source()


def test_a_truncate_empties_a_table_and_what_comes_after_it_stays(depot: Depot) -> None:
    depot.execute("truncate stock", "insert into stock values (1, 1, 1, now(3)), (4, 1, 1, null)")
    depot.follow()
    depot.assert_equal_to_source()
    assert depot.sql("select count(*) from staging.hist_depot_stock where _op = 't'") == [(1,)]


def test_the_log_goes_on_in_other_files_and_after_the_server_was_killed(depot: Depot) -> None:
    """Places in a new file begin low again; they come after those in the file before."""
    depot.execute("update article set price = 1 where sku = 'a-1'")
    first = depot.rotate()
    depot.execute("update article set price = 2 where sku = 'a-1'")
    depot.stack.kill("mariadb")
    depot.stack.start("mariadb")
    depot.execute("update article set price = 3 where sku = 'a-1'", "delete from stock limit 1")
    assert depot.rotate() > first
    depot.execute("update article set price = 4 where sku = 'a-1'")
    depot.follow()
    depot.assert_equal_to_source()
    files = depot.sql(
        "select _op, split_part(_order_key, '.', 2)::int, _order_key "
        "from staging.hist_depot_article where sku = 'a-1' order by _order_key desc limit 4"
    )
    numbers = [number for _, number, _ in files]
    assert len(set(numbers)) == 4, files


@pytest.mark.parametrize("victim", ["connect", "lander"])
def test_something_is_killed_amid_changes(depot: Depot, victim: str) -> None:
    stop, before = threading.Event(), depot.batches()
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work, depot, stop)
        try:
            if victim == "connect":
                time.sleep(1)
                depot.stack.kill("connect")
                time.sleep(1)
                depot.stack.start("connect")
            else:
                lander = subprocess.Popen(
                    [*depot.land(), "--follow", "--batch-seconds", "0.5"],
                    cwd=REPOSITORY, env=depot.variables, stderr=subprocess.DEVNULL,
                )  # fmt: skip
                assert eventually(lambda: depot.batches() > before + 1, 60)
                lander.kill()
                lander.wait()
        finally:
            stop.set()
        assert working.result() > 100
    depot.follow()
    depot.assert_equal_to_source()


def work(depot: Depot, stop: threading.Event) -> int:
    """Transactions of several rows and tables, one after the other; returns how many."""
    number = 0
    with depot.database(autocommit=False) as database, database.cursor() as cursor:
        while not stop.wait(0.01):
            number += 1
            cursor.execute("replace into stock values (%s, 1, %s, now(3))", [number % 50, number])
            cursor.execute("update stock set amount = -amount where site between 10 and 20")
            cursor.execute("delete from stock where site = %s", [(number * 3) % 50])
            cursor.execute("insert into movement values (now(6), 'a-1', 1), (now(6), 'a-1', 1)")
            database.commit()
    return number


def test_nothing_was_lost_doubled_or_refused(depot: Depot) -> None:
    status = json.loads(depot.lakehouse(*depot.command("status", "--json")))
    assert status["dead_letters"] == []
    told = {row["topic"]: row for row in status["sources"]}
    staged = depot.sql(
        "select upstream, sum(applied)::int, sum(duplicate)::int from state.arrival group by all"
    )
    landed = {t.topic: told[t.topic]["landed"] + told[t.topic]["truncate"] for t in depot.tables}
    # Exactly-once source: nobody sends an event again. A binlog has one order: none is late.
    assert {topic: (applied, again) for topic, applied, again in staged} == {
        topic: (rows, 0) for topic, rows in landed.items()
    }


def test_a_lake_that_follows_is_verified_equal_and_a_lost_row_is_found(depot: Depot) -> None:
    """After all of the above, and by the depot's own user, who may not see the log."""
    user = f"depot:{depot.stack.secrets['DEPOT_DB_PASSWORD']}"
    url = f"mariadb://{user}@{LOOPBACK}:{depot.stack.port('mariadb', 3306)}/depot"
    verify = depot.command("verify", url, "--json")
    report = json.loads(depot.lakehouse(*verify))
    assert [(t["table"], t["result"], t["not_compared"]) for t in report["tables"]] == [
        (f"depot.depot.{name}", "equal", {}) for name in ("article", "stock", "movement")
    ]
    assert all(t["source_rows"] == t["lake_rows"] for t in report["tables"])
    ((site, article),) = depot.sql(
        "select site, article_id::bigint from staging.base_depot_stock where not _is_deleted "
        "order by all limit 1"
    )
    depot.execute(
        f"delete from stock where site = {site} and article_id = {article}",
        "update article set weight = weight * 2, changed_at = changed_at where article_id = 3",
    )
    done = subprocess.run(
        verify, cwd=REPOSITORY, capture_output=True, text=True, check=False, env=depot.variables
    )
    assert done.returncode == 1, done.stderr
    first = {t["table"]: t["first"] for t in json.loads(done.stdout)["tables"]}
    assert first == {
        "depot.depot.article": {
            "key": {"article_id": "3"}, "found_in": "both",
            "columns": {"weight": ["2e+300", "1e+300"]},
        },
        "depot.depot.stock": {
            "key": {"site": str(site), "article_id": str(article)}, "found_in": "lake",
            "columns": {},
        },
        "depot.depot.movement": None,
    }  # fmt: skip
    depot.follow()
    assert json.loads(depot.lakehouse(*verify))["is_equal"] is True
