"""All engines give the same rows: of a first build, and of increments on a bad day."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from pipelines.cdc.land import land
from pipelines.contract import load_contracts
from pipelines.lake.ids import new_id
from pipelines.settings import Settings
from tests.stack.bad_day import deliveries
from tests.stack.parity import (
    PROJECT,
    Difference,
    DuckDb,
    Engine,
    SparkServer,
    TrinoServer,
    dbt,
    first_difference,
    models,
)
from tests.stack.predictions import predict

CLIENTS = 5
# What became of the landed rows, whatever runs it took.
ARRIVALS = """(
    select
        model,
        cast(sum(applied) as bigint) as applied,
        cast(sum(duplicate) as bigint) as duplicate,
        cast(sum(stale) as bigint) as stale
    from {}.arrival
    group by model
) as counted"""
# So few clients buy hardly a product often.
VARIABLES = ("--vars", "feature_least_selling_days: 2")
BUILD = ("build", "--exclude-resource-type", "unit_test")
# A statement takes Spark a second or more, however few the rows: it builds these models, and all of
# them in full (`make test-parity`).
IN_FULL = os.environ.get("LAKEHOUSE_PARITY") == "full"
SPARK_MODELS = ("+fct_promotion_week", "+dim_product")


def test_all_engines_give_the_same_rows(
    trino_server: TrinoServer,
    spark_server: SparkServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a first build and two increments, with data tests green. Wants an empty catalog."""
    schemas = {row[0] for row in trino_server.query("show schemas")[1]}
    assert not schemas & {"raw", "state", "staging", "marts_audit", "spark_state", "spark_marts"}
    for name, value in trino_server.store.items():
        monkeypatch.setenv(name, value)
    home = tmp_path / "lake"
    settings = Settings(home=home, pii_key="a key only for tests, long enough", _env_file=None)
    engines: list[Engine] = [DuckDb(settings.warehouse), trino_server, spark_server]
    days = deliveries(tmp_path, CLIENTS)
    for number, day in enumerate(days):
        land(day, load_contracts(PROJECT), settings, new_id())
        predict(settings, number)
        for engine in engines:
            # A data test costs a server as much as a model: there, of what all deliveries end in.
            is_checked = engine.target == "embedded" or day is days[-1]
            begun = time.monotonic()
            what = (*(BUILD if is_checked else ("run",)), *VARIABLES, *_chosen(engine))
            dbt(engine, home, *what)
            print(f"{day.name} on {engine.target}: {time.monotonic() - begun:.1f} s")
        compare(day.name, engines, home)


def compare(day: str, engines: list[Engine], home: Path) -> None:
    """Print the rows of each model on each engine; fails at the first that differs."""
    places = [_places(engine, home) for engine in engines]
    found = Table("model", *(engine.target for engine in engines), "differences", title=day)
    differences: list[Difference] = []
    total = 0
    for model in places[0]:
        rows = {
            engine.target: engine.query(f"select * from {there[model]}")
            for engine, there in zip(engines, places, strict=True)
            if model in there
        }
        (first, *others) = rows.items()
        assert first[1][1], f"{model} is empty"
        told = [first_difference(model, first, other) for other in others]
        differences += [difference for difference in told if difference]
        total += sum(len(these[1]) for _, these in others)
        counts = [f"{len(rows[e.target][1]):,}" if e.target in rows else "" for e in engines]
        found.add_row(model, *counts, str(sum(1 for difference in told if difference)))
    Console(width=100).print(found)
    print(f"{day}: {total:,} rows of other engines compared with those of {engines[0].target}")
    assert not differences, f"{day}: {differences[0]}"


def _chosen(engine: Engine) -> tuple[str, ...]:
    return ("--select", *SPARK_MODELS) if engine.target == "spark" and not IN_FULL else ()


def _places(engine: Engine, home: Path) -> dict[str, str]:
    found = models(engine, home)
    if _chosen(engine):
        return found
    # Trino builds the marts beside those that readers see.
    state = found["fct_sale"].split(".")[0].removesuffix("_audit").replace("marts", "state")
    return found | {"arrivals": ARRIVALS.format(state)}
