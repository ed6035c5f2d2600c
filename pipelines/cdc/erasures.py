"""Persons who were erased: the list of them, and keeping out what comes of them again.

The list `raw/_erasures` holds keyed hashes, no ids. A row that names such a person lands under the
id of nobody; of rows that are the person (the id is part of the key) nothing else stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import DeltaTable

from pipelines.cdc.decode import DEAD
from pipelines.cdc.masking import Masker
from pipelines.contract import Column, Table
from pipelines.lake.sql import identifier, literal
from pipelines.lake.tables import LANDING_COLUMNS, UTC_MICROSECONDS, append, open_or_create, read

FOLDER = "_erasures"
SCHEMA = pa.schema(
    [
        ("erasure_id", pa.string()),
        ("subject", pa.string()),
        ("token", pa.string()),
        ("erased_at", UTC_MICROSECONDS),
    ]
)
# Whom erased rows name; also in dbt_project/macros/marts/erased.sql.
NOBODY, NOBODY_TEXT = -1, "erased"
REASON = "of an erased person"


@dataclass(frozen=True)
class Person:
    """Somebody: the kind that contracts name, and the id that the source gives, as text."""

    subject: str
    id: str

    def token(self, masker: Masker) -> str:
        """What the list holds instead of the id: without the masking key, nobody can compute it."""
        return masker.hash(f"erased {self.subject} {self.id}")


def subject_columns(table: Table, subject: str | None = None) -> list[Column]:
    """The columns that tell a person's id, of one kind or of any."""
    found = [column for column in table.landed_columns if column.subject]
    return [column for column in found if subject is None or column.subject == subject]


def nobody(column: Column) -> str:
    """SQL of the id that stands for the erased, in the column's type."""
    return literal(NOBODY_TEXT) if column.type == "varchar" else str(NOBODY)


def erased_values(table: Table, of: Column) -> dict[str, str]:
    """Raw column → SQL of its value in a row whose column `of` names an erased person."""
    values = {of.name: nobody(of), "_extra": "null"}
    if of.name not in table.key:
        return values | {c.name: "null" for c in table.landed_columns if c.pii}
    others = [c.name for c in table.landed_columns if c.name not in table.key]
    # A deleted person would take the rows of all other erased ones along.
    kind = "case when _op = 'd' then 'u' else _op end"
    landing = {"_op": kind, "_former_key": "null", "_unavailable": "[]::varchar[]"}
    return values | dict.fromkeys(others, "null") | landing


def mentioned(table: Table, text: str, subject: str | None = None) -> Iterator[Person]:
    """The persons whom a message names as JSON, quoted or not, whole or broken."""
    for column in subject_columns(table, subject):
        for value in re.findall(rf'{column.name}\\*"\s*:\s*\\*"?([^\\",}}\]\s]+)', text):
            yield Person(str(column.subject), value)


class Erased:
    """Erased persons, as they were known at some moment.

    Args:
        tokens: from `Person.token`.
    """

    def __init__(self, masker: Masker, tokens: Set[str] = frozenset()) -> None:
        self._masker = masker
        self._tokens = tokens

    def tokens(self) -> Set[str]:
        """The tokens of all of them."""
        return self._tokens

    def __contains__(self, person: Person) -> bool:
        return person.token(self._masker) in self.tokens()

    def keep_out(self, connection: duckdb.DuckDBPyConnection, table: Table) -> None:
        """Make rows of `decoded` that name an erased person name nobody, and empty such letters."""
        columns = subject_columns(table)
        if not columns or not self.tokens():
            return
        for column in columns:
            value = identifier(f"v_{column.name}")
            told = connection.execute(
                f"select distinct cast({value} as varchar) from decoded where {value} is not null"
            ).fetchall()
            erased = [i for (i,) in told if Person(str(column.subject), i) in self]
            if erased:
                changes = ", ".join(
                    f"{name if name in LANDING_COLUMNS.names else identifier('v_' + name)} = {sql}"
                    for name, sql in erased_values(table, column).items()
                )
                connection.execute(
                    f"update decoded set {changes} where cast({value} as varchar) in $erased",
                    {"erased": erased},
                )
        lines = connection.execute(
            f"select line_number, line from decoded where disposition = {literal(DEAD)}"
        ).fetchall()
        emptied = [n for n, line in lines if self.is_mentioned(table, line or "")]
        if emptied:
            connection.execute(
                f"update decoded set line = '', reason = {literal(REASON)} "
                f"where disposition = {literal(DEAD)} and line_number in $emptied",
                {"emptied": emptied},
            )

    def is_mentioned(self, table: Table, text: str) -> bool:
        """Whether a message names somebody on the list."""
        return any(person in self for person in mentioned(table, text))


class Erasures(Erased):
    """The list of erased persons, as it is now."""

    def __init__(self, raw: Path, masker: Masker) -> None:
        super().__init__(masker)
        self._path = raw / FOLDER
        self._table: DeltaTable | None = None
        self._version = -1

    def add(self, person: Person, erasure_id: str, erased_at: datetime) -> bool:
        """Put a person on the list; False if already there."""
        if person in self:
            return False
        if self._table is None:
            self._table = open_or_create(self._path, SCHEMA, description="erased persons, hashed")
        row = {
            "erasure_id": erasure_id,
            "subject": person.subject,
            "token": person.token(self._masker),
            "erased_at": erased_at,
        }
        append(self._table, pa.Table.from_pylist([row], SCHEMA), metadata={}, transactions={})
        return True

    def tokens(self) -> Set[str]:
        """The tokens of all of them, by the newest version of the list."""
        if self._table is None and DeltaTable.is_deltatable(str(self._path)):
            self._table = DeltaTable(str(self._path))
        if self._table is not None:
            self._table.update_incremental()
            if self._table.version() != self._version:
                self._tokens = set(read(self._table, SCHEMA)["token"].to_pylist())
                self._version = self._table.version()
        return self._tokens
