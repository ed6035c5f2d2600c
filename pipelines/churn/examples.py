"""Snapshots whose eight weeks have passed: what models learn from, and are judged on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from pipelines.churn.config import ChurnConfig
from pipelines.churn.snapshots import Codes, Days, Floats, Mask, Purchases, Snapshots

# More than there are days between any two dates.
_SPAN = 10_000_000


@dataclass(frozen=True)
class Examples:
    """Clients at risk on past days, and whether they were lost; in the order of day and client.

    Attributes:
        values: features, shape (rows, features).
        churned: whether the client bought nothing within the horizon, shape (rows,).
        client: the same number for the same client, shape (rows,).
    """

    values: Floats
    churned: Mask
    client: Codes
    day: Days

    def __len__(self) -> int:
        return len(self.churned)

    def keep(self, rows: Mask) -> Examples:
        """Only these rows."""
        return Examples(self.values[rows], self.churned[rows], self.client[rows], self.day[rows])

    @property
    def scarcest(self) -> int:
        """How many clients there are of the rarer outcome: what bounds how much can be learnt."""
        return min(len(np.unique(self.client[self.churned == which])) for which in (True, False))


def at_risk(snapshots: Snapshots, config: ChurnConfig) -> Mask:
    """Who bought lately enough to be lost at all; who never bought is not."""
    return np.asarray(snapshots.recency <= config.at_risk_days)


def has_churned(snapshots: Snapshots, purchases: Purchases, horizon_days: int) -> Mask:
    """Whether nothing was bought on the days after the snapshot, up to the horizon's last."""
    clients = np.unique(np.concatenate([snapshots.client, purchases.client]))

    def key(client: np.ndarray, day: Days) -> Codes:
        number = day.astype("datetime64[D]").astype(np.int64)
        return np.asarray(np.searchsorted(clients, client) * _SPAN + number)

    bought = np.sort(key(purchases.client, purchases.day))
    asked = key(snapshots.client, snapshots.day)
    after = np.append(bought, np.iinfo(np.int64).max)[np.searchsorted(bought, asked, side="right")]
    return np.asarray(after > asked + horizon_days)


def examples_before(
    snapshots: Snapshots, purchases: Purchases, known_until: date, config: ChurnConfig
) -> Examples:
    """Clients at risk whose horizon ended before a day, itself excluded: it may not be over.

    The first weeks of the history are left out: clients that are away cannot be seen in them.
    """
    purchases = purchases.until(known_until)
    last = np.datetime64(known_until) - config.horizon_days - 1
    kept = at_risk(snapshots, config) & (snapshots.day <= last)
    if purchases.day.size:
        kept &= snapshots.day >= purchases.day.min() + config.warm_up_days
    chosen = snapshots.keep(kept)
    return Examples(
        values=chosen.values,
        churned=has_churned(chosen, purchases, config.horizon_days),
        client=np.unique(chosen.client, return_inverse=True)[1].astype(np.int64),
        day=chosen.day,
    )


def split(examples: Examples, config: ChurnConfig) -> tuple[Examples, Examples]:
    """Early examples to learn from, and the latest to calibrate and choose on.

    Between them lies the horizon: on the first day of the latter, all that the former tell has
    happened.
    """
    first = examples.day.max() - config.validation_days + 1
    last_learnt = first - config.horizon_days - 1
    return examples.keep(examples.day <= last_learnt), examples.keep(examples.day >= first)
