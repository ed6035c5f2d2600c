"""Dashboards as dbt knows them: exposures, so that models name their readers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from pipelines.dashboards.assets import Assets

FILE = Path("models") / "exposures.yml"
_HEAD = (
    "# Made of infra/superset/assets by `lakehouse dashboards exposures`: change those instead.\n"
)


def exposures(assets: Assets, read: Mapping[str, set[str]]) -> str:
    """The file of dbt's project that tells which dashboard reads which models.

    Args:
        read: dataset → `<schema>.<table>` of the models that it reads.
    """
    told = [
        {
            "name": name,
            "label": dashboard.title,
            "type": "dashboard",
            "maturity": "high",
            "description": dashboard.description,
            "owner": {"name": dashboard.owner},
            "depends_on": [
                f"ref('{model.partition('.')[2]}')"
                for model in sorted({m for each in assets.read_by(name) for m in read[each]})
            ],
        }
        for name, dashboard in assets.dashboards.items()
    ]
    content = yaml.safe_dump(
        {"version": 2, "exposures": told}, sort_keys=False, width=100, allow_unicode=True
    )
    return _HEAD + content
