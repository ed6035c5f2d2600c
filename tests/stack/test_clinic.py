"""A drafted source and its reconciliation on a real PostgreSQL; the events are recorded ones.

`test_clinic_live.py` holds these events to what Debezium sends.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import duckdb
import psycopg
import pytest
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner

from pipelines.contract import Contracts, load_contracts
from pipelines.errors import LakehouseError, UsageError
from pipelines.lake import duck
from pipelines.settings import Settings
from pipelines.source.postgres import read_schema, snapshot
from pipelines.verify.reconcile import TableReport, verify
from tests.embedded.dbt_helpers import PROJECT, environment
from tests.stack import clinic
from tests.stack.native.components import Components
from tests.stack.native.stack import Stack


class Place:
    """A project with nothing but what was drafted, and a lake with the recorded events staged."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.url = clinic.url(stack)
        self.root = folder
        self.project = folder / "dbt_project"
        self.settings = Settings(
            home=folder / "lake", project_dir=self.project, pii_key=clinic.KEY, _env_file=None
        )
        self.project.mkdir()
        (self.project / "models").mkdir()
        for name in ("dbt_project.yml", "profiles.yml"):
            shutil.copy(PROJECT / name, self.project)
        (self.project / "macros").symlink_to(PROJECT / "macros")

        self.statuses: list[str] = []

    @cached_property
    def contracts(self) -> Contracts:
        return load_contracts(self.project)

    def lakehouse(self, *arguments: str) -> Any:
        with environment(
            LAKEHOUSE_PROJECT_DIR=str(self.project), LAKEHOUSE_PII_KEY=clinic.KEY, COLUMNS="200"
        ):
            return clinic.lakehouse(self.settings.home, *arguments)

    def add(self, *arguments: str) -> Any:
        return self.lakehouse(
            "source", "add", self.url, "--schema", "clinic", "--server", "clinic", *arguments
        )

    def stage(self) -> list[str]:
        """Build and test what was drafted; returns the statuses of all nodes."""
        with environment(LAKEHOUSE_HOME=str(self.settings.home)):
            try:
                done = dbtRunner().invoke(
                    [
                        "build", f"--project-dir={self.project}",
                        f"--profiles-dir={self.project}", f"--log-path={self.root / 'logs'}",
                        "--quiet",
                    ]
                )  # fmt: skip
            finally:
                DuckDBConnectionManager.close_all_connections()  # type: ignore[no-untyped-call]
        assert done.exception is None, done.exception
        return [str(result.status) for result in done.result.results]  # type: ignore[union-attr]

    def compare(self, rows_a_range: int = 20_000) -> dict[str, TableReport]:
        """Table → what `verify` finds."""
        report = verify(self.settings, self.contracts, self.url, rows_a_range=rows_a_range)
        return {table.table.split(".")[2]: table for table in report.tables}

    def difference(self, table: str, rows_a_range: int = 20_000) -> TableReport:
        """The report of a table, which alone differs."""
        found = self.compare(rows_a_range)
        assert [name for name, t in found.items() if t.result != "equal"] == [table]
        return found[table]

    @contextmanager
    def planted(self, table: str, row: str, column: str, value: str) -> Iterator[None]:
        """One value is another one at the source for a while."""
        with psycopg.connect(self.url, autocommit=True) as database:
            database.execute("set search_path = clinic")
            ((declared, old),) = database.execute(
                "select format_type(a.atttypid, a.atttypmod), "
                f'(select "{column}"::text from "{table}" where {row}) '
                f"from pg_attribute as a where attrelid = '\"{table}\"'::regclass "
                f"and attname = '{column}'"
            ).fetchall()
            set_value = f'update "{table}" set "{column}" = (%s)::{declared} where {row}'
            done = database.execute(set_value, [value if value != "NULL" else None])
            assert done.rowcount == 1
            try:
                yield
            finally:
                database.execute(set_value, [old])


