"""Whether a client will be lost: no purchase in the next eight weeks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.churn.backtest import PIPELINE, Backtest, backtest
from pipelines.churn.config import BoostingConfig, ChurnConfig
from pipelines.churn.contenders import RECENCY_ONLY, RFM, RFM_FEATURES
from pipelines.churn.metrics import log_loss
from pipelines.churn.model import AT_RISK, ChurnModel, fit
from pipelines.churn.trees import Trees
from pipelines.errors import LakehouseError, UsageError
from pipelines.forecasting.panel import Floats
from pipelines.ml.kind import Facts
from pipelines.ml.published import Published
from pipelines.ml.trial import CHALLENGER, CHAMPION, Check, Part, Plot, Trial
from pipelines.settings import Settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SNAPSHOTS = "select * from features.feat_client where feature_date <= date '{last_day}'"
# As of the business date itself, whose purchases so far are known.
_NOW = "select * from features.feat_client where feature_date = date '{business_date}'"
_PURCHASES = """
select distinct client_id, sale_date as purchase_date from marts.fct_sale where client_id >= 0
"""
_DECIMAL = pa.decimal128(18, 4)
_MOST_CALIBRATION_ERROR = 0.05
_LEAST_AUC = 0.5


@dataclass(frozen=True)
class Clients:
    """Snapshots of clients, their purchases, and the day up to which these are known."""

    snapshots: pa.Table
    now: pa.Table
    purchases: pa.Table
    known_until: date


class ChurnKind:
    """Implements `pipelines.ml.kind.Kind`."""

    name: ClassVar[str] = "churn"
    table: ClassVar[str] = "churn"
    facts: ClassVar[Facts] = Facts(
        purpose="The probability that a client who bought in the last eight weeks buys nothing in "
        "the next eight, to decide whom to win back, and why.",
        method="The simplest of recency, RFM, a logistic regression on all features and LightGBM "
        "that is as good as the best on validation snapshots; calibrated.",
        limits=(
            "Clients that have been away for longer are lost already, and not predicted.",
            "It tells who goes, not whom an offer would keep.",
            "The highest probabilities are told somewhat too high.",
        ),
        owner="marketing",
    )

    def read(self, source: Published, settings: Settings) -> Clients:
        """As `Kind.read`."""
        table = "features.feat_client"
        snapshots = source.query(_SNAPSHOTS.format(last_day=source.last_day), (table,))
        now = source.query(_NOW.format(business_date=source.manifest.business_date), (table,))
        if not now.num_rows:
            raise LakehouseError(
                "features.feat_client has no client on the business date",
                "land some weeks of sales first",
            )
        purchases = source.query(_PURCHASES, ("marts.fct_sale",))
        return Clients(snapshots, now, purchases, source.last_day + timedelta(days=1))

    def fit(self, data: Clients, recipe: Mapping[str, Any]) -> ChurnModel:
        return fit(data.snapshots, data.purchases, data.known_until, _configured(recipe))

    def baseline(self, data: Clients) -> ChurnModel:
        return self.fit(data, {"features": RFM_FEATURES})

    def trial(
        self, data: Clients, recipe: Mapping[str, Any], champion: ChurnModel | None, origins: int
    ) -> Trial:
        config = _configured(recipe)
        found = backtest(data.snapshots, data.purchases, data.known_until, config, count=origins)
        parts = []
        for origin, choice in found.choices.items():
            own = _losses(found, origin, PIPELINE)
            losses = {CHALLENGER: own["log_loss"].to_numpy()}
            for name in (RECENCY_ONLY, RFM):
                if (rival := _losses(found, origin, name)).num_rows:
                    losses[name] = rival["log_loss"].to_numpy()
            if champion is not None:
                losses[CHAMPION] = _of_champion(data, champion, config, origin, own)
            metrics = {name: e.value for name, e in found.of(PIPELINE, origin).metrics.items()}
            parts.append(
                Part(
                    origin=str(origin),
                    units=own["client_id"].to_numpy(),
                    losses=losses,
                    sizes=np.ones(own.num_rows),
                    metrics=metrics,
                    used=f"{choice.winner}: {choice.reason}",
                )
            )
        return Trial(
            metric="log loss",
            unit="client",
            parts=parts,
            baselines=(RECENCY_ONLY, RFM),
            checks=_checks(data, parts),
            plots=[Plot("calibration", partial(_draw_calibration, found))],
        )

    def parameters(self, model: ChurnModel) -> dict[str, Any]:
        config = model.config.as_json()
        boosting: dict[str, Any] = config.pop("boosting")
        return boosting | config | {"features": ", ".join(model.config.features)}

    def importance(self, model: ChurnModel) -> dict[str, float]:
        if not isinstance(model.scorer, Trees):
            return {}
        gains = lgb.Booster(model_str=model.scorer.text).feature_importance("gain")
        return dict(zip(model.config.features, map(float, gains), strict=True))

    def save(self, model: ChurnModel, folder: Path) -> None:
        model.save(folder)

    def load(self, folder: Path) -> ChurnModel:
        return ChurnModel.load(folder)

    def predict(self, model: ChurnModel, data: Clients) -> pa.Table:
        return _predicted(model, data.now)

    def used(self, model: ChurnModel) -> str:
        return model.choice.winner

    def example(self, data: Clients) -> pd.DataFrame:
        """Nobody's features: the quantiles of each."""
        named = [name for name in ChurnConfig().features if name in data.now.column_names]
        features = data.now.select(named).to_pandas().astype(float)
        frame: pd.DataFrame = features.quantile(np.linspace(0.1, 0.9, 5)).reset_index(drop=True)
        frame.insert(0, "client_id", np.arange(1, 6))
        frame.insert(1, "feature_date", pd.Timestamp(data.known_until))
        return frame

    def serve(self, model: ChurnModel, frame: pd.DataFrame) -> pd.DataFrame:
        """Snapshots of clients to probabilities; null for those who are lost already."""
        told = pa.Table.from_pandas(
            frame.assign(feature_date=pd.to_datetime(frame["feature_date"]).dt.date),
            preserve_index=False,
        )
        made: pd.DataFrame = model.predict(told).to_pandas()
        return made.assign(
            feature_date=pd.to_datetime(made["feature_date"]),
            main_reason=made["main_reason"].astype(object),
        )


