"""DuckDB and Trino give the same rows: of a first build, and of increments on a bad day."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pipelines.cdc.land import land
from pipelines.contract import load_contracts
from pipelines.lake.ids import new_id
from pipelines.settings import Settings
from tests.stack.bad_day import deliveries
from tests.stack.parity import (
    PROJECT,
    TrinoServer,
    dbt,
    duckdb_rows,
    first_difference,
    models,
)

CLIENTS = 5
# What became of the landed rows, whatever runs it took.
ARRIVALS = """(
    select
        model,
        cast(sum(applied) as bigint) as applied,
        cast(sum(duplicate) as bigint) as duplicate,
        cast(sum(stale) as bigint) as stale
    from state.arrival
    group by model
) as counted"""
BUILD = ("build", "--exclude-resource-type", "unit_test")


def test_both_engines_give_the_same_rows(
    trino_server: TrinoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a first build and two increments, with data tests green. Wants an empty catalog."""
    schemas = {row[0] for row in trino_server.query("show schemas")[1]}
    assert not schemas & {"raw", "state", "staging", "intermediate", "marts"}
    for name, value in trino_server.store.items():
        monkeypatch.setenv(name, value)
    home = tmp_path / "lake"
    settings = Settings(home=home, pii_key="a key only for tests, long enough", _env_file=None)
    environment = trino_server.environment
    days = deliveries(tmp_path, CLIENTS)
    for day in days:
        land(day, load_contracts(PROJECT), settings, new_id())
        for target, env in (("embedded", {}), ("trino", environment)):
            begun = time.monotonic()
            dbt(target, home, *BUILD, env=env)
            print(f"{day.name} on {target}: {time.monotonic() - begun:.1f} s")
        rows = 0
        for model in [*models(home / "dbt" / "embedded" / "manifest.json"), ARRIVALS]:
            ours = duckdb_rows(settings.warehouse, model)
            assert ours[1], f"{model} is empty"
            rows += len(ours[1])
            theirs = trino_server.query(f"select * from {model}")
            difference = first_difference(model, ours, theirs)
            assert difference is None, f"{day.name}: {difference}"
        print(f"{day.name}: {rows:,} rows are the same")
