"""What a running Superset holds, against what the code says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Files = Mapping[str, Mapping[str, Any]]
_KINDS = {"datasets": "dataset", "charts": "chart", "dashboards": "dashboard"}
_TITLES = {"dataset": "table_name", "chart": "slice_name", "dashboard": "dashboard_title"}
# Superset's own words about a chart, of which nobody decides.
_NOT_OF_A_CHART = frozenset({
    "viz_type", "datasource", "slice_id", "dashboards", "url_params", "extra_form_data",
    "database_name", "import_time", "dashboardId",
})  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """One value of one asset.

    Attributes:
        kind: dataset, chart or dashboard.
        title: as the code has it; as the server has it where the code has none.
        uuid: of the asset.
        what: `title`, `parameters.row_limit`, `rows` …; empty where a side has none of it.
        here: what the code says; None where it says nothing.
        there: what the server holds; None where it holds nothing.
    """

    kind: str
    title: str
    uuid: str
    what: str
    here: Any
    there: Any


def differences(ours: Files, theirs: Files) -> list[Difference]:
    """What somebody has changed on the server, or in the code since the last deploy.

    Args:
        ours: the bundle that a deploy would load.
        theirs: Superset's export of all that it holds.
    """
    here, there = dict(_assets(ours)), dict(_assets(theirs))
    found = []
    for (kind, uuid), asset in here.items():
        title = str(asset[_TITLES[kind]])
        if (kind, uuid) not in there:
            found.append(Difference(kind, title, uuid, "", title, None))
            continue
        before, after = told(kind, asset), told(kind, there[kind, uuid])
        found += [
            Difference(kind, title, uuid, what, before.get(what), after.get(what))
            for what in sorted({*before, *after})
            if before.get(what) != after.get(what)
        ]
    for kind, uuid in there.keys() - here.keys():
        title = str(there[kind, uuid][_TITLES[kind]])
        found.append(Difference(kind, title, uuid, "", None, title))
    return sorted(found, key=lambda each: (list(_TITLES).index(each.kind), each.title, each.what))


def told(kind: str, asset: Mapping[str, Any]) -> dict[str, Any]:
    """What somebody decides of an asset, in the words of its file in the code."""
    found = dict(_TOLD[kind](asset))
    return {what: value for what, value in found.items() if value not in (None, "", [], {})}


def of_uuid(files: Files, uuid: str) -> Mapping[str, Any]:
    """The file of one asset."""
    (found,) = [file for file in files.values() if str(file.get("uuid")) == uuid]
    return found


def _assets(files: Files) -> Iterator[tuple[tuple[str, str], Mapping[str, Any]]]:
    for path, file in files.items():
        kind = _KINDS.get(path.partition("/")[0])
        if kind:
            yield (kind, str(file["uuid"])), file


def _of_dataset(asset: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "table", f"{asset['schema']}.{asset['table_name']}"
    yield "sql", (asset.get("sql") or "").strip()
    yield "time", asset.get("main_dttm_col")
    for column in asset["columns"]:
        yield f"labels.{column['column_name']}", column.get("verbose_name")
        yield f"columns.{column['column_name']}", column.get("expression")
    for metric in asset["metrics"]:
        yield f"metrics.{metric['metric_name']}", metric["expression"]


def _of_chart(asset: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "title", asset["slice_name"]
    yield "description", asset.get("description")
    yield "kind", asset["viz_type"]
    yield "dataset", str(asset["dataset_uuid"])
    params = asset["params"]
    for name, value in (json.loads(params) if isinstance(params, str) else params).items():
        if name not in _NOT_OF_A_CHART:
            yield f"parameters.{name}", value


def _of_dashboard(asset: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "title", asset["dashboard_title"]
    yield "description", asset.get("description")
    yield "rows", rows(asset["position"])
    for each in asset["metadata"].get("native_filter_configuration", ()):
        (target,) = each["targets"] or [{}]
        yield f"filters.{each['name']}", [
            each["filterType"], str(target.get("datasetUuid", "")),
            target.get("column", {}).get("name", ""), each.get("controlValues", {}),
        ]  # fmt: skip


def rows(position: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A dashboard's rows, as its file in the code has them, with charts by uuid.

    What is no row of charts, such as tabs, stands there by its kind.
    """
    found: list[dict[str, Any]] = []
    heading = None
    for name in position["GRID_ID"]["children"]:
        block = position[name]
        if block["type"] == "HEADER":
            heading = block["meta"]["text"]
            continue
        charts = [position[each] for each in block["children"]]
        is_row = block["type"] == "ROW" and all(each["type"] == "CHART" for each in charts)
        row: dict[str, Any] = {"title": heading} if heading else {}
        heading = None
        if not is_row:
            found.append(row | {"kind": block["type"]})
            continue
        metas = [each["meta"] for each in charts]
        if metas:
            height = max(meta["height"] for meta in metas)
            placed = [{"chart": str(meta["uuid"]), "width": meta["width"]} for meta in metas]
            found.append(row | {"height": height, "charts": placed})
    return found


_TOLD = {"dataset": _of_dataset, "chart": _of_chart, "dashboard": _of_dashboard}
