"""Learn taste with MLlib's ALS on the client-product matrix: `spark-submit train_als.py --help`.

One source of candidates, for more clients than one machine holds. It is tried by the code that
tries the recommender, kept beside it in the registry, and predicts nothing by itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from pyspark.ml.recommendation import ALS, ALSModel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from pipelines.caller import COMMAND_LINE
from pipelines.errors import LakehouseError
from pipelines.lake.ids import new_run_id
from pipelines.lake.inference import create_inference_tables
from pipelines.lake.storage import clear_about_storage
from pipelines.lineage.events import Dataset
from pipelines.lineage.recording import recording
from pipelines.ml.audit import actor, audit
from pipelines.ml.gate import Verdict, judge
from pipelines.ml.kinds.recommend import PURCHASES_OF, SPLIT, purchases_sql
from pipelines.ml.kinds.recommend_als import (
    AlsConfig,
    AlsModel,
    RecommendAlsKind,
    factors_of,
    tried,
)
from pipelines.ml.registry import Registry, Version
from pipelines.ml.training import keep
from pipelines.ml.trial import Trial
from pipelines.recommendation.interactions import Interactions, read_interactions
from pipelines.recommendation.signals.factors import Factors
from pipelines.recommendation.splits import Window, windows
from pipelines.settings import Settings, load_settings
from pipelines.terminal import call, out
from spark_jobs.build_interactions import interactions
from spark_jobs.published import PublishedOnSpark, published
from spark_jobs.session import checkpoints, spark_session

_JOB = "spark train_als"
_DEFAULT = AlsConfig()
_EPOCH = date(1970, 1, 1)
_BUCKETS = 1_000_000
_CHECKPOINT_ITERATIONS = 2


def train_als(
    home: Annotated[Path | None, typer.Option(help="As in `lakehouse --home`.")] = None,
    factors: Annotated[int, typer.Option(min=1)] = _DEFAULT.factors,
    iterations: Annotated[int, typer.Option(min=1)] = _DEFAULT.iterations,
    alpha: Annotated[
        float, typer.Option(min=0.0, help="How much surer each sale makes.")
    ] = _DEFAULT.alpha,
    regularization: Annotated[
        float, typer.Option(min=0.0, help="Times the pairs of each client and product.")
    ] = _DEFAULT.regularization,
    half_life_days: Annotated[
        float, typer.Option(min=0.1, help="After so long a sale counts half.")
    ] = _DEFAULT.half_life_days,
    seed: Annotated[int, typer.Option()] = _DEFAULT.seed,
    origins: Annotated[int, typer.Option(min=1, help="How many past windows it is tried on.")] = 1,
    tried_clients: Annotated[
        int, typer.Option(min=100, help="At most about so many clients, drawn by hash.")
    ] = 20_000,
) -> None:
    """Try MLlib's ALS on the last 28 days, then learn from all days, and register the vectors."""
    settings = load_settings(home)
    config = AlsConfig(factors, iterations, alpha, regularization, half_life_days, seed)
    with clear_about_storage(settings):
        registry = Registry(settings)
        spark = spark_session("train_als")
        create_inference_tables(settings.raw)
        with checkpoints(spark, str(settings.shared / "checkpoints" / "train_als")):
            version, trial = _train(settings, spark, registry, config, origins, tried_clients)
    figures = trial.parts[0].metrics
    out.print(f"{version.name}: {version.verdict}", highlight=False)
    for name in ("ndcg_all", "ndcg_new", "recall_all", "recall_new"):
        others = (
            f"{each} {figures[key]:.4f}"
            for each in trial.baselines
            if (key := f"{name}_by_{each}") in figures
        )
        own = figures.get(name, float("nan"))
        out.print(f"{name:>10}  {own:.4f}  ({', '.join(others)})", highlight=False)


def _train(
    settings: Settings,
    spark: SparkSession,
    registry: Registry,
    config: AlsConfig,
    origins: int,
    tried_clients: int,
) -> tuple[Version, Trial]:
    run_id, kind = new_run_id(), RecommendAlsKind()
    with recording(settings, run_id, _JOB) as lineage, lineage.step("train") as told:
        source = published(settings, spark, _JOB)
        sold = read_sales(source, settings).persist()
        until = source.last_day + timedelta(days=1)
        known = _drawn(sold, until, tried_clients)
        trial = tried(
            [
                (window, learned(spark, sold, _begin(window), config))
                for window in _windows(known, origins)
            ]
        )
        verdict = _never_champion(judge(trial))
        model = AlsModel(config, str(source.last_day), learned(spark, sold, until, config))
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "model"
            kind.save(model, folder)
            version, _ = keep(registry, kind, model, None, folder, source, trial, verdict, run_id)
        reason = f"trained until {version.trained_until}, on Spark; {verdict.reason}"
        audit(settings, "train", kind.name, version.name, reason, run_id=run_id,
              actor=actor(COMMAND_LINE))  # fmt: skip
        told.reads(*(Dataset(lineage.run.namespace, table) for table in source.inputs))
        told.writes(Dataset(lineage.run.namespace, f"models.{kind.name}"))
    return version, trial


