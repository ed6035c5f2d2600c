"""What has been decided of a source, before it is written as YAML, SQL or JSON."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.contract import Connector, PiiRule
from pipelines.source.schema import SourceColumn, SourceTable


@dataclass(frozen=True)
class DraftedColumn:
    """A column of the contract.

    Attributes:
        pii: a guess.
        is_personal_key: looks personal, yet a key cannot have a rule.
        is_toast: updates may leave the value out.
    """

    column: SourceColumn
    pii: PiiRule | None = None
    is_personal_key: bool = False
    is_toast: bool = False

    @property
    def name(self) -> str:
        return self.column.name

    @property
    def type(self) -> str:
        # A column without a type is left out before it gets here.
        return str(self.column.type)

    @property
    def description(self) -> str:
        """What the source says of it, and how the value is written."""
        told = (
            sentence(self.column.comment) or f"To describe; {self.column.declared} at the source."
        )
        return f"{told} {sentence(self.column.note)}".strip()


@dataclass(frozen=True)
class DraftedTable:
    """A table of the contract.

    Attributes:
        model: its models are called `base_`, `hist_` and `stg_` and this.
        left_out: column → why it is no part of the contract.
    """

    table: SourceTable
    model: str
    columns: tuple[DraftedColumn, ...]
    left_out: dict[str, str]

    @property
    def name(self) -> str:
        return self.table.name

    @property
    def has_toast(self) -> bool:
        return any(column.is_toast for column in self.columns)

    @property
    def landed(self) -> tuple[DraftedColumn, ...]:
        """Columns that enter the lake."""
        return tuple(column for column in self.columns if column.pii != "drop")

    @property
    def description(self) -> str:
        grain = (
            "One row a change; it has no key."
            if not self.table.key
            else "One row a " + (" and ".join(self.table.key) + ".")
        )
        return f"{sentence(self.table.comment) or 'To describe.'} {grain}"


@dataclass(frozen=True)
class DraftedSource:
    """A source: the tables of one schema.

    Attributes:
        server: first part of its topics; everything of it is called so.
        namespace: second part: the schema in the database, or the database.
        notes, has_unreadable: as `SourceSchema`.
    """

    server: str
    namespace: str
    database: str
    connector: Connector
    tables: tuple[DraftedTable, ...]
    notes: tuple[str, ...] = ()
    has_unreadable: bool = False

    @property
    def variable(self) -> str:
        """How its environment variables begin."""
        return self.server.upper()

    @property
    def role(self) -> str:
        return f"{self.server}_cdc"

    @property
    def publication(self) -> str:
        """Name of the publication and of the slot."""
        return f"lakehouse_{self.server}"


def sentence(text: str | None) -> str:
    """A text in one line, with a capital in front and a full stop behind; empty for none."""
    told = " ".join((text or "").split())
    if not told:
        return ""
    return told[0].upper() + told[1:] + ("" if told.endswith((".", "!", "?")) else ".")
