"""Checks of Prefect's server."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.checks.finding import Finding
from pipelines.checks.rest import answer, basic, without_credentials
from pipelines.settings import Settings

_ADDRESS = "PREFECT_API_URL"


def check(settings: Settings) -> Iterator[Finding]:
    """Whether it answers, and lets this user in.

    Raises:
        LakehouseError: it does not.
    """
    if not settings.prefect_api_url:
        return
    url, _ = without_credentials(settings.prefect_api_url)
    key = settings.prefect_api_key
    header = f"Bearer {key}" if key else basic(settings.prefect_api_auth_string)
    access = "PREFECT_API_KEY" if key else "PREFECT_API_AUTH_STRING"
    version = answer(f"Prefect at {url}", f"{url}/admin/version", header, _ADDRESS, access)
    known = isinstance(version, str) and version[:1].isdigit()
    yield Finding(
        "prefect", known, f"version {version}" if known else f"{url} is not the API of Prefect",
        "" if known else f"correct {_ADDRESS}: it ends in /api",
    )  # fmt: skip
