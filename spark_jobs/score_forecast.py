"""Forecast demand with the champion, products in parallel: `spark-submit score_forecast.py --help`.

For more products than one machine holds: workers make features and predictions by the platform's
own functions, so that rows are those that `lakehouse score forecast` would have made.
"""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.pandas.types import from_arrow_schema

from pipelines.caller import COMMAND_LINE
from pipelines.errors import LakehouseError
from pipelines.forecasting.lines import Span, unrelated_plan
from pipelines.forecasting.panel import best
from pipelines.forecasting.totals import Totals
from pipelines.lake.ids import new_run_id
from pipelines.lake.inference import create_inference_tables, inference_path
from pipelines.lake.storage import clear_about_storage
from pipelines.lineage.events import Dataset
from pipelines.lineage.recording import recording
from pipelines.ml.audit import actor
from pipelines.ml.inference import former_rows, note_run, refuse_gaps
from pipelines.ml.kinds.forecast import LINES_OF, PLAN, PLAN_OF, lines_sql
from pipelines.ml.registry import CHAMPION, Registry, Version
from pipelines.settings import Settings, load_settings
from pipelines.terminal import call, out
from spark_jobs.demand import (
    PANELS,
    PART,
    PREDICTIONS,
    TOTALS,
    WORTH,
    Chosen,
    ModelFiles,
    ToPanel,
    predictions_of,
    totals_of,
    worth_of,
)
from spark_jobs.published import PublishedOnSpark, published
from spark_jobs.session import spark_session

_JOB = "spark score_forecast"


@dataclass(frozen=True)
class Demand:
    """What was sold and what is planned, not read yet.

    Attributes:
        products: how many there are.
        span: of all lines and the plan.
        plan: None where there is none.
        closed: days on which no shop opens, as of `panel_of`.
    """

    lines: DataFrame
    plan: DataFrame | None
    products: int
    span: Span
    closed: tuple[str, ...]


def score_forecast(
    home: Annotated[Path | None, typer.Option(help="As in `lakehouse --home`.")] = None,
    version: Annotated[
        str, typer.Option(metavar="NUMBER|ALIAS", help="Which version of the model predicts.")
    ] = CHAMPION,
    again: Annotated[
        bool, typer.Option("--again", help="Also if it has predicted from the same content.")
    ] = False,
    products_a_part: Annotated[
        int, typer.Option(min=1, help="So many products are forecast at a time, by a task.")
    ] = 500,
) -> None:
    """Append forecasts by what is published; the next `lakehouse score` or `run` makes the marts.

    The rows are those of `lakehouse score forecast` by the same model.
    """
    settings = load_settings(home)
    with clear_about_storage(settings):
        registry = Registry(settings)
        model = registry.version("forecast", version)
        files = ModelFiles.of(registry.folder(model))
        spark = spark_session("score_forecast")
        create_inference_tables(settings.raw)
        told = _score(settings, spark, model, files, again, products_a_part)
    out.print(told, highlight=False)


