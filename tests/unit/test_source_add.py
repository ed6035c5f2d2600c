"""Drafting a source from its schema: no server is asked."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines import cli
from pipelines.contract import Column, Contracts, Table, load_contracts
from pipelines.errors import LakehouseError, UsageError
from pipelines.source import draft as drafting
from pipelines.source import mariadb_types
from pipelines.source.draft import Draft, draft
from pipelines.source.draft_contract import scalar
from pipelines.source.personal import guess, words
from pipelines.source.postgres_types import contract_type, is_large
from pipelines.source.reader import read_schema
from pipelines.source.schema import SourceColumn, SourceSchema, SourceTable

ID = SourceColumn("id", "bigint", "int8", "bigint")
TEXT = SourceColumn("label", "text", "text", "varchar", is_large=True)


def column(name: str, base: str = "int4", type: str | None = "integer") -> SourceColumn:  # noqa: A002
    return SourceColumn(name, base, base, type)


def table(name: str = "thing", *columns: SourceColumn, **told: object) -> SourceTable:
    key = told.pop("key", ("id",))
    return SourceTable(name, (ID, *columns), key=key, **told)  # type: ignore[arg-type]


def drafted(*tables: SourceTable, server: str | None = None, **told: object) -> Draft:
    schema = SourceSchema("postgres", "library", "public", tables, {}, **told)  # type: ignore[arg-type]
    return draft(schema, server=server)


def file(draft: Draft, ending: str) -> str:
    (name,) = (name for name in draft.files if name.endswith(ending))
    return draft.files[name]


def contracts_of(draft: Draft, folder: Path) -> Contracts:
    drafting.write(draft, folder)
    return load_contracts(folder / "dbt_project")


# Types


def numeric(precision: int, scale: int) -> int:
    """PostgreSQL's modifier of numeric(precision, scale)."""
    return (precision << 16 | scale & 0x7FF) + 4


@pytest.mark.parametrize(
    ("base", "modifier", "expected"),
    [
        ("int2", -1, "smallint"),
        ("oid", -1, "bigint"),
        ("float4", -1, "double"),
        ("numeric", numeric(10, 2), "decimal(10,2)"),
        ("numeric", numeric(38, 0), "decimal(38,0)"),
        ("numeric", numeric(3, -2), "decimal(5,0)"),
        ("numeric", numeric(3, 5), "decimal(5,5)"),
        ("numeric", numeric(39, 2), "varchar"),
        ("numeric", -1, "varchar"),
        ("money", -1, "decimal(19,2)"),
        ("bit", 1, "boolean"),
        ("bit", 8, "varchar"),
        ("timestamp", -1, "timestamp"),
        ("time", -1, "varchar"),
        ("interval", -1, "varchar"),
        ("jsonb", -1, "varchar"),
        ("bytea", -1, "varchar"),
        ("enum", -1, "varchar"),
        ("uuid", -1, "varchar"),
        ("text[]", -1, "varchar"),
        ("daterange", -1, "varchar"),
        ("name", -1, None),
        ("tsquery", -1, None),
        ("pair", -1, None),
        ("tsquery[]", -1, None),
    ],
)
def test_a_type_is_what_the_connector_sends_of_it(
    base: str, modifier: int, expected: str | None
) -> None:
    found, note = contract_type(base, modifier, 0)
    assert found == expected
    if expected is None:
        assert note
    else:
        assert Column(name="c", type=expected).type == expected


def test_an_array_of_several_dimensions_is_left_out() -> None:
    assert contract_type("int4[]", -1, 1)[0] == "varchar"
    assert contract_type("int4[]", -1, 2)[0] is None


@pytest.mark.parametrize("base", ["numeric", "time", "interval", "bytea", "timestamp"])
def test_what_is_no_type_of_the_contract_says_how_it_is_written(base: str) -> None:
    assert contract_type(base, -1, 0)[1]


def test_values_may_be_left_out_of_updates_where_nothing_bounds_their_length() -> None:
    assert [is_large("text", -1), is_large("varchar", 4 + 500), is_large("int4[]", -1)] == [
        True
    ] * 3
    assert [is_large("varchar", 4 + 499), is_large("uuid", -1), is_large("enum", -1)] == [False] * 3


