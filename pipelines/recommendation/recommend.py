"""Two lists per client: products to buy again, and products that are new to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipelines.errors import LakehouseError
from pipelines.recommendation.candidates import SOURCES, Candidates
from pipelines.recommendation.determinism import one_blas_thread
from pipelines.recommendation.fill import arrivals, popular_first
from pipelines.recommendation.interactions import Codes, Mask, same_type
from pipelines.recommendation.lists import first, within
from pipelines.recommendation.recommender import Recommender
from pipelines.recommendation.selection import BLEND

REPEAT, NEW = "repeat", "new"
_NO_PLACE = np.iinfo(np.int64).max


def recommend(
    model: Recommender, clients: Iterable[Any] | None = None, *, unavailable: Iterable[Any] = ()
) -> pa.Table:
    """Recommend to clients.

    A client without a history gets what is popular in their segment, or among all.

    Args:
        clients: ids, known or not; default all with a history.
        unavailable: ids of products out of stock or inactive.

    Returns:
        client_id, list (`repeat` or `new`), rank (from 1), product_id, score (not rising with the
        rank; comparable within a list only) and reason (one of `SOURCES`), sorted by client in
        the order asked for, list and rank. `repeat` holds only products that the client bought,
        `new` only others; each holds up to k, and together they are never empty.

    Raises:
        LakehouseError: no product is available, no client is asked for, or an id is of another
            type than those of the purchases.
    """
    history = model.evidence.history
    allowed = ~np.isin(history.products, same_type(unavailable, history.products, "product"))
    if not allowed.any():
        raise LakehouseError(
            "no product may be recommended: all are unavailable",
            "leave the products that are in stock out of the filter",
        )
    asked = pd.Index(
        history.clients if clients is None else same_type(clients, history.clients, "client")
    ).unique()
    if asked.empty:
        raise LakehouseError("no client is asked for", "name one at least, or none for all")
    code = pd.Index(history.clients).get_indexer(asked)
    with one_blas_thread():
        known = [*_known(model, np.unique(code[code >= 0]), allowed)]
    place = np.full(len(history.clients), -1)
    place[code[code >= 0]] = np.flatnonzero(code >= 0)
    rows = pd.concat(
        [
            *(each.assign(place=place[each["client"]]) for each in known),
            _unknown(model, asked, np.flatnonzero(code < 0), allowed),
        ]
    ).sort_values(["place", "list", "rank"], ascending=[True, False, True])
    return pa.table(
        {
            "client_id": pa.array(asked[rows["place"]].to_numpy()),
            "list": pa.array(rows["list"].to_numpy(), pa.string()),
            "rank": pa.array(rows["rank"].to_numpy() + 1, pa.int32()),
            "product_id": pa.array(history.products[rows["product"]]),
            "score": pa.array(rows["score"].to_numpy(), pa.float32()),
            "reason": pa.array(rows["reason"].to_numpy(), pa.string()),
        }
    )


def _known(model: Recommender, clients: Codes, allowed: Mask) -> Iterator[pd.DataFrame]:
    """Both lists of clients with a history, block by block."""
    for block, table in model.blocks(clients, allowed):
        again, new = table.keep(~table.is_new), table.keep(table.is_new)
        yield _listed(model, again, block, REPEAT)
        fresh = _listed(model, new, block, NEW)
        fresh = arrivals(model.evidence, fresh, block, allowed, model.k)
        yield popular_first(model.evidence, fresh, block, allowed, model.k)


def _listed(model: Recommender, table: Candidates, clients: Codes, which: str) -> pd.DataFrame:
    choice = model.choices["all" if which == REPEAT else "new"]
    if which == REPEAT and not (model.buys_again and choice.winner == BLEND):
        # Where another source ranks all products best, it is not by those bought before.
        score = table.scores["buy_again"]
    else:
        score = choice.score(table)
    rows = first(table.client, score, clients, model.k)
    owner, rank = np.nonzero(rows >= 0)
    row = rows[owner, rank]
    return pd.DataFrame(
        {
            "client": clients[owner],
            "list": which,
            "rank": rank,
            "product": table.product[row],
            "score": score[row].astype(np.float32),
            "reason": "buy_again" if which == REPEAT else _reasons(table)[row],
        }
    )


def _reasons(table: Candidates) -> Any:
    """The source that ranks each new product highest for its client."""
    names = [name for name in SOURCES if name in table.scores and name != "buy_again"]
    ranks = [
        np.where(table.scores[name] > 0, within(table.client, table.scores[name]), _NO_PLACE)
        for name in names
    ]
    return np.asarray(names, dtype=object)[np.argmin(ranks, axis=0)]


def _unknown(
    model: Recommender, asked: pd.Index[Any], places: Codes, allowed: Mask
) -> pd.DataFrame:
    """The list of clients without a history: one per segment, for each of its clients."""
    evidence = model.evidence
    segment = model.context.segment_codes(asked[places])
    orders = {code: evidence.popularity.ranked(code, allowed)[: model.k] for code in set(segment)}
    lengths = [len(orders[code]) for code in segment]
    product = np.concatenate([orders[code] for code in segment]) if lengths else np.array([], int)
    row_segment = np.repeat(segment, lengths)
    return pd.DataFrame(
        {
            "place": np.repeat(places, lengths),
            "list": NEW,
            "rank": np.concatenate([np.arange(n) for n in lengths]) if lengths else product,
            "product": product,
            "score": evidence.popularity.share[row_segment, product],
            "reason": "popular",
        }
    )
