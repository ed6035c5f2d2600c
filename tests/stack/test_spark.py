"""Spark's commits: none is lost beside another writer of the same table."""

from __future__ import annotations

import threading
from collections import Counter

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError

from tests.stack.native.stack import Stack
from tests.stack.parity import SparkServer

COMMITS = 8
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
