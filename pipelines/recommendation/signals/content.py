"""Content: products by what is written of them, also those that nobody has bought yet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

from pipelines.errors import LakehouseError
from pipelines.recommendation.interactions import Codes, Ids
from pipelines.recommendation.pairs import Floats
from pipelines.recommendation.signals.neighbours import damped, unit_rows

_HASHED = 1 << 14


@dataclass(frozen=True)
class Catalogue:
    """Products and their attributes (category, department, brand, name …), all as text.

    Args:
        table: one row a product; its index holds the product ids, each once.

    Raises:
        LakehouseError: a product stands there twice, or there is no attribute.
    """

    table: pd.DataFrame

    def __post_init__(self) -> None:
        twice = self.table.index[self.table.index.duplicated()]
        if len(twice):
            raise LakehouseError(
                f"product {twice[0]} stands in the catalogue more than once",
                "give one row per product",
            )
        if self.table.columns.empty:
            raise LakehouseError(
                "the catalogue has no attributes", "give a category or a name, or no catalogue"
            )

    def only(self, products: Ids) -> Catalogue:
        """The catalogue of these products."""
        return Catalogue(self.table[self.table.index.isin(products)])

    def words(self, products: Ids) -> list[str]:
        """What is written of each product: whole values (`brand=acme foods`) and their words."""
        table = self.table.reindex(products)
        text = pd.Series("", index=table.index)
        for name in table:
            value = table[name].astype("string").fillna("").str.lower().str.strip()
            whole = f"{name}=" + value.str.replace(" ", "_", regex=False)
            text = text + (" " + whole + " " + value).where(value != "", "").astype(str)
        return text.tolist()


class Content:
    """The likeness of products to what a client bought: cosine of weighted words.

    Args:
        words: text of each product, in the order of their codes.
        taste: decayed counts, shape (clients, products).
    """

    def __init__(self, words: list[str], taste: sp.csr_matrix) -> None:
        hashed = HashingVectorizer(
            n_features=_HASHED,
            alternate_sign=False,
            norm=None,
            token_pattern=r"\S+",  # noqa: S106
        ).transform(words)
        weighted = TfidfTransformer(sublinear_tf=True).fit_transform(hashed)
        self._products = weighted.astype(np.float32).tocsr()
        self._taste = damped(taste)

    def likeness(self, clients: Codes, products: Codes) -> Floats:
        """Cosine of each client's purchases with each product, shape (clients, products)."""
        profiles = unit_rows((self._taste[clients] @ self._products).tocsr())
        return np.asarray((profiles @ self._products[products].T).toarray(), dtype=np.float32)