@pytest.fixture(scope="module")
def place(components: Components) -> Iterator[Place]:
    """The clinic after a day, captured, landed and staged."""
    folder = Path(tempfile.mkdtemp(prefix="lakehouse-clinic-"))
    folder.chmod(0o755)
    stack = Stack(folder / "stack", components)
    try:
        stack.up(["postgres"])
        clinic.execute(stack, clinic.SCHEMA.read_text())
        made = Place(stack, folder)
        assert made.add().exit_code == 0
        clinic.administer(stack, folder / "infra/postgres/clinic.sql")
        clinic.execute(stack, clinic.CHANGES.read_text())
        landed = made.lakehouse("land", "--from", str(clinic.RECORDED), "--strict")
        assert landed.exit_code == 0, landed.output
        made.statuses = made.stage()
        with pytest.MonkeyPatch.context() as patch:
            # What is compared is no Delta, and loading the extension takes most of the time.
            patch.setattr(duck, "load_delta", create_autospec(duck.load_delta))
            yield made
    finally:
        stack.down()
        shutil.rmtree(folder)


# source add


def test_the_drafted_contract_loads_with_a_type_for_what_the_connector_sends(place: Place) -> None:
    tables = {table.name: table for table in place.contracts.tables}
    assert set(tables) == clinic.TABLES
    assert {name: table.key for name, table in tables.items()} == {
        "BedLog": ("BedNo", "ChangedAt"),
        "alarm": (),
        "device": ("serial", "made_in"),
        "measurement": ("measurement_id", "taken_on"),
        "patient": ("patient_id",),
        "visit": ("patient_id", "visit_no"),
    }
    types = {c.name: c.type for c in tables["visit"].columns}
    assert types == {
        "patient_id": "bigint", "visit_no": "integer", "order": "integer", "urgency": "varchar",
        "cost": "decimal(12,3)", "dose": "varchar", "began_at": "timestamp", "lasted": "varchar",
        "symptoms": "varchar", "codes": "varchar", "prices": "varchar", "labels": "varchar",
        "vitals": "varchar", "letter": "varchar", "scan": "varchar", "flags": "varchar",
        "is_paid": "boolean", "source_ip": "varchar", "until": "varchar", "stay": "varchar",
        "place": "varchar", "total": "decimal(19,2)",
    }  # fmt: skip
    patient = {c.name: (c.type, c.pii, c.toast) for c in tables["patient"].columns}
    assert patient["full_name"] == ("varchar", "drop", None)
    assert patient["email"] == ("varchar", "hash", None)
    assert patient["birth_date"] == ("date", "hash", None)
    assert patient["history"] == ("varchar", None, True)
    assert patient["temperature"] == ("double", None, None)


def test_comments_of_the_database_become_descriptions(place: Place) -> None:
    text = (place.project / "models/staging/clinic/_clinic__sources.yml").read_text()
    assert "Number on the wristband: it''s printed # there." in text
    assert "As told by the laboratory." in text
    assert 'Who is treated: "in" or { { out }}.' in text


def test_the_drafted_models_stage_what_the_connector_sent(place: Place) -> None:
    assert place.statuses
    assert set(place.statuses) <= {"success", "pass"}
    with duckdb.connect(str(place.settings.warehouse), read_only=True) as lake:
        lake.execute("set TimeZone = 'UTC'")
        beds = lake.execute(
            "select bed_no, cast(changed_at as varchar), ward from staging.stg_clinic_bed_log "
            "order by all"
        ).fetchall()
        visit = lake.execute(
            'select "order", urgency, cost, dose, symptoms, is_paid, place '
            "from staging.stg_clinic_visit where patient_id = 1"
        ).fetchall()
        kept = lake.execute(
            "select length(history), weight_kg from staging.stg_clinic_patient "
            "where patient_id = 11"
        ).fetchall()
        alarms = lake.execute("select _op from staging.hist_clinic_alarm order by 1").fetchall()
    assert beds == [
        ("Z", "2024-03-01 00:00:00+00", None), ("a", "2024-03-02 00:00:00+00", ""),
        ("ä", "2024-03-01 00:00:00+00", "South"),
    ]  # fmt: skip
    ((order, urgency, cost, dose, symptoms, is_paid, where),) = visit
    assert (order, urgency, str(cost), dose) == (7, "soon", "12.500", "0.0000001")
    assert json.loads(symptoms) == ["a b", None, 'q"x', "ü\\y", "cough"]
    assert is_paid is True
    assert json.loads(where)["x"] == 1.5
    assert [(length, str(weight)) for length, weight in kept] == [(9600, "71.25")]
    assert alarms == [("c",), ("d",), ("r",), ("r",), ("r",)]


