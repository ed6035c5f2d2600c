"""What to offer each client: products to buy again, and products new to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, ClassVar

import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow as pa

from pipelines.errors import LakehouseError, UsageError
from pipelines.ml.goods import is_goods
from pipelines.ml.kind import Facts
from pipelines.ml.published import Published
from pipelines.ml.trial import CHALLENGER, CHAMPION, Check, Part, Trial
from pipelines.recommendation import saved
from pipelines.recommendation.backtest import Scored, score
from pipelines.recommendation.evidence import Context
from pipelines.recommendation.interactions import Interactions, read_interactions
from pipelines.recommendation.metrics import PER_CLIENT
from pipelines.recommendation.recommend import recommend
from pipelines.recommendation.recommender import Policy, learn
from pipelines.recommendation.selection import Proof
from pipelines.recommendation.signals.content import Catalogue
from pipelines.recommendation.splits import Holdout, Window, windows
from pipelines.settings import Settings

_PURCHASES = """
select
    sale.client_id,
    sale.product_id,
    sale.sold_at as at,
    sale.order_id as basket_id,
    sale.quantity{further}
from marts.fct_sale as sale
left join marts.dim_product as product
    on sale.product_id = product.product_id and product.is_current
where sale.sale_date <= date '{last_day}' and sale.client_id >= 0 and {is_goods}
"""
PURCHASES_OF = ("marts.fct_sale", "marts.dim_product")
_PRODUCTS = """
select product_id, department, brand, category, product_type
from marts.dim_product as product
where is_current and {is_goods}
"""
_UNAVAILABLE = """
select product_id from marts.dim_product where is_current and (is_deleted or not is_active)
union
select product_id from marts.mart_stock_coverage group by product_id having bool_and(is_stock_out)
"""
_CLIENTS = """
select client_id, coalesce(age_band, '') || ' ' || coalesce(income_band, '') as segment
from marts.dim_client where is_current and not is_deleted
"""
SPLIT = Holdout(28)
_MOST_UNKNOWN = 0.5
SIMPLE = ("popular", "buy_again")


@dataclass(frozen=True)
class Shop:
    """Purchases and what is known beside.

    Attributes:
        clients: all that get a list, with a history or without.
        unavailable: products that are not to be recommended now.
        proofs: past windows that training has met so far, by length of the lists and seed: origins
            a window apart share most of theirs.
    """

    purchases: Interactions
    context: Context
    clients: list[Any]
    unavailable: list[Any]
    proofs: dict[tuple[int, int], dict[str, Proof]] = field(default_factory=dict)


class RecommendKind:
    """Implements `pipelines.ml.kind.Kind`."""

    name: ClassVar[str] = "recommend"
    table: ClassVar[str] = "recommendation"
    facts: ClassVar[Facts] = Facts(
        purpose="Ten products to buy again and ten new ones for each client, each with the reason.",
        method="Candidates of implicit ALS, neighbours of clients and products, decayed purchases, "
        "content and popularity, ranked by the mean of a logistic regression and LambdaRank that "
        "learn from past windows of 28 days.",
        limits=(
            "Clients without a purchase get what is popular in their segment.",
            "What a client was shown is not known: a purchase is all that counts as interest.",
            "Offline figures tell what was bought without the lists, not what these would sell.",
        ),
        owner="marketing",
    )

    def read(self, source: Published, settings: Settings) -> Shop:
        """As `Kind.read`."""
        goods = is_goods(settings, "product")
        purchases = source.query(purchases_sql(source.last_day, settings), PURCHASES_OF)
        if not purchases.num_rows:
            raise LakehouseError(
                "marts.fct_sale holds no purchase of goods",
                "land some weeks of sales, or correct LAKEHOUSE_DEPARTMENTS_LEFT_OUT",
            )
        products = source.query(_PRODUCTS.format(is_goods=goods), ("marts.dim_product",))
        clients = source.query(_CLIENTS, ("marts.dim_client",))
        unavailable = source.query(_UNAVAILABLE, ("marts.dim_product", "marts.mart_stock_coverage"))
        ids = clients["client_id"].to_pylist()
        named = zip(ids, clients["segment"].to_pylist(), strict=True)
        segments = {client: segment for client, segment in named if segment.strip()}
        catalogue = Catalogue(products.to_pandas().set_index("product_id"))
        as_of = pd.Timestamp(source.last_day) + pd.Timedelta(days=1)
        return Shop(
            read_interactions(purchases, as_of=as_of),
            Context(catalogue, segments),
            ids,
            unavailable["product_id"].to_pylist(),
        )

    def fit(self, data: Shop, recipe: Mapping[str, Any]) -> Policy:
        return _learn(data, data.purchases, data.context, recipe)

    def baseline(self, data: Shop) -> Policy:
        return self.fit(data, {"blend": False})

    def trial(
        self, data: Shop, recipe: Mapping[str, Any], champion: Policy | None, origins: int
    ) -> Trial:
        parts, unknown, newest = [], [], []
        for window in windows(data.purchases, SPLIT, origins):
            context = data.context.known_to(window.history)
            policy = _learn(data, window.history, context, recipe)
            recommender = policy.recommender(window.history, context)
            found = [*score(window, recommender)]
            own = _of(found, policy, "all")
            losses = {CHALLENGER: 1 - own.scores["ndcg"]} | {
                each.contender: 1 - each.scores["ndcg"]
                for each in found
                if each.task == "all" and each.contender in SIMPLE
            }
            if champion is not None:
                losses[CHAMPION] = 1 - _of_champion(data, champion, policy, window, context, own)
            parts.append(
                Part(
                    origin=window.name,
                    units=window.history.clients[own.clients],
                    losses=losses,
                    sizes=np.ones(len(own.clients)),
                    metrics=_metrics(found, policy),
                    used="; ".join(f"{task}: {c.why}" for task, c in policy.choices.items()),
                )
            )
            unknown.append(float((window.truth.product < 0).mean()))
            newest.append(float(window.history.today - window.history.day.max()))
        if not parts:
            raise LakehouseError(
                "the purchases are too few weeks to hold out 28 days of them",
                "land a longer history; `lakehouse score` offers what is popular until then",
            )
        return Trial(
            metric="1 - NDCG@10",
            unit="client",
            parts=parts,
            baselines=SIMPLE,
            checks=_checks(data, parts, unknown, newest),
        )

    def parameters(self, model: Policy) -> dict[str, Any]:
        found: dict[str, Any] = {"k": model.k, "seed": model.seed, "buys_again": model.buys_again}
        return found | {f"{task}_by": choice.winner for task, choice in model.choices.items()}

    def importance(self, model: Policy) -> dict[str, float]:
        ranker = model.choices["all"].ranker
        if ranker is None:
            return {}
        gains = lgb.Booster(model_str=ranker.trees).feature_importance("gain")
        return dict(zip(ranker.names, map(float, gains), strict=True))

    def save(self, model: Policy, folder: Path) -> None:
        saved.save(model, folder)

    def load(self, folder: Path) -> Policy:
        return saved.load(folder)

    def predict(self, model: Policy, data: Shop) -> pa.Table:
        return recommend(
            model.recommender(data.purchases, data.context),
            data.clients,
            unavailable=data.unavailable,
        )

    def used(self, model: Policy) -> str:
        return ", ".join(f"{task}: {choice.winner}" for task, choice in model.choices.items())

    def example(self, data: Shop) -> pd.DataFrame:
        """Nobody's purchases: real times and products, dealt out to clients who are none."""
        known = data.purchases
        rows = np.arange(min(60, len(known.client)))
        at = (known.day[rows] * 86400).astype("datetime64[s]").astype("datetime64[ns]")
        products = known.products[known.product[np.random.default_rng(0).permutation(rows)]]
        frame = pd.DataFrame(
            {
                "client_id": rows % 3 + 1,
                "product_id": products,
                "at": at,
                "basket_id": rows,
            }
        )
        catalogue = data.context.catalogue
        if catalogue is not None:
            attributes = catalogue.table.reindex(products).fillna("").reset_index(drop=True)
            frame = frame.join(attributes)
        return frame

    def serve(self, model: Policy, frame: pd.DataFrame) -> pd.DataFrame:
        """Purchases of the clients, and of others to learn from, to lists for all of them.

        Args:
            frame: with the attributes of the products.
        """
        attributes = frame.drop(columns=["client_id", "at", "basket_id"], errors="ignore")
        catalogue = Catalogue(attributes.groupby("product_id").first())
        purchases = read_interactions(frame)
        found: pd.DataFrame = recommend(
            model.recommender(purchases, Context(catalogue))
        ).to_pandas()
        return found