# Personal data


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("email", "hash"), ("EMail", "hash"), ("contact_email_2", "hash"), ("phone1", "hash"),
        ("mobile_phone", "hash"), ("dateOfBirth", "hash"), ("IBAN", "hash"), ("ssn", "hash"),
        ("first_name", "drop"), ("LastName", "drop"), ("password_hash", "drop"),
        ("street", "drop"), ("billing_address", "drop"), ("notes", "drop"), ("zip_code", "mask"),
        ("name", None), ("hotel", None), ("emailed_at", None), ("opinion", None),
        ("shipping_cost", None), ("address_id", None), ("is_mobile_ready", None),
        ("note_count", None), ("born_in_captivity", None), ("panel", None), ("spin", None),
    ],
)  # fmt: skip
def test_personal_data_is_guessed_by_the_name(name: str, rule: str | None) -> None:
    assert guess("product", name, "text") == rule


def test_a_name_is_personal_where_the_table_is_of_persons() -> None:
    assert guess("Employees", "name", "text") == guess("ward_doctor", "Name", "text") == "drop"
    assert guess("persona", "name", "text") is None


def test_an_address_in_the_network_is_personal_by_its_type() -> None:
    assert guess("visit", "seen_from", "inet") == "hash"


def test_guesses_are_marked_and_a_key_gets_no_rule(tmp_path: Path) -> None:
    told = drafted(
        table("login", column("email", "text", "varchar"), key=("id", "email")),
        table("person", column("email", "text", "varchar")),
    )
    lines = file(told, "__sources.yml").splitlines()
    (key,) = (line for line in lines if "name: email" in line and "data_type" in line)
    assert key.endswith("# to confirm: looks personal, and a key lands in the clear")
    (other,) = (line for line in lines if "pii" in line)
    assert other.endswith("{meta: {pii: hash}}  # to confirm: personal, by its name or type alone")
    rules = {t.name: [c.pii for c in t.columns] for t in contracts_of(told, tmp_path).tables}
    assert rules == {"login": [None, None], "person": [None, "hash"]}


# The contract


def test_what_is_drafted_is_a_contract(tmp_path: Path) -> None:
    price = SourceColumn("price", "numeric(10,2)", "numeric", "decimal(10,2)")
    (found,) = contracts_of(drafted(table("thing", price, TEXT)), tmp_path).tables
    assert found == Table(
        name="thing",
        server="library",
        namespace="public",
        connector="postgres",
        key=("id",),
        columns=(
            Column(name="id", type="bigint"),
            Column(name="price", type="decimal(10,2)"),
            Column(name="label", type="varchar", toast=True),
        ),
        owner="data-platform",
        fresh_within=timedelta(days=1),
        file="dbt_project/models/staging/library/_library__sources.yml",
    )


def test_words_of_yaml_and_of_sql_and_capitals_keep_their_meaning(tmp_path: Path) -> None:
    names = ("order", "null", "Yes", "on", "Select", "BirthYear")
    told = drafted(table("Order", *(column(name) for name in names)), table("null"))
    tables = {t.name: t for t in contracts_of(told, tmp_path).tables}
    assert [c.name for c in tables["Order"].columns] == ["id", *names]
    assert list(tables) == ["Order", "null"]
    staged = file(told, "stg_library_order.sql")
    expected = ["id", '"order"', '"null"', "yes", '"on"', '"select"', "birthyear as birth_year"]
    assert [line.strip().rstrip(",") for line in staged.splitlines()[6:13]] == expected


@pytest.mark.parametrize(
    "comment",
    [
        'it\'s: a # "test", {x: [y]}',
        "{{ jinja }} {% raw %} {# no #}",
        "line\nbreak\ttab",
        "- ü 🦆",
        "\x7f",
    ],
)
def test_a_comment_of_any_text_is_a_description_in_one_line(comment: str) -> None:
    import yaml

    read = yaml.safe_load(f"{{a: {scalar(comment)}, b: 1}}")
    assert read["b"] == 1
    assert read["a"].replace("{ ", "{") == comment.replace("{ ", "{").replace("{{", "{{")
    assert not any(begin in read["a"] for begin in ("{{", "{%", "{#"))
    assert "\n" not in scalar(comment)


