"""Published tables that dbt does not build: what each of their columns means."""

from __future__ import annotations

import pyarrow as pa

from pipelines.dashboards.models import Column, Model
from pipelines.lake.publish import PUBLICATION, RECORD_SCHEMA
from pipelines.quality.books import QUARANTINE_SCHEMA, RESULTS_SCHEMA

_TYPES = {"string": "VARCHAR", "int64": "BIGINT", "bool": "BOOLEAN"}
_OWNER = "data-platform"
_RUN = "The run, as logs and Delta commits know it."
_RULES = {
    "run_id": _RUN,
    "target": "Where the table was built: embedded, trino or spark.",
    "gate": "staging or marts.",
    "table_name": "The table that was checked, as schema.table.",
    "severity": "block: nothing is published where it fails; warn: it is told.",
    "checked_at": "When the gate checked, UTC.",
}
_RESULTS = _RULES | {
    "rule": "Name of the rule.",
    "expectation": "The expectation of Great Expectations that it is.",
    "columns": "Columns that it is about.",
    "is_met": "Whether the table keeps to it.",
    "checked_rows": "Rows looked at; empty where the rule is of a whole table.",
    "failed_rows": "Rows that break it; empty where the rule is of a whole table.",
    "observed": "What was found, where the rule is of a whole table.",
    "origin": "The file in which the rule stands.",
}
_QUARANTINE = _RULES | {
    "reason": "Name of the rule that the row breaks.",
    "key": "What identifies the row, as JSON.",
    "row": "The row, as JSON.",
}
_PUBLICATION = {
    "table_name": "The published table, as schema.table.",
    "version": "Version of its Delta table that readers see.",
    "row_count": "Its rows.",
    "run_id": "The run that wrote this version.",
    "published_in_run": "The run that published all of them together.",
    "published_at": "When, UTC.",
    "business_date": "Day of the newest sale: the publication's today.",
    "build_id": "The build that the publication shows.",
}


def bookkeeping() -> dict[str, Model]:
    """These tables, by `<schema>.<table>`.

    Raises:
        KeyError: nobody has said what a column means.
    """
    return {
        "quality.results": _model(
            "One row a rule of a gate and run: what came of it. It grows with each run.",
            RESULTS_SCHEMA,
            _RESULTS,
        ),
        "quality.quarantine": _model(
            "One row a rule and row that fails it now, 100,000 of a rule at most.",
            QUARANTINE_SCHEMA,
            _QUARANTINE,
        ),
        PUBLICATION: _model(
            "One row a published table: the run and version that readers see.",
            RECORD_SCHEMA,
            _PUBLICATION,
        ),
    }


def _model(description: str, schema: pa.Schema, told: dict[str, str]) -> Model:
    columns = {
        field.name: Column(_TYPES.get(str(field.type), "TIMESTAMPTZ"), told[field.name])
        for field in schema
    }
    return Model(description, _OWNER, columns)