def purchases_sql(last_day: date, settings: Settings, *further: str) -> str:
    """Purchases of goods by known clients, up to a day; runs on DuckDB and on Spark.

    Args:
        further: columns of `marts.fct_sale` that are read beside.
    """
    return _PURCHASES.format(
        last_day=last_day,
        is_goods=is_goods(settings, "product"),
        further="".join(f", sale.{name}" for name in further),
    )


def _learn(
    data: Shop, history: Interactions, context: Context, recipe: Mapping[str, Any]
) -> Policy:
    if unknown := sorted(set(recipe) - {"k", "seed", "blend"}):
        raise UsageError(f"there is no parameter {unknown[0]!r}", "there are: k, seed, blend")
    k, seed = int(recipe.get("k", 10)), int(recipe.get("seed", 0))
    proofs = data.proofs.setdefault((k, seed), {})
    blend = bool(recipe.get("blend", True))
    return learn(history, SPLIT, context, k=k, seed=seed, blend=blend, proofs=proofs)


def _named(found: list[Scored], contender: str, task: str) -> Scored:
    return next(each for each in found if (each.task, each.contender) == (task, contender))


def _of(found: list[Scored], policy: Policy, task: str) -> Scored:
    """What the policy itself would have shown."""
    choice = next(choice for name, choice in policy.choices.items() if name == task)
    return _named(found, choice.winner, task)


