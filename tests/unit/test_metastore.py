"""Hive Metastore where it is away; the real one is tried in tests/stack."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from structlog.testing import capture_logs

from pipelines.cdc import land as landing
from pipelines.cdc.land import opened
from pipelines.errors import UsageError
from pipelines.lake.metastore import Metastore, connected, table_name
from tests.unit.events import TOPIC, Lake, thing

AWAY = "thrift://127.0.0.1:1"


def test_what_cannot_be_told_is_logged_once() -> None:
    with capture_logs() as logged:
        Metastore(AWAY, "s3://lake/raw").note({"shop.public.sale": {}, "shop.public.order": {}})
    (warning,) = logged
    assert warning["log_level"] == "warning"
    assert AWAY in warning["error"]


def test_tables_that_no_engine_reaches_are_not_registered(lake: Lake) -> None:
    settings = lake.settings.model_copy(update={"metastore": AWAY, "store": None})
    with (
        pytest.raises(UsageError, match="on this machine's disk"),
        opened(lake.contracts, settings, "run"),
    ):
        pass


@pytest.mark.parametrize("url", ["localhost:9083", "thrift://localhost", "http://localhost:9083"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="no address"), connected(url):
        pass


def test_names_have_no_dots() -> None:
    assert table_name("shop.public.Order-Item") == "shop_public_order_item"


def test_each_batch_tells_the_metastore_its_run(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Mapping[str, Mapping[str, str]]] = []

    class Noting:
        note = staticmethod(told.append)

    monkeypatch.setattr(landing, "_metastore", lambda settings: Noting())
    lake.deliver(thing(0))
    properties = told[-1][TOPIC]
    batches = {row["batch_id"]: row["run_id"] for row in lake.ledger()}
    assert properties["run_id"] == batches[properties["batch_id"]]
