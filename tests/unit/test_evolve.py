"""Raw tables follow their contracts: wider types, new columns, and the values kept for these."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from deltalake.exceptions import CommitFailedError

from pipelines.cdc import evolve
from pipelines.cdc import land as landing
from pipelines.cdc.capture import CaptureFile
from pipelines.cdc.evolve import is_wider
from pipelines.cdc.land import _TopicLander
from pipelines.cdc.ledger import Ledger
from pipelines.contract import Column, Contracts, Table
from pipelines.errors import LakehouseError
from pipelines.lake.tables import CONTRACT, contract_mark
from tests.unit.events import BRIEF, NARROW, TOPIC, Lake, thing, things

HAT = Column(name="hat", type="varchar")
WIDE = Column(name="count", type="bigint")


def table(*columns: Column, base: Table = NARROW) -> Table:
    """The contract of `thing` with these columns in the place of those of their names, or added."""
    changed = {column.name: column for column in base.columns}
    changed |= {column.name: column for column in columns}
    return base.model_copy(update={"columns": tuple(changed.values())})


def under(lake: Lake, *columns: Column) -> Lake:
    """The same lake with a changed contract."""
    return Lake(lake.folder, Contracts([table(*columns)]))


def kept(lake: Lake) -> list[Any]:
    """`_extra` of every row, opened."""
    texts = [row["_extra"] for row in lake.rows()]
    return [text and json.loads(lake.masker.unseal_json(text)) for text in texts]


# Wider types

DECIMAL = pa.decimal128
WIDER = [
    (pa.int16(), pa.int32()),
    (pa.int32(), pa.int64()),
    (pa.int16(), pa.int64()),
    (pa.int32(), DECIMAL(12, 2)),
    (pa.int64(), DECIMAL(19, 0)),
    (DECIMAL(10, 2), DECIMAL(12, 4)),
    (DECIMAL(10, 2), DECIMAL(11, 2)),
]
NOT_WIDER = [
    (pa.int64(), pa.int32()),
    (pa.int32(), pa.int32()),
    (pa.int32(), pa.string()),
    (pa.int32(), pa.float64()),
    (pa.int32(), DECIMAL(11, 2)),
    (pa.float64(), DECIMAL(38, 10)),
    (DECIMAL(10, 2), DECIMAL(11, 4)),
    (DECIMAL(10, 2), DECIMAL(10, 1)),
    (DECIMAL(10, 2), DECIMAL(10, 2)),
    (DECIMAL(10, 0), pa.int64()),
]


def test_wider_is_what_holds_every_value_unchanged() -> None:
    assert [is_wider(*pair) for pair in WIDER] == [True] * len(WIDER)
    assert [is_wider(*pair) for pair in NOT_WIDER] == [False] * len(NOT_WIDER)


def test_a_wider_type_rewrites_the_table_in_one_commit_that_keeps_all_else(lake: Lake) -> None:
    lake.deliver(*things(0, 3), thing(4, hat="red", ts_us=1_520_000_000_000_000))
    before, version, metadata = lake.rows(), lake.table().version(), lake.table().metadata()
    wide = under(lake, WIDE, Column(name="id", type="decimal(20,1)"))
    wide.land()
    after = wide.table()
    assert after.version() == version + 1
    types = pa.schema(after.schema())
    assert (types.field("count").type, types.field("id").type) == (pa.int64(), DECIMAL(20, 1))
    assert wide.rows() == before
    assert after.transaction_version(f"{TOPIC}:0") == 4
    assert (after.metadata().id, after.metadata().partition_columns) == (
        metadata.id,
        ["year", "month"],
    )
    wide.deliver(thing(5, count=3_000_000_000), name="b.jsonl")
    assert wide.rows()[-1]["count"] == 3_000_000_000
    wide.assert_reconciled()


def test_a_table_that_has_been_brought_to_its_contract_is_left_alone(lake: Lake) -> None:
    lake.deliver(thing(0))
    wide = under(lake, WIDE)
    wide.land()
    version = wide.table().version()
    wide.land()
    assert wide.table().version() == version


@pytest.mark.parametrize(
    "column", [Column(name="count", type="smallint"), Column(name="count", type="varchar")]
)
def test_any_other_change_of_type_is_refused(lake: Lake, column: Column) -> None:
    lake.deliver(thing(0))
    with pytest.raises(LakehouseError, match=r"table thing, column count.*not narrower") as refused:
        under(lake, column).land()
    assert "put the former type back" in refused.value.remedy


def test_a_column_that_the_contract_no_longer_names_is_refused(lake: Lake) -> None:
    lake.deliver(thing(0))
    fewer = NARROW.model_copy(update={"columns": NARROW.columns[:2]})
    with pytest.raises(LakehouseError, match="column count: the raw table holds it") as refused:
        Lake(lake.folder, Contracts([fewer])).land()
    assert "dropped: true" in refused.value.remedy


def test_the_commit_that_follows_a_contract_names_its_run(lake: Lake) -> None:
    lake.deliver(thing(0, hat="red"))
    for contract in (
        under(lake, WIDE, HAT),
        under(lake, WIDE, HAT, Column(name="bag", type="date")),
    ):
        contract.land()
        (commit,) = contract.table().history(1)
        assert commit["schema_version"] == contract.contracts.tables[0].version
        assert commit["run_id"]


# Beside others, and after crashes


def overtaken(monkeypatch: pytest.MonkeyPatch, by: Callable[[], object]) -> None:
    """Let something happen once, after the rewriting has read its version and before it commits."""
    genuine = evolve.write_deltalake

    def late(*args: Any, **kwargs: Any) -> None:
        monkeypatch.setattr(evolve, "write_deltalake", genuine)
        by()
        genuine(*args, **kwargs)

    monkeypatch.setattr(evolve, "write_deltalake", late)


def lander(lake: Lake) -> _TopicLander:
    """A landing under the lake's contract that has begun, in another process."""
    return _TopicLander(
        TOPIC,
        lake.contracts,
        lake.settings,
        landing.connect(lake.settings),
        lake.masker,
        Ledger(lake.raw),
        "other",
    )


