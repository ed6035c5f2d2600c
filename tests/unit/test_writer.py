"""One engine writes a raw table; a hand-over stops the other one before its next commit."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError

from pipelines import maintain
from pipelines.cdc.capture import find_captures
from pipelines.cdc.land import opened
from pipelines.errors import LakehouseError
from pipelines.lake.tables import raw_path
from pipelines.lake.writer import LAKEHOUSE, SPARK, hand_over, writer_of
from tests.unit.events import TOPIC, Lake, thing, things


def test_a_table_of_spark_is_neither_landed_to_nor_maintained(lake: Lake) -> None:
    lake.deliver(thing(0))
    folders = [raw_path(lake.raw, table) for table in lake.contracts.tables]
    assert hand_over(folders, SPARK) == folders
    assert hand_over(folders, SPARK) == []
    with pytest.raises(LakehouseError, match="is written by spark") as refused:
        lake.deliver(thing(1), name="b.jsonl")
    assert refused.value.remedy.endswith("lakehouse hand-over lakehouse")
    (target,) = maintain.targets(lake.settings, lake.contracts, [TOPIC])
    (report,) = maintain.maintain(lake.settings, [target], "run", keep=timedelta(days=7))
    assert report.skipped == ["all: spark writes it, and maintains it"]
    assert lake.offsets() == [0]
    hand_over(folders, LAKEHOUSE)
    lake.land()
    assert lake.offsets() == [0, 1]
    lake.assert_reconciled()


def test_spark_takes_no_table_that_is_not_its_own(lake: Lake) -> None:
    lake.deliver(thing(0))
    with (
        pytest.raises(LakehouseError, match="is written by lakehouse") as refused,
        opened(lake.contracts, lake.settings, "run", SPARK),
    ):
        pass
    assert refused.value.remedy.endswith("lakehouse hand-over spark")


def test_a_landing_that_is_on_is_refused_its_next_batch(lake: Lake) -> None:
    lake.write(things(0, 2))
    with opened(lake.contracts, lake.settings, "run") as landing:
        hand_over([raw_path(lake.raw, lake.contracts.tables[0])], SPARK)
        with pytest.raises(LakehouseError, match="is written by spark"):
            landing.land_files(TOPIC, find_captures(lake.inbox))
    assert lake.rows() == []


def test_a_commit_that_was_begun_before_a_hand_over_fails(lake: Lake) -> None:
    lake.deliver(thing(0))
    begun = DeltaTable(str(lake.raw / TOPIC))
    hand_over([lake.raw / TOPIC], SPARK)
    with pytest.raises(CommitFailedError, match="Metadata changed"):
        write_deltalake(begun, pa.table(begun.to_pyarrow_table()), mode="append")
    assert lake.offsets() == [0]


def test_tables_that_spark_makes_are_its_own(lake: Lake) -> None:
    with opened(lake.contracts, lake.settings, "run", SPARK):
        assert writer_of(lake.table()) == SPARK
    # Read by DuckDB whatever Spark's checkpoints hold.
    properties = lake.table().metadata().configuration
    assert properties["delta.checkpoint.writeStatsAsStruct"] == "false"
    with (
        pytest.raises(LakehouseError, match="is written by spark"),
        opened(lake.contracts, lake.settings, "run"),
    ):
        pass
