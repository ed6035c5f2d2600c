"""Feast's offline store on Trino: the versions that are published, joined by one statement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
from feast.feature_view import FeatureView
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel, RepoConfig

from pipelines.errors import LakehouseError, UsageError
from pipelines.features.on_trino import TrinoTables
from pipelines.features.point_in_time import PLACE, joined
from pipelines.features.rows import rows_of, schema_of
from pipelines.settings import Settings

EVENT_TIME = "event_timestamp"
# A statement may have a million characters, of which a row takes some sixty.
_ROWS = 15_000


class TrinoOfflineStoreConfig(FeastConfigBaseModel):
    """Where Trino is.

    Attributes:
        versions: published table → version to read.
    """

    type: str = "pipelines.features.offline_on_trino.TrinoOfflineStore"
    settings: Settings
    versions: dict[str, int]


class TrinoOfflineStore(OfflineStore):
    """Reads what is published; writes nothing, not even the rows that are asked for."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        **_: Any,
    ) -> RetrievalJob:
        if not isinstance(entity_df, pd.DataFrame) or full_feature_names:
            raise UsageError(
                "entities are given as a frame, features named as in their view",
                "name keys and instants in a frame",
            )
        wanted = {
            view.name: [ref.partition(":")[2] for ref in feature_refs if _view_of(ref) == view.name]
            for view in feature_views
        }
        odfvs = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        return _Job(
            lambda: _history(config.offline_store, feature_views, wanted, entity_df),
            odfvs,
            RetrievalMetadata(feature_refs, list(entity_df.columns)),
        )

    @staticmethod
    def pull_latest_from_table_or_query(*_: Any, **__: Any) -> RetrievalJob:
        raise UsageError(
            "Feast's own materialisation sees no corrections",
            "use `lakehouse features materialize`",
        )

    @staticmethod
    def pull_all_from_table_or_query(*_: Any, **__: Any) -> RetrievalJob:
        raise UsageError(
            "the published features are not handed out whole", "ask Trino for the table"
        )


class _Job(RetrievalJob):
    def __init__(
        self,
        answer: Callable[[], pa.Table],
        on_demand: list[OnDemandFeatureView],
        metadata: RetrievalMetadata,
    ) -> None:
        self._answer, self._on_demand, self._metadata = answer, on_demand, metadata

    @property
    def full_feature_names(self) -> bool:
        return False

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        return self._on_demand

    @property
    def metadata(self) -> RetrievalMetadata:
        return self._metadata

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._answer()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        frame: pd.DataFrame = self._answer().to_pandas()
        return frame


def _history(
    config: TrinoOfflineStoreConfig,
    views: Sequence[FeatureView],
    wanted: Mapping[str, Sequence[str]],
    asked: pd.DataFrame,
) -> pa.Table:
    """The rows that are asked for, with the features as they were known at their instants."""
    tables = TrinoTables(config.settings)
    published = {}
    for view in views:
        table = view.tags["table"]
        if table not in config.versions:
            raise LakehouseError(f"{table} is not published", "run `lakehouse run` first")
        published[view.name] = rows_of(view, tables.scan(table, config.versions[table]))
    schema = pa.schema([(PLACE, pa.int64())] + [
        schema_of(view).field(name) for view in views for name in wanted[view.name]
    ])  # fmt: skip
    parts = [
        tables.fetch(
            joined(asked.iloc[begin : begin + _ROWS], EVENT_TIME, views, wanted, published), schema
        )
        for begin in range(0, len(asked), _ROWS)
    ]
    # A part is told in any order.
    answers = pa.concat_tables([part.sort_by(PLACE) for part in parts]).drop_columns([PLACE])
    found = pa.Table.from_pandas(asked, preserve_index=False)
    for name in answers.column_names:
        found = found.append_column(name, answers[name])
    return found


def _view_of(reference: str) -> str:
    return reference.partition(":")[0]
