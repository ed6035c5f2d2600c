"""Somebody's own database, from `source add` to `verify`, through Debezium and Kafka."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.embedded.conftest import REPOSITORY
from tests.stack import clinic
from tests.stack.native.processes import eventually
from tests.stack.native.stack import Stack


class Clinic:
    """A checkout with the drafted files in it, and a lake that follows the clinic."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.root = folder / "checkout"
        self.home = folder / "lake"
        shutil.copytree(
            REPOSITORY / "dbt_project",
            self.root / "dbt_project",
            ignore=shutil.ignore_patterns("target", "logs"),
        )

    def lakehouse(self, *arguments: str) -> Any:
        return subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "--home", str(self.home), *arguments],
            cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=600,
            env=os.environ | {"LAKEHOUSE_PROJECT_DIR": str(self.root / "dbt_project")},
        )  # fmt: skip

    def good(self, *arguments: str) -> str:
        done = self.lakehouse(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return str(done.stdout)

    def follow(self) -> None:
        """Wait until Kafka has what is committed now, then land and build."""
        with psycopg.connect(clinic.url(self.stack), autocommit=True) as database:
            ((now,),) = database.execute("select pg_current_wal_lsn()").fetchall()
            caught_up = (
                "select confirmed_flush_lsn >= %s::pg_lsn from pg_replication_slots "
                "where slot_name = 'lakehouse_clinic'"
            )
            assert eventually(
                lambda: database.execute(caught_up, [now]).fetchall() == [(True,)], 120
            )
        kafka = f"127.0.0.1:{self.stack.port('kafka', 9092)}"
        self.good("run", "--kafka", kafka)

    def verify(self) -> dict[str, Any]:
        done = self.lakehouse("verify", clinic.url(self.stack), "--server", "clinic", "--json")
        assert done.stdout, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == (0 if report["is_equal"] else 1)
        return report


@pytest.fixture(scope="module")
def place(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Clinic:
    clinic.execute(stack, clinic.SCHEMA.read_text())
    return Clinic(stack, tmp_path_factory.mktemp("clinic"))


def test_what_is_drafted_captures_the_database(place: Clinic) -> None:
    place.good("source", "add", clinic.url(place.stack), "--schema", "clinic", "--server", "clinic")
    clinic.administer(place.stack, place.root / "infra/postgres/clinic.sql")
    clinic.register(place.stack, place.root / "infra/connect/connectors/clinic.json")
    assert eventually(lambda: clinic.is_running(place.stack), 60)
    place.follow()
    status = json.loads(place.good("status", "--json"))
    assert status["dead_letters"] == []
    report = place.verify()
    assert report["is_equal"], report
    rows = {t["table"].split(".")[2]: t["source_rows"] for t in report["tables"]}
    assert rows == {
        "BedLog": 3, "alarm": 3, "device": 2, "measurement": 2, "patient": 4, "visit": 3
    }  # fmt: skip


def test_what_changes_afterwards_arrives_as_it_is(place: Clinic) -> None:
    clinic.execute(place.stack, clinic.CHANGES.read_text())
    place.follow()
    left_out = json.loads(
        place.good(
            "sql", "--format", "json",
            "select list_contains(_unavailable, 'history') as is_left_out, count(*) as rows "
            "from raw.clinic_clinic_patient where patient_id = 11 and _op = 'u' group by all",
        )
    )  # fmt: skip
    assert left_out == [{"is_left_out": True, "rows": 1}]
    report = place.verify()
    assert [t["result"] for t in report["tables"]] == ["equal"] * 6, report
    assert json.loads(place.good("status", "--json"))["dead_letters"] == []


def test_the_recorded_events_are_those_that_the_connector_sends(place: Clinic) -> None:
    """Set LAKEHOUSE_STACK_RECORD to record them anew."""
    for topic, lines in clinic.messages(place.stack).items():
        file = clinic.RECORDED / topic / "events.jsonl"
        if "LAKEHOUSE_STACK_RECORD" in os.environ:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        recorded = file.read_text(encoding="utf-8").splitlines()
        assert clinic.told(recorded) == clinic.told(lines), topic


def test_an_update_without_a_key_leaves_only_the_count(place: Clinic) -> None:
    clinic.execute(place.stack, "update alarm set message = 'over' where room = 3")
    place.follow()
    (alarm,) = (t for t in place.verify()["tables"] if t["table"].endswith(".alarm"))
    assert (alarm["result"], alarm["source_rows"], alarm["lake_rows"]) == ("counted", 3, 3)


def test_what_has_not_landed_is_a_difference_and_the_log_is_ahead(place: Clinic) -> None:
    before = place.verify()["behind_bytes"]
    clinic.execute(place.stack, "delete from device")
    report = place.verify()
    assert report["behind_bytes"] > before
    (device,) = (t for t in report["tables"] if t["result"] == "different")
    assert device["first"]["key"] == {"serial": "x-1", "made_in": "de"}
    assert device["first"]["found_in"] == "lake"