def test_what_no_contract_can_name_is_left_out_of_all_files(tmp_path: Path) -> None:
    told = drafted(
        table(
            "thing", column("year"), column("my, note\n"), column("Id"), column("x", "pair", None)
        )
    )
    (thing,) = told.source.tables
    assert set(thing.left_out) == {"year", "my, note\n", "Id", "x"}
    (found,) = contracts_of(told, tmp_path).tables
    assert [c.name for c in found.columns] == ["id"]
    excluded = json.loads(file(told, ".json"))["column.exclude.list"]
    assert len(excluded.split(",")) == 4
    assert r"public\.thing\.year" in excluded


def test_a_key_that_no_contract_can_name_leaves_the_table_out() -> None:
    told = drafted(table(), table("calendar", column("year"), key=("year",)), table("a b"))
    assert [t.name for t in told.source.tables] == ["thing"]
    assert "its key has the column year" in told.skipped["calendar"]
    assert "cannot be part of a topic" in told.skipped["a b"]
    with pytest.raises(UsageError, match="no table of schema public can be captured"):
        drafted(table("a b"))


# Models


def test_base_and_history_are_one_call_and_large_values_name_the_history() -> None:
    told = drafted(table("plain"), table("large", TEXT))
    assert file(told, "base_library_plain.sql") == (
        "{{ fold_current(source('library', 'plain')) }}\n"
    )
    assert file(told, "base_library_large.sql") == (
        "{{ fold_current(source('library', 'large'), history=ref('hist_library_large')) }}\n"
    )
    assert file(told, "hist_library_large.sql") == "{{ change_log(source('library', 'large')) }}\n"


def test_a_large_value_that_is_dropped_needs_no_history() -> None:
    secret = SourceColumn("notes", "text", "text", "varchar", is_large=True)
    told = drafted(table("thing", secret))
    assert "history=" not in file(told, "base_library_thing.sql")
    assert "notes" not in file(told, "stg_library_thing.sql")


def test_a_table_without_a_key_has_a_history_only() -> None:
    told = drafted(table("log", key=()))
    models = {name.rsplit("/", 1)[1] for name in told.files if name.endswith(".sql")}
    assert models == {"hist_library_log.sql", "library.sql"}
    assert "key: []" in file(told, "__sources.yml")


def test_tables_that_differ_in_capitals_get_models_of_their_own() -> None:
    told = drafted(table("Thing"), table("thing"))
    assert [t.model for t in told.source.tables] == ["library_thing", "library_thing_2"]


def test_names_in_staging_are_small_and_tell_hashes_and_are_unique() -> None:
    told = drafted(
        table("person", column("EMail", "text", "varchar"), column("e_mail", "text", "varchar"))
    )
    staged = file(told, "stg_library_person.sql")
    assert "email as e_mail_hash,\n" in staged
    assert "e_mail as e_mail_hash_2,\n" in staged
    assert words("HTTPServer-Name ") == "http_server_name"


# Connector and database


def test_the_connector_takes_secrets_from_the_environment_and_these_tables_only() -> None:
    told = json.loads(file(drafted(table(), table("Other"), server="lib"), ".json"))
    assert told["database.hostname"] == "${env:LIB_DB_HOST}"
    assert told["database.password"] == "${env:LIB_CDC_PASSWORD}"
    assert told["table.include.list"] == r"public\.thing,public\.Other"
    assert told["topic.prefix"] == "lib"
    assert told["publication.name"] == told["slot.name"] == "lakehouse_lib"
    assert "column.exclude.list" not in told


def test_the_connector_has_the_settings_that_the_shops_has() -> None:
    """Whatever is not the shop's own must hold for every source."""
    shop = json.loads(Path("infra/connect/connectors/shop.json").read_text())
    told = json.loads(file(drafted(table()), ".json"))
    own = {
        "topic.prefix", "database.hostname", "database.port", "database.dbname", "database.user",
        "database.password", "slot.name", "publication.name", "schema.include.list",
        "heartbeat.action.query",
    }  # fmt: skip
    shared = {name: value for name, value in shop.items() if name not in own}
    assert {name: told.get(name) for name in shared} == shared


