"""The backtest of churn: each origin by what was known then, all contenders on the same clients."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pytest

from pipelines.churn.backtest import PIPELINE, Backtest, backtest
from pipelines.churn.contenders import contenders
from pipelines.churn.metrics import log_loss
from pipelines.churn.model import fit
from pipelines.errors import LakehouseError
from tests.unit.churn_data import FEATURES, KNOWN_UNTIL, SMALL, shop

Tables = tuple[pd.DataFrame, pd.DataFrame]
ORIGINS = [date(2024, 9, 22), date(2024, 8, 25), date(2024, 7, 28)]


@pytest.fixture(scope="module")
def tables() -> Tables:
    return shop()


@pytest.fixture(scope="module")
def found(tables: Tables) -> Backtest:
    return backtest(*tables, KNOWN_UNTIL, SMALL, draws=50)


def test_origins_are_four_weeks_apart_and_their_horizon_is_over(found: Backtest) -> None:
    assert list(found.choices) == ORIGINS
    assert ORIGINS[0] + timedelta(days=28) < KNOWN_UNTIL


def test_every_contender_is_scored_on_the_same_clients(found: Backtest) -> None:
    frame = found.losses.to_pandas()
    names = {*contenders(FEATURES), PIPELINE}
    assert set(frame["contender"]) == names
    for origin in ORIGINS:
        clients = {
            tuple(frame[(frame["contender"] == name) & (frame["origin"] == origin)]["client_id"])
            for name in names
        }
        assert len(clients) == 1
    told = log_loss(frame["churned"].to_numpy(), frame["probability"].to_numpy())
    np.testing.assert_array_equal(frame["log_loss"], told)
    assert len(found.rows) == 4 * len(names)
    assert found.of(PIPELINE).metrics["log_loss"].value == pytest.approx(
        frame[frame["contender"] == PIPELINE]["log_loss"].mean()
    )


def test_the_pipeline_tells_what_a_model_trained_on_that_day_would_have_told(
    found: Backtest, tables: Tables
) -> None:
    origin = ORIGINS[1]
    snapshots = tables[0][tables[0]["feature_date"] == pd.Timestamp(origin)]
    told = fit(*tables, origin, SMALL).predict(snapshots)
    own = found.losses.filter(
        pc.and_(
            pc.equal(found.losses["contender"], PIPELINE), pc.equal(found.losses["origin"], origin)
        )
    )
    np.testing.assert_array_equal(
        own["probability"].to_numpy(), told["probability"].drop_null().to_numpy()
    )


def test_what_clients_buy_after_the_first_origin_changes_no_probability_of_it(
    found: Backtest, tables: Tables
) -> None:
    snapshots, purchases = tables
    first = ORIGINS[-1]
    planted = pd.DataFrame(
        {"client_id": range(1, 201), "purchase_date": pd.Timestamp(first + timedelta(days=1))}
    )
    other = backtest(snapshots, pd.concat([purchases, planted]), KNOWN_UNTIL, SMALL, draws=10)

    def at_first(result: Backtest, column: str) -> list[object]:
        return result.losses.filter(pc.equal(result.losses["origin"], first))[column].to_pylist()

    assert at_first(other, "probability") == at_first(found, "probability")
    assert at_first(other, "churned") != at_first(found, "churned")


def test_more_origins_than_there_are_are_refused(tables: Tables) -> None:
    with pytest.raises(LakehouseError, match="no snapshot of a client at risk"):
        backtest(*tables, KNOWN_UNTIL, SMALL, count=9, draws=10)
    with pytest.raises(LakehouseError, match="before 2024-03-10 there are 2 origins") as error:
        backtest(*tables, date(2024, 3, 10), SMALL, count=3, draws=10)
    assert "fewer origins" in error.value.remedy


def test_an_origin_after_which_nobody_was_lost_is_refused(tables: Tables) -> None:
    snapshots, purchases = tables
    everybody = pd.DataFrame(
        {"client_id": range(1, 401), "purchase_date": pd.Timestamp("2024-09-25")}
    )
    with pytest.raises(LakehouseError, match="after 2024-09-22 nobody was lost"):
        backtest(snapshots, pd.concat([purchases, everybody]), KNOWN_UNTIL, SMALL, draws=10)
