"""Checks of the server that takes lineage."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from pipelines.checks.finding import Finding
from pipelines.checks.rest import answer, without_credentials
from pipelines.settings import Settings

_ADDRESS, _ACCESS = "LAKEHOUSE_LINEAGE_URL", "LAKEHOUSE_LINEAGE_API_KEY"


def check(settings: Settings) -> Iterator[Finding]:
    """Whether Marquez answers; of another endpoint or a topic, only what sends there can tell.

    Raises:
        LakehouseError: it does not, or refuses.
    """
    if not settings.lineage_url:
        return
    url, _ = without_credentials(settings.lineage_url)
    parts = urlsplit(url)
    if parts.scheme == "kafka" or parts.path:
        yield Finding("lineage", True, f"{url} is tried by the next run, which warns if it fails")
        return
    key = settings.lineage_api_key
    header = f"Bearer {key}" if key else None
    page = f"{url}/api/v1/namespaces"
    told = answer(f"the lineage server at {url}", page, header, _ADDRESS, _ACCESS)
    if isinstance(told, dict) and "namespaces" in told:
        yield Finding("lineage", True, f"Marquez answers at {url}")
    else:
        detail = f"{url} is not the API of Marquez"
        yield Finding("lineage", False, detail, f"correct {_ADDRESS}")
