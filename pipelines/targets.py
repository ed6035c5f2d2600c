"""Where the models are built: in the lake's work file, or on a server that reads its raw tables.

What a server needs to know stands in the settings; dbt's profile reads it from the environment.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.errors import LakehouseError, UsageError
from pipelines.settings import EMBEDDED, Settings


def refuse_server(settings: Settings, command: str) -> None:
    """Refuse what concerns the work file and what is published of it.

    Raises:
        UsageError: the target is a server.
    """
    if settings.target != EMBEDDED:
        raise UsageError(
            f"`{command}` is of the target {EMBEDDED}, not of {settings.target}",
            "leave --target and LAKEHOUSE_TARGET out",
        )


@contextmanager
def environment(settings: Settings) -> Iterator[None]:
    """What the profile reads, for the time of one dbt call; raises as `variables`."""
    wanted = variables(settings)
    former = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in former.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def variables(settings: Settings) -> dict[str, str]:
    """The variables that the profile reads.

    Raises:
        UsageError: it is not told where the server is, or where it finds the raw tables.
        LakehouseError: dbt's adapter for the server is not installed.
    """
    found = {
        "LAKEHOUSE_HOME": str(settings.home),
        "LAKEHOUSE_STORE": settings.store or "",
        "LAKEHOUSE_TARGET": settings.target,
        "LAKEHOUSE_THREADS": str(settings.threads),
        "LAKEHOUSE_MEMORY_LIMIT": settings.memory_limit,
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }
    if settings.target == EMBEDDED:
        # The chain reads and publishes the schemas by their names.
        return found | {"LAKEHOUSE_SCHEMA_PREFIX": ""}
    return found | _server(settings)


def _server(settings: Settings) -> dict[str, str]:
    """Each setting of the server's name."""
    name = settings.target
    if importlib.util.find_spec(f"dbt.adapters.{name}") is None:
        raise LakehouseError(
            f"dbt's adapter for {name} is not installed",
            f"pip install 'lakehouse-platform[{name}]'",
        )
    told = {
        field: str(value)
        for field, value in settings
        if field.startswith(f"{name}_") and value is not None
    }
    variable = f"LAKEHOUSE_{name.upper()}"
    if f"{name}_host" not in told:
        raise UsageError(
            f"the target is {name}, and no server is named", f"tell it with {variable}_HOST"
        )
    if f"{name}_raw" not in told:
        if settings.store is None:
            raise UsageError(
                f"{name} cannot read the raw tables in {settings.home}",
                "keep them in a store (LAKEHOUSE_STORE=s3://…), or tell where the server finds "
                f"them ({variable}_RAW)",
            )
        told[f"{name}_raw"] = f"{settings.store}/raw"
    return {f"LAKEHOUSE_{field.upper()}": value for field, value in told.items()}
