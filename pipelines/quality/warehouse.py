"""Where a gate looks: the address of a target's tables, as SQLAlchemy writes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from pipelines.settings import EMBEDDED, Settings

GATED = (EMBEDDED, "trino")


@dataclass(frozen=True)
class Warehouse:
    """An address, and the arguments of a connection; no password shows in its text."""

    url: str = field(repr=False)
    connect_args: dict[str, Any] = field(repr=False)


def warehouse(settings: Settings) -> Warehouse:
    """The warehouse of the target that the settings name, one of `GATED`."""
    if settings.target == EMBEDDED:
        from pipelines.quality import duckdb_dialect

        config = {
            "threads": str(settings.threads),
            "memory_limit": settings.memory_limit,
            "temp_directory": str(settings.scratch),
            "autoinstall_known_extensions": "false",
        }
        return Warehouse(
            f"{duckdb_dialect.NAME}:///{settings.warehouse}", {"read_only": True, "config": config}
        )
    user = quote(settings.trino_user, safe="")
    if settings.trino_password is not None:
        user += f":{quote(settings.trino_password, safe='')}"
    arguments: dict[str, Any] = {"http_scheme": settings.trino_scheme, "source": "lakehouse gate"}
    if settings.trino_cert:
        arguments["verify"] = settings.trino_cert
    place = f"{settings.trino_host}:{settings.trino_port}/{settings.trino_catalog}"
    return Warehouse(f"trino://{user}@{place}", arguments)
