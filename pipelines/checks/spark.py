"""Checks of Spark's Thrift server, on which the models can be built."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from pipelines.checks.finding import Finding
from pipelines.errors import LakehouseError
from pipelines.settings import Settings

# The first one of a session starts Spark's workers.
_SECONDS = 30.0
_LOG_STORE = "spark.delta.logStore.s3.impl"
# Delta's own, also where none is named.
_FOR_ONE_WRITER = ("<undefined>", "io.delta.storage.S3SingleDriverLogStore")


def check(settings: Settings) -> Iterator[Finding]:
    """Whether it answers, lets this user in, and loses no commits in an S3 store.

    Raises:
        LakehouseError: it does not answer, or refuses.
    """
    if settings.spark_host is None:
        return
    rows = _asker(settings)
    ((version,),) = rows("select split(version(), ' ')[0]")
    yield Finding("spark", True, f"version {version}")
    ((_, log_store),) = rows(f"set {_LOG_STORE}")
    loses = log_store in _FOR_ONE_WRITER
    yield Finding(
        "spark: commits", not loses, "by Delta's own log store" if loses else f"by {log_store}",
        f"set {_LOG_STORE} as infra/spark does: in an S3 store this one loses commits beside "
        "another writer" if loses else "",
    )  # fmt: skip


def _asker(settings: Settings) -> Callable[[str], list[tuple[str, ...]]]:
    try:
        import thrift_sasl
        from pyhive.exc import Error
        from pyhive.hive import Connection, get_installed_sasl
        from thrift.Thrift import TException
        from thrift.transport.TSocket import TSocket
    except ImportError:
        raise LakehouseError(
            "the package for Spark is not installed", "pip install 'lakehouse-platform[spark]'"
        ) from None
    # What it logs is told by the error, too.
    logging.getLogger("thrift").addHandler(logging.NullHandler())
    host, port = settings.spark_host, settings.spark_port
    # A server without passwords wants one all the same, and does not look at it.
    user, password = settings.spark_user, settings.spark_password or "none"

    def sasl() -> object:
        return get_installed_sasl(host=host, sasl_auth="PLAIN", username=user, password=password)

    socket = TSocket(host, port)
    socket.setTimeout(_SECONDS * 1000)
    try:
        transport = thrift_sasl.TSaslClientTransport(sasl, "PLAIN", socket)
        connection = Connection(username=user, thrift_transport=transport)
    except (Error, TException, OSError) as error:
        raise _refusal(settings, error) from None

    def rows(sql: str) -> list[tuple[str, ...]]:
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return list(cursor.fetchall())
        except (Error, TException, OSError) as error:
            raise _refusal(settings, error) from None

    return rows


def _refusal(settings: Settings, error: Exception) -> LakehouseError:
    told = " ".join(str(error).split())[:300] or type(error).__name__
    return LakehouseError(
        f"Spark at {settings.spark_host}:{settings.spark_port} refuses, or does not answer: {told}",
        "start it, or correct LAKEHOUSE_SPARK_HOST, _PORT, _USER and _PASSWORD",
    )
