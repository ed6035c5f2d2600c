"""Feast's offline store over the published tables: the very versions that the manifest names."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import ibis  # type: ignore[import-untyped]
import pandas as pd
from feast.data_source import DataSource
from feast.feature_view import FeatureView
from feast.infra.offline_stores.duckdb import DuckDBOfflineStore, DuckDBOfflineStoreConfig
from feast.infra.offline_stores.file_source import FileSource
from feast.infra.offline_stores.ibis import (
    get_historical_features_ibis,
    pull_all_from_table_or_query_ibis,
    pull_latest_from_table_or_query_ibis,
)
from feast.infra.offline_stores.offline_store import RetrievalJob
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import RepoConfig

from feature_store.everything import VIEWS
from pipelines.errors import LakehouseError, UsageError
from pipelines.features.on_duckdb import scan_of
from pipelines.features.rows import rows_of
from pipelines.lake.duck import load_delta
from pipelines.lake.publish import read_manifest


class PublishedOfflineStoreConfig(DuckDBOfflineStoreConfig):
    """Where the published tables are.

    Attributes:
        published: folder of the manifest.
        versions: table → version to read; what the manifest names at each read, unless given.
    """

    type: str = "pipelines.features.offline.PublishedOfflineStore"
    published: str
    versions: dict[str, int] | None = None


class PublishedOfflineStore(DuckDBOfflineStore):
    """Reads Delta by DuckDB, which has its extension from a wheel; writes nothing."""

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        return pull_latest_from_table_or_query_ibis(
            config=config,
            data_source=data_source,
            join_key_columns=join_key_columns,
            feature_name_columns=feature_name_columns,
            timestamp_field=timestamp_field,
            created_timestamp_column=created_timestamp_column,
            start_date=start_date,
            end_date=end_date,
            data_source_reader=partial(_read, config.offline_store),
            data_source_writer=_refuse,
        )

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        return pull_all_from_table_or_query_ibis(
            config=config,
            data_source=data_source,
            join_key_columns=join_key_columns,
            feature_name_columns=feature_name_columns,
            timestamp_field=timestamp_field,
            created_timestamp_column=created_timestamp_column,
            start_date=start_date,
            end_date=end_date,
            data_source_reader=partial(_read, config.offline_store),
            data_source_writer=_refuse,
        )

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
    ) -> RetrievalJob:
        if entity_df is None:
            raise UsageError("no entities were given", "name keys and instants")
        return get_historical_features_ibis(
            config=config,
            feature_views=feature_views,
            feature_refs=feature_refs,
            entity_df=entity_df,
            registry=registry,
            project=project,
            full_feature_names=full_feature_names,
            data_source_reader=partial(_read, config.offline_store),
            data_source_writer=_refuse,
            filter_by_created_timestamp=filter_by_created_timestamp,
        )


def _read(config: PublishedOfflineStoreConfig, source: FileSource, repo_path: str) -> Any:
    """The rows of a source as a table of ibis."""
    published = Path(config.published)
    versions = config.versions
    if versions is None:
        manifest = read_manifest(published)
        versions = {n: t.version for n, t in manifest.tables.items()} if manifest else {}
    table = source.path.replace("/", ".")
    if table not in versions:
        raise LakehouseError(f"{table} is not published", "run `lakehouse run` first")
    backend: Any = ibis.get_backend()
    load_delta(backend.con)
    backend.con.execute("set TimeZone = 'UTC'")
    (view,) = [view for view in VIEWS if view.tags["table"] == table]
    return backend.sql(rows_of(view, scan_of(published / source.path, versions[table])))


def _refuse(*_: Any, **__: Any) -> None:
    raise LakehouseError(
        "published tables are written by publication alone", "write what is asked for elsewhere"
    )
