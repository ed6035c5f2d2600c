"""Drafting what a source needs: contract, models, connector and what its database must be told.

Nothing here asks a database: a schema goes in, files come out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.contract import COLUMN_NAME, TAKEN_NAMES, Connector, Contracts, PiiRule
from pipelines.errors import LakehouseError, UsageError
from pipelines.source import (
    draft_connector,
    draft_contract,
    draft_mariadb,
    draft_models,
    draft_postgres,
)
from pipelines.source.drafted import DraftedColumn, DraftedSource, DraftedTable
from pipelines.source.personal import guess, words
from pipelines.source.schema import (
    PLAIN_NAME,
    SourceColumn,
    SourceSchema,
    SourceTable,
    matching,
)

_SERVER = re.compile(r"[a-z][a-z0-9_]*")
# PostgreSQL's names are no longer, and `lakehouse_` stands before this one.
_SERVER_LETTERS = 50
_DATABASES: dict[Connector, Callable[[DraftedSource], str]] = {
    "postgres": draft_postgres.statements,
    "mariadb": draft_mariadb.statements,
}
_ELSEWHERE = "draft to another folder with --to and take over what is new"


@dataclass(frozen=True)
class Draft:
    """What is to be written.

    Attributes:
        files: path below the root, as in the repository → content.
        skipped: table → why it is not among them.
    """

    source: DraftedSource
    files: dict[str, str]
    skipped: dict[str, str]


def server_name(schema: SourceSchema) -> str:
    """How a source is called where nobody says: like its database, and schema if not public."""
    is_alone = schema.name == "public" or schema.connector == "mariadb"
    return words(schema.database if is_alone else f"{schema.database}_{schema.name}")


def draft(
    schema: SourceSchema,
    *,
    server: str | None = None,
    tables: str | None = None,
    project: str = "dbt_project",
) -> Draft:
    """Draft all files of a source.

    Args:
        server: first part of its topics; None: `server_name`.
        tables: regular expression of the whole names wanted; None: all.
        project: folder of the dbt project below the root.

    Raises:
        UsageError: the server's name cannot be used, or no table can be captured.
    """
    server = server if server is not None else server_name(schema)
    if not _SERVER.fullmatch(server) or len(server) > _SERVER_LETTERS:
        raise UsageError(
            f"{server!r} cannot name a source",
            f"give --server: small letters, digits and _, {_SERVER_LETTERS} at most",
        )
    drafted, skipped = _tables(schema, server, matching(tables))
    source = DraftedSource(
        server, schema.name, schema.database, schema.connector, _told_apart(drafted), schema.notes,
        schema.has_unreadable,
    )  # fmt: skip
    folder = f"{project}/models/staging/{server}"
    files = {f"{folder}/_{server}__sources.yml": draft_contract.contract(source)}
    files |= {f"{folder}/{name}": text for name, text in draft_models.models(source).items()}
    files[f"infra/connect/connectors/{server}.json"] = draft_connector.connector(source)
    files[script(source)] = _DATABASES[source.connector](source)
    return Draft(source, files, skipped)


def script(source: DraftedSource) -> str:
    """Where the file lies that the database's administrator runs."""
    return f"infra/{source.connector}/{source.server}.sql"


def administration(source: DraftedSource) -> str:
    """The command by which the administrator runs it."""
    if source.connector == "mariadb":
        return f"""mariadb --init-command="set @cdc_password = '...'" < {script(source)}"""
    return f"psql -v cdc_password=... -f {script(source)}"


def _tables(
    schema: SourceSchema, server: str, wanted: re.Pattern[str]
) -> tuple[list[DraftedTable], dict[str, str]]:
    """The tables that can be captured, and why others cannot."""
    skipped = {name: why for name, why in schema.skipped.items() if wanted.fullmatch(name)}
    drafted = []
    for table in schema.tables:
        if not wanted.fullmatch(table.name):
            continue
        if why := _why_not(table):
            skipped[table.name] = why
        else:
            drafted.append(_table(table, server))
    if not drafted:
        told = "; ".join(f"{name}: {why}" for name, why in skipped.items()) or "there is none"
        raise UsageError(
            f"no table of schema {schema.name} can be captured ({told})",
            "name another schema with --schema, or other tables with --tables",
        )
    return drafted, skipped