def _of_champion(
    data: Shop, champion: Policy, policy: Policy, window: Window, context: Context, own: Scored
) -> Any:
    """NDCG of each client by the champion; learnt anew where it has seen the window."""
    if champion.learned_until > window.history.today:
        recipe = {"k": champion.k, "seed": champion.seed, "blend": champion.blend}
        if recipe == {"k": policy.k, "seed": policy.seed, "blend": policy.blend}:
            return own.scores["ndcg"]
        champion = _learn(data, window.history, context, recipe)
    found = [*score(window, champion.recommender(window.history, context))]
    return _of(found, champion, "all").scores["ndcg"]


def _metrics(found: list[Scored], policy: Policy) -> dict[str, float]:
    told: dict[str, float] = {}
    for task in ("all", "new"):
        if not any(each.task == task for each in found):
            continue
        own = _of(found, policy, task)
        told |= {f"{name}_{task}": float(own.scores[name].mean()) for name in PER_CLIENT}
        told[f"coverage_{task}"] = own.coverage
        popular = _named(found, "popular", task).scores["ndcg"].mean()
        told[f"ndcg_{task}_over_popular"] = float(own.scores["ndcg"].mean() / popular)
    return told


def _checks(
    data: Shop, parts: list[Part], unknown: list[float], newest: list[float]
) -> list[Check]:
    purchases = data.purchases
    age = purchases.today - float(purchases.day.max())
    new = float(np.mean([part.metrics.get("ndcg_new_over_popular", 1.0) for part in parts]))
    left_out = ", ".join(f"{count:,} {why}" for why, count in purchases.left_out.items() if count)
    return [
        Check(
            "data",
            "purchases reach to the last week",
            age <= 7,
            f"the newest is {age:.1f} days old; {len(purchases.clients):,} clients, "
            f"{len(purchases.products):,} products; left out: {left_out or 'nothing'}",
        ),
        Check(
            "leakage",
            "each history ends before its window",
            min(newest) > 0,
            f"by {min(newest) * 24:.1f} hours at least",
        ),
        Check(
            "drift",
            "what is bought had mostly been sold before",
            unknown[0] <= _MOST_UNKNOWN,
            f"{unknown[0]:.1%} of the newest window's purchases are of products nobody had bought",
        ),
        Check(
            "performance",
            "products new to clients are found better than by popularity",
            new >= 1,
            f"NDCG@10 {new:.2f} times that of popularity",
        ),
    ]
