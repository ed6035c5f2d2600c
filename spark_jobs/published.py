"""Published tables for the jobs: those that readers see, each at its version of the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession

from pipelines.ml.published import Publication, current_manifest
from pipelines.settings import Settings


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
        self.note(tables)
        for name in tables:
            table = self.manifest.tables[name]
            view = name.replace(".", "__")
            found = self._spark.read.format("delta").option("versionAsOf", table.version)
            found.load(str(self._settings.published / table.path)).createOrReplaceTempView(view)
            sql = sql.replace(name, view)
        return self._spark.sql(sql)


def published(settings: Settings, spark: SparkSession, command: str) -> PublishedOnSpark:
    """What is published now; later publications do not show in it.

    Raises:
        UsageError: the target is a server.
        LakehouseError: nothing is published yet, or it has no day.
    """
    return PublishedOnSpark(current_manifest(settings, command), settings, spark)
