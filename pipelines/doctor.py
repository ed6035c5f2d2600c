"""All checks, in the order in which one depends on another."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pipelines.checks import (
    feature_registry,
    kafka,
    lineage,
    metastore,
    mlflow,
    prefect,
    redis,
    setup,
    source_database,
    spark,
    trino,
)
from pipelines.checks.finding import Finding
from pipelines.errors import LakehouseError
from pipelines.settings import Settings

_CHECKS: dict[str, Callable[[Settings], Iterator[Finding]]] = {
    "python": setup.python,
    "duckdb": setup.extension,
    "contracts": setup.contracts,
    "store": setup.store,
    "masking key": setup.masking_key,
    "disk": setup.home,
    "demo data": setup.demo_data,
    "published": setup.published,
    "source database": source_database.check,
    "kafka": kafka.check_kafka,
    "connect": kafka.check_connect,
    "metastore": metastore.check,
    "trino": trino.check,
    "spark": spark.check,
    "prefect": prefect.check,
    "mlflow": mlflow.check,
    "lineage": lineage.check,
    "redis": redis.check,
    "feature registry": feature_registry.check,
}
# What these tell is in the store: without it, they would tell the same again.
_IN_STORE = ("masking key", "published")


def examine(settings: Settings) -> list[Finding]:
    """Run every check; a check that cannot run is a finding, not an error.

    Services are checked where a setting tells that they are there.
    """
    findings: list[Finding] = []
    for name, check in _CHECKS.items():
        if name in _IN_STORE and any(f.check == "store" and not f.ok for f in findings):
            continue
        try:
            findings.extend(check(settings))
        except LakehouseError as error:
            findings.append(Finding(name, False, error.cause, error.remedy))
    return findings
