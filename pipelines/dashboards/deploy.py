"""Brings the dashboards to a running Superset; repeated, it ends in the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.dashboards.access import BUILT_IN, reconcile, rules_of
from pipelines.dashboards.assets import Assets, read
from pipelines.dashboards.bundle import bundle, packed
from pipelines.dashboards.client import Superset
from pipelines.dashboards.models import columns_of, metrics_of, models_of
from pipelines.semantics import Semantics

# In this order nothing is deleted that another still needs.
_TITLES = {
    "dashboard": "dashboard_title",
    "chart": "slice_name",
    "dataset": "table_name",
    "rowlevelsecurity": "name",
    "security/roles": "name",
}
_KNOWN_BY_NAME = {"rowlevelsecurity": "rule of rows", "security/roles": "role"}


@dataclass(frozen=True)
class Foreign:
    """Something on the server that is not in the code.

    Attributes:
        path: of its kind, in Superset's interface.
    """

    kind: str
    path: str
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
    roles: int
    foreign: list[Foreign]


def compiled(
    folder: Path,
    manifest: Any,
    semantics: Semantics,
    database: Mapping[str, Any],
    business_date: date,
) -> tuple[Assets, dict[str, dict[str, Any]]]:
    """The assets of a folder, checked against dbt's manifest, and the files of their bundle.

    Raises:
        LakehouseError: see `read`, `columns_of` and `metrics_of`.
    """
    assets = read(folder)
    models = models_of(manifest)
    columns, _ = columns_of(assets, models)
    metrics = metrics_of(assets, columns, semantics)
    return assets, bundle(assets, columns, models, metrics, database, business_date)


def deploy(
    superset: Superset, assets: Assets, files: Mapping[str, dict[str, Any]], *, prune: bool
) -> Deployed:
    """Import the assets, make roles and rules what they say, and look what else is there.

    Args:
        files: of the bundle.
        prune: delete that, too.
    """
    superset.load(packed(files))
    reconcile(superset, assets)
    foreign = _foreign(superset, assets)
    if prune:
        for each in foreign:
            superset.delete(each.path, each.number)
    return Deployed(
        {name: each.title for name, each in assets.dashboards.items()},
        len(assets.charts),
        len(assets.datasets),
        len(assets.roles),
        foreign,
    )


def _foreign(superset: Superset, assets: Assets) -> list[Foreign]:
    ours = {
        "dashboard": {str(each.uuid) for each in assets.dashboards.values()},
        "chart": {str(each.uuid) for each in assets.charts.values()},
        "dataset": {str(each.uuid) for each in assets.datasets.values()},
        "rowlevelsecurity": {
            n for name, role in assets.roles.items() for n in rules_of(name, role)
        },
        "security/roles": BUILT_IN | set(assets.roles),
    }
    return [
        Foreign(_KNOWN_BY_NAME.get(path, path), path, there["id"], there[title])
        for path, title in _TITLES.items()
        for key in ["name" if path in _KNOWN_BY_NAME else "uuid"]
        for there in superset.all(path, ["id", *{key, title}])
        if str(there[key]) not in ours[path]
    ]
