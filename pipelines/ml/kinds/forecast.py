"""Demand a product and day, 28 days ahead."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa

from pipelines.errors import LakehouseError, UsageError
from pipelines.forecasting import saved
from pipelines.forecasting.backtest import origins_before
from pipelines.forecasting.boosting import BoostingConfig
from pipelines.forecasting.features import Features
from pipelines.forecasting.lines import panel_of
from pipelines.forecasting.metrics import wape, weekly
from pipelines.forecasting.model import Forecast, ForecastConfig, ForecastModel, fit
from pipelines.forecasting.panel import Floats, Panel
from pipelines.forecasting.scores import point_score, quantile_score
from pipelines.forecasting.validation import Window, window_at
from pipelines.ml.goods import is_goods
from pipelines.ml.kind import Facts
from pipelines.ml.published import Published
from pipelines.ml.trial import CHALLENGER, CHAMPION, Check, Part, Plot, Trial
from pipelines.settings import Settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINES = """
select
    day.product_id,
    day.feature_date as date,
    day.quantity,
    cast(day.net_amount as double) as revenue,
    cast(day.discount_amount as double) as discount,
    product.department,
    product.category,
    product.brand
from features.feat_product_day as day
left join marts.dim_product as product
    on day.product_id = product.product_id and product.is_current
where day.feature_date <= date '{last_day}' and {is_goods}
"""
LINES_OF = ("features.feat_product_day", "marts.dim_product")
PLAN = """
select
    promotion.product_id,
    promotion.week_start_date + cast(weekday.number as integer) as date,
    cast(promotion.stores_on_display as double) as display,
    cast(promotion.stores_in_mailer as double) as mailer