def test_what_cannot_be_captured_is_told_with_its_reason(place: Place, tmp_path: Path) -> None:
    told = place.add("--to", str(tmp_path), "--dry-run").output
    for line in (
        "insured: it is a view",
        "scratch: it is unlogged",
        "odd name: its name cannot be part of a topic",
        "calendar: its key has the column year",
        "visit.cost_doubled: generated",
        "visit.grid: the connector sends arrays of several dimensions empty",
        "visit.year: the name is taken",
        "visit.visit note: a contract cannot name it",
    ):
        assert f"! {line}" in told, line


def test_a_dry_run_writes_nothing(place: Place, tmp_path: Path) -> None:
    assert place.add("--to", str(tmp_path / "there"), "--dry-run").exit_code == 0
    assert not (tmp_path / "there").exists()


def test_nothing_is_overwritten(place: Place) -> None:
    file = place.project / "models/staging/clinic/_clinic__sources.yml"
    before = file.read_text()
    with pytest.raises(LakehouseError, match=r"is there already; nothing was written"):
        place.add()
    assert file.read_text() == before


def test_a_table_under_a_contract_gets_no_second_one(place: Place) -> None:
    """The files that would be written are free; the table is not."""
    models = place.project / "models/staging/clinic"
    moved = [(path, path.rename(path.with_name("away"))) for path in (models, place.root / "infra")]
    try:
        with pytest.raises(LakehouseError, match=r"clinic\.clinic\.BedLog has a contract"):
            place.add()
        assert not models.exists()
    finally:
        for path, away in moved:
            away.rename(path)


def test_only_the_tables_named_are_drafted(place: Place, tmp_path: Path) -> None:
    done = place.lakehouse(
        "source", "add", place.url, "--schema", "clinic", "--server", "other",
        "--tables", "dev.*|patient", "--to", str(tmp_path),
    )  # fmt: skip
    assert done.exit_code == 0
    assert {t.name for t in load_contracts(tmp_path / "dbt_project").tables} == {
        "device", "patient"
    }  # fmt: skip
    assert {path.name for path in tmp_path.rglob("*.sql")} == {
        "hist_other_device.sql", "base_other_device.sql", "stg_other_device.sql",
        "hist_other_patient.sql", "base_other_patient.sql", "stg_other_patient.sql", "other.sql",
    }  # fmt: skip


def test_the_connectors_role_may_read_the_tables_and_nothing_else(place: Place) -> None:
    with psycopg.connect(
        clinic.url(place.stack, "clinic_cdc", clinic.quoted_password()), autocommit=True
    ) as database:
        for table in clinic.TABLES:
            database.execute(f'select * from clinic."{table}"')
        database.execute("update clinic_cdc.heartbeat set at = now() where id = 1")
        for refused in (
            "select * from clinic.insured", "delete from clinic.patient",
            "update clinic.visit set cost = 0", "create table clinic.mine (id integer)",
            "create table clinic_cdc.mine (id integer)", "delete from clinic_cdc.heartbeat",
        ):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                database.execute(refused)  # type: ignore[call-overload]


def test_published_are_the_drafted_tables_with_what_identifies_their_rows(place: Place) -> None:
    with psycopg.connect(place.url) as database:
        published = database.execute(
            "select tablename from pg_publication_tables where pubname = 'lakehouse_clinic'"
        ).fetchall()
        identity = database.execute(
            "select relname, relreplident from pg_class "
            "where relnamespace = 'clinic'::regnamespace and relkind = 'r' and relreplident <> 'd'"
        ).fetchall()
    assert {name for (name,) in published} == clinic.TABLES | {"heartbeat"}
    assert dict(identity) == {"alarm": "f", "device": "i"}