def test_rows_that_land_while_the_table_is_rewritten_are_rewritten_too(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.deliver(thing(0, hat="red"))
    other = lander(lake)
    file = CaptureFile(TOPIC, lake.write([thing(1, hat="blue")], name="b.jsonl"))
    overtaken(monkeypatch, lambda: other.land_file(file))
    evolved = under(lake, WIDE, HAT)
    evolved.land()
    assert [row["hat"] for row in evolved.rows()] == ["red", "blue"]
    assert kept(evolved) == [None, None]
    evolved.assert_reconciled()


def test_a_compaction_while_the_table_is_rewritten_doubles_nothing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.deliver(thing(0))
    lake.deliver(thing(1), name="b.jsonl")
    overtaken(monkeypatch, lambda: lake.table().optimize.compact())
    wide = under(lake, WIDE)
    wide.land()
    assert wide.offsets() == [0, 1]


def test_a_landing_under_the_former_contract_is_refused_and_its_rows_are_not_lost(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.deliver(thing(0))
    other = lander(lake)
    file = CaptureFile(TOPIC, lake.write([thing(1, hat="blue")], name="b.jsonl"))
    evolved = under(lake, WIDE, HAT)
    genuine = landing.append
    refused = []

    def late(*args: Any, **kwargs: Any) -> None:
        monkeypatch.setattr(landing, "append", genuine)
        (lake.inbox / TOPIC / "b.jsonl").rename(lake.folder / "b.jsonl")
        evolved.land()
        (lake.folder / "b.jsonl").rename(lake.inbox / TOPIC / "b.jsonl")
        try:
            genuine(*args, **kwargs)
        except CommitFailedError:
            refused.append(True)
            raise

    monkeypatch.setattr(landing, "append", late)
    with pytest.raises(LakehouseError, match=r"contract of .* has changed since") as told:
        other.land_file(file)
    assert refused == [True]
    assert told.value.remedy.startswith("land again")
    evolved.land()
    assert [(row["_offset"], row["hat"]) for row in evolved.rows()] == [(0, None), (1, "blue")]
    evolved.assert_reconciled()


def test_who_keeps_committing_is_told_to_stop(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.deliver(thing(0))

    def refused(*args: Any, **kwargs: Any) -> None:
        raise CommitFailedError("0")

    monkeypatch.setattr(evolve, "write_deltalake", refused)
    with pytest.raises(LakehouseError, match="keeps committing") as told:
        under(lake, WIDE).land()
    assert "stop the landings" in told.value.remedy


@pytest.mark.parametrize("after", [False, True], ids=["before the commit", "after the commit"])
def test_a_crash_leaves_the_table_as_it_was_or_whole(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    lake.deliver(thing(0, hat="red"), thing(1))
    genuine = evolve.write_deltalake

    def dying(*args: Any, **kwargs: Any) -> None:
        if after:
            genuine(*args, **kwargs)
        raise InterruptedError

    monkeypatch.setattr(evolve, "write_deltalake", dying)
    evolved = under(lake, WIDE, HAT)
    with pytest.raises(InterruptedError):
        evolved.land()
    assert lake.offsets() == [0, 1]
    monkeypatch.setattr(evolve, "write_deltalake", genuine)
    evolved.land()
    assert [(row["hat"], row["_extra"]) for row in evolved.rows()] == [("red", None), (None, None)]
    evolved.assert_reconciled()


# Values kept in _extra


def test_a_new_column_takes_its_values_out_of_extra(lake: Lake) -> None:
    lake.deliver(
        thing(0, hat="red", coat="long"),
        thing(1, hat=None),
        thing(2),
        thing(3, coat="short"),
    )
    evolved = under(lake, HAT)
    version = lake.table().version()
    evolved.land()
    assert evolved.table().version() == version + 1
    assert [row["hat"] for row in evolved.rows()] == ["red", None, None, None]
    assert kept(evolved) == [{"coat": "long"}, None, None, {"coat": "short"}]


def test_values_are_typed_as_the_landing_types_them_and_misfits_stay(
    lake: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    lake.deliver(thing(0, size="12.50"), thing(1, size="12.505"), thing(2, size=3))
    evolved = under(lake, Column(name="size", type="decimal(6,2)"))
    evolved.land()
    assert [row["size"] for row in evolved.rows()] == [Decimal("12.50"), None, Decimal("3.00")]
    assert kept(evolved) == [None, {"size": "12.505"}, None]
    wider = under(lake, Column(name="size", type="decimal(8,3)"))
    wider.land()
    assert [row["size"] for row in wider.rows()][1] == Decimal("12.505")
    assert kept(wider) == [None, None, None]


def test_infinite_and_finer_times_stay_beside_their_rows(lake: Lake) -> None:
    lake.deliver(
        thing(0, at="infinity"), thing(1, at="2024-05-06T10:00:00.123456789Z"), thing(2, at="x")
    )
    first = under(lake, Column(name="at", type="timestamp"))
    first.land()
    expected = [None, datetime(2024, 5, 6, 10, 0, 0, 123456, UTC), None]
    told = [{"at": "infinity"}, {"at": "2024-05-06T10:00:00.123456789Z"}, {"at": "x"}]
    assert [row["at"] for row in first.rows()] == expected
    assert kept(first) == told
    again = under(lake, Column(name="at", type="timestamp"), WIDE)
    again.land()
    assert [row["at"] for row in again.rows()] == expected
    assert kept(again) == told


def test_without_such_rows_a_column_is_added_by_metadata_alone(lake: Lake) -> None:
    lake.deliver(thing(0, coat="long"))
    files = lake.table().file_uris()
    evolved = under(lake, HAT)
    evolved.land()
    assert evolved.table().file_uris() == files
    assert evolved.row()["hat"] is None
    assert evolved.table().transaction_version(CONTRACT) == contract_mark(table(HAT))


def test_a_marker_counts_as_not_sent_in_a_toast_column_and_as_a_misfit_elsewhere(
    lake: Lake,
) -> None:
    marker = "__debezium_unavailable_value"
    lake.deliver(thing(0, big=marker, other=marker))
    evolved = under(
        lake, Column(name="big", type="varchar", toast=True), Column(name="other", type="varchar")
    )
    evolved.land()
    row = evolved.row()
    assert (row["big"], row["other"], row["_unavailable"]) == (None, None, ["big"])
    assert kept(evolved) == [{"other": marker}]


@pytest.mark.parametrize("sealed", [False, True])
def test_personal_data_is_masked_sealed_and_dropped(lake: Lake, sealed: bool) -> None:
    label = Column(name="label", type="varchar", pii="mask")
    first = under(lake, label) if sealed else lake
    first.deliver(thing(0, mail="ada@example.org", ssn="123-45", note="left"))
    evolved = under(
        lake,
        label,
        Column(name="mail", type="varchar", pii="hash"),
        Column(name="ssn", type="bigint", pii="drop"),
    )
    evolved.land()
    row = evolved.row()
    assert row["mail"] == lake.masker.hash("ada@example.org")
    assert "ssn" not in row
    assert not row["_extra"].startswith("{")
    assert kept(evolved) == [{"note": "left"}]


def test_a_field_that_is_only_to_be_dropped_goes_too(lake: Lake) -> None:
    lake.deliver(thing(0, ssn="123-45"))
    evolved = under(lake, Column(name="ssn", type="varchar", pii="drop"))
    evolved.land()
    assert evolved.row()["_extra"] is None


def test_a_replay_brings_the_table_to_its_contract_first(lake: Lake) -> None:
    lake.deliver(thing(0, count=3_000_000_000), thing(1))
    assert lake.reasons() == ["wrong_type"]
    wide = under(lake, WIDE)
    assert wide.replay().counts == {"landed": 1}
    assert [row["count"] for row in wide.rows()] == [3_000_000_000, BRIEF["count"]]
    wide.assert_reconciled()