from marts.fct_promotion_week as promotion
cross join range(7) as weekday (number)
where promotion.product_id in (select product_id from features.feat_product_day)
"""
PLAN_OF = ("features.feat_product_day", "marts.fct_promotion_week")
_RECIPE = "recipe.json"
_DECIMAL = pa.decimal128(18, 4)
_MOST_BIAS = 0.15
_MOST_AGE = 7
_MOST_CLOSED = 0.2
_TOLERANCE = 0.02
_COVERAGE = (0.65, 0.95)


@dataclass(frozen=True)
class DemandModel:
    """A model, and of how many best sellers it is."""

    model: ForecastModel
    top: int


@dataclass(frozen=True)
class Demand:
    """The panel of all products, up to the last day that is over."""

    panel: Panel


def read_panel(source: Published, settings: Settings) -> Panel:
    """What was sold of each product, and the promotion plan as far as it reaches.

    Raises:
        LakehouseError: a table is not published, or there is no product to forecast.
    """
    lines = source.query(lines_sql(source.last_day, settings), LINES_OF)
    if not lines.num_rows:
        raise LakehouseError(
            "features.feat_product_day holds no product to forecast",
            "land some weeks of sales: a product counts from `feature_least_selling_days` on",
        )
    promotions = source.query(PLAN, PLAN_OF)
    return panel_of(
        lines,
        plan=promotions if promotions.num_rows else None,
        closed=settings.days_closed,
    )


class ForecastKind:
    """Implements `pipelines.ml.kind.Kind`."""

    name: ClassVar[str] = "forecast"
    table: ClassVar[str] = "forecast"
    facts: ClassVar[Facts] = Facts(
        purpose="Demand in pieces a product and day for the next 28 days, to order and to staff "
        "by: mean, p10, p50 and p90.",
        method="One LightGBM for all products corrects the weekday average of the last 56 days; "
        "validation windows decide how much it counts beside the best baseline.",
        limits=(
            "Only products that sell regularly, the best sellers by revenue; new products get "
            "their weekday average.",
            "Without a promotion plan that covers the horizon it knows of no promotion to come.",
            "Quantiles are of single days and must not be summed.",
        ),
        owner="inventory-planning",
    )

    def read(self, source: Published, settings: Settings) -> Demand:
        """As `Kind.read`; a plan counts where it covers the whole horizon."""
        return Demand(covered(read_panel(source, settings)))

    def fit(self, data: Demand, recipe: Mapping[str, Any]) -> DemandModel:
        config, top = _configured(recipe)
        return _fit(data.panel, config, top)

    def baseline(self, data: Demand) -> DemandModel:
        return self.fit(data, {"trees": 0})

    def trial(
        self, data: Demand, recipe: Mapping[str, Any], champion: DemandModel | None, origins: int
    ) -> Trial:
        config, top = _configured(recipe)
        panel = data.panel
        parts, made, targets = [], [], []
        for origin in origins_before(panel, config.horizon, origins):
            known = panel.until(origin, ahead=config.horizon)
            chosen = np.flatnonzero(panel.first <= origin)[known.best(top)]
            known = panel.select(chosen).until(origin, ahead=config.horizon)
            target = window_at(panel.select(chosen), origin, config.horizon)
            if not target.actual.any():
                raise LakehouseError(
                    f"nothing was sold in the {config.horizon} days after {known.last}",
                    "try fewer origins, or land the days that are missing",
                )
            own = fit(known, config).predict(known, baselines=target.baselines)
            means = {CHALLENGER: own.mean} | dict(target.baselines)
            if champion is not None:
                means[CHAMPION] = _of_champion(champion, known, config, top, own)
            parts.append(
                Part(
                    origin=str(known.last),
                    units=known.products,
                    losses={
                        name: np.abs(weekly(target.actual) - weekly(mean)).sum(axis=1)
                        for name, mean in means.items()
                    },
                    sizes=weekly(target.actual).sum(axis=1),
                    metrics=_metrics(own, target, known),
                    used=f"{own.choice.name}: {own.choice.reason}",
                )
            )
            made.append(own)
            targets.append(target.actual)
        return Trial(
            metric="WAPE week",
            unit="product",
            parts=parts,
            baselines=tuple(made[0].baselines),
            checks=[*_checks(panel, config, parts)],
            plots=[*_plots(made, targets)],
        )

    def parameters(self, model: DemandModel) -> dict[str, Any]:
        config = asdict(model.model.config)
        boosting: dict[str, Any] = config.pop("boosting")
        return boosting | config | {"top": model.top}

    def importance(self, model: DemandModel) -> dict[str, float]:
        booster = model.model.booster
        if booster is None:
            return {}
        gains = booster.feature_importance("gain")
        return dict(zip(model.model.features, map(float, gains), strict=True))

    def save(self, model: DemandModel, folder: Path) -> None:
        saved.save(model.model, folder)
        (folder / _RECIPE).write_text(json.dumps({"top": model.top}), encoding="utf-8")

    def load(self, folder: Path) -> DemandModel:
        recipe = json.loads((folder / _RECIPE).read_text(encoding="utf-8"))
        return DemandModel(saved.load(folder), recipe["top"])

    def predict(self, model: DemandModel, data: Demand) -> pa.Table:
        panel = fitting(data.panel, model.model)
        return rows_of(model.model.predict(panel.select(panel.best(model.top))))

    def used(self, model: DemandModel) -> str:
        return model.model.choice.name

    def example(self, data: Demand) -> pd.DataFrame:
        panel = data.panel
        some = panel.select(panel.best(2))
        days = min(panel.days, 84)
        ahead = ForecastConfig().horizon if panel.plan else 0
        dates = panel.day(panel.days - days) + np.arange(days + ahead)
        whole = (len(some.products), days + ahead)

        def cut(values: Floats) -> Floats:
            found = np.full(whole, np.nan)
            part = values[:, panel.days - days : panel.days + ahead]
            found[:, : part.shape[1]] = part
            return found.ravel()

        columns: dict[str, Any] = {
            "product_id": np.repeat(some.products, whole[1]),
            "date": np.tile(dates.astype("datetime64[ns]"), whole[0]),
            "quantity": cut(some.quantity),
        }
        money = {"revenue": some.revenue, "discount": some.discount}
        known = {name: values for name, values in money.items() if values is not None}
        columns |= {name: cut(v) for name, v in {**known, **some.past, **some.plan}.items()}
        for name, labels in some.attributes.items():
            columns[name] = np.repeat(labels.astype(str), whole[1])
        return pd.DataFrame(columns)

    def serve(self, model: DemandModel, frame: pd.DataFrame) -> pd.DataFrame:
        """Forecasts of the days after the last.

        Args:
            frame: a row for each product and day, with the columns of the training; days to come
                have no quantity, but what is planned for them.
        """
        lines = frame[frame["quantity"].notna()]
        covariates = [
            name.removesuffix("_lift") for name in model.model.features if name.endswith("_lift")
        ]
        plan = frame[["product_id", "date", *covariates]].dropna() if covariates else None
        panel = panel_of(lines, plan=plan)
        found: pd.DataFrame = rows_of(model.model.predict(fitting(panel, model.model))).to_pandas()
        return found.astype(dict.fromkeys(("mean", "p10", "p50", "p90", "baseline"), float))


def _configured(recipe: Mapping[str, Any]) -> tuple[ForecastConfig, int]:
    """A recipe's parameters, put to where they belong."""
    given = dict(recipe)
    top = int(given.pop("top", 1000))
    config = ForecastConfig()
    of_boosting = {field.name for field in fields(BoostingConfig)}
    of_all = {field.name for field in fields(ForecastConfig)} - {"boosting"}
    if unknown := sorted(set(given) - of_boosting - of_all):
        raise UsageError(
            f"there is no parameter {unknown[0]!r}",
            f"there are: top, {', '.join(sorted(of_boosting | of_all))}",
        )
    boosting = {name: value for name, value in given.items() if name in of_boosting}
    rest = {name: value for name, value in given.items() if name in of_all}
    return replace(config, boosting=replace(config.boosting, **boosting), **rest), top


