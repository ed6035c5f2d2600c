"""Inference tables: what models predicted, run by run, and the audit of who did what and why.

They lie beside the raw tables, append-only; dbt's models make the prediction marts of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake

from pipelines.lake.tables import COMPRESSED, UTC_MICROSECONDS, again_if_overtaken

PREFIX = "inference."
RUNS, AUDIT = "run", "audit"
_FIGURE = pa.decimal128(18, 4)
_MADE_BY = [("model_version", pa.string()), ("run_id", pa.string())]
SCHEMAS = {
    "forecast": pa.schema(
        [
            ("product_id", pa.int64()),
            ("forecast_date", pa.date32()),
            ("origin_date", pa.date32()),
            ("horizon_day", pa.int32()),
            ("mean", _FIGURE),
            ("p10", _FIGURE),
            ("p50", _FIGURE),
            ("p90", _FIGURE),
            ("baseline", _FIGURE),
            *_MADE_BY,
        ]
    ),
    "recommendation": pa.schema(
        [
            ("client_id", pa.int64()),
            ("list", pa.string()),
            ("rank", pa.int32()),
            ("product_id", pa.int64()),
            ("score", _FIGURE),
            ("reason", pa.string()),
            *_MADE_BY,
        ]
    ),
    "churn": pa.schema(
        [
            ("client_id", pa.int64()),
            ("feature_date", pa.date32()),
            ("probability", _FIGURE),
            ("reason", pa.string()),
            *_MADE_BY,
        ]
    ),
    RUNS: pa.schema(
        [
            ("run_id", pa.string()),
            ("kind", pa.string()),
            ("model_version", pa.string()),
            ("origin_date", pa.date32()),
            ("inputs", pa.string()),
            ("row_count", pa.int64()),
            ("scored_at", UTC_MICROSECONDS),
            ("scored_at_us", pa.int64()),
        ]
    ),
    AUDIT: pa.schema(
        [
            ("audit_id", pa.string()),
            ("action", pa.string()),
            ("kind", pa.string()),
            ("model_version", pa.string()),
            ("actor", pa.string()),
            ("reason", pa.string()),
            ("run_id", pa.string()),
            ("acted_at", UTC_MICROSECONDS),
        ]
    ),
}
# Of persons that the contracts know as this subject: what `lakehouse erase` must look into.
CLIENT = "client"
OF_CLIENTS = ("recommendation", "churn")


def inference_path(raw: Path, name: str) -> Path:
    """Folder of an inference table."""
    return raw / f"{PREFIX}{name}"


def create_inference_tables(raw: Path) -> None:
    """Create those that are missing, empty, so that the models find all their sources."""
    for name, schema in SCHEMAS.items():
        path = inference_path(raw, name)
        if not DeltaTable.is_deltatable(str(path)):
            path.mkdir(parents=True, exist_ok=True)
            DeltaTable.create(
                str(path), schema=schema, mode="ignore", description=f"inference {name}"
            )


@again_if_overtaken
def append_inference(raw: Path, name: str, rows: pa.Table, *, metadata: Mapping[str, str]) -> int:
    """Append rows in one commit; returns the version of the table.

    Raises:
        pyarrow.ArrowInvalid: a value does not fit the table.
    """
    create_inference_tables(raw)
    schema = SCHEMAS[name]
    table = DeltaTable(str(inference_path(raw, name)))
    write_deltalake(
        table,
        rows.select(schema.names).cast(schema),
        mode="append",
        writer_properties=COMPRESSED,
        commit_properties=CommitProperties(custom_metadata=dict(metadata)),
    )
    return int(table.version())


def inference_versions(raw: Path) -> dict[str, int]:
    """The version of each table that is there: what a build has seen of them."""
    paths = {name: inference_path(raw, name) for name in SCHEMAS}
    return {
        name: int(DeltaTable(str(path)).version())
        for name, path in paths.items()
        if DeltaTable.is_deltatable(str(path))
    }