def _why_not(table: SourceTable) -> str | None:
    if not PLAIN_NAME.fullmatch(table.name):
        return "its name cannot be part of a topic: only letters, digits and _ can"
    by_name = {column.name: column for column in table.columns}
    for name in table.key:
        why = _why_left_out(by_name[name], ())
        if why:
            return f"its key has the column {name}: {why}"
    if not any(_why_left_out(column, ()) is None for column in table.columns):
        return "none of its columns can be captured"
    return None


def _why_left_out(column: SourceColumn, before: Collection[str]) -> str | None:
    """Why a column is no part of the contract; `before`: names of those that are, in small."""
    if column.type is None:
        return column.note or "the connector does not send it"
    if not re.fullmatch(COLUMN_NAME, column.name):
        return "a contract cannot name it: only letters, digits and _ after a letter"
    if column.name.lower() in TAKEN_NAMES:
        return "the name is taken by the partitions of the raw table"
    if column.name.lower() in before:
        return "another column has this name but for capitals"
    return None


def _table(table: SourceTable, server: str) -> DraftedTable:
    columns: list[DraftedColumn] = []
    left_out: dict[str, str] = {}
    # A key is what the contract cannot do without: it comes before others of its name.
    for column in sorted(table.columns, key=lambda c: c.name not in table.key):
        why = _why_left_out(column, [drafted.name.lower() for drafted in columns])
        if why:
            left_out[column.name] = why
        else:
            columns.append(_column(table, column))
    order = [column.name for column in table.columns]
    columns.sort(key=lambda drafted: order.index(drafted.name))
    return DraftedTable(table, f"{server}_{words(table.name)}", tuple(columns), left_out)


def _column(table: SourceTable, column: SourceColumn) -> DraftedColumn:
    rule: PiiRule | None = guess(table.name, column.name, column.base)
    is_key = column.name in table.key
    return DraftedColumn(
        column=column,
        pii=None if is_key else rule,
        is_personal_key=is_key and rule is not None,
        is_toast=column.is_large and not is_key and rule != "drop",
    )


def _told_apart(tables: list[DraftedTable]) -> tuple[DraftedTable, ...]:
    """Models of tables whose names differ in capitals alone get a number."""
    taken: set[str] = set()
    apart = []
    for table in tables:
        name, number = table.model, 2
        while name in taken:
            name, number = f"{table.model}_{number}", number + 1
        taken.add(name)
        apart.append(replace(table, model=name))
    return tuple(apart)


def refuse_a_second(draft: Draft, contracts: Contracts, models: set[str]) -> None:
    """Refuse what a project would have twice.

    Args:
        contracts: of the project that the draft is for.
        models: names of the models that the project has.

    Raises:
        LakehouseError: a table has a contract, or a model of such a name is there.
    """
    for table in draft.source.tables:
        topic = f"{draft.source.server}.{draft.source.namespace}.{table.name}"
        if topic in contracts.by_topic:
            raise LakehouseError(
                f"{topic} has a contract in {contracts.by_topic[topic].file}; nothing was written",
                f"choose other tables with --tables, or {_ELSEWHERE}",
            )
    twice = sorted(models & draft_models.names(draft.source))
    if twice:
        raise LakehouseError(
            f"the project has a model {twice[0]} already; nothing was written",
            f"call the source otherwise with --server, or {_ELSEWHERE}",
        )


def refuse_overwriting(draft: Draft, root: Path) -> None:
    """Refuse a draft one of whose files is there.

    Raises:
        LakehouseError: names the file.
    """
    for name in draft.files:
        if (root / name).exists():
            raise LakehouseError(
                f"{root / name} is there already; nothing was written",
                f"call the source otherwise with --server, or {_ELSEWHERE}",
            )


def write(draft: Draft, root: Path) -> None:
    """Write the files, none of which may be there.

    Raises:
        LakehouseError: a file is there, or cannot be written.
    """
    refuse_overwriting(draft, root)
    for name, text in draft.files.items():
        path = root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Not even what came here a moment ago is overwritten.
            with path.open("x", encoding="utf-8") as handle:
                handle.write(text)
        except OSError as error:
            raise LakehouseError(
                f"{path} cannot be written: {error.strerror}",
                "name a folder that can be written with --to",
            ) from None
