"""Spark's commits: none is lost beside another writer of the same table."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError

from pipelines.doctor import examine
from pipelines.settings import Settings
from tests.stack.native.stack import Stack
from tests.stack.parity import SparkServer

COMMITS = 8
VISITORS, VISITS = 8, 160
# Without it, Spark would lose nearly every race, and try for minutes.
PAUSE_SECONDS = 0.1


@pytest.fixture
def race(spark_server: SparkServer) -> str:
    """A table of whole numbers; its name."""
    spark_server.query("create schema if not exists races")
    spark_server.query("create or replace table races.appended (id bigint) using delta")
    return "races.appended"


def test_spark_and_another_writer_lose_no_commit(
    stack: Stack, spark_server: SparkServer, race: str
) -> None:
    place = "s3://warehouse/managed/races.db/appended"
    keys = stack.s3("engine").lake("")
    del keys["LAKEHOUSE_STORE"]
    done, counted = threading.Event(), Counter[str]()

    def append_by_the_other() -> None:
        while not done.wait(PAUSE_SECONDS):
            row = pa.table({"id": pa.array([1_000 + counted["other"]], pa.int64())})
            try:
                write_deltalake(place, row, mode="append", storage_options=keys)
                counted["other"] += 1
            except CommitFailedError:
                counted["refused"] += 1

    other = threading.Thread(target=append_by_the_other)
    other.start()
    try:
        for number in range(COMMITS):
            spark_server.query(f"insert into {race} values ({number})")
            counted["spark"] += 1
    finally:
        done.set()
        other.join(60)
    print(dict(counted))
    assert counted["other"] >= COMMITS, "no race"
    written = {*range(COMMITS), *(1_000 + number for number in range(counted["other"]))}
    told = DeltaTable(place, storage_options=keys).to_pyarrow_table()["id"].to_pylist()
    assert sorted(told) == sorted(written)
    (_, seen) = spark_server.query(f"select id from {race}")
    assert sorted(row[0] for row in seen) == sorted(written)


def test_doctor_looks_at_spark(spark_server: SparkServer, tmp_path: Path) -> None:
    def told(**changed: Any) -> dict[str, tuple[bool, str]]:
        server = {"spark_host": spark_server.host, "spark_port": spark_server.port} | changed
        settings = Settings(home=tmp_path, _env_file=None, **server)
        return {f.check: (f.ok, f.detail) for f in examine(settings) if f.check.startswith("spark")}

    found = told()
    assert found["spark"][0]
    assert found["spark"][1].startswith("version 4.")
    assert found["spark: commits"] == (True, "by lakehouse.ConditionalLogStore")
    (is_well, why) = told(spark_port=1)["spark"]
    assert not is_well
    assert "does not answer" in why


def test_sessions_come_and_go_at_once(spark_server: SparkServer) -> None:
    with ThreadPoolExecutor(VISITORS) as visitors:
        answers = visitors.map(lambda n: spark_server.query(f"select {n}")[1], range(VISITS))
        assert list(answers) == [[(n,)] for n in range(VISITS)]
