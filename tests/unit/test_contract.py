"""Contracts: what the shipped YAML says, and how a wrong one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.contract import Column, Contracts, Table, load_contracts
from pipelines.errors import LakehouseError
from pipelines.settings import REPOSITORY

GOOD = """
version: 2
sources:
  - name: shop
    config: {meta: {server: shop, namespace: public, connector: postgres}}
    tables:
      - name: thing
        config: {meta: {key: [id]}}
        columns:
          - {name: id, data_type: bigint}
          - {name: mail, data_type: varchar, config: {meta: {pii: hash}}}
"""


def load(folder: Path, text: str, name: str = "sources.yml") -> Contracts:
    file = folder / "dbt" / "models" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return load_contracts(folder / "dbt")


@pytest.fixture(scope="module")
def shipped() -> Contracts:
    return load_contracts(REPOSITORY / "dbt_project")


def test_the_shipped_contract_has_the_nine_tables_of_the_shop_with_their_keys(
    shipped: Contracts,
) -> None:
    assert {table.name: table.key for table in shipped.tables} == {
        "product": ("product_id",),
        "client": ("client_id",),
        "transporter": ("transporter_id",),
        "order": ("order_id",),
        "order_item": ("order_id", "line_no"),
        "sale": ("sale_id",),
        "inventory_movement": ("movement_id",),
        "promotion": ("product_id", "week_start"),
        "client_interaction": ("interaction_id",),
    }
    assert shipped.servers == {"shop"}
    assert {table.connector for table in shipped.tables} == {"postgres"}


def test_the_shipped_contract_drops_names_and_hashes_addresses(shipped: Contracts) -> None:
    rules = {
        f"{table.name}.{column.name}": column.pii
        for table in shipped.tables
        for column in table.columns
        if column.pii
    }
    assert rules == {"client.full_name": "drop", "client.email": "hash", "client.phone": "hash"}
    landed = shipped.by_topic["shop.public.client"].landed_columns
    assert "full_name" not in {column.name for column in landed}


def test_a_table_is_called_by_its_topic_on_disk_and_with_underscores_in_sql(
    shipped: Contracts,
) -> None:
    table = shipped.by_topic["shop.public.order_item"]
    assert (table.topic, table.sql_name) == ("shop.public.order_item", "shop_public_order_item")


def test_a_good_entry_loads(tmp_path: Path) -> None:
    (table,) = load(tmp_path, GOOD).tables
    assert table.topic == "shop.public.thing"
    assert [(c.name, c.type, c.pii) for c in table.columns] == [
        ("id", "bigint", None),
        ("mail", "varchar", "hash"),
    ]
    assert table.has_pii


def test_types_may_be_written_in_other_words() -> None:
    words = {"INT": "integer", "text": "varchar", "Bool": "boolean", "decimal(18, 2)": None}
    for word, name in words.items():
        assert Column(name="x", type=word).type == (name or "decimal(18,2)")
    assert Column(name="x", type="decimal(18, 2)").decimal == (18, 2)


WRONG: dict[str, tuple[str, str, list[str]]] = {
    "an unknown type": ("data_type: bigint", "data_type: biggint", [
        "table thing, column id", "unknown type 'biggint'", "use one of bigint"]),
    "a decimal that is too wide": ("data_type: bigint", "data_type: 'decimal(39,2)'", [
        "column id", "unknown type 'decimal(39,2)'"]),
    "a key that is no column": ("key: [id]", "key: [id, other]", [
        "table thing", "key column 'other' is not among the columns"]),
    "no key": ("config: {meta: {key: [id]}}", "", ["table thing", "key", "write `key:`"]),
    "a key of personal data": ("key: [id]", "key: [mail]", ["'mail' cannot be marked pii"]),
    "an unknown key of a table": ("key: [id]", "key: [id], ky: [id]", [
        "table thing", "unknown key 'ky'", "known keys are server, namespace"]),
    "a topic that Kafka cannot have": ("key: [id]", "key: [id], topic: a b", [
        "table thing: topic: String should match"]),
    "a topic called like a table": (GOOD[GOOD.index("  - name: shop"):], f"""
  - name: more
    config: {{meta: {{server: shop, namespace: other, connector: postgres}}}}
    tables:
      - {{name: all, config: {{meta: {{key: [id], topic: shop.public.thing}}}}, columns: [
          {{name: id, data_type: bigint}}]}}
{GOOD[GOOD.index("  - name: shop"):]}""", [
        "table all: topic shop.public.thing is that of the table", "called like no table"]),
    "a topic beside meta": ("{meta: {key: [id]}}", "{topic: a, meta: {key: [id]}}", [
        "'config.topic' stands in the wrong place"]),
    "an unknown key of a column": ("pii: hash", "pi: hash", [
        "table thing, column mail", "pi", "knows only pii, subject, unit,"]),
    "a rule for personal data that does not exist": ("pii: hash", "pii: hsah", [
        "column mail", "pii", "'hash', 'mask' or 'drop'", "correct the value of pii"]),
    "an unknown connector": ("postgres", "postgresql", ["connector", "'postgres', 'sqlserver'"]),
    "a column twice": ("name: mail", "name: ID", ["table thing", "columns named twice: id"]),
    "a column without type": (", data_type: bigint", "", [
        "column id", "data_type is missing", "use one of"]),
    "a column without name": ("name: id, ", "", ["column (no name)"]),
    "a column called like a partition": ("name: mail", "name: Year", [
        "'year' is taken by the partitions"]),
    "a table without name": ("- name: thing\n        ", "- ", ["'name' is missing"]),
    "a rule outside of meta": ("config: {meta: {pii: hash}}", "meta: {pii: hash}", [
        "column mail", "'meta' stands in the wrong place", "config: {meta: {...}}"]),
    "a rule beside meta": ("config: {meta: {pii: hash}}", "config: {pii: hash}", [
        "column mail", "'config.pii' stands in the wrong place"]),
    "YAML that does not parse": ("sources:", "sources: [", ["is not YAML", "correct the file"]),
    "a file without a mapping": (GOOD, "- a\n- b\n", ["holds no mapping", "version: 2"]),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_entry_is_refused_with_its_place_and_a_remedy(tmp_path: Path, what: str) -> None:
    good, wrong, words = WRONG[what]
    assert good in GOOD
    with pytest.raises(LakehouseError) as caught:
        load(tmp_path, GOOD.replace(good, wrong))
    text = str(caught.value)
    assert "dbt/models/sources.yml" in text
    assert caught.value.remedy
    for word in words:
        assert word in text


def test_a_project_without_models_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LakehouseError, match=r"no dbt project in .*LAKEHOUSE_PROJECT_DIR"):
        load_contracts(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "version: 2\n", "sources:\n  - {name: other, tables: [{name: a}]}\n"]
)
def test_a_project_without_any_contract_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(LakehouseError, match="no contract below"):
        load(tmp_path, text)


def test_a_source_of_dbt_that_names_no_server_is_no_contract(tmp_path: Path) -> None:
    load(tmp_path, GOOD)
    found = load(tmp_path, "sources:\n  - {name: b, tables: [{name: a}]}\n", "other.yml")
    assert list(found.by_topic) == ["shop.public.thing"]


def test_a_topic_of_a_source_is_that_of_its_tables_unless_they_name_another(
    tmp_path: Path,
) -> None:
    second = """      - {name: own, config: {meta: {key: [id], topic: shop.public.own}}, columns: [
          {name: id, data_type: bigint}]}