def test_the_database_is_told_what_identifies_a_row_before_it_publishes() -> None:
    told = drafted(
        table("plain"),
        table("indexed", key_index='odd"index'),
        table("keyless", key=()),
        table("parted", key=(), is_partitioned=True, partitions=(("old", "p1"), ("public", "p2"))),
        notes=("wal_level is replica: set it to logical and restart the server",),
    )
    sql = file(told, "infra/postgres/library.sql")
    identity = [line for line in sql.splitlines() if "replica identity" in line]
    assert identity == [
        'alter table "public"."indexed" replica identity using index "odd""index";',
        'alter table "public"."keyless" replica identity full;',
        'alter table "old"."p1" replica identity full;',
        'alter table "public"."p2" replica identity full;',
    ]
    assert sql.index("replica identity") < sql.index("create publication")
    assert "publish_via_partition_root = true" in sql
    assert "-- Now wal_level is replica" in sql
    assert 'grant select on table "public"."plain" to "library_cdc";' in sql
    assert "superuser" not in sql.replace("As a superuser", "")


def test_a_line_break_in_a_name_ends_no_comment() -> None:
    schema = SourceSchema("postgres", "a\ndrop table x", "public", (table(),), {})
    text = draft(schema, server="lib").files["infra/postgres/lib.sql"]
    head = text[: text.index("begin;")].splitlines()
    assert all(line.startswith(("--", "\\set")) for line in head)


# Names and files


def test_a_source_is_called_like_its_database() -> None:
    assert drafted(table()).source.server == "library"
    other = SourceSchema("postgres", "My Library", "Loans", (table(),), {})
    assert draft(other).source.server == "my_library_loans"


@pytest.mark.parametrize("server", ["Lib", "1lib", "a.b", "", "x" * 51])
def test_a_server_that_cannot_be_part_of_a_topic_is_refused(server: str) -> None:
    with pytest.raises(UsageError, match="cannot name a source"):
        drafted(table(), server=server)


def test_no_file_is_overwritten_and_none_is_written_then(tmp_path: Path) -> None:
    told = drafted(table())
    there = tmp_path / "infra/postgres/library.sql"
    there.parent.mkdir(parents=True)
    there.write_text("mine")
    with pytest.raises(LakehouseError, match=r"library\.sql is there already") as caught:
        drafting.write(told, tmp_path)
    assert "--to" in caught.value.remedy
    assert there.read_text() == "mine"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [there]


def test_a_project_gets_no_table_or_model_twice(tmp_path: Path) -> None:
    told = drafted(table())
    known = contracts_of(told, tmp_path)
    with pytest.raises(LakehouseError, match=r"library\.public\.thing has a contract in"):
        drafting.refuse_a_second(told, known, set())
    with pytest.raises(LakehouseError, match="has a model stg_library_thing already"):
        drafting.refuse_a_second(told, Contracts([]), {"stg_library_thing"})
    drafting.refuse_a_second(told, Contracts([]), {"stg_thing"})


@pytest.mark.parametrize(
    ("command", "url"),
    [
        *((["source", "add"], url) for url in ("mssql://sa@localhost/x", "localhost", "/tmp/x.db")),
        *((["verify"], url) for url in ("mssql://sa@localhost/x", "localhost", "mysql:me@db/x")),
    ],
)
def test_databases_without_a_reader_are_refused(
    command: list[str], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAKEHOUSE_PROJECT_DIR", raising=False)
    (tmp_path / "warehouse.duckdb").touch()
    with pytest.raises(UsageError, match="PostgreSQL and MariaDB can be read so far"):
        CliRunner().invoke(
            cli.app, ["--home", str(tmp_path), *command, url], catch_exceptions=False
        )


# MariaDB


def mariadb(*tables: SourceTable, **told: object) -> SourceSchema:
    return SourceSchema("mariadb", "my_ward", "my_ward", tables, {}, **told)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("declared", "precision", "expected"),
    [
        ("tinyint(1)", 3, "smallint"),
        ("smallint(5) unsigned", 5, "integer"),
        ("mediumint(8) unsigned", 7, "integer"),
        ("int(10) unsigned zerofill", 10, "bigint"),
        ("bigint(20)", 19, "bigint"),
        ("bigint(20) unsigned", 20, "decimal(20,0)"),
        ("decimal(18,4)", 18, "decimal(18,4)"),
        ("decimal(39,4)", 39, "varchar"),
        ("float unsigned", None, "double"),
        ("bit(1)", 1, "boolean"),
        ("bit(8)", 8, "varchar"),
        ("year(4)", None, "smallint"),
        ("datetime(6)", None, "timestamp"),
        ("time", None, "varchar"),
        ("enum('a','b''c')", None, "varchar"),
        ("enum('a,b')", None, None),
        ("set('a','b')", None, "varchar"),
        ("uuid", None, None),
        ("inet6", None, None),
    ],
)
def test_a_type_of_mariadb_is_what_the_connector_sends_of_it(
    declared: str, precision: int | None, expected: str | None
) -> None:
    base = mariadb_types.base_type(re.split(r"[( ]", declared)[0], declared)
    found, note = mariadb_types.contract_type(base, declared, precision, 4)
    assert found == expected
    if expected is None:
        assert note
    else:
        assert Column(name="c", type=expected, encoding=mariadb_types.encoding(base))
    assert mariadb_types.encoding(base) == ("base64" if expected == "decimal(20,0)" else None)


