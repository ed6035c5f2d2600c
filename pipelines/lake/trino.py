"""A connection to the Trino server that the settings name, and what is asked of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipelines.errors import LakehouseError, Unavailable
from pipelines.settings import Settings

Asked = Callable[[str], list[list[Any]]]


def asker(settings: Settings, seconds: float) -> Asked:
    """What sends a statement, and returns its rows.

    Args:
        seconds: how long an answer to a request may take; a statement may take many requests.

    Raises:
        LakehouseError: the package is missing. What is returned raises it where Trino refuses or
            does not answer (`Unavailable`).
    """
    try:
        import trino
        from trino.exceptions import Error, HttpError, TrinoConnectionError
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
        catalog=settings.trino_catalog,
        timezone="UTC",
        http_session=session,
        request_timeout=seconds,
        max_attempts=1,
    )

    def rows(sql: str) -> list[list[Any]]:
        try:
            return list(connection.cursor().execute(sql).fetchall())
        except (Error, HttpError, RequestException) as error:
            is_away = isinstance(error, RequestException | TrinoConnectionError)
            told = " ".join(str(error).split())
            if "Caused by" in told:
                # The innermost is what says it: the connection was refused, a name is unknown …
                told = told.rsplit(": ", 1)[-1].rstrip("\"')")
            raise (Unavailable if is_away else LakehouseError)(
                f"{at} refuses, or does not answer: {told[:300]}",
                "start it, or correct LAKEHOUSE_TRINO_HOST, _PORT, _SCHEME, _USER and _PASSWORD",
            ) from None

    return rows


def register(ask: Asked, schema: str, name: str, location: str) -> None:
    """Make a Delta table of the store known by a name, where it is not yet.

    Raises:
        LakehouseError: another table has that name, or Trino refuses or does not answer.
    """
    ask(f"create schema if not exists {schema}")
    if [name] not in ask(f"show tables from {schema}"):
        ask(f"call system.register_table('{schema}', '{name}', '{location}')")
        return
    ((known,),) = ask(f"show create table {schema}.{name}")
    if f"location = '{location}'" not in known:
        raise LakehouseError(
            f"{schema}.{name} on Trino is not the table in {location}",
            f"call system.unregister_table('{schema}', '{name}') there; a metastore serves one "
            "lake",
        )
