"""Where Superset runs, and how it reaches what readers see, as settings tell."""

from __future__ import annotations

from typing import Any

from pipelines.dashboards import PORT, published_views
from pipelines.dashboards.client import Superset
from pipelines.errors import UsageError
from pipelines.settings import EMBEDDED, Settings


def superset(settings: Settings) -> Superset:
    """A session on the Superset that the settings name; else on that of this machine.

    Raises:
        UsageError: nobody told the password.
        Unavailable: it does not answer.
        LakehouseError: it refuses the user.
    """
    password = settings.superset_password
    if password is None:
        kept = settings.home / published_views.FOLDER / "password"
        if settings.superset_url is not None or not kept.exists():
            raise UsageError(
                "nobody told the password of Superset",
                "set LAKEHOUSE_SUPERSET_PASSWORD, or start one here: `lakehouse dashboards up`",
            )
        password = kept.read_text(encoding="utf-8")
    url = settings.superset_url or f"http://127.0.0.1:{PORT}"
    return Superset(url, settings.superset_user, password)


def database(settings: Settings) -> dict[str, Any]:
    """How Superset reaches the target's tables: the file of views, or Trino as a reader.

    Raises:
        UsageError: the target has none that are published, or nobody told how to reach them.
    """
    if settings.target == EMBEDDED:
        return published_views.database(settings)
    if settings.target != "trino":
        raise UsageError(
            f"on {settings.target} nothing is published", "name the target embedded or trino"
        )
    if settings.superset_trino is None:
        raise UsageError(
            "nobody told how Superset reaches Trino",
            "set LAKEHOUSE_SUPERSET_TRINO=trino://analyst:<password>@<host>:<port>/<catalog>",
        )
    if settings.schema_prefix:
        raise UsageError(
            "dashboards are of the schemas without a prefix, not of those of one developer",
            "leave out LAKEHOUSE_SCHEMA_PREFIX",
        )
    asked: dict[str, Any] = {"source": "superset", "timezone": "UTC"}
    if settings.trino_scheme == "https":
        asked |= {"http_scheme": "https"}
        if settings.superset_trino_cert:
            asked["verify"] = settings.superset_trino_cert
    return {
        "sqlalchemy_uri": settings.superset_trino,
        "expose_in_sqllab": True,
        "allow_dml": False,
        "allow_ctas": False,
        "allow_cvas": False,
        "extra": {"engine_params": {"connect_args": asked}},
    }
