"""What the demo shows at its end: a picture of the shop, read from the published marts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
from rich.columns import Columns
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table

from pipelines.lake.publish import Manifest

_BARS = "▁▂▃▄▅▆▇█"
_SPARK_WEEKS = 52


def show(
    connection: duckdb.DuckDBPyConnection,
    manifest: Manifest,
    console: Console,
    *,
    program: str = "lakehouse",
) -> None:
    """Print the summary of a demo run.

    Args:
        connection: has the published marts as views in schema `marts`.
        manifest: what those views show.
        program: how to call the command line, for the commands that are shown.
    """

    def ask(sql: str) -> list[tuple[Any, ...]]:
        return connection.execute(sql).fetchall()

    total = ask(
        """select count(*), sum(net_amount), count(distinct order_id), count(distinct client_id),
               count(distinct product_id), max(sold_at) from marts.fct_sale"""
    )[0]
    console.print()
    console.print(
        Panel(
            f"[bold]{total[0]:,}[/] sales · [bold]${total[1]:,.2f}[/] net · {total[2]:,} orders · "
            f"{total[3]:,} clients · {total[4]:,} products\n"
            f"fresh to {total[5]:%Y-%m-%d %H:%M} UTC · "
            f"business date {manifest.business_date}",
            title="The shop, from its change events",
            expand=False,
        ),
        highlight=False,
    )
    weeks = ask(
        f"""select week_start_date, sum(net_amount) from marts.mart_sales_weekly group by all
            order by 1 desc limit {_SPARK_WEEKS}"""
    )[::-1]
    # The first and the last week are cut by the edges of the data.
    values = [float(amount) for _, amount in weeks[1:-1]]
    if len(values) > 1:
        console.print(
            f"net sales by week  {sparkline(values)}  "
            f"${min(values):,.0f} – ${max(values):,.0f}, from {weeks[1][0]} to {weeks[-2][0]}",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    console.print(Columns([_tables(manifest), Group(_products(ask), _segments(ask), _stock(ask))]))
    console.print("[bold]Next[/]", highlight=False)
    for line in (
        f'{program} sql "from marts.mart_product_performance order by revenue_rank limit 10"',
        f'{program} sql "from marts.mart_stock_coverage where is_below_reorder_point limit 10"',
        f"{program} lineage marts.mart_client_rfm.monetary --upstream",
        f"{program} status",
        "cd dbt_project && ../.venv/bin/dbt docs generate",
    ):
        console.print(f"  {line}", style="cyan", highlight=False, soft_wrap=True)


def sparkline(values: Sequence[float]) -> str:
    """One bar a value, scaled between the least and the greatest."""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return "".join(_BARS[round((value - low) / span * (len(_BARS) - 1))] for value in values)


def _tables(manifest: Manifest) -> Table:
    table = Table("published table", "rows", title="Marts")
    for name, published in sorted(manifest.tables.items()):
        if not name.split(".")[1].startswith("_"):
            table.add_row(name, f"{published.rows:,}")
    return table


def _products(ask: Any) -> Table:
    table = Table("top products", "department", "net sales", title="Products")
    rows = ask(
        """select coalesce(d.product_name, 'product ' || p.product_id), d.department, p.net_amount
           from marts.mart_product_performance as p
           join marts.dim_product as d on p.product_id = d.product_id and d.is_current
           order by p.revenue_rank limit 5"""
    )
    for name, department, revenue in rows:
        table.add_row(str(name)[:32], department, f"${revenue:,.0f}")
    return table


def _segments(ask: Any) -> Table:
    table = Table("segment", "clients", "net sales", title="Clients (RFM)")
    rows = ask(
        """select segment, count(*), sum(monetary) from marts.mart_client_rfm
           group by all order by 3 desc limit 6"""
    )
    for segment, clients, monetary in rows:
        table.add_row(segment, f"{clients:,}", f"${monetary:,.0f}")
    return table


def _stock(ask: Any) -> Table:
    table = Table("stock", "product × warehouse", title="Inventory today")
    held, out_of_stock, reorder = ask(
        """select count(*), count(*) filter (on_hand = 0), count(*) filter (is_below_reorder_point)
           from marts.mart_stock_coverage"""
    )[0]
    table.add_row("managed", f"{held:,}")
    table.add_row("out of stock", f"{out_of_stock:,}")
    table.add_row("to reorder", f"{reorder:,}")
    return table
