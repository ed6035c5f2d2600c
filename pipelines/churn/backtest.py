"""How well the pipeline would have told past churn: several origins, every contender beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa

from pipelines.churn.config import ChurnConfig
from pipelines.churn.contenders import contenders
from pipelines.churn.examples import at_risk, has_churned
from pipelines.churn.metrics import Estimate, estimate, log_loss
from pipelines.churn.model import assemble, learnable
from pipelines.churn.selection import Choice, choose, trials
from pipelines.churn.snapshots import Snapshots, Table, read_purchases, read_snapshots
from pipelines.errors import LakehouseError

PIPELINE = "pipeline"


@dataclass(frozen=True)
class Row:
    """One contender at one origin, or over all origins (`origin` None)."""

    origin: date | None
    contender: str
    metrics: dict[str, Estimate]


@dataclass(frozen=True)
class Backtest:
    """What a backtest has found.

    Attributes:
        rows: per origin, then over all.
        choices: what the pipeline would have used at each origin, by its validation snapshots.
        losses: origin, contender, client_id, churned, probability, log_loss; one row a client at
            risk. The same clients stand there for every contender: compare two of them in pairs.
    """

    rows: list[Row]
    choices: dict[date, Choice]
    losses: pa.Table

    def of(self, contender: str, origin: date | None = None) -> Row:
        """The scores of a contender at an origin, or over all."""
        return next(row for row in self.rows if (row.contender, row.origin) == (contender, origin))


def backtest(
    snapshots: Table,
    purchases: Table,
    known_until: date,
    config: ChurnConfig | None = None,
    *,
    count: int = 3,
    step_days: int = 28,
    draws: int = 1000,
    done: Callable[[date], None] = lambda origin: None,
) -> Backtest:
    """Predict past snapshots by what was known on their day, and score them by what came.

    Args:
        snapshots, purchases, known_until: as `fit` has them.
        count: origins, the last one being the last snapshot day whose horizon is known.
        step_days: least days from one origin to the next.
        draws: resamples of the intervals.
        done: called after each origin.

    Raises:
        LakehouseError: the history does not hold so many origins, nobody or everybody was lost
            after one of them, or as `fit`.
    """
    config = config or ChurnConfig()
    given = read_snapshots(snapshots, config.features)
    bought = read_purchases(purchases, given).until(known_until)
    choices, parts = {}, []
    for origin in origins_before(given, known_until, config, count, step_days):
        asked = given.keep((given.day == np.datetime64(origin)) & at_risk(given, config))
        churned = has_churned(asked, bought, config.horizon_days)
        if churned.all() or not churned.any():
            raise LakehouseError(
                f"after {origin} {'everybody' if churned.any() else 'nobody'} was lost: there is "
                "nothing to tell apart",
                "end the backtest earlier, or check that the purchases are complete",
            )
        # All that was known at the origin, and nothing more.
        examples = learnable(given, bought, origin, config)
        tried = trials(examples, config)
        choices[origin] = choose(tried, config)
        made = {
            name: assemble(Choice(name, {}, ""), examples, tried, config, ()).probability(
                asked.values
            )
            for name in contenders(config.features)
        }
        made[PIPELINE] = made[choices[origin].winner]
        for name, probability in made.items():
            parts.append(_losses(origin, name, asked, churned, probability))
        done(origin)
    losses = pa.concat_tables(parts)
    return Backtest(_rows(losses, list(choices), draws), choices, losses)


def origins_before(
    snapshots: Snapshots, known_until: date, config: ChurnConfig, count: int, step_days: int
) -> list[date]:
    """The last snapshot days whose horizon ended before a day, at least so far apart; latest first.

    Raises:
        LakehouseError: there are fewer.
    """
    wanted = np.datetime64(known_until) - config.horizon_days - 1
    days = np.unique(snapshots.day)
    found: list[date] = []
    while len(found) < count:
        days = days[days <= wanted]
        if not days.size:
            raise LakehouseError(
                f"before {known_until} there are {len(found)} origins whose "
                f"{config.horizon_days} days are known; asked for are {count}",
                "give a longer history, or ask for fewer origins",
            )
        found.append(days[-1].item())
        wanted = np.datetime64(found[-1] - timedelta(days=step_days))
    return found


def _losses(
    origin: date, contender: str, asked: Snapshots, churned: np.ndarray, probability: np.ndarray
) -> pa.Table:
    rows = len(churned)
    return pa.table(
        {
            "origin": pa.array([origin] * rows, pa.date32()),
            "contender": pa.array([contender] * rows, pa.string()),
            "client_id": pa.array(asked.client),
            "churned": pa.array(churned),
            "probability": pa.array(probability),
            "log_loss": pa.array(log_loss(churned, probability)),
        }
    )


def _rows(losses: pa.Table, origins: list[date], draws: int) -> list[Row]:
    frame = losses.to_pandas()
    rows = []
    for origin in (*origins, None):
        of_origin = frame if origin is None else frame[frame["origin"] == origin]
        for name, own in of_origin.groupby("contender", sort=False):
            metrics = estimate(
                own["churned"].to_numpy(),
                own["probability"].to_numpy(),
                own["client_id"].to_numpy(),
                draws=draws,
            )
            rows.append(Row(origin, str(name), metrics))
    return rows