# verify


def test_a_lake_that_follows_is_equal(place: Place) -> None:
    # The connector's role is enough to ask.
    url = clinic.url(place.stack, "clinic_cdc", clinic.quoted_password())
    done = place.lakehouse("verify", url)
    assert done.exit_code == 0, done.output
    for report in place.compare().values():
        assert report.result == "equal"
        assert report.source_rows == report.lake_rows
        assert report.source_rows


def test_what_is_not_compared_is_told(place: Place) -> None:
    left = {name: set(report.not_compared) for name, report in place.compare().items()}
    assert left == {
        "BedLog": set(), "alarm": set(), "device": set(), "measurement": set(),
        "patient": {"full_name", "email", "birth_date"},
        "visit": {"flags", "place", "source_ip", "cost_doubled", "grid", "year", "visit note"},
    }  # fmt: skip
    printed = place.lakehouse("verify", place.url).output
    assert "patient.email not compared: personal" in printed


FIRST_VISIT = "patient_id = 1 and visit_no = 1"


@pytest.mark.parametrize(
    ("table", "row", "column", "value"),
    [
        ("patient", "patient_id = 1", "blood_type", "A"),
        ("patient", "patient_id = 1", "weight_kg", "61.51"),
        ("patient", "patient_id = 1", "height", "1.6800000000000002"),
        ("patient", "patient_id = 1", "temperature", "36.600002"),
        ("patient", "patient_id = 20", "temperature", "1e-44"),
        ("patient", "patient_id = 1", "is_insured", "NULL"),
        ("patient", "patient_id = 1", "wakes_at", "06:30:00.000001"),
        ("patient", "patient_id = 1", "registered_at", "2024-01-01 06:00:00.123457+00"),
        ("patient", "patient_id = 1", "external_id", "NULL"),
        ("patient", "patient_id = 3", "history", "NULL"),
        ("patient", "patient_id = 20", "history", 'ünï 🦆 "q" \\ back\ttab\nline'),
        ("patient", "patient_id = 10", "history", "é"),
        ("visit", FIRST_VISIT, "order", "8"),
        ("visit", FIRST_VISIT, "urgency", "urgent"),
        ("visit", FIRST_VISIT, "cost", "12.501"),
        ("visit", FIRST_VISIT, "dose", "0.00000011"),
        ("visit", FIRST_VISIT, "began_at", "2024-05-06 10:00:00.123457"),
        ("visit", FIRST_VISIT, "lasted", "1 year 2 mons 3 days 04:05:06.8"),
        ("visit", FIRST_VISIT, "symptoms", '{"a b",NULL,"q\\"x","ü\\\\y"}'),
        ("visit", FIRST_VISIT, "codes", "{1,3,NULL}"),
        ("visit", FIRST_VISIT, "prices", "{1.50,2.01}"),
        ("visit", FIRST_VISIT, "labels", "{}"),
        ("visit", FIRST_VISIT, "vitals", '{"a": "u", "b": 1.5}'),
        ("visit", FIRST_VISIT, "letter", '{"b": 1, "a": [1, 2]}'),
        ("visit", FIRST_VISIT, "scan", "\\x00ff11"),
        ("visit", FIRST_VISIT, "is_paid", "0"),
        ("visit", FIRST_VISIT, "until", "10:00:00.25+01"),
        ("visit", FIRST_VISIT, "stay", "[2024-01-01,2024-02-02)"),
        ("visit", FIRST_VISIT, "total", "1234.51"),
        ("measurement", "taken_on = '2024-06-01'", "pulse", "NULL"),
        # Personal: that a value is lost is seen.
        ("patient", "patient_id = 1", "email", "NULL"),
        ("patient", "patient_id = 20", "birth_date", "2000-01-01"),
    ],
)
def test_one_value_that_differs_is_found_by_key_and_column(
    place: Place, table: str, row: str, column: str, value: str
) -> None:
    with place.planted(table, row, column, value):
        report = place.difference(table)
        assert report.first is not None
        assert report.first.found_in == "both"
        assert list(report.first.columns) == [column]


