"""Published tables for the jobs: those that readers see, each at its version of the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession

from pipelines.ml.published import Publication, current_manifest
from pipelines.settings import Settings
from pipelines.targets import refuse_server


@dataclass
class PublishedOnSpark(Publication):
    """A publication that Spark reads."""

    _settings: Settings
    _spark: SparkSession

    def query(self, sql: str, tables: Sequence[str]) -> DataFrame:
        """Rows of published tables.

        Args:
            sql: reads no other tables than these.
            tables: full names.

        Raises:
            LakehouseError: one of them is not published.
        """
        for name in tables:
            table = self.table(name)
            self.note(name, table)
            view = name.replace(".", "__")
            found = self._spark.read.format("delta").option("versionAsOf", table.version)
            found.load(str(self._settings.published / table.path)).createOrReplaceTempView(view)
            sql = sql.replace(name, view)
        return self._spark.sql(sql)


def published(settings: Settings, spark: SparkSession, command: str) -> PublishedOnSpark:
    """What DuckDB has published; later publications do not show in it.

    Raises:
        UsageError: the target is a server, whose tables lie elsewhere.
        LakehouseError: nothing is published yet, or it has no day.
    """
    refuse_server(settings, command)
    return PublishedOnSpark(current_manifest(settings), settings, spark)
