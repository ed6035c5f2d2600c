"""Maintain the raw tables that Spark writes: `spark-submit maintain.py --help`.

`lakehouse maintain` does the same for those that `lakehouse land` writes, and leaves these alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
import typer
from deltalake import DeltaTable
from pyspark.sql import SparkSession
from rich.table import Table as RichTable

from pipelines import maintain as maintenance
from pipelines.contract import load_contracts
from pipelines.lake.storage import clear_about_storage
from pipelines.lake.tables import EXPIRY
from pipelines.lake.writer import SPARK, writer_of
from pipelines.maintain import WEEK_HOURS, Geometry, Target
from pipelines.settings import load_settings
from pipelines.terminal import call, out
from spark_jobs.session import spark_session


@dataclass
class Maintained:
    """What was done to one table.

    Attributes:
        files_removed: files that no version younger than the horizon names.
        files_without_statistics: of these no query can tell, unread, that it does not need them.
        skipped: why nothing was done; None where it was.
    """

    table: str
    before: Geometry
    after: Geometry
    files_removed: int = 0
    files_without_statistics: int = 0
    skipped: str | None = None


def maintain(
    tables: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TABLE]...", help="As in SQL, or a topic; default all raw ones."),
    ] = None,
    home: Annotated[Path | None, typer.Option(help="As in `lakehouse --home`.")] = None,
    z_order: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="Lay rows that are alike in it together; repeatable."),
    ] = None,
    keep_hours: Annotated[int, typer.Option(help="How long replaced files are kept.")] = WEEK_HOURS,
    force: Annotated[bool, typer.Option("--force", help="Keep them for less than a week.")] = False,
) -> None:
    """OPTIMIZE and VACUUM the raw tables that Spark writes.

    What reads whole batches, as staging does, is served best by the order of arrival; --z-order is
    for tables that are looked into by a key.
    """
    settings = load_settings(home)
    keep = maintenance.kept(keep_hours, force=force)
    found = maintenance.targets(settings, load_contracts(settings.project_dir), tables or ())
    reports = []
    with clear_about_storage(settings):
        spark = spark_session("maintain")
        if force:
            spark.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", "false")
        for target in found:
            if target.contract is not None:
                reports.append(_maintained(spark, target, z_order or (), keep))
    shown = RichTable("table", "files", "MiB", "files removed", "without statistics", "skipped")
    for report in reports:
        shown.add_row(
            report.table,
            f"{report.before.files:,} → {report.after.files:,}",
            f"{report.before.mebibytes:,.1f} → {report.after.mebibytes:,.1f}",
            f"{report.files_removed:,}",
            f"{report.files_without_statistics:,}",
            report.skipped or "",
        )
    out.print(shown)


def _maintained(
    spark: SparkSession, target: Target, z_order: Sequence[str], keep: timedelta
) -> Maintained:
    before = maintenance.geometry(target.path)
    report = Maintained(target.name, before, before)
    found = DeltaTable(str(target.path))
    if (writer := writer_of(found)) != SPARK:
        report.skipped = f"{writer} writes it, and maintains it"
        return report
    if found.metadata().configuration.get(EXPIRY):
        # A checkpoint would leave out, for good, the app transactions that have expired.
        report.skipped = f"its property {EXPIRY} lets progress expire"
        return report
    name = f"delta.`{target.path}`"
    order = ", ".join(f"`{column}`" for column in z_order)
    spark.sql(f"optimize {name}" + (f" zorder by ({order})" if order else ""))
    spark.sql(f"vacuum {name} retain {keep.total_seconds() / 3600:g} hours")
    ended = spark.sql(f"describe history {name} limit 5").where("operation = 'VACUUM END'")
    for row in ended.orderBy("version", ascending=False).limit(1).collect():
        report.files_removed = int(row["operationMetrics"].get("numDeletedFiles", 0))
    report.after = maintenance.geometry(target.path)
    actions = pa.table(DeltaTable(str(target.path)).get_add_actions())
    report.files_without_statistics = pc.sum(pc.is_null(actions["num_records"])).as_py() or 0
    return report


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(maintain)
    call(app)