def test_the_same_amount_written_otherwise_is_no_difference(place: Place) -> None:
    with place.planted("patient", "patient_id = 1", "registered_at", "2024-01-01 06:00:00.123456Z"):
        assert place.compare()["patient"].result == "equal"


def test_another_personal_value_is_not_seen(place: Place) -> None:
    """The price of never asking the source for one."""
    with place.planted("patient", "patient_id = 1", "email", "other@example.org"):
        assert place.compare()["patient"].result == "equal"


def test_the_command_shows_the_difference_and_fails(place: Place) -> None:
    with place.planted("visit", FIRST_VISIT, "cost", "99"):
        printed = place.lakehouse("verify", place.url, "--tables", "visit|patient")
        told = place.lakehouse("verify", place.url, "--tables", "visit", "--json")
    assert printed.exit_code == told.exit_code == 1
    assert (
        "clinic.clinic.visit: first difference at patient_id 1, visit_no 1: "
        "cost: source '99', lake '12.5'" in printed.output
    )
    report = json.loads(told.stdout)
    assert report["is_equal"] is False
    (visit,) = report["tables"]
    assert visit["first"] == {
        "key": {"patient_id": "1", "visit_no": "1"}, "found_in": "both",
        "columns": {"cost": ["99", "12.5"]},
    }  # fmt: skip


@pytest.mark.parametrize("rows_a_range", [1, 2, 20_000])
@pytest.mark.parametrize(
    ("table", "row", "key"),
    [
        ("patient", "patient_id = 1", {"patient_id": "1"}),
        ("patient", "patient_id = 10", {"patient_id": "10"}),
        ("patient", "patient_id = 20", {"patient_id": "20"}),
        ("visit", "patient_id = 3 and visit_no = 2", {"patient_id": "3", "visit_no": "2"}),
        ("BedLog", "\"BedNo\" = 'ä'", {"BedNo": "ä", "ChangedAt": "2024-03-01T00:00:00+00:00"}),
        ("BedLog", "\"BedNo\" = 'Z'", {"BedNo": "Z", "ChangedAt": "2024-03-01T00:00:00+00:00"}),
    ],
)
def test_a_row_is_missed_or_found_in_any_range(
    place: Place, table: str, row: str, key: dict[str, str], rows_a_range: int
) -> None:
    """While its key is another one at the source, only the lake has the row."""
    with psycopg.connect(place.url) as database:
        database.execute("set search_path = clinic")
        name, other = ("BedNo", "'ÿ'") if table == "BedLog" else ("patient_id", "999")
        found = f'update "{table}" set "{name}" = {other} where {row} returning "{name}"'
        ((_,),) = database.execute(found).fetchall()
        database.commit()
        try:
            report = place.difference(table, rows_a_range)
        finally:
            old = key[name]
            database.execute(f'update "{table}" set "{name}" = %s where "{name}" = {other}', [old])
            database.commit()
    assert report.source_rows == report.lake_rows
    assert report.first is not None
    assert (report.first.found_in, report.first.key) == ("lake", key)
    assert report.ranges == (1 if rows_a_range > 100 else report.ranges)
    assert place.compare(rows_a_range)[table].ranges_differing == 0


def test_a_row_that_only_the_source_has_is_the_first_difference(place: Place) -> None:
    clinic.execute(place.stack, "insert into patient (patient_id, full_name) values (0, 'New')")
    try:
        report = place.difference("patient", rows_a_range=2)
    finally:
        clinic.execute(place.stack, "delete from patient where patient_id = 0")
    assert report.first is not None
    assert (report.first.key, report.first.found_in) == ({"patient_id": "0"}, "source")
    assert (report.source_rows, report.lake_rows) == (7, 6)


