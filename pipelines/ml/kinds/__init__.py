"""The kinds of models, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipelines.errors import LakehouseError, UsageError
from pipelines.ml.kind import Kept, Kind

NAMES = ("forecast", "recommend", "churn")
# Registered by jobs, which train it elsewhere; nothing here predicts with it alone.
REGISTERED = (*NAMES, "recommend_als")


def kind_named(name: str) -> Kind[Any, Any]:
    """The kind of that name; imported only now, for what it stands on takes seconds.

    Raises:
        UsageError: there is no such kind.
        LakehouseError: what it stands on is not installed.
    """
    try:
        if name == "forecast":
            from pipelines.ml.kinds.forecast import ForecastKind

            return ForecastKind()
        if name == "recommend":
            from pipelines.ml.kinds.recommend import RecommendKind

            return RecommendKind()
        if name == "churn":
            from pipelines.ml.kinds.churn import ChurnKind

            return ChurnKind()
    except ImportError as error:
        raise LakehouseError(
            f"{error.name} is not installed", "pip install 'lakehouse-platform[ml]'"
        ) from None
    raise _unknown(name)


def registered_kind(name: str) -> Kept[Any]:
    """A kind that may stand in the registry; raises as `kind_named`."""
    if name == "recommend_als":
        from pipelines.ml.kinds.recommend_als import RecommendAlsKind

        return RecommendAlsKind()
    return kind_named(name)


def refuse_unknown(name: str, known: Sequence[str] = NAMES) -> str:
    """The name of a kind; raises UsageError where there is none of it."""
    if name not in known:
        raise _unknown(name, known)
    return name


def _unknown(name: str, known: Sequence[str] = NAMES) -> UsageError:
    return UsageError(f"there is no model {name!r}", f"there are: {', '.join(known)}")