def test_columns_at_which_the_connector_stops_are_known() -> None:
    why = mariadb_types.why_unreadable
    assert why("inet6", "inet6")
    assert why("varchar", "varchar(100) /*M!100301 COMPRESSED*/")
    assert why("enum", "enum('compressed')") is None
    assert why("varchar", "varchar(100)") is None


def test_a_source_on_mariadb_is_drafted_for_mariadb(tmp_path: Path) -> None:
    number = SourceColumn(
        "id", "bigint(20) unsigned", "bigint unsigned", "decimal(20,0)", encoding="base64"
    )
    plain = SourceTable("plain", (number,), key=("id",))
    indexed = SourceTable("in`dexed", (number,), key=("id",), key_index="unique_id")
    odd = SourceTable("indexed", (number,), key=("id",), key_index="unique_id")
    told = draft(mariadb(plain, indexed, odd))
    assert told.skipped == {
        "in`dexed": "its name cannot be part of a topic: only letters, digits and _ can"
    }
    (table, _) = contracts_of(told, tmp_path).tables
    assert (table.server, table.namespace, table.connector) == ("my_ward", "my_ward", "mariadb")
    assert table.columns[0].encoding == "base64"
    settings = json.loads(file(told, ".json"))
    assert settings["message.key.columns"] == r"my_ward\.indexed:id"
    assert settings["table.include.list"] == r"my_ward\.plain,my_ward\.indexed"
    assert "schema.history.internal.store.only.captured.tables.ddl" not in settings
    sql = told.files["infra/mariadb/my_ward.sql"]
    assert r"grant lock tables on `my\_ward`.* to `my_ward_cdc`;" in sql
    assert "grant select on `my_ward`.`plain` to `my_ward_cdc`;" in sql


def test_definitions_that_the_connector_cannot_read_are_kept_from_it() -> None:
    told = json.loads(file(draft(mariadb(table(), has_unreadable=True)), ".json"))
    assert told["schema.history.internal.store.only.captured.tables.ddl"] == "true"


def test_a_drafted_connector_for_mariadb_has_the_settings_of_the_example() -> None:
    example = json.loads(Path("infra/mariadb/connectors/depot.json").read_text())
    told = json.loads(file(draft(mariadb(table())), ".json"))
    own = {
        "topic.prefix", "database.hostname", "database.port", "database.user", "database.password",
        "database.server.id", "database.include.list", "schema.history.internal.kafka.topic",
        "signal.kafka.topic",
    }  # fmt: skip
    shared = {name: value for name, value in example.items() if name not in own}
    assert {name: told.get(name) for name in shared} == shared


@pytest.mark.parametrize(
    "url",
    ["mariadb://me@host/", "mariadb://me@host/a/b", "mysql://host/db?ssl=1", "mysql://host:x/db"],
)
def test_a_url_of_mariadb_names_a_database_and_nothing_else(url: str) -> None:
    with pytest.raises(UsageError, match="URL"):
        read_schema(url)


def test_mariadb_has_no_schemas() -> None:
    with pytest.raises(UsageError, match="no schemas"):
        read_schema("mariadb://me@host/db", "public")
