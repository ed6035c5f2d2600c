"""Marking for a backfill: which keys the events of some days concern, on a work file by hand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import duckdb
import pytest

from pipelines.backfill import Days, backfill, mark
from pipelines.contract import Contracts, Table, load_contracts
from pipelines.errors import LakehouseError, UsageError
from pipelines.settings import Settings
from pipelines.table_names import tables_called
from tests.unit.events import NARROW

MAY = Days(date(2024, 5, 1), date(2024, 6, 1))
KEYLESS = NARROW.model_copy(update={"key": ()})

# Key, kind and time of each change; all in the increment 'old'.
CHANGES = [
    (1, "c", "2024-04-30 23:59:59.999999+00"),
    (2, "c", "2024-05-01 00:00:00+00"),
    (3, "c", "2024-04-02 00:00:00+00"),
    (3, "d", "2024-05-31 23:59:59.999999+00"),
    (4, "c", "2024-06-01 00:00:00+00"),
]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "state").mkdir()
    return Settings(home=tmp_path, threads=1, memory_limit="500MB", _env_file=None)


@pytest.fixture
def staged(settings: Settings) -> Callable[..., None]:
    """Makes the work file as staging leaves it."""

    def stage(*changes: tuple[int | None, str, str], models: tuple[str, ...] = ("base", "hist")):
        with duckdb.connect(str(settings.warehouse)) as connection:
            connection.execute(
                """create schema staging; create schema state;
                create table state.increment (model varchar, increment_id varchar);
                create table state.consumption (
                    model varchar, upstream varchar, token varchar, status varchar);"""
            )
            for kind in models:
                identity = ", md5(_op || id) as _change_id" if kind == "hist" else ""
                values = ", ".join(
                    f"({'null' if key is None else key}, '{op}', timestamptz '{at}')"
                    for key, op, at in changes
                )
                connection.execute(
                    f"""create table staging.{kind}_thing as
                    select *, 'old' as _increment_id {identity}
                    from (values {values}) as change (id, _op, _source_ts);
                    insert into state.consumption
                    values ('{kind}_thing', '{NARROW.topic}', '', 'reader')"""
                )

    return stage


def marked_keys(settings: Settings, kind: str) -> list[int | None]:
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        rows = connection.execute(
            f"select distinct id from staging.{kind}_thing where _increment_id = 'new' order by id"
        ).fetchall()
        return [key for (key,) in rows]


def increments(settings: Settings) -> list[tuple[str, str]]:
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        return connection.execute("from state.increment order by all").fetchall()


def test_keys_with_an_event_on_these_days_are_marked_in_state_and_history(
    settings: Settings, staged: Callable[..., None]
) -> None:
    staged(*CHANGES)
    (found,) = mark(settings, [NARROW], MAY, "new")
    assert (found.events, found.keys) == (2, 2)
    assert marked_keys(settings, "base") == marked_keys(settings, "hist") == [2, 3]
    assert increments(settings) == [("base_thing", "new"), ("hist_thing", "new")]


@pytest.mark.parametrize("op", ["t", "p"])
def test_an_event_without_key_concerns_every_key(
    settings: Settings, staged: Callable[..., None], op: str
) -> None:
    staged(*CHANGES, (None, op, "2024-05-05 00:00:00+00"))
    (found,) = mark(settings, [NARROW], MAY, "new")
    assert (found.events, found.keys) == (3, 4)
    assert marked_keys(settings, "base") == marked_keys(settings, "hist") == [1, 2, 3, 4, None]


def test_without_a_key_the_changes_themselves_are_marked(
    settings: Settings, staged: Callable[..., None]
) -> None:
    staged(*CHANGES, models=("hist",))
    (found,) = mark(settings, [KEYLESS], MAY, "new")
    assert (found.events, found.keys) == (2, None)
    with duckdb.connect(str(settings.warehouse), read_only=True) as connection:
        rows = "select id, _op from staging.hist_thing where _increment_id = 'new' order by all"
        assert connection.execute(rows).fetchall() == [(2, "c"), (3, "d")]


def test_nothing_is_marked_or_demanded_where_nothing_happened(
    settings: Settings, staged: Callable[..., None]
) -> None:
    staged(*CHANGES)
    assert mark(settings, [NARROW], Days(date(2024, 7, 1), date(2024, 8, 1)), "new") == []
    assert increments(settings) == []
    assert list(settings.state.iterdir()) == []


def test_a_table_without_history_is_refused_and_leaves_no_mark(
    settings: Settings, staged: Callable[..., None]
) -> None:
    staged(*CHANGES, models=("base",))
    with pytest.raises(LakehouseError, match="has no history"):
        mark(settings, [NARROW], MAY, "new")
    assert marked_keys(settings, "base") == []


def test_days_that_end_before_they_begin_are_refused() -> None:
    with pytest.raises(UsageError, match="is not before"):
        Days(MAY.start, MAY.start)


def test_an_unknown_table_or_a_missing_lake_is_told_and_makes_no_folder(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "lake", _env_file=None)
    with pytest.raises(UsageError, match="no contract describes a table nothing"):
        backfill(settings, MAY, ["nothing"])
    with pytest.raises(LakehouseError, match="nothing is built"):
        backfill(settings, MAY)
    assert not settings.home.exists()


def test_a_work_file_that_somebody_has_open_is_told(
    settings: Settings, staged: Callable[..., None]
) -> None:
    staged(*CHANGES)
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(settings.warehouse)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(LakehouseError, match="cannot be opened"):
            mark(settings, [NARROW], MAY, "new")
        holder.communicate("\n")
    assert mark(settings, [NARROW], MAY, "new")


def _named(name: str, namespace: str) -> Table:
    return NARROW.model_copy(update={"name": name, "namespace": namespace})


@pytest.mark.parametrize("name", ["order", "shop.a.order", "shop_a_order", "raw.shop_a_order"])
def test_a_table_is_found_by_name_topic_and_sql_name(name: str) -> None:
    wanted = _named("order", "a")
    assert tables_called(Contracts([_named("other", "a"), wanted]), [name]) == [wanted]


def test_a_name_of_two_tables_is_refused() -> None:
    contracts = Contracts([_named("order", "a"), _named("order", "b")])
    with pytest.raises(UsageError, match="means 2 tables") as caught:
        tables_called(contracts, ["order"])
    assert "shop.a.order, shop.b.order" in caught.value.remedy


def test_without_names_all_tables_are_meant() -> None:
    contracts = load_contracts(Settings(_env_file=None).project_dir)
    assert tables_called(contracts, []) == contracts.tables
