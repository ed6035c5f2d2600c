"""What a comparison asks of a source database, whichever it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from pipelines.source.schema import SourceColumn, SourceSchema, SourceTable
from pipelines.verify.dialect import Dialect

Row = tuple[str | None, ...]


class Database(Protocol):
    """A source database as of one moment: all is read in one transaction.

    Parameters stand in statements as `%s`, so that a percent sign is written twice.
    """

    @property
    def dialect(self) -> Dialect:
        """Its SQL."""

    def schemas(self, names: set[str]) -> dict[str, SourceSchema]:
        """The schemas of these names (databases, where there are none within one).

        Raises:
            UsageError: they are not those of the URL's database.
        """

    def relation(self, schema: str, table: SourceTable) -> str:
        """SQL of a table, behind `from`."""

    def why_not(self, column: SourceColumn) -> str | None:
        """Why what arrives of a column means nothing; None where it means its value."""

    def rows(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        """All rows of an answer."""

    def stream(
        self, statement: str, parameters: Sequence[Any]
    ) -> AbstractContextManager[Iterator[Row]]:
        """The rows of an answer, of which few are held at a time."""

    def written_since(self, order_key: str) -> int | None:
        """Bytes of the log from a staged change to the moment of the transaction.

        Args:
            order_key: of the change, as staging has it.

        Returns:
            None where the database does not tell it.
        """