def _fit(panel: Panel, config: ForecastConfig, top: int) -> DemandModel:
    return DemandModel(fit(panel.select(panel.best(top)), config), top)


def lines_sql(last_day: date, settings: Settings) -> str:
    """What was sold of each product and day, up to a day; runs on DuckDB and on Spark."""
    return _LINES.format(last_day=last_day, is_goods=is_goods(settings, "product"))


def covered(panel: Panel) -> Panel:
    """The panel without its plan, where that does not cover the horizon."""
    horizon = ForecastConfig().horizon
    if any(values.shape[1] < panel.days + horizon for values in panel.plan.values()):
        return panel.without_plan()
    return panel


def fitting(panel: Panel, model: ForecastModel) -> Panel:
    """The panel without its plan, where the model has learned without one."""
    learned = set(model.features)
    if model.booster is not None and not set(panel.plan) <= learned:
        return panel.without_plan()
    return panel


def _of_champion(
    champion: DemandModel, known: Panel, config: ForecastConfig, top: int, own: Forecast
) -> Floats:
    """What the champion would have forecast by what was known at an origin."""
    model = champion.model
    if model.trained_until <= known.last:
        try:
            return model.predict(fitting(known, model), baselines=own.baselines).mean
        except LakehouseError:
            # It was trained on other columns: its recipe is what can be compared.
            pass
    if model.config == config and champion.top == top:
        return own.mean
    return fit(known, model.config).predict(known, baselines=own.baselines).mean


def _metrics(own: Forecast, target: Window, known: Panel) -> dict[str, float]:
    actual, departments = target.actual, known.attributes.get("department")
    points = asdict(point_score(actual, own.mean, target.scale, departments))
    points.pop("rmsse_undefined")
    points["best_baseline_wape_day"] = min(
        wape(actual, values) for values in target.baselines.values()
    )
    quantiles = quantile_score(actual, (own.p10, own.p50, own.p90))
    found = points | {"coverage": quantiles.coverage}
    found |= dict(zip(("pinball_10", "pinball_50", "pinball_90"), quantiles.pinball, strict=True))
    return {name: value for name, value in found.items() if value is not None}


def _checks(panel: Panel, config: ForecastConfig, parts: list[Part]) -> list[Check]:
    sold_on = np.flatnonzero(panel.quantity.any(axis=0))
    age, closed = panel.days - 1 - int(sold_on[-1]), panel.days - len(sold_on)
    bias = float(np.mean([part.metrics["bias"] for part in parts]))
    held = float(np.mean([part.metrics["coverage"] for part in parts]))
    names = [name for name in parts[0].losses if name not in (CHALLENGER, CHAMPION)]
    latest = min(parts[0].value(name) for name in names)
    day, simple = (
        float(np.mean([part.metrics[name] for part in parts]))
        for name in ("wape_day", "best_baseline_wape_day")
    )
    return [
        Check(
            "data",
            f"sales reach to the last {_MOST_AGE} days, and the shop was mostly open",
            age <= _MOST_AGE and closed <= _MOST_CLOSED * panel.days,
            f"the last sale is {age} days before {panel.last}; {closed} of {panel.days} days have "
            f"none at all; {panel.findings.returns} returns were left out",
        ),
        _leakage(panel, config),
        Check(
            "drift",
            f"the newest origin is at most {_TOLERANCE:.0%} worse than the best baseline",
            parts[0].value(CHALLENGER) <= (1 + _TOLERANCE) * latest,
            f"WAPE week {parts[0].value(CHALLENGER):.3f} after {parts[0].origin}, the best "
            f"baseline {latest:.3f}",
        ),
        Check(
            "performance",
            f"single days are at most {_TOLERANCE:.0%} worse than by the best baseline",
            day <= (1 + _TOLERANCE) * simple,
            f"WAPE day {day:.3f}, the best baseline {simple:.3f}",
        ),
        Check(
            "performance",
            f"bias within {_MOST_BIAS:.0%}",
            abs(bias) <= _MOST_BIAS,
            f"{bias:+.1%} over {len(parts)} origins",
        ),
        Check(
            "performance",
            f"p10 to p90 holds {_COVERAGE[0]:.0%} to {_COVERAGE[1]:.0%} of the days",
            _COVERAGE[0] <= held <= _COVERAGE[1],
            f"{held:.1%}",
        ),
    ]


