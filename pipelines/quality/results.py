"""What came of the rules of a gate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipelines.quality.rules import Rule
from pipelines.quality.suites import Gate

# So many rows of a rule are kept; its result counts them all.
MOST_ROWS = 100_000


@dataclass(frozen=True)
class Result:
    """What came of one rule.

    Attributes:
        checked: rows looked at; None where the rule is a query, or of a whole table.
        failed: rows that break it; None where the rule is of a whole table.
        observed: what was found, where the rule is of a whole table.
        key: columns that identify a row.
        rows: the rows that break it, `MOST_ROWS` at most.
    """

    table: str
    rule: Rule
    success: bool
    checked: int | None = None
    failed: int | None = None
    observed: str | None = None
    key: tuple[str, ...] = ()
    rows: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class GateReport:
    """What a gate found; it lets pass where no rule of severity `block` failed."""

    gate: Gate
    results: list[Result]

    @property
    def blocking(self) -> list[Result]:
        return [r for r in self.results if not r.success and r.rule.severity == "block"]

    @property
    def warnings(self) -> list[Result]:
        return [r for r in self.results if not r.success and r.rule.severity == "warn"]
