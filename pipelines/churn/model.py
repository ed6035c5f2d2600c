"""The churn model: learnt from past snapshots, kept as text, asked about any others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.churn.calibration import Calibration
from pipelines.churn.config import ChurnConfig
from pipelines.churn.contenders import TREES, Scorer, learn
from pipelines.churn.examples import Examples, at_risk, examples_before
from pipelines.churn.logistic import Logistic
from pipelines.churn.reasons import main_reasons
from pipelines.churn.selection import Choice, Trial, choose, trials
from pipelines.churn.snapshots import (
    Floats,
    Purchases,
    Snapshots,
    Table,
    read_purchases,
    read_snapshots,
)
from pipelines.churn.trees import Trees
from pipelines.errors import LakehouseError

AT_RISK = "at_risk"
CHURNED = "churned"
NEVER_BOUGHT = "never_bought"

_FORMAT = 1
_MODEL_FILE = "model.json"
_TREES_FILE = "trees.txt"


@dataclass(frozen=True)
class ChurnModel:
    """What predicts churn.

    Attributes:
        config: how churn is defined; the features are those that are asked for.
        scorer: what orders clients by risk.
        calibration: what makes a probability of its score.
        median: features of the median client among those learnt from, NaN where none has a value.
        choice: which contender it is, and why.
        learnt: from what: days, rows, clients, share lost; constant features; columns left out.
    """

    config: ChurnConfig
    scorer: Scorer
    calibration: Calibration
    median: Floats
    choice: Choice
    learnt: Mapping[str, Any]

    def predict(self, snapshots: Table) -> pa.Table:
        """Tell the chance of each client to buy nothing within the horizon.

        Returns:
            client_id, feature_date, status, probability, main_reason, in the order of day and
            client. Only who is `at_risk` has a probability and a reason; who has been away for
            longer is `churned` already, and who never bought is `never_bought`.

        Raises:
            LakehouseError: as `read_snapshots`.
        """
        asked = read_snapshots(snapshots, self.config.features)
        is_asked = at_risk(asked, self.config)
        values = asked.values[is_asked]
        probability = np.full(len(is_asked), np.nan)
        reason = np.full(len(is_asked), None, dtype=object)
        if is_asked.any():
            probability[is_asked] = self.probability(values)
            reason[is_asked] = main_reasons(
                values, self.median, self.config.features, self.scorer.score
            )
        status = np.where(
            is_asked, AT_RISK, np.where(np.isnan(asked.recency), NEVER_BOUGHT, CHURNED)
        )
        return pa.table(
            {
                "client_id": pa.array(asked.client),
                "feature_date": pa.array(asked.day, pa.date32()),
                "status": pa.array(status, pa.string()),
                "probability": pa.array(probability, pa.float64(), mask=~is_asked),
                "main_reason": pa.array(reason, pa.string()),
            }
        )

    def probability(self, values: Floats) -> Floats:
        """Of clients at risk, by their features, shape (rows,)."""
        return self.calibration.probability(self.scorer.score(values))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the files: equal data and configuration give an equal one."""
        digest = hashlib.sha256()
        for name, text in sorted(self._files().items()):
            digest.update(f"{name}\0{len(text)}\0{text}".encode())
        return digest.hexdigest()

    def save(self, folder: Path) -> None:
        """Write it as text files; a model that is there already is replaced."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _TREES_FILE).unlink(missing_ok=True)
        for name, text in self._files().items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")

    @classmethod
    def load(cls, folder: Path) -> ChurnModel:
        """Read what `save` wrote.

        Raises:
            LakehouseError: there is no model, or it is not readable, or of another version.
        """
        try:
            told = json.loads((folder / _MODEL_FILE).read_text(encoding="utf-8"))
            if told["format"] != _FORMAT:
                raise LakehouseError(
                    f"the churn model in {folder} is of format {told['format']}, not {_FORMAT}",
                    "train it anew with this version",
                )
            trees = (folder / _TREES_FILE) if told["choice"]["winner"] == TREES else None
            scorer = (
                Trees(trees.read_text(encoding="utf-8"))
                if trees
                else Logistic.from_json(told["regression"])
            )
            return cls(
                config=ChurnConfig.from_json(told["config"]),
                scorer=scorer,
                calibration=Calibration.from_json(told["calibration"]),
                median=np.array(told["median"], dtype=np.float64),
                choice=Choice(**told["choice"]),
                learnt=told["learnt"],
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LakehouseError(
                f"there is no readable churn model in {folder}: {error}", "train it anew"
            ) from error

    def _files(self) -> dict[str, str]:
        """The text of each file by its name."""
        told: dict[str, Any] = {
            "format": _FORMAT,
            "config": self.config.as_json(),
            "choice": {
                "winner": self.choice.winner,
                "losses": dict(self.choice.losses),
                "reason": self.choice.reason,
            },
            "learnt": dict(self.learnt),
            "median": [None if np.isnan(value) else value for value in self.median.tolist()],
            "calibration": self.calibration.as_json(),
        }
        files = {}
        if isinstance(self.scorer, Trees):
            files[_TREES_FILE] = self.scorer.text
        elif isinstance(self.scorer, Logistic):
            told["regression"] = self.scorer.as_json()
        files[_MODEL_FILE] = json.dumps(told, indent=1, allow_nan=False) + "\n"
        return files


def fit(
    snapshots: Table,
    purchases: Table,
    known_until: date,
    config: ChurnConfig | None = None,
) -> ChurnModel:
    """Learn from the snapshots whose horizon ended before a day.

    Args:
        snapshots: client_id, feature_date and the features, one row a client and day.
        purchases: client_id, purchase_date; a client that is not in it never bought.
        known_until: the business date: later snapshots and purchases are not looked at.

    Raises:
        LakehouseError: no snapshot has its horizon before that day, or none or all were lost; and
            as `read_snapshots` and `read_purchases`.
    """
    config = config or ChurnConfig()
    given = read_snapshots(snapshots, config.features)
    return fit_on(given, read_purchases(purchases, given), known_until, config)


def fit_on(
    snapshots: Snapshots, purchases: Purchases, known_until: date, config: ChurnConfig
) -> ChurnModel:
    """As `fit`, of tables that are read already."""
    examples = learnable(snapshots, purchases, known_until, config)
    tried = trials(examples, config)
    choice = choose(tried, config)
    return assemble(choice, examples, tried, config, snapshots.left_out)


def learnable(
    snapshots: Snapshots, purchases: Purchases, known_until: date, config: ChurnConfig
) -> Examples:
    """The examples known on a day.

    Raises:
        LakehouseError: there are none, or all had the same outcome.
    """
    examples = examples_before(snapshots, purchases, known_until, config)
    if not len(examples):
        least = config.warm_up_days + config.horizon_days + 1
        raise LakehouseError(
            f"no snapshot of a client at risk has its {config.horizon_days} days before "
            f"{known_until}",
            f"give a history of more than {least} days, with snapshots from its "
            f"{config.warm_up_days + 1}th day on",
        )
    if not examples.scarcest:
        outcome = "lost" if examples.churned.all() else "kept"
        raise LakehouseError(
            f"all {len(examples):,} snapshots known by {known_until} are of clients that were "
            f"{outcome}: there is nothing to tell apart",
            "give a longer history, or check that the purchases are complete",
        )
    return examples


def assemble(
    choice: Choice,
    examples: Examples,
    tried: Mapping[str, Trial] | None,
    config: ChurnConfig,
    left_out: tuple[str, ...],
) -> ChurnModel:
    """The chosen contender, learnt anew from all examples, calibrated as in its trial."""
    return ChurnModel(
        config=config,
        scorer=learn(choice.winner, examples, config),
        calibration=tried[choice.winner].calibration if tried else Calibration(),
        median=_median(examples.values),
        choice=choice,
        learnt={
            "first_day": str(examples.day.min()),
            "last_day": str(examples.day.max()),
            "rows": len(examples),
            "clients": len(np.unique(examples.client)),
            "lost": float(examples.churned.mean()),
            "constant": [
                name
                for name, column in zip(config.features, examples.values.T, strict=True)
                if len(np.unique(column)) == 1
            ],
            "left_out": list(left_out),
        },
    )


def _median(values: Floats) -> Floats:
    """Of each column's defined values; NaN where there are none."""
    defined = [column[~np.isnan(column)] for column in values.T]
    return np.array([np.median(column) if column.size else np.nan for column in defined])
