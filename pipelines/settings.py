"""Settings: read once at the edge, from the environment (`LAKEHOUSE_*`) or `.env`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from dotenv import dotenv_values
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipelines.errors import UsageError
from pipelines.lake import object_store

REPOSITORY = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """What a run needs to know about its surroundings; every field is an environment variable."""

    model_config = SettingsConfigDict(env_prefix="LAKEHOUSE_", env_file=".env", extra="ignore")

    home: Path = Path("lake")
    store: str | None = Field(default=None, pattern=rf"^{object_store.SCHEME}[^/]")
    target: Literal["embedded"] = "embedded"
    project_dir: Path = REPOSITORY / "dbt_project"
    pii_key: str | None = None
    pii_key_file: Path | None = None
    kafka_config: Path | None = None
    threads: int = 2
    memory_limit: str = "2GB"

    @property
    def shared(self) -> Path:
        """Where the Delta tables lie: in the home, or in a store that other homes may use, too."""
        return object_store.folder(self.store) if self.store else self.home

    @property
    def raw(self) -> Path:
        """Raw Delta tables, one folder a source table."""
        return self.shared / "raw"

    @property
    def inbox(self) -> Path:
        """Where `run` looks for capture files by default."""
        return self.home / "inbox"

    @property
    def warehouse(self) -> Path:
        """The DuckDB file in which dbt works; only the run opens it while a run is on."""
        return self.home / "warehouse.duckdb"

    @property
    def published(self) -> Path:
        """Published Delta tables and their manifest."""
        return self.shared / "published"

    @property
    def state(self) -> Path:
        """Run records and locks."""
        return self.home / "state"

    @property
    def scratch(self) -> Path:
        """Room for DuckDB to spill."""
        return self.home / "tmp"

    @property
    def resolved_pii_key_file(self) -> Path:
        """The masking key lies beside the lake, never inside it."""
        return self.pii_key_file or self.home.parent / f".{self.home.name}-pii.key"


def load_settings(home: Path | None = None, target: str | None = None) -> Settings:
    """Read the settings; arguments given on the command line win over the environment.

    Raises:
        UsageError: a variable has a value that cannot be used.
    """
    # Read from the environment by delta-rs itself: what only .env tells is put there.
    for name, value in dotenv_values(".env").items():
        if name.startswith("AWS_") and value is not None:
            os.environ.setdefault(name, value)
    given = {"home": home, "target": target}
    try:
        settings = Settings(**{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"])
        raise UsageError(
            f"setting {name!r} cannot be used: {first['msg']}",
            f"correct --{name} or the variable LAKEHOUSE_{name.upper()}",
        ) from None
    return settings.model_copy(
        update={
            "home": settings.home.absolute(),
            "store": settings.store and settings.store.rstrip("/"),
            "project_dir": settings.project_dir.absolute(),
        }
    )
