"""Who bought what: the client-product matrix for recommendation, sparse, as a Delta table.

`spark-submit build_interactions.py --help`
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from pipelines.cdc.erasures import NOBODY
from pipelines.errors import LakehouseError
from pipelines.lake.publish import read_manifest
from pipelines.lake.storage import clear_about_storage
from pipelines.lake.writer import SPARK, properties_for
from pipelines.settings import Settings, load_settings
from pipelines.terminal import call, out
from spark_jobs.session import spark_session

MATRIX = "features/client_product_interactions"
_SALES = "marts.fct_sale"


def build_interactions(
    home: Annotated[Path | None, typer.Option(help="As in `lakehouse --home`.")] = None,
    sales: Annotated[
        str | None,
        typer.Option(metavar="DELTA", help="Where fct_sale lies; default: as last published."),
    ] = None,
    to: Annotated[
        str | None, typer.Option(metavar="DELTA", help=f"Where it goes; default {MATRIX}.")
    ] = None,
    as_of: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Sales before this day count; default: all."),
    ] = None,
    half_life_days: Annotated[
        float, typer.Option(min=0.1, help="After so long a sale weighs half.")
    ] = 90.0,
) -> None:
    """Build the client-product interaction matrix: a row for each pair with a sale.

    Columns: client_id, product_id, sale_count, quantity (units), net_amount, first_sale_date,
    last_sale_date, weight (units, halved with each half-life before the day), decayed_count (the
    same of sales), as_of_date.
    """
    settings = load_settings(home)
    place = to or str(settings.shared / MATRIX)
    with clear_about_storage(settings):
        version = None
        if sales is None:
            sales, version = _published_sales(settings)
        spark = spark_session("build_interactions")
        reader = spark.read.format("delta")
        if version is not None:
            reader = reader.option("versionAsOf", version)
        sold = reader.load(sales)
        last = sold.agg(F.max("sale_date")).first()
        if last is None or last[0] is None:
            raise LakehouseError(f"{sales} holds no sale", "land and build first")
        day = as_of.date() if as_of else last[0] + timedelta(days=1)
        matrix = interactions(sold, day, half_life_days)
        ordered = matrix.repartitionByRange("client_id").sortWithinPartitions(
            "client_id", "product_id"
        )
        ordered.write.format("delta").mode("overwrite").option("overwriteSchema", "true").save(
            place
        )
        properties = ", ".join(f"'{k}' = '{v}'" for k, v in properties_for(SPARK).items())
        spark.sql(f"alter table delta.`{place}` set tblproperties ({properties})")
        rows = spark.read.format("delta").load(place).count()
    out.print(f"{rows:,} pairs of client and product as of {day}, in {place}", highlight=False)


def interactions(sales: DataFrame, as_of: date, half_life_days: float) -> DataFrame:
    """The matrix of the sales before a day; those of nobody in particular are left out.

    Weights are sums of doubles, whose order is not fixed: equal to 1e-9, not to the last bit.
    """
    age = F.datediff(F.lit(as_of), F.col("sale_date"))
    fading = F.pow(F.lit(0.5), age / F.lit(half_life_days))
    known = F.col("client_id").isNotNull() & (F.col("client_id") != NOBODY)
    return (
        sales.where(known & (F.col("sale_date") < F.lit(as_of)))
        .groupBy("client_id", "product_id")
        .agg(
            F.count("*").alias("sale_count"),
            F.sum("quantity").alias("quantity"),
            F.sum("net_amount").alias("net_amount"),
            F.min("sale_date").alias("first_sale_date"),
            F.max("sale_date").alias("last_sale_date"),
            F.sum(F.col("quantity") * fading).alias("weight"),
            F.sum(fading).alias("decayed_count"),
        )
        .withColumn("as_of_date", F.lit(as_of))
    )


def _published_sales(settings: Settings) -> tuple[str, int]:
    """Where the fact table lies, and the version that readers see."""
    manifest = read_manifest(settings.published)
    if manifest is None or _SALES not in manifest.tables:
        raise LakehouseError(
            f"{_SALES} is not published", "run `lakehouse run` first, or name it with --sales"
        )
    found = manifest.tables[_SALES]
    return str(settings.published / found.path), found.version


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(build_interactions)
    call(app)