def read_sales(source: PublishedOnSpark, settings: Settings) -> DataFrame:
    """The purchases that the recommender learns from.

    Raises:
        LakehouseError: there are none, or a table is not published.
    """
    sql = purchases_sql(source.last_day, settings, "sale_date", "net_amount")
    sold = source.query(sql, PURCHASES_OF).where("quantity > 0")
    if sold.isEmpty():
        raise LakehouseError(
            "marts.fct_sale holds no purchase of goods",
            "land some weeks of sales, or correct LAKEHOUSE_DEPARTMENTS_LEFT_OUT",
        )
    return sold


def learned(spark: SparkSession, sold: DataFrame, as_of: date, config: AlsConfig) -> Factors:
    """Vectors from the sales before a day."""
    model, clients, products = fitted(spark, sold, as_of, config)

    def vectors(found: DataFrame, ids: DataFrame) -> Any:
        return (
            found.join(ids.withColumnRenamed("id", "own"), found["id"] == F.col("code"))
            .select(F.col("own").alias("id"), "features")
            .toArrow()
        )

    return factors_of(vectors(model.userFactors, clients), vectors(model.itemFactors, products))


def fitted(
    spark: SparkSession, sold: DataFrame, as_of: date, config: AlsConfig
) -> tuple[ALSModel, DataFrame, DataFrame]:
    """MLlib's model, and what its codes mean: `id` and `code` of clients and of products."""
    matrix = interactions(sold, as_of, config.half_life_days)
    clients, products = (_coded(spark, matrix, name) for name in ("client_id", "product_id"))
    rated = matrix.join(_named(clients, "client"), "client_id").join(
        _named(products, "product"), "product_id"
    )
    als = ALS(
        rank=config.factors,
        maxIter=config.iterations,
        regParam=config.regularization,
        alpha=config.alpha,
        implicitPrefs=True,
        seed=config.seed,
        userCol="client",
        itemCol="product",
        ratingCol="decayed_count",
        # Each iteration stands on the one before: a task that told of all would overflow its stack.
        checkpointInterval=_CHECKPOINT_ITERATIONS,
    )
    # In one order, so that the same sales give nearly the same vectors.
    ordered = rated.select("client", "product", "decayed_count").sort("client", "product")
    return als.fit(ordered.localCheckpoint()), clients, products


def _coded(spark: SparkSession, matrix: DataFrame, name: str) -> DataFrame:
    """Numbers from 0 on for the ids of a column: MLlib takes no others, and none beyond 32 bits."""
    ids = matrix.select(name).distinct().sort(name).rdd.map(lambda row: row[0]).zipWithIndex()
    return spark.createDataFrame(ids, "id bigint, code bigint").persist()


def _named(codes: DataFrame, side: str) -> DataFrame:
    return codes.select(F.col("id").alias(f"{side}_id"), F.col("code").cast("int").alias(side))


def _drawn(sold: DataFrame, until: date, most: int) -> Interactions:
    """Purchases of some of the clients, all of theirs: what vectors are tried on."""
    (count,) = sold.agg(F.count_distinct("client_id")).first()
    bucket = F.pmod(F.xxhash64("client_id"), F.lit(_BUCKETS))
    some = sold.where(bucket < F.lit(round(_BUCKETS * min(1.0, most / count))))
    columns = ("client_id", "product_id", "at", "basket_id", "quantity")
    return read_interactions(some.select(*columns).toArrow(), as_of=pd.Timestamp(until))


def _windows(known: Interactions, count: int) -> Iterator[Window]:
    found = [*windows(known, SPLIT, count)]
    if not found:
        raise LakehouseError(
            "the purchases are too few weeks to hold out 28 days of them",
            "land a longer history",
        )
    yield from found


def _begin(window: Window) -> date:
    """The first day that is held out."""
    return _EPOCH + timedelta(days=int(np.floor(window.history.today)))


def _never_champion(verdict: Verdict) -> Verdict:
    """What the gate found, without a promotion: who predicts is the recommender."""
    found = f"a source of candidates, which is never champion; the gate: {verdict.reason}"
    return replace(verdict, is_promoted=False, reason=found)


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(train_als)
    call(app)
