"""Two states of a table, and what keeps a preview from being built."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import duckdb
import pytest

from pipelines.commands.preview import show
from pipelines.errors import LakehouseError, UsageError
from pipelines.green_project import keep_project, put_kept_project
from pipelines.lake.publish import Manifest, Published
from pipelines.preview.build import preview
from pipelines.preview.diff import TableDiff, compare
from pipelines.settings import Settings
from pipelines.targets import refuse_server
from pipelines.terminal import out
from pipelines.transform import green_build_id


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


def diff(
    connection: duckdb.DuckDBPyConnection,
    before: str,
    after: str,
    key: tuple[str, ...] = ("id",),
    examples: int = 3,
) -> TableDiff:
    connection.execute(f"create or replace table before as {before}")
    connection.execute(f"create or replace table after as {after}")
    return compare(connection, "marts.thing", "before", "after", key, examples)


ROWS = (
    "select * from (values (1, 'a', 1.5::double), (2, 'b', 2.5), (3, null, null)) as t (id, v, x)"
)


def test_rows_are_told_by_key_and_column(connection: duckdb.DuckDBPyConnection) -> None:
    rows = "(2, 'b', 2.5::double), (3, 'c', null), (4, 'd', 4.5)"
    after = f"select * from (values {rows}) as t (id, v, x)"
    found = diff(connection, ROWS, after)
    assert (found.state, found.rows_before, found.rows_after) == ("differs", 3, 3)
    assert (found.added, found.removed, found.changed) == (1, 1, 1)
    assert found.columns == {"v": 1}
    assert [asdict(example) for example in found.examples] == [
        {"kind": "added", "key": {"id": 4}, "values": {"v": "d", "x": 4.5}},
        {"kind": "removed", "key": {"id": 1}, "values": {"v": "a", "x": 1.5}},
        {"kind": "changed", "key": {"id": 3}, "values": {"v": [None, "c"]}},
    ]
    assert diff(connection, ROWS, after, examples=0).examples == []


def test_what_is_the_same_in_another_order_is_the_same(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    found = diff(connection, ROWS, f"{ROWS} order by id desc")
    assert (found.state, found.examples) == ("same", [])


def test_the_last_digits_of_a_float_and_columns_of_the_build_do_not_count(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    before = "select 1 as id, 0.1::double + 0.2::double as x, 'one' as _increment_id"
    assert diff(connection, before, "select 1 as id, 0.3::double as x").state == "same"
    assert diff(connection, before, "select 1 as id, 0.30001::double as x").columns == {"x": 1}
    assert diff(connection, before, "select 1 as id, null::double as x").columns == {"x": 1}


def test_a_key_may_be_empty_and_of_several_columns(connection: duckdb.DuckDBPyConnection) -> None:
    before = "select * from (values (1, null, 5), (1, 2, 6)) as t (a, b, v)"
    after = "select * from (values (1, null, 7), (1, 2, 6)) as t (a, b, v)"
    found = diff(connection, before, after, ("a", "b"))
    assert (found.added, found.removed, found.changed) == (0, 0, 1)


@pytest.mark.parametrize("key", [(), ("gone",)])
def test_without_a_key_a_changed_row_is_one_removed_and_one_added(
    connection: duckdb.DuckDBPyConnection, key: tuple[str, ...]
) -> None:
    before = "select * from (values (1, 'a'), (1, 'a'), (2, 'b')) as t (id, v)"
    found = diff(connection, before, "select * from (values (1, 'a'), (2, 'c')) as t (id, v)", key)
    assert (found.key, found.added, found.removed, found.changed) == ([], 1, 2, 0)
    assert [(example.kind, example.values) for example in found.examples] == [
        ("added", {"id": 2, "v": "c"}),
        ("removed", {"id": 1, "v": "a"}),
        ("removed", {"id": 2, "v": "b"}),
    ]


def test_columns_that_come_go_and_change_their_type_are_told(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    found = diff(
        connection,
        "select 1 as id, 'x' as former, 7 as n, 'two' as word",
        "select 1 as id, 'y' as latter, '7' as n, 2 as word",
    )
    assert found.state == "differs"
    assert found.columns_added == ["latter VARCHAR"]
    assert found.columns_removed == ["former VARCHAR"]
    assert found.columns_retyped == {"n": ["INTEGER", "VARCHAR"], "word": ["VARCHAR", "INTEGER"]}
    assert (found.changed, found.columns) == (1, {"word": 1})


def test_a_table_of_nothing_but_its_key_can_be_compared(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    found = diff(connection, "select 1 as id", "select unnest([1, 2]) as id")
    assert (found.added, found.removed, found.changed) == (1, 0, 0)


def test_differences_are_shown_as_a_table_with_examples(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    found = diff(
        connection,
        "select 1 as id, 'a' as v, 7 as former",
        "select * from (values (1, null), (2, '[b]')) as t (id, v)",
    )
    with out.capture() as captured:
        show([found, TableDiff("marts.away", "gone", rows_before=5, removed=5)])
    told = captured.get()
    (row,) = [line for line in told.splitlines() if "marts.thing " in line]
    assert [cell.strip() for cell in row.split("│")[1:-1]] == [
        "marts.thing", "differs", "id", "1 → 2", "1", "0", "1", "v 1",
    ]  # fmt: skip
    assert "- former INTEGER" in told
    assert "5 → –" in told
    assert 'marts.thing: changed {"id": 1} v: a → null' in told
    assert 'marts.thing: added {"id": 2, "v": "[b]"}' in told


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "lake", pii_key="a key only for tests", _env_file=None)


def built(settings: Settings) -> str:
    """Leave what a green build leaves; returns how it is called."""
    settings.state.mkdir(parents=True)
    settings.warehouse.touch()
    (settings.state / "last-green-build.json").write_text('{"news": {"project": "1"}}')
    found = green_build_id(settings)
    assert found is not None
    return found


def published(settings: Settings, build_id: str, *, is_held: bool = False) -> None:
    record = Published("marts/_publication", 7, 0, "run", [], {})
    manifest = Manifest(
        "run", build_id, "2017-12-31", None, {"marts._publication": record}, is_held
    )
    settings.published.mkdir(parents=True)
    (settings.published / "manifest.json").write_text(json.dumps(asdict(manifest)))


def refused(settings: Settings) -> LakehouseError:
    with pytest.raises(LakehouseError) as caught:
        preview(settings)
    return caught.value


def test_before_the_first_publication_there_is_nothing_to_compare_with(settings: Settings) -> None:
    told = refused(settings)
    assert "nothing is published" in told.cause
    assert "lakehouse run" in told.remedy


@pytest.mark.parametrize(("is_held", "remedy"), [(True, "publish --latest"), (False, "run")])
def test_readers_of_another_build_than_the_last_are_told(
    settings: Settings, is_held: bool, remedy: str
) -> None:
    built(settings)
    published(settings, "another", is_held=is_held)
    told = refused(settings)
    assert "readers do not see what the last run has built" in told.cause
    assert remedy in told.remedy


def test_a_build_of_before_kept_no_project(settings: Settings) -> None:
    published(settings, built(settings))
    told = refused(settings)
    assert "is not kept" in told.cause
    assert "lakehouse run" in told.remedy


def test_a_server_has_no_preview(settings: Settings) -> None:
    with pytest.raises(UsageError, match="of the target embedded"):
        refuse_server(settings.model_copy(update={"target": "trino"}), "lakehouse preview")


def test_another_place_of_the_lake_is_no_change_of_its_sources(
    settings: Settings, tmp_path: Path
) -> None:
    settings.state.mkdir(parents=True)
    artifacts = tmp_path / "dbt"
    artifacts.mkdir()
    text = json.dumps({"location": f"delta_scan('{settings.home}/raw/{{name}}')"})
    (artifacts / "manifest.json").write_text(text)
    keep_project(settings, artifacts)
    own = settings.model_copy(update={"home": tmp_path / "own"})
    told = json.loads((put_kept_project(settings, own) / "manifest.json").read_text())
    assert told == {"location": f"delta_scan('{tmp_path}/own/raw/{{name}}')"}
