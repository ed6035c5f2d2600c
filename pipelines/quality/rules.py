"""What a rule is: an expectation of a table, and what follows when it does not hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["block", "warn"]

# The expectation that a query finds no row; in it `{batch}` stands for the table.
NO_ROWS = "unexpected_rows_expectation"
QUERY = "unexpected_rows_query"


@dataclass(frozen=True)
class Rule:
    """One expectation of a table.

    Attributes:
        type: name of an expectation of Great Expectations.
        kwargs: its arguments.
        origin: where it stands, for who wants to change it.
    """

    name: str
    type: str
    kwargs: dict[str, Any]
    severity: Severity
    origin: str

    @property
    def columns(self) -> list[str]:
        """Columns that the arguments name."""
        named = [self.kwargs[k] for k in ("column", "column_A", "column_B") if k in self.kwargs]
        return [*named, *self.kwargs.get("column_list", [])]