def _leakage(panel: Panel, config: ForecastConfig) -> Check:
    """Whether a feature changes with what was sold after its origin."""
    origin = panel.days - 1 - config.horizon
    random = np.random.default_rng(0)

    def scrambled(values: Floats) -> Floats:
        other = values.copy()
        other[:, origin + 1 : panel.days] = random.random(other[:, origin + 1 : panel.days].shape)
        return other

    few = panel.select(panel.best(50))
    other = replace(
        few,
        quantity=scrambled(few.quantity),
        revenue=None if few.revenue is None else scrambled(few.revenue),
        discount=None if few.discount is None else scrambled(few.discount),
        past={name: scrambled(values) for name, values in few.past.items()},
    )
    rows, others = (Features(each, config.horizon).at(origin) for each in (few, other))
    leaking = [
        name
        for place, name in enumerate(rows.names)
        if not np.array_equal(rows.values[:, place], others.values[:, place], equal_nan=True)
    ]
    return Check(
        "leakage",
        "no feature changes with sales after its origin",
        not leaking,
        f"{len(rows.names)} features looked at"
        + (f"; these do: {', '.join(leaking[:5])}" if leaking else ""),
    )


def rows_of(made: Forecast) -> pa.Table:
    """A forecast as rows of the inference table, without who made it."""
    count, horizon = made.mean.shape
    days = np.arange(1, horizon + 1)
    figures = {
        "mean": made.mean, "p10": made.p10, "p50": made.p50, "p90": made.p90,
        "baseline": made.baselines[made.choice.baseline],
    }  # fmt: skip
    return pa.table(
        {
            "product_id": pa.array(np.repeat(made.products, horizon)),
            "forecast_date": pa.array(np.tile(made.origin + days, count)),
            "origin_date": pa.array(np.full(count * horizon, made.origin)),
            "horizon_day": pa.array(np.tile(days, count).astype(np.int32)),
        }
        | {
            name: pa.array(np.round(values.ravel(), 4)).cast(_DECIMAL, safe=False)
            for name, values in figures.items()
        }
    )


def _plots(made: list[Forecast], actuals: list[Floats]) -> list[Plot]:
    newest, actual = made[0], actuals[0]
    return [
        Plot("backtest_fan", partial(_draw_fan, newest, actual)),
        Plot("error_by_horizon", partial(_draw_horizon, newest, actual)),
        Plot("calibration", partial(_draw_calibration, made, actuals)),
    ]


def _draw_fan(made: Forecast, actual: Floats, axes: Axes) -> None:
    best = int(actual.sum(axis=1).argmax())
    days = np.arange(1, actual.shape[1] + 1)
    axes.fill_between(days, made.p10[best], made.p90[best], alpha=0.25, label="p10 to p90")
    axes.plot(days, made.mean[best], label="mean")
    axes.plot(days, actual[best], "k.", label="sold")
    axes.set(title=f"Product {made.products[best]} after {made.origin}", ylabel="pieces a day")
    axes.set_xlabel("days ahead")
    axes.legend()


def _draw_horizon(made: Forecast, actual: Floats, axes: Axes) -> None:
    days = np.arange(1, actual.shape[1] + 1)
    sold = np.maximum(actual.sum(axis=0), 1)
    for name, mean in ({"model": made.mean} | dict(made.baselines)).items():
        axes.plot(days, np.abs(actual - mean).sum(axis=0) / sold, label=name)
    axes.set(title="Error by horizon", xlabel="days ahead", ylabel="WAPE day")
    axes.legend()


def _draw_calibration(made: list[Forecast], actuals: list[Floats], axes: Axes) -> None:
    meant = (0.1, 0.5, 0.9)
    for one, actual in zip(made, actuals, strict=True):
        below = [float((actual <= values).mean()) for values in (one.p10, one.p50, one.p90)]
        axes.plot(meant, below, "o-", label=str(one.origin))
    axes.plot((0, 1), (0, 1), "k:", label="as meant")
    axes.set(title="Calibration", xlabel="quantile", ylabel="share of days at or below it")
    axes.legend()
