"""Tables that were lost, restored or copied: refused or rebuilt, never landed twice, never lost."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from deltalake import write_deltalake

from pipelines.cdc.ledger import Ledger
from pipelines.errors import LakehouseError
from tests.unit.events import TOPIC, Lake, message, thing, things

LETTERS, MARKS, LEDGER = "_dead_letters", "_dead_letter_resolutions", "_ledger"


def die(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def cut_off_before_the_ledger(lake: Lake) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "commit", die)
        with pytest.raises(KeyboardInterrupt):
            lake.land()


def copy_without_log(lake: Lake, folder: str) -> None:
    """What a table is after somebody has written its rows into a new one."""
    table = lake.table(folder)
    rows, cut_by = table.to_pyarrow_table(), table.metadata().partition_columns
    shutil.rmtree(lake.raw / folder)
    write_deltalake(str(lake.raw / folder), rows, partition_by=cut_by or None)
    assert lake.table(folder).transaction_version(f"{TOPIC}:0") is None


@pytest.fixture
def landed(lake: Lake) -> Lake:
    """Rows, a tombstone, a replayed letter and an open one, of two partitions."""
    lake.deliver(
        *things(0, 3), message(4, None), thing(5, count="x"), thing(6, count="y"),
        *things(0, 1, partition=1),
    )  # fmt: skip
    lake.replay(thing(5), ids=(lake.letters()[0]["letter_id"],))
    return lake


AGAIN = [*things(0, 3), message(4, None), *things(5, 8), *things(0, 3, partition=1)]
ALL = [(0, n) for n in (0, 1, 2, 3, 5, 7, 8)] + [(1, n) for n in range(4)]


@pytest.mark.parametrize("folder", [TOPIC, LEDGER, LETTERS, MARKS])
def test_a_table_copied_without_its_log_goes_on_without_doubles(landed: Lake, folder: str) -> None:
    copy_without_log(landed, folder)
    landed.deliver(*AGAIN, name="b.jsonl")
    assert landed.places() == ALL
    assert len(landed.letters()) == 2
    landed.assert_reconciled()


def test_rows_that_the_ledger_does_not_know_land_once_though_the_log_was_lost(lake: Lake) -> None:
    lake.deliver(*things(0, 3))
    lake.write(things(4, 9), name="b.jsonl")
    cut_off_before_the_ledger(lake)
    copy_without_log(lake, TOPIC)
    lake.land()
    assert lake.offsets() == list(range(10))
    lake.assert_reconciled()


@pytest.mark.parametrize(
    ("folder", "why"),
    [
        (TOPIC, "is gone, but the ledger has counted 7 rows"),
        (LETTERS, "is gone, but the ledger has counted 2 letters"),
        (MARKS, "is gone, but the ledger has counted 1 replayed letters"),
        (LEDGER, "holds rows, but .*_ledger is gone"),
    ],
)
def test_a_table_that_is_gone_is_an_error_and_stays_gone(
    landed: Lake, folder: str, why: str
) -> None:
    shutil.rmtree(landed.raw / folder)
    for go_on in (landed.land, landed.replay):
        with pytest.raises(LakehouseError, match=why) as error:
            go_on()
        assert "backup" in error.value.remedy
    assert not (landed.raw / folder).exists()


@pytest.mark.parametrize("how", ["files of a backup", "restore of Delta"])
def test_a_raw_table_older_than_the_ledger_is_an_error(
    landed: Lake, how: str, tmp_path: Path
) -> None:
    version = landed.table().version()
    shutil.copytree(landed.raw / TOPIC, tmp_path / "backup")
    landed.deliver(*AGAIN, name="b.jsonl")
    if how == "files of a backup":
        shutil.rmtree(landed.raw / TOPIC)
        shutil.move(tmp_path / "backup", landed.raw / TOPIC)
    else:
        landed.table().restore(version)
    with pytest.raises(LakehouseError, match="holds 7 rows, but the ledger has counted 11 rows"):
        landed.land()


def test_raw_and_ledger_of_one_backup_land_what_came_later_anew(
    landed: Lake, tmp_path: Path
) -> None:
    shutil.copytree(landed.raw, tmp_path / "backup")
    landed.deliver(*AGAIN, name="b.jsonl")
    shutil.rmtree(landed.raw)
    shutil.move(tmp_path / "backup", landed.raw)
    landed.land()
    assert landed.places() == ALL
    landed.assert_reconciled()


def test_a_ledger_older_than_its_tables_counts_their_rows_when_they_come_again(
    landed: Lake, tmp_path: Path
) -> None:
    shutil.copytree(landed.raw / LEDGER, tmp_path / "backup")
    landed.deliver(*AGAIN, name="b.jsonl")
    shutil.rmtree(landed.raw / LEDGER)
    shutil.move(tmp_path / "backup", landed.raw / LEDGER)
    landed.land()
    assert landed.places() == ALL
    landed.assert_reconciled()


@pytest.mark.parametrize("folder", [TOPIC, LEDGER, LETTERS, MARKS])
def test_app_transactions_that_may_expire_are_refused(landed: Lake, folder: str) -> None:
    expiry = "delta.setTransactionRetentionDuration"
    table = landed.table(folder)
    table.alter.set_table_properties({expiry: "interval 1 hours"})
    with pytest.raises(LakehouseError, match=expiry) as error:
        landed.land()
    assert str(landed.raw / folder) in error.value.cause
    _, command, _ = error.value.remedy.split('"')
    subprocess.run([sys.executable, "-c", command], check=True)
    landed.deliver(*AGAIN, name="b.jsonl")
    assert landed.places() == ALL


def test_a_first_landing_cut_off_is_no_lost_ledger(lake: Lake) -> None:
    lake.write(things(0, 3))
    cut_off_before_the_ledger(lake)
    lake.land()
    assert lake.offsets() == [0, 1, 2, 3]
    lake.assert_reconciled()
