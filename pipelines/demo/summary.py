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
    console.print(Columns([_products(ask), Group(_tables(manifest), _stock(ask))]))
    if _is_predicted(ask):
        console.print(Columns([_forecasts(ask), _segments(ask)]))
        console.print(_orders(ask))
        console.print(Columns([_lists(ask), _losses(ask)]))
    else:
        console.print(_segments(ask))
    console.print("[bold]Next[/]", highlight=False)
    for line in (
        f'{program} sql "from marts.mart_product_performance order by revenue_rank limit 10"',
        f'{program} sql "from marts.mart_stock_coverage where is_below_reorder_point limit 10"',
        f"{program} lineage marts.mart_client_rfm.monetary --upstream",
        f"{program} models list",
        f"{program} status",
        "cd dbt_project && ../.venv/bin/dbt docs generate",
    ):
        console.print(f"  {line}", style="cyan", highlight=False, soft_wrap=True)


def sparkline(values: Sequence[float]) -> str:
    """One bar a value, scaled between the least and the greatest."""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return "".join(_BARS[round((value - low) / span * (len(_BARS) - 1))] for value in values)


def _is_predicted(ask: Any) -> bool:
    return bool(ask("select 1 from predictions.model_predictions limit 1"))


def _forecasts(ask: Any) -> Table:
    """The best sellers of the week to come."""
    rows = ask(
        """with week as (
            select product_id, sum(mean) as pieces, max(model_version) as model
            from predictions.mart_forecast_product_day
            where horizon_day <= 7
                and origin_date
                = (select max(origin_date) from predictions.mart_forecast_product_day)
            group by product_id),
        before as (
            select product_id, sum(quantity) as pieces from features.feat_product_day
            where feature_date >= (select max(feature_date) - 7 from features.feat_product_day)
                and feature_date < (select max(feature_date) from features.feat_product_day)
            group by product_id)
        select d.product_name, week.pieces, before.pieces, week.model
        from week join marts.dim_product as d on week.product_id = d.product_id and d.is_current
        left join before on week.product_id = before.product_id
        order by week.pieces desc, week.product_id limit 6"""
    )
    model = rows[0][3] if rows else "nothing"
    table = Table("product", "next 7 days", "last 7", title=f"Demand, by {model}")
    for name, pieces, before, _ in rows:
        table.add_row(str(name)[:28], f"{pieces:,.0f}", f"{before or 0:,.0f}")
    return table


def _orders(ask: Any) -> Table:
    """What to order first."""
    table = Table("product", "in stock", "out on", "to order", title="Stock, if nothing is ordered")
    for name, stock, out_on, pieces in ask(
        """select d.product_name, p.on_hand, p.stock_out_date, p.order_quantity
           from predictions.mart_stock_projection as p
           join marts.dim_product as d on p.product_id = d.product_id and d.is_current
           order by p.order_quantity desc, p.stock_out_date nulls last, p.product_id limit 6"""
    ):
        table.add_row(str(name)[:28], f"{stock:,}", str(out_on or "later"), f"{pieces:,}")
    return table


def _lists(ask: Any) -> Table:
    """Both lists of one client, the one who bought most."""
    rows = ask(
        """with one as (select client_id from marts.mart_client_rfm
                        where client_id in (select client_id
                                            from predictions.mart_reco_client_top_n)
                        order by monetary desc, client_id limit 1)
        select r.client_id, r.list, d.product_name, r.reason
        from predictions.mart_reco_client_top_n as r
        join one on r.client_id = one.client_id
        join marts.dim_product as d on r.product_id = d.product_id and d.is_current
        where r.rank <= 4 order by r.list desc, r.rank"""
    )
    client = rows[0][0] if rows else "nobody"
    table = Table("list", "product", "because", title=f"What to offer client {client}")
    for _, which, name, reason in rows:
        table.add_row(which, str(name)[:32], reason.replace("_", " "))
    return table


def _losses(ask: Any) -> Table:
    """Who is about to be lost."""
    table = Table("client", "risk", "because", title="Clients about to be lost")
    for client, risk, reason in ask(
        """select client_id, probability, reason from predictions.mart_churn_client
           order by probability desc, client_id limit 6"""
    ):
        table.add_row(str(client), f"{risk:.0%}", reason)
    return table


def _tables(manifest: Manifest) -> Table:
    table = Table("schema", "tables", "rows", title="Published")
    for schema in ("marts", "features", "predictions"):
        rows = [
            published.rows
            for name, published in manifest.tables.items()
            if name.startswith(f"{schema}.") and not name.startswith(f"{schema}._")
        ]
        table.add_row(schema, str(len(rows)), f"{sum(rows):,}")
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
