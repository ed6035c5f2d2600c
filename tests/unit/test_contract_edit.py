"""Writing into contracts: only what was meant changes, and never into something that is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipelines.contract import load_contracts
from pipelines.contract_edit import edited, meta_of
from pipelines.errors import LakehouseError
from pipelines.settings import REPOSITORY

FILE = "models/staging/shop/_shop__sources.yml"
TOPIC = "shop.public.product"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "dbt" / FILE).parent.mkdir(parents=True)
    shutil.copy(REPOSITORY / "dbt_project" / FILE, tmp_path / "dbt" / FILE)
    return tmp_path / "dbt"


def test_only_the_line_that_was_meant_changes(project: Path) -> None:
    before = (project / FILE).read_text().splitlines()
    with edited(project, load_contracts(project).by_topic[TOPIC]) as entry:
        meta_of(entry)["epoch"] = 1
    after = (project / FILE).read_text().splitlines()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [
        (
            "        config: {meta: {key: [product_id]}}",
            "        config: {meta: {key: [product_id], epoch: 1}}",
        )
    ]
    assert load_contracts(project).by_topic[TOPIC].epoch == 1


def test_an_entry_without_config_gets_one(project: Path) -> None:
    with edited(project, load_contracts(project).by_topic[TOPIC]) as entry:
        meta_of(entry["columns"][1])["toast"] = True
    columns = {c.name: c for c in load_contracts(project).by_topic[TOPIC].columns}
    assert columns["name"].toast is True


def test_nothing_is_written_where_nothing_changed(project: Path) -> None:
    # Formatted in a way that this program would not choose.
    text = (project / FILE).read_text().replace("version: 2", "version:   2")
    (project / FILE).write_text(text)
    with edited(project, load_contracts(project).by_topic[TOPIC]):
        pass
    assert (project / FILE).read_text() == text


def test_a_change_that_makes_the_contract_wrong_is_taken_back(project: Path) -> None:
    before = (project / FILE).read_bytes()
    with (
        pytest.raises(LakehouseError, match="key column 'nobody'"),
        edited(project, load_contracts(project).by_topic[TOPIC]) as entry,
    ):
        meta_of(entry)["key"] = ["nobody"]
    assert (project / FILE).read_bytes() == before
    assert sorted(p.name for p in (project / FILE).parent.iterdir()) == ["_shop__sources.yml"]


def test_an_error_on_the_way_changes_nothing(project: Path) -> None:
    before = (project / FILE).read_bytes()
    table = load_contracts(project).by_topic[TOPIC]

    def interrupted() -> None:
        with edited(project, table) as entry:
            meta_of(entry)["epoch"] = 1
            raise InterruptedError

    with pytest.raises(InterruptedError):
        interrupted()
    assert (project / FILE).read_bytes() == before


def test_a_table_that_went_from_its_file_is_told(project: Path) -> None:
    table = load_contracts(project).by_topic[TOPIC]
    text = (project / FILE).read_text().replace("- name: product\n", "- name: article\n")
    (project / FILE).write_text(text)
    with (
        pytest.raises(LakehouseError, match="no longer holds the table product"),
        edited(project, table),
    ):
        pass
