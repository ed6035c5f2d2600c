"""Taste by MLlib's ALS: a source of candidates for more clients than one machine holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.errors import LakehouseError
from pipelines.ml.kind import Facts
from pipelines.ml.kinds.recommend import SIMPLE
from pipelines.ml.trial import CHALLENGER, Check, Part, Trial
from pipelines.recommendation.backtest import Scored, score
from pipelines.recommendation.evidence import Context, gather_with
from pipelines.recommendation.interactions import Ids
from pipelines.recommendation.metrics import PER_CLIENT
from pipelines.recommendation.recommender import Recommender
from pipelines.recommendation.selection import TASKS, Choice
from pipelines.recommendation.signals.factors import (
    ALPHA,
    FACTORS,
    HALF_LIFE_DAYS,
    ITERATIONS,
    Factors,
)
from pipelines.recommendation.splits import Window

_SOURCE = "taste"
_MODEL, _CLIENTS, _PRODUCTS = "model.json", "clients.parquet", "products.parquet"
_K = 10


@dataclass(frozen=True)
class AlsConfig:
    """How MLlib learns.

    Attributes:
        regularization: MLlib multiplies it by the number of products of a client, and of clients
            of a product; it is not that of implicit.
    """

    factors: int = FACTORS
    iterations: int = ITERATIONS
    alpha: float = ALPHA
    regularization: float = 0.1
    half_life_days: float = HALF_LIFE_DAYS
    seed: int = 0


@dataclass(frozen=True)
class AlsModel:
    """What was learned.

    Attributes:
        learned_until: the last day that it has seen, ISO.
    """

    config: AlsConfig
    learned_until: str
    factors: Factors


class RecommendAlsKind:
    """Implements `pipelines.ml.kind.Kept`; its model is learned by `spark_jobs/train_als.py`."""

    name: ClassVar[str] = "recommend_als"
    facts: ClassVar[Facts] = Facts(
        purpose="Vectors of clients and products whose product says how sure a purchase is: one "
        "source of candidates.",
        method="MLlib's ALS of implicit feedback on sales that fade with age, on Spark.",
        limits=(
            "It is no recommender: the blend of all sources is what ranks best.",
            "Another solver than implicit's, with another regularisation and confidence: same "
            "parameters do not give the same vectors.",
            "Clients without a purchase have no vector.",
        ),
        owner="marketing",
    )

    def parameters(self, model: AlsModel) -> dict[str, Any]:
        return asdict(model.config)

    def importance(self, model: AlsModel) -> dict[str, float]:
        return {}

    def save(self, model: AlsModel, folder: Path) -> None:
        """As `Kept.save`; vectors as Parquet, for text would be five times as large."""
        folder.mkdir(parents=True, exist_ok=True)
        told = {"config": asdict(model.config), "learned_until": model.learned_until}
        (folder / _MODEL).write_text(json.dumps(told, indent=1), encoding="utf-8")
        found = model.factors
        pq.write_table(vectors_table(found.clients, found.of_clients), folder / _CLIENTS)
        pq.write_table(vectors_table(found.products, found.of_products), folder / _PRODUCTS)

    def load(self, folder: Path) -> AlsModel:
        try:
            told = json.loads((folder / _MODEL).read_text(encoding="utf-8"))
            sides = (pq.read_table(folder / name) for name in (_CLIENTS, _PRODUCTS))
            return AlsModel(AlsConfig(**told["config"]), told["learned_until"], factors_of(*sides))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LakehouseError(f"{folder} holds no vectors: {error}", "train it anew") from None

    def used(self, model: AlsModel) -> str:
        return _SOURCE

    def example(self, data: object) -> pd.DataFrame:
        """A client who is none."""
        return pd.DataFrame({"client_id": np.array([-1], dtype=np.int64)})

    def serve(self, model: AlsModel, frame: pd.DataFrame) -> pd.DataFrame:
        """The first ten products of each client that is known: product, rank and score."""
        known = model.factors.clients
        clients = np.array(frame["client_id"])
        clients = clients[np.isin(clients, known)]
        products, scores = model.factors.best(clients, _K)
        width = products.shape[1]
        return pd.DataFrame(
            {
                "client_id": np.repeat(clients, width).astype(np.int64),
                "rank": np.tile(np.arange(1, width + 1), len(clients)),
                "product_id": products.ravel().astype(np.int64),
                "score": scores.ravel().astype(np.float64),
            }
        )


def vectors_table(ids: Ids, vectors: NDArray[np.float32]) -> pa.Table:
    """Columns `id` and `features`."""
    flat = pa.array(vectors.ravel(), pa.float32())
    return pa.table(
        {"id": pa.array(ids), "features": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])}
    )


def factors_of(clients: pa.Table, products: pa.Table) -> Factors:
    """Vectors out of two tables with the columns `id` and `features`, in any order."""
    (known, of_clients), (goods, of_products) = (_side(each) for each in (clients, products))
    return Factors(known, goods, of_clients, of_products)


def _side(table: pa.Table) -> tuple[Ids, NDArray[np.float32]]:
    table = table.sort_by("id").combine_chunks()
    vectors = np.asarray(table["features"].combine_chunks().flatten().to_numpy(), np.float32)
    return table["id"].to_numpy(), vectors.reshape(table.num_rows, -1)


def tried(windows: Sequence[tuple[Window, Factors]]) -> Trial:
    """Vectors on past windows, against popularity and buying again, client by client.

    Args:
        windows: each with what was learned of the days before it.
    """
    parts = [_part(window, factors) for window, factors in windows]
    return Trial(
        metric=f"1 - NDCG@{_K}",
        unit="client",
        parts=parts,
        baselines=SIMPLE,
        checks=[_leakage([window for window, _ in windows])],
    )


def _part(window: Window, factors: Factors) -> Part:
    choice = Choice(_SOURCE, "the one fitted source")
    recommender = Recommender(
        gather_with(window.history, factors), Context(), dict.fromkeys(TASKS, choice), True, _K
    )
    found = {(each.task, each.contender): each for each in score(window, recommender)}
    own = found["all", _SOURCE]
    return Part(
        origin=window.name,
        units=window.history.clients[own.clients],
        losses={CHALLENGER: 1 - own.scores["ndcg"]}
        | {name: 1 - found["all", name].scores["ndcg"] for name in SIMPLE},
        sizes=np.ones(len(own.clients)),
        metrics=_metrics(found),
        used=_SOURCE,
    )


def _metrics(found: dict[tuple[Any, str], Scored]) -> dict[str, float]:
    told: dict[str, float] = {}
    for (task, contender), each in found.items():
        ending = task if contender == _SOURCE else f"{task}_by_{contender}"
        told |= {f"{name}_{ending}": float(each.scores[name].mean()) for name in PER_CLIENT}
    return told


def _leakage(windows: Sequence[Window]) -> Check:
    gap = min(float(each.history.today - each.history.day.max()) for each in windows)
    return Check(
        "leakage",
        "each history ends before its window",
        gap > 0,
        f"by {gap * 24:.1f} hours at least",
    )
