"""Brings the dashboards to a running Superset; repeated, it ends in the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.dashboards.assets import Assets, read
from pipelines.dashboards.bundle import bundle, packed
from pipelines.dashboards.client import Superset
from pipelines.dashboards.models import columns_of, metrics_of, models_of
from pipelines.semantics import Semantics

# In this order nothing is deleted that another still needs.
_TITLES = {"dashboard": "dashboard_title", "chart": "slice_name", "dataset": "table_name"}


@dataclass(frozen=True)
class Foreign:
    """Something on the server that is not in the code."""

    kind: str
    number: int
    title: str


@dataclass(frozen=True)
class Deployed:
    """What is there now.

    Attributes:
        dashboards: name → title.
        foreign: what is not in the code: kept, or deleted where that was asked for.
    """

    dashboards: dict[str, str]
    charts: int
    datasets: int
    foreign: list[Foreign]


def compiled(
    folder: Path,
    manifest: Any,
    semantics: Semantics,
    database: Mapping[str, Any],
    business_date: date,
) -> tuple[Assets, bytes]:
    """The assets of a folder, checked against dbt's manifest, and the bundle of them.

    Raises:
        LakehouseError: see `read`, `columns_of` and `metrics_of`.
    """
    assets = read(folder)
    models = models_of(manifest)
    columns, _ = columns_of(assets, models)
    metrics = metrics_of(assets, columns, semantics)
    files = bundle(assets, columns, models, metrics, database, business_date)
    return assets, packed(files)


def deploy(superset: Superset, assets: Assets, content: bytes, *, prune: bool) -> Deployed:
    """Import the assets, and look what else is there.

    Args:
        prune: delete that, too.
    """
    superset.load(content)
    foreign = _foreign(superset, assets)
    if prune:
        for each in foreign:
            superset.delete(each.kind, each.number)
    return Deployed(
        {name: each.title for name, each in assets.dashboards.items()},
        len(assets.charts),
        len(assets.datasets),
        foreign,
    )


def _foreign(superset: Superset, assets: Assets) -> list[Foreign]:
    ours = {
        "dashboard": {str(each.uuid) for each in assets.dashboards.values()},
        "chart": {str(each.uuid) for each in assets.charts.values()},
        "dataset": {str(each.uuid) for each in assets.datasets.values()},
    }
    return [
        Foreign(kind, there["id"], there[title])
        for kind, title in _TITLES.items()
        for there in superset.all(kind, ["id", "uuid", title])
        if str(there["uuid"]) not in ours[kind]
    ]
