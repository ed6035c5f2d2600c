"""Drift: whether features or errors of today are spread as those that a model learnt from."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.errors import LakehouseError

Table: TypeAlias = pa.Table | pd.DataFrame

# The usual border of a shift that matters.
PSI_THRESHOLD = 0.2
# PSI of equal spreads is about chi²(bins - 1) · (1/n + 1/m): with so many rows on either side
# chance reaches the threshold about once in a thousand columns; with 100 in every second or third.
LEAST_ROWS = 300
_BINS = 10
_UNDEFINED = "undefined"
_OTHER = "other"


@dataclass(frozen=True)
class Drift:
    """How far a column has moved.

    Attributes:
        psi: population stability index, above or at 0: sum of (c - r) · ln(c / r) over the bins'
            shares; None where there are too few rows.
        ks_p_value: of Kolmogorov and Smirnov's test that numbers are spread alike; None for
            categories, or without a number on either side. Many rows make it small by themselves:
            it is told and does not decide.
        is_drifted: whether `psi` reaches `PSI_THRESHOLD`.
        note: what there is to know: too few rows, a constant, no value at all.
    """

    column: str
    psi: float | None
    ks_p_value: float | None
    is_drifted: bool
    note: str | None = None


@dataclass(frozen=True)
class _Pair:
    """A column of both tables: numbers as they are, and what PSI counts."""

    name: str
    is_number: bool
    reference: pd.Series[Any]
    current: pd.Series[Any]

    @property
    def bins(self) -> str:
        """Name of the column that PSI is of."""
        return f"{self.name}, in bins" if self.is_number else self.name

    @property
    def has_numbers(self) -> bool:
        """Whether there are any on both sides."""
        return self.is_number and bool(self.reference.notna().any() and self.current.notna().any())


def measure(reference: Table, current: Table, columns: Sequence[str]) -> list[Drift]:
    """Measure the drift of columns, in their order.

    Numbers are binned by tenths of the reference, or by value where it has ten or fewer; categories
    by the ten that are most frequent there, and the rest. What is not defined (null, NaN, infinite)
    is a bin of its own, so that a column that empties drifts too.

    Args:
        reference, current: numbers, booleans or text.

    Raises:
        LakehouseError: a column is missing, of another kind in either table, or neither of the
            above; or Evidently is not installed.
    """
    pairs = _pairs(reference, current, columns)
    if (too_few := _too_few(reference, current)) or not pairs:
        return [Drift(pair.name, None, None, False, too_few) for pair in pairs]
    found = {
        (each["config"]["column"], each["config"]["method"]): float(each["value"])
        for each in json.loads(_report(pairs).json())["metrics"]
    }
    drifts = []
    for pair in pairs:
        psi = found[pair.bins, "psi"]
        p_value = found.get((pair.name, "ks"))
        drifts.append(Drift(pair.name, psi, p_value, psi >= PSI_THRESHOLD, _note(pair)))
    return drifts


def write_report(path: Path, reference: Table, current: Table, columns: Sequence[str]) -> None:
    """Write what `measure` found, with pictures, as one HTML page that loads nothing.

    Raises:
        LakehouseError: as `measure`; or there are too few rows, or no columns.
    """
    pairs = _pairs(reference, current, columns)
    if (too_few := _too_few(reference, current)) or not pairs:
        raise LakehouseError(
            f"no report of drift: {too_few or 'no column is asked for'}",
            f"give columns, and {LEAST_ROWS} rows on either side",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    _report(pairs).save_html(str(path))


def _too_few(reference: Table, current: Table) -> str | None:
    least = min(len(reference), len(current))
    return f"too few rows: {least} of at least {LEAST_ROWS}" if least < LEAST_ROWS else None


def _pairs(reference: Table, current: Table, columns: Sequence[str]) -> list[_Pair]:
    tables = [
        pa.Table.from_pandas(table, preserve_index=False)
        if isinstance(table, pd.DataFrame)
        else table
        for table in (reference, current)
    ]
    pairs = []
    for name in columns:
        for which, table in zip(("reference", "current"), tables, strict=True):
            if name not in table.column_names:
                raise LakehouseError(
                    f"the {which} table has no column {name}; it has "
                    f"{', '.join(table.column_names)}",
                    "name columns that both tables have",
                )
        kinds = {kind for table in tables if (kind := _kind(name, table[name].type))}
        if len(kinds) > 1:
            raise LakehouseError(
                f"{name} is a number in one of the tables and text in the other",
                "give it the same type in both",
            )
        is_number = kinds != {"category"}
        read = _numbers if is_number else _categories
        pairs.append(_Pair(name, is_number, *(read(table[name]) for table in tables)))
    return pairs


def _kind(name: str, kind: pa.DataType) -> str | None:
    """`number` or `category`; None for a column without any value."""
    if pa.types.is_null(kind):
        return None
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_boolean(value) or pa.types.is_string(value) or pa.types.is_large_string(value):
        return "category"
    raise LakehouseError(
        f"drift of {name}, a column of {kind}, is not defined",
        "leave it out, or make a number or a category of it",
    )


def _numbers(column: pa.ChunkedArray) -> pd.Series[Any]:
    values = column.cast(pa.float64()).to_numpy().astype(np.float64)
    return pd.Series(np.where(np.isfinite(values), values, np.nan))


def _categories(column: pa.ChunkedArray) -> pd.Series[Any]:
    return pd.Series(column.cast(pa.string()).to_pandas().to_numpy(dtype=object), dtype=object)


def _binned(pair: _Pair) -> tuple[pd.Series[Any], pd.Series[Any]]:
    """Names of bins, chosen by the reference alone."""
    frequent = pair.reference.value_counts(sort=False).sort_index()
    if pair.is_number and len(frequent) > _BINS:
        edges = _edges(pair.reference.dropna().to_numpy())

        def name(values: pd.Series[Any]) -> pd.Series[Any]:
            return pd.Series(np.searchsorted(edges, values, side="right")).astype(str)
    else:
        kept = frequent.sort_values(ascending=False, kind="stable").index[:_BINS]

        def name(values: pd.Series[Any]) -> pd.Series[Any]:
            return values.astype(str).where(values.isin(kept), _OTHER)

    reference, current = (
        name(values).where(values.notna(), _UNDEFINED) for values in (pair.reference, pair.current)
    )
    return reference, current


def _edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Between tenths; a value that fills more than one of them, often zero, is a bin of its own."""
    tenths, count = np.unique(
        np.quantile(values, np.arange(1, _BINS) / _BINS, method="lower"), return_counts=True
    )
    return np.unique(np.concatenate([tenths, np.nextafter(tenths[count > 1], np.inf)]))


