"""A lake for the tests of landing."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from pipelines import contract_check
from pipelines.cdc import land as landing
from pipelines.cdc import replay
from pipelines.contract import Contracts
from pipelines.lake.duck import load_delta
from pipelines.settings import Settings
from tests.unit.events import NARROW, THING, Lake


@pytest.fixture(scope="session", autouse=True)
def one_database() -> Iterator[None]:
    """Let every landing connect to the same database: loading the Delta extension is slow.

    A cursor is a connection of its own: settings, variables and temporary tables are not shared.
    """
    with duckdb.connect(config={"threads": "1"}) as database:
        load_delta(database)

        def cursor(settings: Settings) -> duckdb.DuckDBPyConnection:
            connection = database.cursor()
            connection.execute("set TimeZone = 'UTC'")
            return connection

        with pytest.MonkeyPatch.context() as patch:
            for module in (landing, replay, contract_check):
                patch.setattr(module, "connect", cursor)
            yield


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake with the first columns of the contract of `thing`."""
    return Lake(tmp_path, Contracts([NARROW]))


@pytest.fixture
def typed(tmp_path: Path) -> Lake:
    """An empty lake with the contract of `thing`, which has a column of each type."""
    return Lake(tmp_path, Contracts([THING]))
