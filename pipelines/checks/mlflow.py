"""Checks of MLflow's tracking server."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.checks.finding import Finding
from pipelines.checks.rest import answer, basic, without_credentials
from pipelines.settings import Settings

_ADDRESS, _ACCESS = "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME and _PASSWORD, or _TOKEN"


def check(settings: Settings) -> Iterator[Finding]:
    """Whether it answers, lets this user in, and reaches its database.

    Raises:
        LakehouseError: it does not.
    """
    if not settings.mlflow_tracking_uri:
        return
    url, credentials = without_credentials(settings.mlflow_tracking_uri)
    if not url.startswith(("http://", "https://")):
        yield Finding("mlflow", True, "keeps runs without a server")
        return
    server, header = f"MLflow at {url}", _header(settings, credentials)
    version = answer(server, f"{url}/version", header, _ADDRESS, _ACCESS)
    # The version is told by the server alone; experiments are in its database.
    path = "api/2.0/mlflow/experiments/search?max_results=1"
    told = answer(server, f"{url}/{path}", header, _ADDRESS, _ACCESS)
    known = isinstance(told, dict)
    yield Finding(
        "mlflow", known, f"version {version}" if known else f"{url} is not the API of MLflow",
        "" if known else f"correct {_ADDRESS}",
    )  # fmt: skip


def _header(settings: Settings, credentials: str | None) -> str | None:
    if settings.mlflow_tracking_username:
        password = settings.mlflow_tracking_password or ""
        return basic(f"{settings.mlflow_tracking_username}:{password}")
    if settings.mlflow_tracking_token:
        return f"Bearer {settings.mlflow_tracking_token}"
    return basic(credentials)
