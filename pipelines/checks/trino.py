"""Checks of the Trino server on which the models can be built."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pipelines.checks.finding import Finding
from pipelines.errors import LakehouseError
from pipelines.settings import Settings

# The first release that reads column indexes of Spark's files right (trinodb/trino#28885).
_TRUSTED_INDEX = 481
_SECONDS = 10.0


def check(settings: Settings) -> Iterator[Finding]:
    """Whether it answers, lets this user in, and reads files by a way that is right.

    Raises:
        LakehouseError: it does not answer, or refuses.
    """
    if settings.trino_host is None:
        return
    rows = _asker(settings)
    ((version,),) = rows("select max(node_version) from system.runtime.nodes")
    yield Finding("trino", True, f"version {version}")
    catalog = settings.trino_catalog
    if [catalog] not in rows("show catalogs"):
        yield Finding(
            "trino: catalog", False, f"there is no catalog {catalog}",
            "correct LAKEHOUSE_TRINO_CATALOG, or what the user may see",
        )  # fmt: skip
        return
    # Asks the metastore, too.
    schemas = {name for (name,) in rows(f'show schemas from "{catalog}"')}
    yield Finding("trino: catalog", True, f"{catalog} has {len(schemas)} schemas")
    told = rows(f"show session like '{catalog}.parquet_use_column_index'")
    number = re.match(r"\d+", version)
    is_old = number is not None and int(number[0]) < _TRUSTED_INDEX
    wrong = is_old and bool(told) and told[0][1] == "true"
    yield Finding(
        "trino: column index", not wrong, "may be used" if told and told[0][1] == "true" else "off",
        "set parquet.use-column-index=false in the catalog: this release deletes wrong rows of "
        "files that Spark wrote" if wrong else "",
    )  # fmt: skip


def _asker(settings: Settings) -> Any:
    try:
        import trino
        from trino.exceptions import Error, HttpError
    except ImportError:
        raise LakehouseError(
            "the package for Trino is not installed", "pip install 'lakehouse-platform[trino]'"
        ) from None
    from requests import Session
    from requests.exceptions import RequestException

    session = Session()
    # Otherwise REQUESTS_CA_BUNDLE would count above the file that is named.
    session.trust_env = not settings.trino_cert
    session.verify = settings.trino_cert or True
    at = f"Trino at {settings.trino_host}:{settings.trino_port}"
    password = settings.trino_password
    connection = trino.dbapi.connect(  # type: ignore[no-untyped-call]
        host=settings.trino_host,
        port=settings.trino_port,
        user=settings.trino_user,
        http_scheme=settings.trino_scheme,
        auth=trino.auth.BasicAuthentication(settings.trino_user, password) if password else None,
        http_session=session,
        request_timeout=_SECONDS,
        max_attempts=1,
    )

    def rows(sql: str) -> list[list[Any]]:
        try:
            return list(connection.cursor().execute(sql).fetchall())
        except (Error, HttpError, RequestException) as error:
            told = " ".join(str(error).split())
            if "Caused by" in told:
                # The innermost is what says it: the connection was refused, a name is unknown …
                told = told.rsplit(": ", 1)[-1].rstrip("\"')")
            raise LakehouseError(
                f"{at} refuses, or does not answer: {told[:300]}",
                "start it, or correct LAKEHOUSE_TRINO_HOST, _PORT, _SCHEME, _USER and _PASSWORD",
            ) from None

    return rows
