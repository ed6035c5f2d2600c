"""Stopping a landing whose rows have drifted from a contract that allows no drift."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from pipelines.cdc import novelty
from pipelines.cdc.decode import DRIFT
from pipelines.contract import Table
from pipelines.errors import LakehouseError

_EXAMPLES = 3


def refuse_drift(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """Look at the view `judged` before anything of it is written.

    Raises:
        LakehouseError: a new row has drifted, and the contract says `on_drift: stop`.
    """
    if table.on_drift != "stop":
        return
    found = connection.execute(
        f"""select reason, count(*) as rows from judged
            where reason_code = '{DRIFT}' and novelty = '{novelty.NEW}'
            group by reason order by rows desc, reason"""
    ).fetchall()
    refuse_drifted(table, found)


def refuse_drifted(table: Table, found: Sequence[tuple[str, int]]) -> None:
    """Stop where rows have drifted and the contract says so.

    Args:
        found: reason and number of rows, the most frequent first.

    Raises:
        LakehouseError: there are some.
    """
    if table.on_drift != "stop" or not found:
        return
    fields = "; or ".join(reason for reason, _ in found[:_EXAMPLES])
    raise LakehouseError(
        f"{sum(rows for _, rows in found):,} rows of {table.topic} have other fields than the "
        f"contract: {fields}",
        f"correct the contract in {table.file}, then land again; nothing of these rows' batch has "
        "landed",
    )
