"""Inference: the champion's predictions, appended run by run; dbt makes the marts of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from pipelines.caller import COMMAND_LINE, Caller
from pipelines.errors import LakehouseError
from pipelines.lake.ids import new_run_id, now
from pipelines.lake.inference import (
    RUNS,
    SCHEMAS,
    append_inference,
    create_inference_tables,
    inference_path,
)
from pipelines.lake.tables import read
from pipelines.lineage.events import Dataset
from pipelines.lineage.recording import recording
from pipelines.ml.audit import actor, audit
from pipelines.ml.kind import Kind
from pipelines.ml.kinds import kind_named
from pipelines.ml.published import Publication, Published, published
from pipelines.ml.registry import Registry
from pipelines.settings import Settings

BASELINE = "baseline"


@dataclass(frozen=True)
class Scored:
    """What came of one kind.

    Attributes:
        model_version: `forecast/3`, or `forecast/baseline` where there is no champion.
        used: what predictions are made of.
        rows: how many there are.
        is_news: False where they were there already.
        note: what a person should know; empty where there is nothing.
    """

    kind: str
    model_version: str
    used: str
    rows: int
    is_news: bool
    note: str = ""


def score(
    settings: Settings,
    names: Sequence[str],
    *,
    again: bool = False,
    by: Caller = COMMAND_LINE,
    on_progress: Callable[[str], None] = lambda told: None,
) -> list[Scored]:
    """Predict by what is published, with the champion of each kind.

    Without a champion the best simple method predicts, and says so. What the same model has
    predicted from the same content is not predicted again.

    Args:
        names: of the kinds.
        again: predict even so.

    Raises:
        LakehouseError: a model's files are damaged, an input is missing, or a prediction is none.
        Unavailable: MLflow is not reached.
    """
    run_id = by.run_id or new_run_id()
    registry = Registry(settings)
    create_inference_tables(settings.raw)
    found = []
    with recording(settings, run_id, "lakehouse score") as lineage:
        for name in names:
            on_progress(name)
            kind = kind_named(name)
            with (
                published(settings) as source,
                lineage.step(f"score.{name}") as told,
            ):
                found.append(_score(settings, registry, kind, source, run_id, actor(by), again))
                namespace = lineage.run.namespace
                told.reads(*(Dataset(namespace, table) for table in source.inputs))
                told.reads(Dataset(namespace, f"models.{name}"))
                told.writes(Dataset(namespace, f"raw.inference_{kind.table}"))
    return found


def _score(
    settings: Settings,
    registry: Registry,
    kind: Kind[Any, Any],
    source: Published,
    run_id: str,
    who: str,
    again: bool,
) -> Scored:
    champion = registry.champion(kind.name)
    data = kind.read(source, settings)
    version = champion.name if champion else f"{kind.name}/{BASELINE}"
    former = former_rows(settings, version, source)
    if former is not None and not again:
        return Scored(kind.name, version, "", former, is_news=False)
    note = ""
    if champion is not None:
        model = kind.load(registry.folder(champion))
    else:
        model = kind.baseline(data)
        note = f"there is no champion: {kind.used(model)} predicts; `lakehouse train {kind.name}`"
    rows = _checked(kind.predict(model, data), kind)
    stamp = {"run_id": run_id, "model_version": version}
    for name, value in stamp.items():
        rows = rows.append_column(name, pa.array([value] * rows.num_rows, pa.string()))
    append_inference(settings.raw, kind.table, rows, metadata=stamp)
    note_run(settings, source, run_id, version, rows.num_rows, used=kind.used(model), who=who)
    return Scored(kind.name, version, kind.used(model), rows.num_rows, is_news=True, note=note)


def _checked(rows: pa.Table, kind: Kind[Any, Any]) -> pa.Table:
    """Refuse what would be an empty mart, or a prediction that is none."""
    nulls = [name for name in rows.column_names if rows[name].null_count]
    refuse_gaps(kind.name, rows.num_rows, nulls)
    return rows


def refuse_gaps(kind: str, rows: int, nulls: Sequence[str]) -> None:
    """Refuse what would be an empty mart, or a prediction that is none.

    Args:
        nulls: names of the columns that hold some.

    Raises:
        LakehouseError: there are no rows, or some without a value.
    """
    if not rows:
        raise LakehouseError(
            f"{kind} predicted nothing at all",
            "look at its inputs: `lakehouse status` tells what is published",
        )
    if nulls:
        raise LakehouseError(
            f"{kind} predicted no value in {', '.join(nulls)} of some rows",
            f"train it anew, or go back: `lakehouse models rollback {kind}`",
        )


def note_run(
    settings: Settings,
    source: Publication,
    run_id: str,
    version: str,
    rows: int,
    *,
    used: str,
    who: str,
) -> None:
    """Make predictions count: models read only those of runs that stand here.

    Args:
        version: of the model, as `forecast/3`.
        used: what the predictions are made of.
        who: as the audit log tells it.
    """
    at, kind = now(), version.partition("/")[0]
    row = {
        "run_id": run_id,
        "kind": kind,
        "model_version": version,
        "origin_date": source.last_day,
        "inputs": json.dumps([each.told() for each in source.inputs.values()]),
        "row_count": rows,
        "scored_at": at,
        "scored_at_us": int(at.timestamp() * 1_000_000),
    }
    table = pa.Table.from_pylist([row], SCHEMAS[RUNS])
    append_inference(settings.raw, RUNS, table, metadata={"run_id": run_id})
    reason = f"{rows:,} predictions by {used}"
    audit(settings, "score", kind, version, reason, run_id=run_id, actor=who)


def former_rows(settings: Settings, version: str, source: Publication) -> int | None:
    """Rows of the last run of a kind, if it was by the same model on the same content."""
    inputs = {each.table: each.content_hash for each in source.inputs.values()}
    kind = version.partition("/")[0]
    table = DeltaTable(str(inference_path(settings.raw, RUNS)))
    runs = [row for row in read(table, SCHEMAS[RUNS]).to_pylist() if row["kind"] == kind]
    newest = max(runs, key=lambda row: int(row["scored_at_us"]), default=None)
    if newest is None or newest["model_version"] != version:
        return None
    seen = {each["table"]: each["content_hash"] for each in json.loads(newest["inputs"])}
    return int(newest["row_count"]) if seen == inputs else None
