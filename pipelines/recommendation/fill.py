"""What completes a list of new products: an arrival that nobody bought yet, and what is popular."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipelines.recommendation.evidence import Evidence
from pipelines.recommendation.interactions import Codes, Mask

# Where the list is this long, its last place may go to a product that nobody has bought yet:
# without a showing it would never be bought.
_LEAST_FOR_ARRIVAL = 5


def arrivals(
    evidence: Evidence, rows: pd.DataFrame, clients: Codes, allowed: Mask, k: int
) -> pd.DataFrame:
    """Give the last place to the never-bought product that is most like a client's purchases.

    Args:
        rows: the lists of new products of these clients: client, rank, product, score.
        clients: codes, sorted.
    """
    unsold = np.flatnonzero(allowed & (evidence.popularity.buyers == 0))
    if evidence.content is None or k < _LEAST_FOR_ARRIVAL or not len(unsold):
        return rows
    likeness = evidence.content.likeness(clients, unsold)
    best = likeness.argmax(axis=1)
    is_alike = likeness[np.arange(len(clients)), best] > 0
    chosen, product = clients[is_alike], unsold[best[is_alike]]
    kept = rows[~(rows["client"].isin(chosen) & (rows["rank"] == k - 1))]
    return pd.concat([kept, _appended(kept, chosen, product, "similar_product")])


def popular_first(
    evidence: Evidence, rows: pd.DataFrame, clients: Codes, allowed: Mask, k: int
) -> pd.DataFrame:
    """Complete lists shorter than k with what is popular and new to the client."""
    lengths = rows["client"].value_counts().reindex(clients, fill_value=0).to_numpy()
    listed = rows.groupby("client")["product"]
    pairs = evidence.pairs
    orders = {code: evidence.popularity.ranked(code, allowed) for code in set(evidence.segment)}
    owners: list[Codes] = [np.array([], dtype=np.int64)]
    products = list(owners)
    for client, length in zip(clients[lengths < k], lengths[lengths < k], strict=True):
        low, high = np.searchsorted(pairs.client, (client, client + 1))
        passed = pairs.product[low:high]
        if length:
            passed = np.concatenate([passed, listed.get_group(client)])
        order = orders[evidence.segment[client]][: k + len(passed)]
        products.append(order[~np.isin(order, passed)][: k - length])
        owners.append(np.full(len(products[-1]), client))
    added = _appended(rows, np.concatenate(owners), np.concatenate(products), "popular")
    return pd.concat([rows, added])


def _appended(rows: pd.DataFrame, client: Codes, product: Codes, reason: str) -> pd.DataFrame:
    """Rows to follow those that the clients have, with no higher a score than theirs."""
    of_client = rows.groupby("client")
    return pd.DataFrame(
        {
            "client": client,
            "list": "new",
            "rank": of_client.size().reindex(client, fill_value=0).to_numpy()
            + pd.Series(client).groupby(client).cumcount().to_numpy(),
            "product": product,
            "score": of_client["score"].min().reindex(client, fill_value=0).to_numpy(np.float32),
            "reason": reason,
        }
    )
