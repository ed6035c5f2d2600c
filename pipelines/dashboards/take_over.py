"""What somebody has edited on the server, written back into the files of the code."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import LiteralScalarString

from pipelines.dashboards.assets import Assets
from pipelines.dashboards.differences import Difference, Files, of_uuid, told

# Lines are left as long as they are.
_WIDTH = 4096
# What an asset's file holds under the same name; parameters and labels, under a name within it.
_PLAIN = {
    "dataset": {"sql", "time"},
    "chart": {"title", "description", "kind"},
    "dashboard": {"title", "description"},
}
_WITHIN = {"dataset": "labels", "chart": "parameters"}
# Where figures or a fan stand in the file, they are made of these.
_OF_METRICS = {"parameters.metric", "parameters.metrics", "parameters.timeseries_limit_metric"}


@dataclass(frozen=True)
class Taken:
    """What became of edits.

    Attributes:
        files: that were written, relative to the folder.
        left: what no file of the code holds: metrics are dbt's, filters and new datasets are
            written by hand, what was deleted is deleted by hand.
    """

    files: list[Path]
    left: list[Difference]


def take_over(
    folder: Path,
    assets: Assets,
    found: Sequence[Difference],
    theirs: Files,
    check: Callable[[Path], None],
) -> Taken:
    """Write what the server holds into the files, all or nothing.

    Args:
        found: as `differences` tells them.
        theirs: Superset's export.
        check: is given a copy of the folder with the edits; whatever it raises goes on.
    """
    with tempfile.TemporaryDirectory() as draft:
        copy = Path(shutil.copytree(folder, Path(draft) / "assets"))
        taken = _Edits(copy, assets, theirs).write(found)
        check(copy)
        for file in taken.files:
            shutil.copyfile(copy / file, folder / file)
    return taken


class _Edits:
    """Files of one folder, as they are written."""

    def __init__(self, folder: Path, assets: Assets, theirs: Files) -> None:
        self._folder = folder
        self._assets = assets
        self._theirs = theirs
        self._yaml = YAML()
        self._yaml.width = _WIDTH
        self._yaml.preserve_quotes = True
        self._yaml.indent(mapping=2, sequence=4, offset=2)
        self._open: dict[Path, Any] = {}
        self._names = {
            str(asset.uuid): name
            for of_kind in (assets.datasets, assets.charts, assets.dashboards)
            for name, asset in of_kind.items()
        }

    def write(self, found: Sequence[Difference]) -> Taken:
        left = [each for each in found if not self._take(each)]
        for path, content in self._open.items():
            self._yaml.dump(content, self._folder / path)
        # A new chart that stands in a row is in a file by now.
        left = [each for each in left if each.here is not None or each.uuid not in self._names]
        return Taken(sorted(self._open), left)

    def _take(self, each: Difference) -> bool:
        if not each.what:
            return False
        if each.what == "rows":
            return self._take_rows(each)
        inner, _, key = each.what.partition(".")
        name = self._names[each.uuid]
        if each.kind == "chart":
            chart = self._assets.charts[name]
            if each.what in _OF_METRICS and (chart.figures or chart.fan):
                return False
        is_within = _WITHIN.get(each.kind) == inner
        if not is_within and each.what not in _PLAIN[each.kind]:
            return False
        content = self._content(each.kind, name)
        place, at = (content.setdefault(inner, CommentedMap()), key) if is_within else (
            content, each.what
        )  # fmt: skip
        if each.there is None:
            place.pop(at, None)
        else:
            place[at] = _as_written(each.there)
        return True

    def _take_rows(self, each: Difference) -> bool:
        if any("charts" not in row for row in each.there or [{}]):
            return False
        made = []
        for row in each.there:
            written = CommentedMap(row)
            charts = CommentedSeq()
            for place in row["charts"]:
                name = self._names.get(place["chart"]) or self._new_chart(place["chart"])
                if name is None:
                    return False
                one = CommentedMap(chart=name, width=place["width"])
                one.fa.set_flow_style()
                charts.append(one)
            written["charts"] = charts
            made.append(written)
        self._content("dashboard", self._names[each.uuid])["rows"] = made
        return True

    def _new_chart(self, uuid: str) -> str | None:
        """Write a file for a chart that somebody has made on a dataset of ours."""
        chart = told("chart", of_uuid(self._theirs, uuid))
        dataset = self._names.get(chart["dataset"])
        if dataset is None:
            return None
        name = re.sub(r"\W+", "_", chart["title"].lower()).strip("_") or "chart"
        name = name if name[0].isalpha() else f"chart_{name}"
        while name in self._names.values():
            name += "_2"
        parameters = {
            what.partition(".")[2]: _as_written(value)
            for what, value in chart.items()
            if what.startswith("parameters.")
        }
        content = {
            "uuid": uuid,
            "title": chart["title"],
            "description": chart.get("description", ""),
            "dataset": dataset,
            "kind": chart["kind"],
            "parameters": parameters,
        }
        self._names[uuid] = name
        self._open[Path("charts") / f"{name}.yaml"] = content
        return name

    def _content(self, kind: str, name: str) -> Any:
        path = Path(f"{kind}s") / f"{name}.yaml"
        if path not in self._open:
            self._open[path] = self._yaml.load(self._folder / path)
        return self._open[path]


def _as_written(value: Any) -> Any:
    if isinstance(value, str) and "\n" in value:
        return LiteralScalarString(value.rstrip() + "\n")
    if isinstance(value, list) and not any(isinstance(each, (dict, list)) for each in value):
        listed = CommentedSeq(value)
        listed.fa.set_flow_style()
        return listed
    return value
