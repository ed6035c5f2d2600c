"""Purchases from a file of a stranger: Parquet or CSV, with attributes of products beside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipelines.data_file import read_data_file
from pipelines.recommendation.evidence import Context
from pipelines.recommendation.interactions import (
    OPTIONAL,
    REQUIRED,
    Interactions,
    read_interactions,
)
from pipelines.recommendation.signals.content import Catalogue

_SEGMENT = "segment"
# A typing error here and there does not make a category a thing of the purchase.
_AGREEING = 0.99


@dataclass(frozen=True)
class Purchases:
    """What a file holds.

    Attributes:
        attributes: columns taken as attributes of products.
        ignored: columns that are neither purchases nor attributes.
    """

    interactions: Interactions
    context: Context
    attributes: list[str]
    ignored: list[str]


def read_purchases(path: Path) -> Purchases:
    """Read a file of purchases.

    Text columns that have one value per product (in 99 % of the rows) are attributes of products;
    a column `segment` holds each client's segment. The earliest row decides: a later one would
    tell what is not yet known at the cut.

    Raises:
        LakehouseError: as `read_data_file` and `read_interactions`.
    """
    table = read_data_file(path)
    interactions = read_interactions(table)
    others = [name for name in table.column_names if name not in (*REQUIRED, *OPTIONAL)]
    frame = table.select([*REQUIRED, *others]).to_pandas().sort_values("at", kind="stable")
    segments = {}
    if _SEGMENT in others:
        told = frame.dropna(subset=[_SEGMENT])
        segments = told.groupby("client_id")[_SEGMENT].first().astype(str).to_dict()
    attributes = [name for name in others if name != _SEGMENT and _is_attribute(frame, name)]
    ignored = [name for name in others if name not in (*attributes, _SEGMENT)]
    catalogue = None
    if attributes:
        catalogue = Catalogue(frame.groupby("product_id")[attributes].first())
    return Purchases(interactions, Context(catalogue, segments), attributes, ignored)


def _is_attribute(frame: pd.DataFrame, name: str) -> bool:
    column = frame[name].dropna()
    is_text = pd.api.types.is_string_dtype(column) or isinstance(column.dtype, pd.CategoricalDtype)
    if not is_text or column.nunique() < 2:
        return False
    usual = column.groupby(frame.loc[column.index, "product_id"]).transform("first")
    return bool((usual == column).mean() >= _AGREEING)
