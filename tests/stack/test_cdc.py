"""From a commit in PostgreSQL to staging, through Debezium, Kafka and S3: the tables end alike."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
import requests

from pipelines.contract import Table, load_contracts
from tests.embedded.conftest import REPOSITORY
from tests.stack.native.processes import eventually
from tests.stack.native.stack import Stack

CLIENTS = 5
TABLES = load_contracts(REPOSITORY / "dbt_project").tables


class Platform:
    """The shop on the stack's PostgreSQL, and a lake on the stack's store that follows it."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.home = folder / "lake"
        self.kafka = f"127.0.0.1:{stack.port('kafka', 9092)}"
        self.connect = f"http://127.0.0.1:{stack.port('connect', 8083)}"
        self.variables = os.environ | stack.s3().lake("cdc") | {
            "LAKEHOUSE_SOURCE_URL": self.url("cdc"),
            "LAKEHOUSE_KAFKA": self.kafka,
            "LAKEHOUSE_CONNECT_URL": self.connect,
        }  # fmt: skip

    def url(self, user: str = "shop") -> str:
        password = self.stack.secrets[
            {"shop": "SHOP_DB_PASSWORD", "cdc": "CDC_DB_PASSWORD", "postgres": "POSTGRES_PASSWORD"}[
                user
            ]
        ]
        port = self.stack.port("postgres", 5432)
        return f"postgresql://{user}:{password}@127.0.0.1:{port}/shop"

    def database(self, user: str = "shop") -> Any:
        return psycopg.connect(self.url(user), autocommit=True, options="-c TimeZone=UTC")

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "pipelines.cli", "--home", str(self.home), *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), cwd=REPOSITORY, capture_output=True, text=True, check=False,
            timeout=600, env=self.variables,
        )  # fmt: skip

    def lakehouse(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout

    def trade(self, until: str, *options: str) -> None:
        """Let the shop play until a day."""
        self.lakehouse(
            "shop", "run", "--database", self.url(), "--clients", str(CLIENTS), "--until", until,
            *options,
        )  # fmt: skip

    def trading(self, until: str, rate: int) -> subprocess.Popen[bytes]:
        """The shop at work, in a process of its own."""
        return subprocess.Popen(
            self.command(
                "shop", "run", "--database", self.url(), "--clients", str(CLIENTS),
                "--until", until, "--rate", str(rate),
            ),
            cwd=REPOSITORY, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def traded(self) -> int:
        """How many changes the shop has committed."""
        with self.database() as database:
            ((changes,),) = database.execute("select changes from shop_state.progress").fetchall()
        return int(changes)

    def wait_for_connector(self) -> None:
        """Until everything that is committed now has reached Kafka."""
        with self.database("postgres") as database:
            ((now,),) = database.execute("select pg_current_wal_lsn()").fetchall()
            caught_up = (
                "select confirmed_flush_lsn >= %s::pg_lsn from pg_replication_slots "
                "where slot_name = 'lakehouse_shop'"
            )
            assert eventually(
                lambda: database.execute(caught_up, [now]).fetchall() == [(True,)], 120
            )

    def follow(self) -> None:
        """Land what Kafka has, and build."""
        self.wait_for_connector()
        self.lakehouse("run")

    def wrong(self) -> dict[str, str]:
        """What `lakehouse doctor` finds wrong: check → detail and remedy."""
        done = self.run("doctor", "--json")
        findings = json.loads(done.stdout)
        assert done.returncode == (not all(f["ok"] for f in findings))
        return {f["check"]: f"{f['detail']} {f['remedy']}" for f in findings if not f["ok"]}

    def commits(self) -> int:
        """How often something has landed."""
        client = self.stack.s3().client()
        listed = client.list_objects_v2(Bucket="lake", Prefix="cdc/raw/_ledger/_delta_log/")
        return int(listed["KeyCount"])

    def assert_equal_to_source(self) -> None:
        """Each staged table holds what PostgreSQL holds, row for row."""
        warehouse = str(self.home / "warehouse.duckdb")
        with self.database() as database, duckdb.connect(warehouse, read_only=True) as lake:
            lake.execute("set TimeZone = 'UTC'")
            for table in TABLES:
                columns = [c for c in table.columns if c.pii is None]
                names = ", ".join(f'"{c.name}"' for c in columns)
                source = set(database.execute(f'select {names} from public."{table.name}"'))
                staged = set(
                    lake.execute(
                        f"select {names} from staging.base_{table.name} where not _is_deleted"
                    ).fetchall()
                )
                assert staged == source, difference(table, staged, source)


def difference(table: Table, staged: set[Any], source: set[Any]) -> str:
    """The first rows that only one side has."""
    lost, invented = sorted(map(str, source - staged)), sorted(map(str, staged - source))
    return f"{table.name}: lost {len(lost)} {lost[:2]}, invented {len(invented)} {invented[:2]}"


@pytest.fixture(scope="module")
def platform(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    return Platform(stack, tmp_path_factory.mktemp("platform"))


def test_the_snapshot_and_what_follows_it_is_staged_as_it_is(platform: Platform) -> None:
    platform.trade("2017-02-01")
    platform.follow()
    platform.assert_equal_to_source()
    with platform.database() as database:
        ((orders,),) = database.execute('select count(*) from public."order"').fetchall()
    assert orders > 0


def test_what_the_shop_does_not_do_by_itself(platform: Platform) -> None:
    """Changes of keys, two that change places, a truncate, a large text, a new column."""
    platform.trade("2017-02-05", "--disturb-every", "20")
    with platform.database() as database:
        disturbed = "select count(*), max(length(name)) from transporter where transporter_id > %s"
        ((rows, longest),) = database.execute(disturbed, [900_000_000]).fetchall()
    assert rows >= 4
    assert longest == 10_000
    platform.follow()
    platform.assert_equal_to_source()
    # A column that no contract knows is kept beside the row, and proposed.
    checked = platform.run("contract", "check")
    assert checked.returncode == 1
    assert "note" in checked.stdout


@pytest.mark.parametrize(
    ("victim", "until"),
    [("connect", "2017-02-15"), ("kafka", "2017-03-01"), ("postgres", "2017-03-15")],
)
def test_a_server_is_killed_while_the_shop_trades(
    platform: Platform, victim: str, until: str
) -> None:
    before = platform.traded()
    shop = platform.trading(until, rate=200)
    assert eventually(lambda: platform.traded() > before + 100, 60)
    platform.stack.kill(victim)
    time.sleep(1)
    platform.stack.start(victim)
    # Without a database there is no shop; it goes on where it was.
    assert (shop.wait(300) != 0) == (victim == "postgres")
    platform.trade(until)
    assert platform.traded() > before + 200
    platform.follow()
    platform.assert_equal_to_source()


def test_the_lander_is_killed_while_the_shop_trades(platform: Platform) -> None:
    until = "2017-04-01"
    shop = platform.trading(until, rate=200)
    for _ in range(3):
        before = platform.commits()
        lander = subprocess.Popen(
            platform.command("land", "--follow", "--batch-seconds", "1"),
            cwd=REPOSITORY, env=platform.variables, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert eventually(lambda: platform.commits() > before + 1, 60)  # noqa: B023
        lander.kill()
        lander.wait()
    assert shop.wait(300) == 0
    platform.follow()
    platform.assert_equal_to_source()


def test_nothing_was_lost_doubled_or_refused(platform: Platform) -> None:
    status = json.loads(platform.lakehouse("status", "--json"))
    assert status["dead_letters"] == []
    told = {row["topic"]: row for row in status["sources"]}
    for table in TABLES:
        staged = status["staged"][table.topic]
        assert sum(staged.values()) == told[table.topic]["landed"] + told[table.topic]["truncate"]
        # Exactly-once source: nobody sends an event again.
        assert staged["duplicate"] == 0, table.topic


def test_doctor_finds_a_healthy_stack_and_what_ails_it(platform: Platform) -> None:
    assert platform.wrong() == {}
    platform.stack.kill("connect")
    assert "nobody reads it" in platform.wrong()["source database: slot lakehouse_shop"]
    assert "does not answer" in platform.wrong()["connect"]
    platform.stack.start("connect")
    assert eventually(lambda: platform.wrong() == {}, 60)
    platform.variables["LAKEHOUSE_SOURCE_URL"] += "x"
    assert "refuses" in platform.wrong()["source database"]
    platform.variables["LAKEHOUSE_SOURCE_URL"] = platform.url("cdc")


def test_a_lost_slot_is_noticed_and_mended_by_a_new_epoch(
    platform: Platform, tmp_path: Path
) -> None:
    """What no slot kept, deletes too, comes back by the snapshot that `resnapshot` tells of."""
    platform.follow()
    platform.stack.stop("connect")
    with platform.database("postgres") as database:
        database.execute("select pg_drop_replication_slot('lakehouse_shop')")
    platform.trade("2017-04-15")
    with platform.database() as database:
        database.execute("delete from client_interaction where interaction_id % 7 = 3")
    assert "no logical replication slot" in platform.wrong()["source database: slot"]
    platform.stack.start("connect")
    # The connector stops, instead of going on behind the gap.
    assert eventually(lambda: "no longer has" in platform.wrong().get("connector shop", ""), 120)
    assert "lakehouse resnapshot" in platform.wrong()["connector shop"]

    def connector(method: str, path: str) -> None:
        url = f"{platform.connect}/connectors/shop/{path}"
        assert eventually(lambda: requests.request(method, url, timeout=30).ok, 60), url

    connector("PUT", "stop")
    platform.lakehouse("land")
    project = tmp_path / "dbt_project"
    left_out = shutil.ignore_patterns("target", "logs")
    shutil.copytree(REPOSITORY / "dbt_project", project, ignore=left_out)
    platform.variables["LAKEHOUSE_PROJECT_DIR"] = str(project)
    for table in TABLES:
        platform.lakehouse("resnapshot", table.topic)
    with platform.database("postgres") as database:
        slots = "select slot_name from pg_replication_slots where slot_name = 'lakehouse_shop'"
        for (slot,) in database.execute(slots).fetchall():
            database.execute("select pg_drop_replication_slot(%s)", [slot])
        connector("DELETE", "offsets")
        connector("PUT", "resume")
        assert eventually(lambda: bool(database.execute(slots).fetchall()), 60)
        # What is written now is read after the snapshot.
        database.execute("update cdc.heartbeat set at = now()")
    platform.follow()
    platform.assert_equal_to_source()
    assert platform.wrong() == {}
