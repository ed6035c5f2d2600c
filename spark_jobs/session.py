"""The Spark session of the jobs: Delta tables, in the store that the settings name or on disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark import SparkConf
from pyspark.sql import SparkSession

_DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    # A commit is a conditional PUT, by whatever name of the store a table is known.
    "spark.delta.logStore.s3.impl": "lakehouse.ConditionalLogStore",
    "spark.delta.logStore.s3a.impl": "lakehouse.ConditionalLogStore",
    # Errors instead of nulls, times in UTC with all their microseconds.
    "spark.sql.ansi.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.compression.codec": "zstd",
    # Structs of statistics in checkpoints keep DuckDB from reading tables with times.
    "spark.databricks.delta.properties.defaults.checkpoint.writeStatsAsStruct": "false",
    # A log of so few entries is read at once.
    "spark.databricks.delta.snapshotPartitions": "2",
    # By default, ten thousand tasks list the files of each table that is vacuumed.
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "100",
    "spark.ui.showConsoleProgress": "false",
}
_STORE = {
    "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
    "spark.hadoop.fs.s3a.path.style.access": "true",
    "spark.hadoop.fs.s3a.aws.credentials.provider": (
        "software.amazon.awssdk.auth.credentials.EnvironmentVariableCredentialsProvider"
    ),
}


def spark_session(job: str) -> SparkSession:
    """Begin a session; what `spark-submit` was told wins over what is set here.

    The store's address and region come from the variables that the rest of the platform reads
    (`AWS_ENDPOINT_URL`, `AWS_REGION`); its keys are read from the environment by each process.
    """
    wanted = _DELTA | _STORE | {"spark.app.name": f"lakehouse {job}"}
    if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
        wanted["spark.hadoop.fs.s3a.endpoint"] = endpoint
    wanted["spark.hadoop.fs.s3a.endpoint.region"] = os.environ.get("AWS_REGION", "us-east-1")
    told = SparkConf()
    for name, value in wanted.items():
        told.setIfMissing(name, value)
    session = SparkSession.builder.config(conf=told).getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


@contextmanager
def checkpoints(session: SparkSession, folder: str) -> Iterator[None]:
    """Let what is computed step by step be kept in a folder, which is deleted in the end."""
    context = session.sparkContext
    context.setCheckpointDir(folder)
    try:
        yield
    finally:
        place = context._jvm.org.apache.hadoop.fs.Path(folder)
        place.getFileSystem(context._jsc.hadoopConfiguration()).delete(place, True)