def _note(pair: _Pair) -> str | None:
    reference, current = (set(values.dropna()) for values in (pair.reference, pair.current))
    if not reference and not current:
        return "no value at all"
    if not reference or not current:
        return f"no value in the {'current' if reference else 'reference'} table"
    if len(reference) == 1:
        return "constant" if current == reference else "constant in the reference table"
    return None


def _report(pairs: Sequence[_Pair]) -> Any:
    """Evidently's run: PSI of every column, the test of Kolmogorov and Smirnov of numbers."""
    # Read when it is imported; nothing here may leave the machine.
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("EVIDENTLY_DISABLE_TELEMETRY", "1")
    try:
        evidently, metrics = import_module("evidently"), import_module("evidently.metrics")
    except ImportError as error:
        raise LakehouseError(
            "drift is measured by Evidently, which is not installed",
            'install the extra `drift`: pip install "lakehouse-platform[drift]"',
        ) from error
    frames: list[dict[str, pd.Series[Any]]] = [{}, {}]
    asked = []
    for pair in pairs:
        if pair.has_numbers:
            frames[0][pair.name], frames[1][pair.name] = pair.reference, pair.current
            asked.append(metrics.ValueDrift(column=pair.name, method="ks"))
        frames[0][pair.bins], frames[1][pair.bins] = _binned(pair)
        asked.append(metrics.ValueDrift(column=pair.bins, method="psi", threshold=PSI_THRESHOLD))
    definition = evidently.DataDefinition(
        numerical_columns=[pair.name for pair in pairs if pair.has_numbers],
        categorical_columns=[pair.bins for pair in pairs],
    )
    reference, current = (
        evidently.Dataset.from_pandas(pd.DataFrame(frame), data_definition=definition)
        for frame in frames
    )
    return evidently.Report(asked).run(current, reference)
