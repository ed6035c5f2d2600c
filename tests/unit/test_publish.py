"""Publication: only what changed is written, and readers move to it in one step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from pipelines.errors import LakehouseError
from pipelines.lake import publish as publication
from pipelines.lake.publish import (
    MANIFEST,
    PUBLICATION,
    Manifest,
    Source,
    fingerprinted,
    forget_manifests,
    former_manifests,
    publish,
    read_manifest,
    release,
    roll_back,
)

DAILY = Source("marts", "daily", "day")
NAMES = Source("marts", "names")


class Marts:
    """Two finished tables, and what readers of their publication see."""

    def __init__(self, folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self.folder = folder
        self.connection = connection
        self.runs = 0
        self.sources = [DAILY, NAMES]
        self.execute("create schema marts")
        self.execute("create table marts.daily (day date, n integer, _work integer)")
        self.execute("create table marts.names (id integer, name varchar)")
        for day in (1, 2, 3):
            self.execute(f"insert into marts.daily values ('2017-01-0{day}', {day}, 0)")
        self.execute("insert into marts.names values (1, 'Ada'), (2, 'Bob')")

    def execute(self, sql: str) -> None:
        self.connection.execute(sql)

    def publish(self) -> Manifest:
        self.runs += 1
        run_id = f"run {self.runs}"
        return publish(
            self.connection, self.sources, self.folder,
            run_id=run_id, build_id=f"build of {run_id}", business_date="2017-01-03",
        )  # fmt: skip

    def table(self, name: str) -> DeltaTable:
        """The version of a table that the manifest on disk names."""
        manifest = read_manifest(self.folder)
        assert manifest is not None
        entry = manifest.tables[name]
        return DeltaTable(str(self.folder / entry.path), version=entry.version)

    def rows(self, name: str) -> list[Any]:
        rows = self.table(name).to_pyarrow_table().to_pylist()
        return sorted((tuple(row.values()) for row in rows), key=str)

    def expected(self, name: str) -> list[Any]:
        rows = self.connection.execute(f"select columns(c -> c[1] <> '_') from {name}").fetchall()
        return sorted(rows, key=str)

    def versions(self) -> dict[str, int]:
        manifest = read_manifest(self.folder)
        assert manifest is not None
        return {name: table.version for name, table in manifest.tables.items()}

    def files(self, name: str) -> dict[str, str]:
        """Partition folder → file."""
        uris = [uri.split(f"{name.replace('.', '/')}/")[-1] for uri in self.table(name).file_uris()]
        return dict(uri.rsplit("/", 1) for uri in uris)

    def assert_published(self) -> None:
        for source in self.sources:
            assert self.rows(source.full_name) == self.expected(source.full_name)


@pytest.fixture
def marts(tmp_path: Path) -> Iterator[Marts]:
    with duckdb.connect(config={"threads": "1"}) as connection:
        yield Marts(tmp_path / "published", connection)


def test_readers_find_what_was_built_without_its_working_columns(marts: Marts) -> None:
    assert read_manifest(marts.folder) is None
    manifest = marts.publish()
    assert read_manifest(marts.folder) == manifest
    assert (manifest.run_id, manifest.business_date) == ("run 1", "2017-01-03")
    assert marts.table("marts.daily").schema().to_arrow().names == ["day", "n"]
    assert {name: t.rows for name, t in manifest.tables.items()} == {
        "marts.daily": 3, "marts.names": 2, PUBLICATION: 2,
    }  # fmt: skip
    marts.assert_published()


def test_unchanged_tables_keep_their_version(marts: Marts) -> None:
    marts.publish()
    before = marts.versions()
    marts.execute("create or replace table marts.names as from marts.names order by id desc")
    manifest = marts.publish()
    after = marts.versions()
    assert {name for name in after if after[name] != before[name]} == {PUBLICATION}
    assert manifest.tables["marts.names"].run_id == "run 1"


def test_only_changed_parts_are_rewritten(marts: Marts) -> None:
    marts.publish()
    before = marts.files("marts.daily")
    marts.execute("update marts.daily set n = 20 where day = '2017-01-02'")
    marts.execute("insert into marts.daily values ('2017-01-04', 4, 0)")
    marts.publish()
    after = marts.files("marts.daily")
    assert set(after) == {f"day=2017-01-0{day}" for day in (1, 2, 3, 4)}
    assert {part for part in before if before[part] == after[part]} == {
        "day=2017-01-01",
        "day=2017-01-03",
    }
    marts.assert_published()


def test_repeated_rows_are_told_from_single_ones(marts: Marts) -> None:
    marts.publish()
    marts.execute("insert into marts.names values (1, 'Ada'), (1, 'Ada')")
    marts.publish()
    marts.assert_published()


def test_vanished_parts_vanish(marts: Marts) -> None:
    marts.publish()
    marts.execute("delete from marts.daily where day = '2017-01-02'")
    marts.publish()
    assert set(marts.files("marts.daily")) == {"day=2017-01-01", "day=2017-01-03"}
    marts.assert_published()


def test_a_table_that_became_empty_is_published_empty_and_fills_again(marts: Marts) -> None:
    marts.publish()
    for change in ("delete from marts.daily", "delete from marts.names"):
        marts.execute(change)
    marts.publish()
    marts.assert_published()
    marts.execute("insert into marts.daily values ('2017-01-09', 9, 0)")
    marts.publish()
    marts.assert_published()


def test_rows_without_a_date_are_published_and_replaced_too(marts: Marts) -> None:
    marts.execute("insert into marts.daily values (null, 7, 0)")
    marts.publish()
    marts.assert_published()
    marts.execute("update marts.daily set n = 8 where day is null")
    marts.publish()
    marts.assert_published()


def test_a_changed_schema_is_published(marts: Marts) -> None:
    marts.publish()
    marts.execute("alter table marts.names add column city varchar")
    marts.execute("alter table marts.daily alter column n type bigint")
    marts.publish()
    assert marts.table("marts.names").schema().to_arrow().names == ["id", "name", "city"]
    assert marts.table("marts.daily").to_pyarrow_table().schema.field("n").type == pa.int64()
    marts.assert_published()


def test_a_table_that_is_no_longer_built_leaves_the_manifest(marts: Marts) -> None:
    marts.publish()
    marts.sources = [NAMES]
    assert set(marts.publish().tables) == {"marts.names", PUBLICATION}


@pytest.mark.parametrize("place", ["_publish_record", "replace_text"])
def test_a_crash_before_the_manifest_leaves_readers_on_the_old_run(
    marts: Marts, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    marts.publish()
    before = {name: marts.rows(name) for name in ("marts.daily", "marts.names")}
    marts.execute("update marts.daily set n = 20 where day = '2017-01-02'")
    marts.execute("update marts.names set name = 'Cy' where id = 1")
    with monkeypatch.context() as patch:
        patch.setattr(publication, place, crash)
        with pytest.raises(KeyboardInterrupt):
            marts.publish()
    manifest = read_manifest(marts.folder)
    assert manifest is not None
    assert manifest.run_id == "run 1"
    assert {name: marts.rows(name) for name in before} == before
    # The build is taken back: the versions that nobody refers to must not be taken for it.
    marts.execute("update marts.daily set n = 2 where day = '2017-01-02'")
    marts.publish()
    marts.assert_published()
    assert (
        marts.table("marts.daily").version()
        == DeltaTable(str(marts.folder / "marts" / "daily")).version()
    )


def test_a_fingerprint_made_by_a_reader_follows_the_rows_alone(marts: Marts) -> None:
    """As of a publication that keeps none: Trino's."""
    table = marts.publish().tables["marts.names"]
    bare = replace(table, columns=[], parts={})
    first = fingerprinted(marts.connection, "marts.names", bare)
    assert first.content_hash == table.content_hash
    marts.execute("create or replace table marts.names as from marts.names order by id desc")
    turned = fingerprinted(marts.connection, "marts.names", replace(bare, version=9))
    assert turned.content_hash == first.content_hash
    marts.execute("update marts.names set name = 'Eve' where id = 1")
    assert fingerprinted(marts.connection, "marts.names", bare).content_hash != first.content_hash


