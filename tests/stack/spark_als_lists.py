"""`spark_jobs/train_als.py`, which also writes the lists that MLlib itself makes, as JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import typer

from spark_jobs import train_als as job

_K = 10
_fitted = job.fitted


def _noting(*arguments: Any) -> Any:
    """The last model that is fitted is the one that is kept."""
    model, clients, products = _fitted(*arguments)
    own = {row["code"]: row["id"] for row in clients.collect()}
    goods = {row["code"]: row["id"] for row in products.collect()}
    lists = {
        own[row["client"]]: [(goods[each["product"]], each["rating"]) for each in row[1]]
        for row in model.recommendForAllUsers(_K).collect()
    }
    Path(os.environ["LISTS"]).write_text(json.dumps(lists))
    return model, clients, products


if __name__ == "__main__":
    job.fitted = _noting
    typer.run(job.train_als)
