"""The policy as a file: one JSON text, the same bytes for the same policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import LakehouseError
from pipelines.recommendation.ranker import Ranker
from pipelines.recommendation.recommender import Policy
from pipelines.recommendation.selection import Choice

_POLICY = "policy.json"


def save(policy: Policy, folder: Path) -> None:
    """Write a policy into a folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {
        "choices": {task: _told(choice) for task, choice in policy.choices.items()},
        "buys_again": policy.buys_again,
        "learned_until": policy.learned_until,
        "k": policy.k,
        "seed": policy.seed,
        "blend": policy.blend,
    }
    (folder / _POLICY).write_text(json.dumps(told, indent=1, allow_nan=False), encoding="utf-8")


def load(folder: Path) -> Policy:
    """Read a policy from its folder.

    LightGBM ends the process over a text that is damaged: see that it is the one that was saved
    before it is read.

    Raises:
        LakehouseError: the folder holds no policy.
    """
    try:
        told = json.loads((folder / _POLICY).read_text(encoding="utf-8"))
        choices = {task: _choice(choice) for task, choice in told.pop("choices").items()}
        return Policy(choices=choices, **told)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LakehouseError(f"{folder} holds no recommender: {error}", "train it anew") from None


def _told(choice: Choice) -> dict[str, Any]:
    ranker = choice.ranker
    return {
        "winner": choice.winner,
        "why": choice.why,
        "ndcg": choice.ndcg,
        "ranker": ranker
        and {
            "names": list(ranker.names),
            "mean": ranker.mean.tolist(),
            "scale": ranker.scale.tolist(),
            "weights": ranker.weights.tolist(),
            "trees": ranker.trees,
        },
    }


def _choice(told: dict[str, Any]) -> Choice:
    blend = told.pop("ranker")
    if blend is None:
        return Choice(**told)
    names, trees = tuple(blend.pop("names")), blend.pop("trees")
    numbers = {name: np.array(values, np.float32) for name, values in blend.items()}
    return Choice(**told, ranker=Ranker(names=names, trees=trees, **numbers))
