"""The platform on the cases: they land in one lake and are staged by one dbt project."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import yaml
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner
from deltalake import DeltaTable

from pipelines.cdc import dead_letters, ledger
from pipelines.cdc.land import land
from pipelines.contract import load_contracts
from pipelines.lake.ids import new_id
from pipelines.lake.tables import read
from pipelines.settings import Settings
from tests.conformance.scenario import NAMESPACE, SERVER, Message, Scenario
from tests.embedded.dbt_helpers import PROJECT, environment

KEY = "a key only for tests, long enough"

Row = dict[str, Any]


class Platform:
    """A lake, and a dbt project of the product's macros with a model of each kind per case."""

    def __init__(self, folder: Path, scenarios: Sequence[Scenario]) -> None:
        self.folder = folder
        self.scenarios = scenarios
        self.project = folder / "project"
        self.settings = Settings(
            home=folder / "lake", project_dir=self.project, pii_key=KEY, _env_file=None
        )
        self.replayed: Counter[str] = Counter()
        self._round = 0
        self._epochs: dict[str, int] = {}
        self._write_project()

    def _write_project(self) -> None:
        models = self.project / "models"
        models.mkdir(parents=True)
        for name in ("dbt_project.yml", "profiles.yml"):
            shutil.copy(PROJECT / name, self.project)
        (self.project / "macros").symlink_to(PROJECT / "macros")
        (self.project / "tests").mkdir()
        self._write_contract()
        for scenario in self.scenarios:
            for name, sql in _models(scenario).items():
                (models / f"{name}.sql").write_text(sql)

    def _write_contract(self) -> None:
        tables = []
        for scenario in self.scenarios:
            table = scenario.contract()
            if epoch := self._epochs.get(scenario.name):
                table["config"]["meta"]["epoch"] = epoch
            tables.append(table)
        home = "{{ env_var('LAKEHOUSE_HOME') }}"
        meta = {
            "server": SERVER,
            "namespace": NAMESPACE,
            "connector": "postgres",
            "external_location": f"delta_scan('{home}/raw/{SERVER}.{NAMESPACE}.{{name}}')",
        }
        source = {"name": SERVER, "schema": "raw", "config": {"meta": meta}, "tables": tables}
        text = yaml.safe_dump({"version": 2, "sources": [source]}, sort_keys=False)
        (self.project / "models" / "sources.yml").write_text(text)

    def deliver(self, batches: dict[Scenario, Sequence[Message]]) -> None:
        """Land one batch of each case, then stage all of them."""
        self.land(batches)
        self.stage(batches)

    def stage(self, scenarios: Iterable[Scenario]) -> None:
        """Run the models of these cases."""
        staged = [name for scenario in scenarios for name in _models(scenario)]
        self._dbt("run", "--select", *staged)

    def land(self, batches: dict[Scenario, Sequence[Message]]) -> None:
        """Land one batch of each case."""
        self._round += 1
        inbox = self.folder / f"inbox-{self._round}"
        for scenario, messages in batches.items():
            epoch = max((m.event.get("epoch", 0) for m in messages), default=0)
            self._epochs[scenario.name] = max(epoch, self._epochs.get(scenario.name, 0))
            by_topic: dict[str, list[bytes]] = {}
            for message in messages:
                topic = message.event.get("topic", scenario.stream_topic)
                by_topic.setdefault(topic, []).append(scenario.line(message))
            for topic, lines in by_topic.items():
                file = inbox / topic / f"{self._round:03d}.jsonl"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(b"\n".join(lines) + b"\n")
        self._write_contract()
        report = land(inbox, load_contracts(self.project), self.settings, new_id())
        for topic, told in report.topics.items():
            self.replayed[topic] += told.replayed

    def _dbt(self, *arguments: str) -> None:
        with environment(
            LAKEHOUSE_HOME=str(self.settings.home), DBT_SEND_ANONYMOUS_USAGE_STATS="false"
        ):
            try:
                result = dbtRunner().invoke(
                    [
                        *arguments,
                        f"--project-dir={self.project}",
                        f"--profiles-dir={self.project}",
                        f"--log-path={self.folder / 'logs'}",
                        "--quiet",
                    ]
                )
            finally:
                DuckDBConnectionManager.close_all_connections()
        failed = [r.message for r in result.result.results if r.status != "success"]
        assert result.success, failed or result.exception

    def raw_rows(self, scenario: Scenario) -> int:
        """Rows of a case's raw table."""
        return DeltaTable(str(self.settings.raw / scenario.topic)).count()

    def query(self, sql: str) -> list[Row]:
        """Rows of the work file, which is opened once: after the last delivery."""
        found = self._warehouse.execute(sql)
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    @cached_property
    def _warehouse(self) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect(str(self.settings.warehouse), read_only=True)
        connection.execute("set TimeZone = 'UTC'")
        return connection

    @cached_property
    def ledger(self) -> list[Row]:
        """Rows of the ledger, read once: after the last delivery."""
        return read(DeltaTable(str(self.settings.raw / ledger.FOLDER)), ledger.SCHEMA).to_pylist()

    @cached_property
    def dead_letters(self) -> list[Row]:
        """All dead letters, read once: after the last delivery."""
        path = str(self.settings.raw / dead_letters.FOLDER)
        return read(DeltaTable(path), dead_letters.SCHEMA).to_pylist()


def _models(scenario: Scenario) -> dict[str, str]:
    table = scenario.table
    source = f"source('{SERVER}', '{table}')"
    models = {f"hist_{table}": "{{ change_log(" + source + ") }}"}
    if not scenario.key:
        return models
    history = f", history=ref('hist_{table}')" if scenario.kept else ""
    models[f"base_{table}"] = "{{ fold_current(" + source + history + ") }}"
    if scenario.has_versions:
        key, toast = scenario.key[0], json.dumps(scenario.kept).replace('"', "'")
        columns = {n: n for n in scenario.columns if n not in scenario.key}
        models[f"dim_{table}"] = f"""
{{{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook=[
        "{{{{ open_increment(['hist_{table}']) }}}}",
        "{{{{ replace_scope(has_changed(ref('hist_{table}'), '{key}', {toast}), '{key}') }}}}",
    ],
    post_hook=["{{{{ close_increment() }}}}"],
) }}}}
with {"recursive " if scenario.kept else ""}{{{{ scd2_versions(
    ref('hist_{table}'), '{key}', {json.dumps(columns)}, toast={toast}
) }}}}
select * from versions"""
    return models
