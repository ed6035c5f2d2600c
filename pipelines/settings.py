"""Settings: read once at the edge, from the environment (`LAKEHOUSE_*`) and two files."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Final, Literal

from dotenv import dotenv_values
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipelines.errors import UsageError
from pipelines.lake import object_store

REPOSITORY = Path(__file__).resolve().parent.parent
_FILE = Path("lakehouse.toml")
EMBEDDED: Final = "embedded"
CLOSED_DAY: Final = r"(\d{4}-)?(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"


def _client(name: str) -> Any:
    """A setting whose variable has no prefix: the name in capitals."""
    return Field(default=None, validation_alias=name)


class Settings(BaseSettings):
    """What a run needs to know about its surroundings; every field is an environment variable."""

    model_config = SettingsConfigDict(env_prefix="LAKEHOUSE_", env_file=".env", extra="ignore")

    home: Path = Path("lake")
    store: str | None = Field(default=None, pattern=rf"^{object_store.SCHEME}[^/]")
    target: Literal["embedded", "trino", "spark"] = EMBEDDED
    project_dir: Path = REPOSITORY / "dbt_project"
    pii_key: str | None = None
    pii_key_file: Path | None = None
    source_url: str | None = None
    kafka: str | None = None
    kafka_config: Path | None = None
    connect_url: str | None = Field(default=None, pattern=r"^https?://[^/]")
    metastore: str | None = None
    trino_host: str | None = None
    trino_port: int = 8080
    trino_scheme: Literal["http", "https"] = "http"
    trino_cert: str | None = None
    trino_user: str = "lakehouse"
    trino_password: str | None = None
    trino_catalog: str = "lakehouse"
    trino_raw: str | None = None
    # Of schemas on a server: keeps builds of several people apart.
    schema_prefix: str = ""
    spark_host: str | None = None
    spark_port: int = 10000
    spark_user: str = "lakehouse"
    spark_password: str | None = None
    spark_raw: str | None = None
    redis: str | None = Field(default=None, pattern=r"^rediss?://[^/]")
    feature_registry: str | None = Field(default=None, pattern=r"^postgresql://[^/]")
    superset_url: str | None = Field(default=None, pattern=r"^https?://[^/]")
    superset_user: str = "admin"
    superset_password: str | None = None
    # Trino and its authority's file as Superset, wherever that runs, reaches them.
    superset_trino: str | None = Field(default=None, pattern=r"^trino://[^/]+/\w+$")
    superset_trino_cert: str | None = None
    lineage_url: str | None = Field(default=None, pattern=r"^(https?|kafka)://[^/]")
    lineage_api_key: str | None = None
    lineage_timeout: float = Field(default=2.0, gt=0, le=60)
    lineage_namespace: str = Field(default="lakehouse", min_length=1)
    # Variables that the clients of these services read, too: they have no prefix of ours.
    prefect_api_url: str | None = _client("prefect_api_url")
    prefect_api_auth_string: str | None = _client("prefect_api_auth_string")
    prefect_api_key: str | None = _client("prefect_api_key")
    mlflow_tracking_uri: str | None = _client("mlflow_tracking_uri")
    mlflow_tracking_username: str | None = _client("mlflow_tracking_username")
    mlflow_tracking_password: str | None = _client("mlflow_tracking_password")
    mlflow_tracking_token: str | None = _client("mlflow_tracking_token")
    # Who is told of a flow run that failed, and when the silence is too long.
    notify_webhook: str | None = Field(default=None, pattern=r"^https?://[^/]")
    notify_slack: str | None = Field(default=None, pattern=r"^https?://[^/]")
    notify_smtp: str | None = Field(default=None, pattern=r"^smtps?://[^/]")
    notify_email_from: str | None = None
    notify_email_to: str | None = None
    silence_hours: int = Field(default=26, ge=1)
    # Their lines are no goods in pieces: no model learns from them. Separated by commas.
    departments_left_out: str = "FUEL,MISCELLANEOUS,COUPON"
    # Nothing will be sold on them: `12-25` of each year, `2018-01-02` once. Separated by commas.
    closed_days: str = Field(default="12-25", pattern=rf"^({CLOSED_DAY}(,{CLOSED_DAY})*)?$")
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
    def days_closed(self) -> tuple[str, ...]:
        """Days on which no shop opens, as of `pipelines.forecasting.calendar.is_closed`."""
        return tuple(filter(None, self.closed_days.split(",")))

    @property
    def expectations_dir(self) -> Path:
        """The rules of the gates lie beside dbt's project; there may be none."""
        return self.project_dir.parent / "expectations"

    @property
    def dashboards_dir(self) -> Path:
        """Datasets, charts, dashboards and roles, beside dbt's project."""
        return self.project_dir.parent / "infra" / "superset" / "assets"

    @property
    def quality(self) -> Path:
        """What the gates found: Delta tables."""
        return self.shared / "quality"

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
    def mlflow(self) -> Path:
        """Runs, models and their registry, where no server of MLflow keeps them."""
        return self.home / "mlflow"

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

    def variables(self) -> dict[str, str]:
        """All that is set, as variables, for a process that starts in another folder."""
        found = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            variable = field.validation_alias or f"{self.model_config['env_prefix']}{name}"
            if value is not None:
                found[str(variable).upper()] = str(value)
        return found


def load_settings(home: Path | None = None, target: str | None = None) -> Settings:
    """Read the settings; the command line wins over the environment, that over the files.

    Raises:
        UsageError: a setting has a value that cannot be used, or is unknown.
    """
    # Read from the environment by delta-rs itself: what only .env tells is put there.
    for name, value in dotenv_values(".env").items():
        if name.startswith("AWS_") and value is not None:
            os.environ.setdefault(name, value)
    given = {k: v for k, v in {"home": home, "target": target}.items() if v is not None}
    in_file = _read_file(_FILE)
    try:
        known = Settings(**given).model_fields_set  # type: ignore[arg-type]
        settings = Settings(**given, **{k: v for k, v in in_file.items() if k not in known})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"])
        where = f"{name} in {_FILE}" if name in in_file else f"--{name}"
        raise UsageError(
            f"setting {name!r} cannot be used: {first['msg']}",
            f"correct {where} or the variable LAKEHOUSE_{name.upper()}",
        ) from None
    return settings.model_copy(
        update={
            "home": settings.home.absolute(),
            "store": settings.store and settings.store.rstrip("/"),
            "project_dir": settings.project_dir.absolute(),
        }
    )


def _read_file(path: Path) -> dict[str, Any]:
    """Settings of a TOML file, where `host` in the section `trino` is the setting `trino_host`."""
    if not path.exists():
        return {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}", "write it as TOML") from None
    found: dict[str, Any] = {}
    for name, value in content.items():
        is_section = isinstance(value, dict)
        found |= {f"{name}_{key}": v for key, v in value.items()} if is_section else {name: value}
    unknown = sorted(set(found) - set(Settings.model_fields))
    if unknown:
        raise UsageError(
            f"{path} has settings that nobody knows: {', '.join(unknown)}",
            f"there are: {', '.join(Settings.model_fields)}",
        )
    return found