"""
    text = GOOD.replace("connector: postgres", "connector: postgres, topic: all") + second
    contracts = load(tmp_path, text)
    (before,) = load(tmp_path, GOOD).tables
    told = {table.topic: table.stream_topic for table in contracts.tables}
    assert told == {"shop.public.thing": "all", "shop.public.own": "shop.public.own"}
    assert [table.name for table in contracts.sharing("all")] == ["thing"]
    assert contracts.sharing("shop.public.own") == []
    assert contracts.tables[0].version == before.version


def test_two_contracts_for_one_topic_are_refused_naming_both_files(tmp_path: Path) -> None:
    load(tmp_path, GOOD)
    with pytest.raises(LakehouseError) as caught:
        load(tmp_path, GOOD, "again.yaml")
    for word in ("shop.public.thing", "models/sources.yml", "models/again.yaml", "remove one"):
        assert word in str(caught.value)


def test_the_version_changes_with_whatever_changes_what_is_landed(tmp_path: Path) -> None:
    (before,) = load(tmp_path, GOOD).tables
    assert len(before.version) == 12
    changes = [
        ("bigint", "integer"),
        ("pii: hash", "pii: mask"),
        ("key: [id]", "key: [id], epoch: 1"),
        ("name: mail", "name: email"),
    ]
    versions = {load(tmp_path, GOOD.replace(*change)).tables[0].version for change in changes}
    assert len(versions | {before.version}) == 1 + len(changes)


def test_the_version_stays_when_only_words_change(tmp_path: Path) -> None:
    (before,) = load(tmp_path, GOOD).tables
    words = GOOD.replace("data_type: bigint", "data_type: bigint, description: The number.")
    assert load(tmp_path, words).tables[0].version == before.version


def test_a_table_can_be_made_without_yaml() -> None:
    table = Table(
        name="thing", server="shop", namespace="public", connector="postgres", key=("id",),
        columns=(Column(name="id", type="bigint"),), file="here",
    )  # fmt: skip
    assert not table.has_pii
    assert table.landed_columns == table.columns
