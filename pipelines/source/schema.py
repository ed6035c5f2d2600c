"""The schema of a source database as drafting needs it, whatever the database.

A reader (`postgres.py`, `mariadb.py`) makes it, `draft.py` and `verify` use it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipelines.contract import Connector, Encoding
from pipelines.errors import UsageError

# What can be a part of a topic, a folder, a name in SQL and a dbt model alike.
PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class SourceColumn:
    """One column of a source table.

    Attributes:
        declared: the type as the database writes it, for example `numeric(10,2)`.
        base: name of the type below domains; arrays end with `[]`; all enums are `enum`.
        type: the contract's type for what the connector sends; None: it sends nothing of use.
        note: how the value is written, or why nothing is sent; None where there is nothing to say.
        is_large: an update may leave the value out (TOAST).
        encoding: how the value is written, where it is no plain text of its type.
    """

    name: str
    declared: str
    base: str
    type: str | None
    note: str | None = None
    comment: str | None = None
    is_large: bool = False
    encoding: Encoding | None = None


@dataclass(frozen=True)
class SourceTable:
    """One table of the source.

    Attributes:
        key: columns that identify a row; empty where nothing does.
        key_index: name of the unique index that stands in for a missing primary key.
        partitions: the leaves of a partitioned table, as (schema, table).
        is_partitioned: changes of the leaves are published as those of this table.
    """

    name: str
    columns: tuple[SourceColumn, ...]
    key: tuple[str, ...] = ()
    key_index: str | None = None
    comment: str | None = None
    is_partitioned: bool = False
    partitions: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourceSchema:
    """A schema of a source database.

    Attributes:
        skipped: name → why it cannot be captured (views, tables without a log …).
        name: of the schema; that of the database where it has no schemas.
        notes: what must be changed at the server before changes can be captured.
        has_unreadable: of some of those skipped the connector cannot even read the definition.
    """

    connector: Connector
    database: str
    name: str
    tables: tuple[SourceTable, ...]
    skipped: dict[str, str]
    notes: tuple[str, ...] = ()
    has_unreadable: bool = False


def matching(pattern: str | None) -> re.Pattern[str]:
    """A pattern of whole names; None matches all.

    Raises:
        UsageError: it is no regular expression.
    """
    try:
        return re.compile(pattern if pattern is not None else ".*")
    except re.error as error:
        raise UsageError(
            f"--tables {pattern} is no regular expression: {error}",
            "write one that matches whole names, such as 'order.*'",
        ) from None