def _score(
    settings: Settings,
    spark: SparkSession,
    model: Version,
    files: ModelFiles,
    again: bool,
    products_a_part: int,
) -> str:
    run_id = new_run_id()
    with (
        recording(settings, run_id, _JOB) as lineage,
        lineage.step("score.forecast") as told,
    ):
        source = published(settings, spark, _JOB)
        demand = read_demand(source, settings)
        former = former_rows(settings, model.name, source)
        if former is not None and not again:
            return f"{model.name} has predicted {former:,} rows from the same content already"
        parts = -(-demand.products // products_a_part)
        predictions = predicted(spark, demand, files, parts).persist()
        count, nulls = _gaps(predictions)
        refuse_gaps("forecast", count, nulls)
        stamp = {"model_version": model.name, "run_id": run_id}
        rows = predictions.select("*", *(F.lit(value).alias(name) for name, value in stamp.items()))
        (
            rows.write.format("delta")
            .mode("append")
            .option("userMetadata", json.dumps(stamp))
            .save(str(inference_path(settings.raw, "forecast")))
        )
        used = files.loaded().model.choice.name
        note_run(settings, source, run_id, model.name, count, used=used, who=actor(COMMAND_LINE))
        namespace = lineage.run.namespace
        told.reads(*(Dataset(namespace, table) for table in source.inputs))
        told.reads(Dataset(namespace, "models.forecast"))
        told.writes(Dataset(namespace, "raw.inference_forecast"))
    return f"{count:,} predictions by {model.name} ({used}), run {run_id}"


def read_demand(source: PublishedOnSpark, settings: Settings) -> Demand:
    """What `lakehouse score forecast` reads, by the same queries.

    Raises:
        LakehouseError: a table is not published, there is no product to forecast, or the plan is
            of other products.
    """
    lines = source.query(lines_sql(source.last_day, settings), LINES_OF)
    first, last, products = lines.agg(
        F.min("date"), F.max("date"), F.count_distinct("product_id")
    ).first()
    if not products:
        raise LakehouseError(
            "features.feat_product_day holds no product to forecast",
            "land some weeks of sales: a product counts from `feature_least_selling_days` on",
        )
    days = (last - first).days + 1
    plan = source.query(PLAN, PLAN_OF)
    if plan.isEmpty():
        span = Span(np.datetime64(first), days, days)
        return Demand(lines, None, products, span, settings.days_closed)
    plan = plan.where(F.col("date") >= F.lit(first)).join(
        lines.select("product_id").distinct(), "product_id", "left_semi"
    )
    (planned,) = plan.agg(F.max("date")).first()
    if planned is None:
        raise unrelated_plan()
    span = Span(np.datetime64(first), days, (planned - first).days + 1)
    return Demand(lines, plan, products, span, settings.days_closed)


def predicted(spark: SparkSession, demand: Demand, files: ModelFiles, parts: int) -> DataFrame:
    """Forecasts of the best sellers of the model, by all features of the whole.

    Args:
        parts: into how many the products are cut.
    """
    sent = spark.sparkContext.broadcast(files)
    panels = _panels(demand, parts).persist()
    top = files.loaded().top
    worth = panels.mapInArrow(worth_of, from_arrow_schema(WORTH)).toArrow().sort_by("product_id")
    rows = best(worth["worth"].to_numpy(), top)
    chosen = Chosen(lambda: sent.value, tuple(worth["product_id"].take(rows).to_pylist()))
    total = _totals(panels, chosen)
    all_told = spark.sparkContext.broadcast(total)
    return panels.mapInArrow(
        predictions_of(chosen, lambda: all_told.value), from_arrow_schema(PREDICTIONS)
    )


def _panels(demand: Demand, parts: int) -> DataFrame:
    """The panel of each part, packed; both tables meet by product."""
    part = F.pmod(F.xxhash64("product_id"), F.lit(parts)).cast("int").alias(PART)
    lines = demand.lines.select(part, "*").groupBy(PART)
    # Without a plan the other side is none, which costs nothing.
    plan = demand.plan if demand.plan is not None else demand.lines.limit(0)
    to_panel = ToPanel(demand.span, demand.plan is not None, demand.closed)
    return lines.cogroup(plan.select(part, "*").groupBy(PART)).applyInArrow(
        lambda left, right: to_panel(left, right), from_arrow_schema(PANELS)
    )


def _totals(panels: DataFrame, chosen: Chosen) -> Totals:
    """The sums over all chosen products; one of a partition at a time comes to the driver."""
    total: Totals | None = None
    for row in panels.mapInArrow(totals_of(chosen), from_arrow_schema(TOTALS)).toLocalIterator():
        part: Totals = pickle.loads(row["totals"])  # noqa: S301 - of our own workers
        total = part if total is None else total + part
    if total is None:
        raise LakehouseError("no product was chosen to forecast", "train the model anew")
    return total


def _gaps(predictions: DataFrame) -> tuple[int, list[str]]:
    """How many rows there are, and the columns that are null in some."""
    names = predictions.columns
    counts = predictions.agg(F.count("*"), *(F.count(name) for name in names)).first()
    count = int(counts[0])
    return count, [name for name, found in zip(names, counts[1:], strict=True) if found < count]


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(score_forecast)
    call(app)