def _configured(recipe: Mapping[str, Any]) -> ChurnConfig:
    given = dict(recipe)
    config = ChurnConfig()
    of_boosting = {field.name for field in fields(BoostingConfig)}
    of_all = {field.name for field in fields(ChurnConfig)} - {"boosting"}
    if unknown := sorted(set(given) - of_boosting - of_all):
        raise UsageError(
            f"there is no parameter {unknown[0]!r}",
            f"there are: {', '.join(sorted(of_boosting | of_all))}",
        )
    if "features" in given:
        given["features"] = tuple(given["features"])
    boosting = {name: value for name, value in given.items() if name in of_boosting}
    rest = {name: value for name, value in given.items() if name in of_all}
    return replace(config, boosting=replace(config.boosting, **boosting), **rest)


def _losses(found: Backtest, origin: date, contender: str) -> pa.Table:
    losses = found.losses
    chosen = pc.and_(
        pc.equal(losses["origin"], pa.scalar(origin)), pc.equal(losses["contender"], contender)
    )
    return losses.filter(chosen).sort_by("client_id")


def _of_champion(
    data: Clients, champion: ChurnModel, config: ChurnConfig, origin: date, own: pa.Table
) -> Floats:
    """The champion's losses at an origin; its recipe is learnt anew where it has seen more."""
    # A snapshot that was learnt from is followed by as many days that were seen.
    last_seen = date.fromisoformat(champion.learnt["last_day"])
    seen = last_seen + timedelta(days=champion.config.horizon_days)
    if seen > origin:
        if champion.config == config:
            return np.asarray(own["log_loss"].to_numpy())
        champion = fit(data.snapshots, data.purchases, origin, champion.config)
    asked = data.snapshots.filter(pc.equal(data.snapshots["feature_date"], pa.scalar(origin)))
    told = champion.predict(asked).sort_by("client_id")
    told = told.filter(pc.is_in(told["client_id"], own["client_id"].combine_chunks()))
    probability = told["probability"].to_numpy().astype(float)
    if np.isnan(probability).any():
        raise LakehouseError(
            "the champion asks other clients than the challenger: its at_risk_days differ",
            "train with the champion's at_risk_days, or promote by hand",
        )
    return log_loss(own["churned"].to_numpy(zero_copy_only=False), probability)


def _checks(data: Clients, parts: list[Part]) -> list[Check]:
    clients, days = data.snapshots["client_id"], data.snapshots["feature_date"]
    distinct = data.snapshots.group_by(["client_id", "feature_date"]).aggregate([]).num_rows
    newest = pc.max(days).as_py()
    age = (data.known_until - newest).days
    ece = float(np.mean([part.metrics["calibration_error"] for part in parts]))
    area = float(np.mean([part.metrics["auc"] for part in parts]))
    best = min(parts[0].value(name) for name in parts[0].losses if name in (RECENCY_ONLY, RFM))
    return [
        Check(
            "data",
            "snapshots are unique, and reach to the last week",
            distinct == data.snapshots.num_rows and age <= 8,
            f"{data.snapshots.num_rows:,} snapshots of {len(pc.unique(clients)):,} clients, the "
            f"newest {age} days old",
        ),
        Check(
            "leakage",
            "no snapshot is of a day that is not over",
            newest < data.known_until,
            f"the newest is of {newest}, purchases are known until {data.known_until}",
        ),
        Check(
            "drift",
            "the newest origin is no worse than the best baseline",
            parts[0].value(CHALLENGER) <= best,
            f"log loss {parts[0].value(CHALLENGER):.4f}, the best baseline {best:.4f}",
        ),
        Check(
            "performance",
            f"calibration error at most {_MOST_CALIBRATION_ERROR}",
            ece <= _MOST_CALIBRATION_ERROR,
            f"{ece:.4f}",
        ),
        Check(
            "performance", "orders clients better than chance", area > _LEAST_AUC, f"AUC {area:.3f}"
        ),
    ]


def _predicted(model: ChurnModel, snapshots: pa.Table) -> pa.Table:
    told = model.predict(snapshots)
    told = told.filter(pc.equal(told["status"], AT_RISK))
    return pa.table(
        {
            "client_id": told["client_id"],
            "feature_date": told["feature_date"],
            "probability": pc.round(told["probability"], 4).cast(_DECIMAL, safe=False),
            "reason": told["main_reason"],
        }
    )


def _draw_calibration(found: Backtest, axes: Axes) -> None:
    frame = found.losses.to_pandas()
    own = frame[frame["contender"] == PIPELINE]
    tenth = pd.qcut(own["probability"], 10, duplicates="drop")
    means = own.groupby(tenth, observed=True)[["probability", "churned"]].mean()
    axes.plot(means["probability"], means["churned"], "o-", label="tenths of the clients")
    most = float(means.to_numpy().max())
    axes.plot((0, most), (0, most), "k:", label="as told")
    axes.set(title="Calibration", xlabel="probability told", ylabel="share lost")
    axes.legend()
