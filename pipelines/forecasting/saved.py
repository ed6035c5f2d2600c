"""The model as files: a folder of two texts, the same bytes for the same model."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np

from pipelines.errors import LakehouseError
from pipelines.forecasting.boosting import BoostingConfig
from pipelines.forecasting.model import ForecastConfig, ForecastModel
from pipelines.forecasting.quantiles import ResidualQuantiles
from pipelines.forecasting.selection import Choice

_MODEL, _BOOSTER = "model.json", "booster.txt"


def save(model: ForecastModel, folder: Path) -> None:
    """Write a model into a folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    losses = {name: None if math.isnan(x) else x for name, x in model.choice.losses.items()}
    told = {
        "config": asdict(model.config),
        "trained_until": str(model.trained_until),
        "choice": asdict(model.choice) | {"losses": losses},
        "residuals": {
            "centres": model.residuals.centres.tolist(),
            "values": model.residuals.values.tolist(),
        },
        "features": list(model.features),
        "labels": {name: values.tolist() for name, values in model.labels.items()},
    }
    (folder / _MODEL).write_text(json.dumps(told, indent=1, allow_nan=False), encoding="utf-8")
    if model.booster is not None:
        (folder / _BOOSTER).write_text(model.booster.model_to_string(), encoding="utf-8")


def load(folder: Path) -> ForecastModel:
    """Read a model from its folder.

    LightGBM ends the process over a file that is damaged: see that it is the one that was saved
    before it is read.

    Raises:
        LakehouseError: the folder holds no model.
    """
    try:
        told = json.loads((folder / _MODEL).read_text(encoding="utf-8"))
        return _model(told, folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LakehouseError(
            f"{folder} holds no forecasting model: {error}", "train it anew"
        ) from None


def _model(told: dict[str, Any], folder: Path) -> ForecastModel:
    config, choice = told["config"], told["choice"]
    losses = {name: math.nan if x is None else x for name, x in choice["losses"].items()}
    booster = folder / _BOOSTER
    return ForecastModel(
        config=ForecastConfig(**config | {"boosting": BoostingConfig(**config["boosting"])}),
        trained_until=np.datetime64(told["trained_until"]),
        choice=Choice(**choice | {"losses": losses}),
        residuals=ResidualQuantiles(
            **{name: np.array(values) for name, values in told["residuals"].items()}
        ),
        booster=lgb.Booster(model_file=str(booster)) if booster.exists() else None,
        features=tuple(told["features"]),
        labels={name: np.array(values) for name, values in told["labels"].items()},
    )
