"""What a gate found, as checks of its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.lineage.facets import Check

if TYPE_CHECKING:
    from pipelines.quality.results import GateReport

_SEVERITIES = {"block": "error", "warn": "warn"}


def checks(report: GateReport) -> dict[str, list[Check]]:
    """Table → what each of its rules told."""
    found: dict[str, list[Check]] = {}
    for result in report.results:
        columns = result.rule.columns
        check = Check(
            rule=result.rule.type,
            success=result.success,
            column=columns[0] if len(columns) == 1 else None,
            severity=_SEVERITIES[result.rule.severity],
            description=result.rule.name,
        )
        found.setdefault(result.table, []).append(check)
    return found
