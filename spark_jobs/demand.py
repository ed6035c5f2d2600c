"""What Spark's workers do to forecast: panels of parts of the products, and what becomes of them.

A part knows its own products alone; what their features need of all others comes as `Totals`.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.errors import LakehouseError
from pipelines.forecasting.lines import Span, panel_of
from pipelines.forecasting.panel import Panel
from pipelines.forecasting.totals import Totals
from pipelines.lake.inference import SCHEMAS
from pipelines.ml.digest import digest
from pipelines.ml.kinds.forecast import DemandModel, ForecastKind, covered, fitting, rows_of

Batches = Iterator[pa.RecordBatch]
PART = "part"
PANELS = pa.schema([("panel", pa.binary())])
WORTH = pa.schema([("product_id", pa.int64()), ("worth", pa.float64())])
TOTALS = pa.schema([("totals", pa.binary())])
PREDICTIONS = pa.schema(list(SCHEMAS["forecast"])[:-2])


@dataclass(frozen=True)
class ModelFiles:
    """A model on its way to the workers.

    Attributes:
        content: by name.
        sha256: of the folder.
    """

    content: tuple[tuple[str, bytes], ...]
    sha256: str

    @classmethod
    def of(cls, folder: Path) -> ModelFiles:
        """The files of a folder, which holds no others."""
        found = tuple((path.name, path.read_bytes()) for path in sorted(folder.iterdir()))
        return cls(found, digest(folder))

    def loaded(self) -> DemandModel:
        """The model; raises LakehouseError where a file is not as it was sent."""
        return _loaded(self)


@lru_cache(maxsize=2)
def _loaded(files: ModelFiles) -> DemandModel:
    """LightGBM reads files, and ends the process over a damaged one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in files.content:
            (folder / file).write_bytes(content)
        if digest(folder) != files.sha256:
            raise LakehouseError("a model was altered on its way", "run the same command again")
        return ForecastKind().load(folder)


@dataclass(frozen=True)
class ToPanel:
    """Makes the panel of a part.

    Args:
        span: of the whole.
        has_plan: whether the whole has one, though it may tell nothing of the part.
        closed: days on which no shop opens, as of `panel_of`.
    """

    span: Span
    has_plan: bool
    closed: tuple[str, ...]

    def __call__(self, lines: pa.Table, plan: pa.Table) -> pa.Table:
        if not lines.num_rows:
            return PANELS.empty_table()
        panel = panel_of(
            lines.drop_columns(PART),
            plan=plan.drop_columns(PART) if self.has_plan else None,
            span=self.span,
            closed=self.closed,
        )
        return pa.table([[pickle.dumps(covered(panel))]], schema=PANELS)


@dataclass(frozen=True)
class Chosen:
    """The products to be forecast, of a panel as the model wants it.

    Args:
        model: gives the files, on whichever machine.
        products: ids, sorted.
    """

    model: Callable[[], ModelFiles]
    products: tuple[Any, ...]

    def __call__(self, panel: Panel) -> Panel | None:
        """Those of a part; None if there are none."""
        rows = np.flatnonzero(np.isin(panel.products.astype(self._ids.dtype), self._ids))
        return fitting(panel, self.loaded().model).select(rows) if len(rows) else None

    def loaded(self) -> DemandModel:
        return self.model().loaded()

    @cached_property
    def _ids(self) -> np.ndarray[Any, Any]:
        return np.array(self.products)


def worth_of(batches: Batches) -> Batches:
    """Panels to what each product is compared by."""
    for panel in _panels(batches):
        yield from pa.table([list(panel.products), panel.worth], schema=WORTH).to_batches()


def totals_of(chosen: Chosen) -> Callable[[Batches], Batches]:
    """Panels to the sums of their chosen products, one row a partition."""

    def add(batches: Batches) -> Batches:
        total: Totals | None = None
        for panel in _panels(batches):
            if (own := chosen(panel)) is not None:
                total = Totals.of(own) if total is None else total + Totals.of(own)
        if total is not None:
            yield from pa.table([[pickle.dumps(total)]], schema=TOTALS).to_batches()

    return add


def predictions_of(chosen: Chosen, totals: Callable[[], Totals]) -> Callable[[Batches], Batches]:
    """Panels to the forecasts of their chosen products."""

    def predict(batches: Batches) -> Batches:
        for panel in _panels(batches):
            if (own := chosen(panel)) is not None:
                made = chosen.loaded().model.predict(own, totals=totals())
                yield from rows_of(made).cast(PREDICTIONS).combine_chunks().to_batches()

    return predict


def _panels(batches: Batches) -> Iterator[Panel]:
    for batch in batches:
        for packed in batch["panel"]:
            # Spark's own: no worker reads what came from elsewhere.
            yield pickle.loads(packed.as_py())  # noqa: S301
