"""What a model is given: features of the past for training, of now for use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from pipelines.errors import LakehouseError, UsageError
from pipelines.features.served import materialised
from pipelines.features.store import Opened, open_store, quiet, registry_answering
from pipelines.settings import Settings

if TYPE_CHECKING:
    import pandas as pd
    from feast import FeatureService, FeatureView

log = structlog.get_logger()

EVENT_TIME = "event_timestamp"
# How the answers name when an entity's row of a view was known.
_KNOWN = "known"


def historical(settings: Settings, entities: pd.DataFrame, service: str) -> pd.DataFrame:
    """Features as they were known at some instants, by a point-in-time join.

    Args:
        entities: the service's keys (`keys_of`), and `event_timestamp` with a time zone; other
            columns are kept.

    Returns:
        The rows of `entities`, in any order, with the features of the service; null where nothing
        was known at that instant, or it was too old.

    Raises:
        UsageError: there is no such service, or `entities` lacks a column or is empty.
        LakehouseError: nothing is known of any of the rows; or as `open_store`.
    """
    opened = open_store(settings)
    found = _service(service)
    _demand_columns([*keys_of(found), EVENT_TIME], list(entities.columns), service)
    if getattr(entities[EVENT_TIME].dtype, "tz", None) is None:
        raise UsageError(f"{EVENT_TIME} has no time zone", "give instants in UTC")
    # Feast writes into the frame that it is given.
    with quiet(), registry_answering(settings):
        rows = opened.store.get_historical_features(
            entity_df=entities.copy(), features=found, full_feature_names=False
        ).to_df()
    stored = _stored_features(found)
    unknown = int(rows[stored].isna().all(axis=1).sum())
    if unknown == len(rows):
        raise LakehouseError(
            f"of none of the {len(rows)} rows anything was known at its instant",
            "look at the keys, and at the instants: a day is known from the midnight after it",
        )
    if unknown:
        log.warning("rows of which nothing was known", service=service, rows=unknown, of=len(rows))
    return rows


def online(
    settings: Settings, keys: Sequence[Mapping[str, Any]], service: str
) -> list[dict[str, Any]]:
    """Features as they are served now.

    Args:
        keys: for each answer the service's keys (`keys_of`).

    Returns:
        For each of `keys`, in order: keys and features by name, and `known`: view → when its row
        was known (ISO, UTC), None where the view has nothing of this entity.

    Raises:
        UsageError: there is no such service, or a key is missing.
        LakehouseError: no view knows one of the entities; nothing is materialised yet; or as
            `open_store`.
    """
    return serve(open_store(settings), settings, keys, service)


def serve(
    opened: Opened, settings: Settings, keys: Sequence[Mapping[str, Any]], service: str
) -> list[dict[str, Any]]:
    """As `online`, from a store that is open: what answers many requests opens it once."""
    if not materialised(settings):
        raise LakehouseError(
            "no features are served yet", "run `lakehouse features materialize` first"
        )
    found = _service(service)
    for one in keys:
        _demand_columns(keys_of(found), list(one), service)
    answers = opened.store.get_online_features(
        features=found, entity_rows=[dict(one) for one in keys]
    ).to_dict(include_event_timestamps=True)
    rows = []
    for place, one in enumerate(keys):
        known = {
            view: _instant(answers, names, place)
            for view, names in _features_by_view(found).items()
        }
        if not any(known.values()):
            raise LakehouseError(
                f"{', '.join(f'{k} {v}' for k, v in one.items())}: unknown to {', '.join(known)}",
                "look at the key; `lakehouse features materialize` serves what is new",
            )
        names = (name for p in found.feature_view_projections for name in _names(p))
        rows.append(dict(one) | {n: answers[n][place] for n in names} | {_KNOWN: known})
    return rows


def keys_of(service: FeatureService) -> list[str]:
    """What a request of a service must name: keys of entities, and what is computed from."""
    from feature_store.days import asked_day

    views = _stored_views()
    names: dict[str, None] = {}
    for projection in service.feature_view_projections:
        view = views.get(projection.name)
        asked = asked_day.schema if view is None else view.entity_columns
        names |= dict.fromkeys(field.name for field in asked)
    return list(names)


def _stored_views() -> dict[str, FeatureView]:
    from feature_store.everything import VIEWS

    return {view.name: view for view in VIEWS}


def _service(name: str) -> FeatureService:
    from feature_store.everything import SERVICES

    services = {service.name: service for service in SERVICES}
    if name not in services:
        raise UsageError(
            f"there is no feature service {name}", f"there are: {', '.join(sorted(services))}"
        )
    return services[name]


def _features_by_view(service: FeatureService) -> dict[str, list[str]]:
    return {
        projection.name: _names(projection)
        for projection in service.feature_view_projections
        if projection.name in _stored_views()
    }


def _names(projection: Any) -> list[str]:
    return [str(feature.name) for feature in projection.features]


def _stored_features(service: FeatureService) -> list[str]:
    return [name for names in _features_by_view(service).values() for name in names]


def _instant(answers: Mapping[str, list[Any]], names: Sequence[str], place: int) -> str | None:
    """When a view's row was known; a row without any feature stands for an entity that went."""
    if all(answers[name][place] is None for name in names):
        return None
    seconds = max(answers[f"{name}__ts"][place] for name in names)
    return datetime.fromtimestamp(int(seconds), UTC).isoformat()


def _demand_columns(wanted: Sequence[str], given: Sequence[str], service: str) -> None:
    missing = [name for name in wanted if name not in given]
    if missing:
        raise UsageError(
            f"{service} needs {', '.join(missing)}", f"its keys are: {', '.join(wanted)}"
        )