def test_the_manifest_is_replaced_as_a_whole(marts: Marts) -> None:
    marts.publish()
    with (marts.folder / MANIFEST).open() as slow_reader:
        start = slow_reader.read(20)
        marts.publish()
        assert json.loads(start + slow_reader.read())["run_id"] == "run 1"
    assert json.loads((marts.folder / MANIFEST).read_text())["run_id"] == "run 2"
    assert [path.name for path in marts.folder.iterdir() if path.is_file()] == [MANIFEST]


def test_the_publication_table_tells_run_and_version_of_each_table(marts: Marts) -> None:
    marts.publish()
    marts.execute("insert into marts.names values (3, 'Cy')")
    marts.publish()
    rows = marts.table(PUBLICATION).to_pyarrow_table().to_pylist()
    assert {row["table_name"]: (row["run_id"], row["row_count"]) for row in rows} == {
        "marts.daily": ("run 1", 3),
        "marts.names": ("run 2", 3),
    }
    assert {row["published_in_run"] for row in rows} == {"run 2"}
    assert {row["table_name"]: row["version"] for row in rows} == {
        name: version for name, version in marts.versions().items() if name != PUBLICATION
    }


def test_readers_go_back_to_a_former_publication_and_are_held_there(marts: Marts) -> None:
    marts.publish()
    former = marts.rows("marts.names")
    marts.execute("insert into marts.names values (3, 'Cy')")
    marts.publish()
    assert [m.version for m in former_manifests(marts.folder)] == [1, 0]
    held = roll_back(marts.folder, 0)
    assert held.is_held
    assert marts.rows("marts.names") == former
    assert read_manifest(marts.folder) == held
    release(marts.folder)
    manifest = read_manifest(marts.folder)
    assert manifest is not None
    assert not manifest.is_held
    assert marts.rows("marts.names") == former, "released, not moved"
    marts.publish()
    marts.assert_published()
    assert [m.version for m in former_manifests(marts.folder)] == [2, 1, 0]


def test_nobody_goes_back_to_what_is_gone(marts: Marts) -> None:
    marts.publish()
    marts.execute("update marts.names set name = 'Eve'")
    marts.publish()
    before = (marts.folder / MANIFEST).read_text()
    with pytest.raises(LakehouseError, match="there is no publication 7"):
        roll_back(marts.folder, 7)
    (gone,) = DeltaTable(str(marts.folder / "marts" / "names"), version=0).file_uris()
    Path(gone.removeprefix("file://")).unlink()
    with pytest.raises(LakehouseError, match=r"marts\.names has no version 0 any more"):
        roll_back(marts.folder, 0)
    assert (marts.folder / MANIFEST).read_text() == before
    forget_manifests(marts.folder)
    assert [m.version for m in former_manifests(marts.folder)] == [1]