def test_a_table_without_a_key_is_compared_by_the_sum_of_its_changes(place: Place) -> None:
    clinic.execute(place.stack, "update alarm set message = 'fall!' where room = 1")
    try:
        report = place.difference("alarm")
    finally:
        clinic.execute(place.stack, "update alarm set message = 'fall' where room = 1")
    assert (report.source_rows, report.lake_rows, report.first) == (3, 3, None)
    assert place.compare()["alarm"].result == "equal"


def test_a_column_or_table_that_the_source_has_not_is_a_difference(place: Place) -> None:
    clinic.execute(place.stack, "alter table device rename owner to holder")
    clinic.execute(place.stack, "alter table alarm rename to alert")
    try:
        found = place.compare()
    finally:
        clinic.execute(place.stack, "alter table device rename holder to owner")
        clinic.execute(place.stack, "alter table alert rename to alarm")
    assert {name for name, report in found.items() if report.result != "equal"} == {
        "device", "alarm"
    }  # fmt: skip
    assert "no column owner" in str(found["device"].why)
    assert "no such table" in str(found["alarm"].why)


def test_the_source_cannot_be_written_to(place: Place) -> None:
    with (
        pytest.raises(LakehouseError, match="read-only transaction"),
        snapshot(place.url) as database,
    ):
        database.execute("create table clinic.mine (id integer)")


def test_reading_the_schema_keeps_the_time_limit_of_the_role(place: Place) -> None:
    with snapshot(place.url) as database:
        database.execute("set local statement_timeout = '77s'")
        read_schema(database, "clinic")
        assert database.execute("show statement_timeout").fetchone() == ("77s",)


def test_names_that_mean_nothing_are_refused(place: Place) -> None:
    for arguments in (("--server", "shop"), ("--tables", "nothing"), ("--tables", "(")):
        with pytest.raises(UsageError):
            place.lakehouse("verify", place.url, *arguments)
    with pytest.raises(UsageError, match="no schema nowhere"):
        place.lakehouse("source", "add", place.url, "--schema", "nowhere")


def test_a_wrong_password_is_told_without_the_url(place: Place) -> None:
    wrong = clinic.url(place.stack, "postgres", "wrong-password")
    with pytest.raises(LakehouseError) as caught:
        place.lakehouse("source", "add", wrong)
    assert "wrong-password" not in str(caught.value)


def test_nothing_staged_is_told(place: Place, tmp_path: Path) -> None:
    with pytest.raises(LakehouseError, match="nothing is staged"):
        verify(
            place.settings.model_copy(update={"home": tmp_path}),
            place.contracts,
            place.url,
        )


def test_a_contract_that_changed_after_the_build_is_told(place: Place) -> None:
    tables = [
        table.model_copy(
            update={"columns": tuple(c.model_copy(update={"pii": None}) for c in table.columns)}
        )
        for table in place.contracts.tables
        if table.name == "patient"
    ]
    with pytest.raises(LakehouseError, match="not those of the contracts"):
        verify(place.settings, Contracts(tables), place.url)


def test_dbt_parses_the_draft_beside_the_shop(place: Place, tmp_path: Path) -> None:
    """As in a checkout: the shop's project, and the clinic's files in it."""
    shutil.copytree(
        PROJECT, tmp_path / "dbt_project", ignore=shutil.ignore_patterns("target", "logs")
    )
    shutil.copytree(
        place.project / "models/staging/clinic", tmp_path / "dbt_project/models/staging/clinic"
    )
    project = tmp_path / "dbt_project"
    with environment(LAKEHOUSE_HOME=str(tmp_path / "lake")):
        done = dbtRunner().invoke(
            [
                "parse", "--warn-error", f"--project-dir={project}", f"--profiles-dir={project}",
                f"--log-path={tmp_path / 'logs'}", "--quiet",
            ]
        )  # fmt: skip
    assert done.success, done.exception
    linted = subprocess.run(
        [str(Path(sys.executable).parent / "dbt-bouncer"), "--config-file", "dbt-bouncer.yml"],
        cwd=project, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert linted.returncode == 0, linted.stdout
