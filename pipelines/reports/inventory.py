"""What the report on inventory asks of the published tables."""

from __future__ import annotations

from datetime import timedelta

from pipelines.reports.charts import Line, bars, lines
from pipelines.reports.figures import Kind, written
from pipelines.reports.section import (
    RELATIVE,
    Column,
    Frame,
    Row,
    Section,
    comparison_note,
    headline_columns,
    sql_day,
    sql_headline,
    sql_periods,
)

_STOCK = "marts.fct_inventory_snapshot"
_COVER = "marts.mart_stock_coverage"
_PROJECTION = "predictions.mart_stock_projection"
_PRODUCTS = "marts.dim_product"
_ORDERS = "marts.fct_order"
_TRANSPORTERS = "marts.dim_transporter"
_NAME = "coalesce(p.product_name, 'without a name')"
_WINDOW = 28
_SLOW_DAYS = 84
_LISTED = 20
_NO_STOCK = "No product has stock."
_MAKES_FORECASTS = "lakehouse train forecast, then lakehouse score, make them."
_PRODUCT = [Column("number", "No."), Column("name", "Product")]


def sections(frame: Frame) -> list[Section]:
    """The sections of the report, in their order; the first holds the headline figures."""
    return [
        _headline(frame),
        _stock_outs_by_day(frame),
        _days_of_cover(frame),
        _out_of_stock(frame),
        _expected_stock_outs(frame),
        _reorder_by_forecast(frame) if frame.has_forecast else _reorder_by_past(frame),
        _slow_movers(frame),
        _lead_times(frame),
    ]


def _headline(frame: Frame) -> Section:
    counted = f"""{sql_periods(frame)},
counted as (
    select
        p.back,
        sum(s.on_hand) filter (where s.snapshot_date = p.last_day) as on_hand,
        count(*) filter (where s.snapshot_date = p.last_day) as pairs,
        count(*) filter (where s.snapshot_date = p.last_day and s.is_stock_out) as stock_outs,
        sum(s.received_quantity) filter (where s.snapshot_date >= p.first_day) as received,
        sum(s.sold_quantity) filter (where s.snapshot_date >= p.first_day) as sold,
        sum(s.sold_quantity) filter (where s.snapshot_date > p.last_day - {_WINDOW}) as sold_lately
    from periods as p
    inner join {_STOCK} as s
        on s.snapshot_date between least(p.first_day, p.last_day - {_WINDOW - 1}) and p.last_day
    group by p.back
)"""
    measures = [
        ("Pieces in stock at the end", Kind.whole, "on_hand"),
        ("Days of cover at the end", Kind.days, f"on_hand * {_WINDOW} / nullif(sold_lately, 0)"),
        ("Out of stock at the end", Kind.whole, "stock_outs"),
        ("Share out of stock", Kind.percent, "stock_outs / nullif(pairs, 0)"),
        ("Pieces received", Kind.whole, "received"),
        ("Pieces that left for sales", Kind.whole, "sold"),
    ]
    return Section(
        title="Headline figures",
        query=sql_headline(counted, measures),
        tables=[_STOCK],
        columns=headline_columns(frame),
        empty=_NO_STOCK,
        note="Stock at the end of the last day. Out of stock are products in a warehouse; days of "
        f"cover are told at the demand of the {_WINDOW} days before. {comparison_note(frame)} "
        f"{RELATIVE}",
    )


def _stock_outs_by_day(frame: Frame) -> Section:
    last = frame.period.last
    first = min(frame.period.first, last - timedelta(days=13))
    query = f"""select
    snapshot_date as day,
    sum(on_hand) as on_hand,
    count(*) filter (where is_stock_out) as stock_outs,
    count(*) filter (where is_stock_out) / count(*) as share
from {_STOCK}
where snapshot_date between {sql_day(first)} and {sql_day(last)}
group by snapshot_date
order by snapshot_date"""
    return Section(
        title="Day by day",
        query=query,
        tables=[_STOCK],
        columns=[
            Column("day", "Day", Kind.day),
            Column("on_hand", "Pieces in stock", Kind.whole),
            Column("stock_outs", "Out of stock", Kind.whole),
            Column("share", "Share out of stock", Kind.percent),
        ],
        empty=_NO_STOCK,
        note="Two weeks at least. Out of stock are products in a warehouse.",
        draw=_draw_stock_outs,
    )


def _draw_stock_outs(rows: list[Row]) -> str:
    values = [100 * float(row["share"]) for row in rows]
    labels = [f"{row['day']:%d %b}" for row in rows]
    return lines("Share out of stock by day", labels, [Line("Share out of stock", values)], "%")


def _days_of_cover(frame: Frame) -> Section:
    query = f"""with classed as (
    select
        *,
        case
            when is_stock_out then 1
            when days_of_cover is null then 7
            when days_of_cover < 3 then 2
            when days_of_cover < 7 then 3
            when days_of_cover < 28 then 4
            when days_of_cover < {_SLOW_DAYS} then 5
            else 6
        end as class
    from {_COVER}
)
select
    case class
        when 1 then 'Out of stock'
        when 2 then 'Below 3 days'
        when 3 then '3 to 7 days'
        when 4 then '7 to 28 days'
        when 5 then '28 to {_SLOW_DAYS} days'
        when 6 then '{_SLOW_DAYS} days and more'
        else 'No demand'
    end as name,
    count(*) as pairs,
    count(*) / sum(count(*)) over () as share,
    sum(on_hand) as on_hand
from classed
group by class
order by class"""
    return Section(
        title="Days of cover",
        query=query,
        tables=[_COVER],
        columns=[
            Column("name", "Stock lasts"),
            Column("pairs", "Products in a warehouse", Kind.whole),
            Column("share", "Share", Kind.percent),
            Column("on_hand", "Pieces in stock", Kind.whole),
        ],
        empty=_NO_STOCK,
        note=_as_of_today(frame, f"At the demand of the last {_WINDOW} days."),
        draw=_draw_cover,
    )


def _draw_cover(rows: list[Row]) -> str:
    told = [written(row["pairs"], Kind.whole) for row in rows]
    labels = [row["name"] for row in rows]
    return bars("Days of cover", labels, [float(row["pairs"]) for row in rows], told)


def _out_of_stock(frame: Frame) -> Section:
    query = f"""select
    cast(c.product_id as varchar) as number,
    {_NAME} as name,
    cast(c.warehouse_id as varchar) as warehouse,
    c.average_daily_demand as daily_demand,
    c.reorder_point
from {_COVER} as c
left join {_PRODUCTS} as p on c.product_id = p.product_id and p.is_current
where c.is_stock_out
order by c.average_daily_demand desc, c.product_id, c.warehouse_id
limit {_LISTED}"""
    return Section(
        title="Out of stock now",
        query=query,
        tables=[_COVER, _PRODUCTS],
        columns=[
            *_PRODUCT,
            Column("warehouse", "Warehouse"),
            Column("daily_demand", "Pieces sold a day", Kind.tenths),
            Column("reorder_point", "Reorder point, pieces", Kind.whole),
        ],
        empty=f"Nothing is out of stock as of {frame.today}.",
        note=_as_of_today(frame, f"The {_LISTED} of most demand."),
    )


def _expected_stock_outs(frame: Frame) -> Section:
    query = f"""select
    stock_out_date as day,
    count(*) as products,
    sum(order_quantity) as order_quantity,
    cast(sum(count(*)) over (order by stock_out_date) as bigint) as products_so_far
from {_PROJECTION}
where stock_out_date is not null
group by stock_out_date
order by stock_out_date"""
    expected = f"There are no forecasts, so no stock-out can be expected: {_MAKES_FORECASTS}"
    return Section(
        title="Expected stock-outs",
        query=query,
        tables=[_PROJECTION],
        columns=[
            Column("day", "Day", Kind.day),
            Column("products", "Products that run out", Kind.whole),
            Column("products_so_far", "All until then", Kind.whole),
            Column("order_quantity", "Pieces to order for them", Kind.whole),
        ],
        empty="No stock is expected to run out." if frame.has_forecast else expected,
        note=_as_of_today(frame, "If nothing is ordered; stock of all warehouses together."),
        draw=_draw_expected,
    )


def _draw_expected(rows: list[Row]) -> str:
    values = [float(row["products_so_far"]) for row in rows]
    labels = [f"{row['day']:%d %b}" for row in rows]
    return lines("Products that run out", labels, [Line("All until then", values)], "products")


def _reorder_by_forecast(frame: Frame) -> Section:
    query = f"""select
    cast(s.product_id as varchar) as number,
    {_NAME} as name,
    s.on_hand,
    s.demand_until_replenished as demand,
    s.stock_out_date,
    s.order_quantity
from {_PROJECTION} as s
left join {_PRODUCTS} as p on s.product_id = p.product_id and p.is_current
where s.order_quantity > 0
order by s.stock_out_date nulls last, s.order_quantity desc, s.product_id
limit {_LISTED}"""
    return Section(
        title="To reorder",
        query=query,
        tables=[_PROJECTION, _PRODUCTS],
        columns=[
            *_PRODUCT,
            Column("on_hand", "Pieces in stock", Kind.whole),
            Column("demand", "Expected until replenished", Kind.tenths),
            Column("stock_out_date", "Runs out", Kind.day),
            Column("order_quantity", "Pieces to order", Kind.whole),
        ],
        empty=f"Nothing is to be ordered as of {frame.today}.",
        note=_as_of_today(
            frame, f"The {_LISTED} that run out first. Lead time and reserve are assumptions."
        ),
    )


def _reorder_by_past(frame: Frame) -> Section:
    query = f"""select
    cast(c.product_id as varchar) as number,
    {_NAME} as name,
    cast(c.warehouse_id as varchar) as warehouse,
    c.on_hand,
    c.days_of_cover,
    c.reorder_point - c.on_hand as order_quantity
from {_COVER} as c
left join {_PRODUCTS} as p on c.product_id = p.product_id and p.is_current
where c.is_below_reorder_point
order by c.days_of_cover, order_quantity desc, c.product_id, c.warehouse_id
limit {_LISTED}"""
    return Section(
        title="To reorder",
        query=query,
        tables=[_COVER, _PRODUCTS],
        columns=[
            *_PRODUCT,
            Column("warehouse", "Warehouse"),
            Column("on_hand", "Pieces in stock", Kind.whole),
            Column("days_of_cover", "Stock lasts", Kind.days),
            Column("order_quantity", "Pieces to order", Kind.whole),
        ],
        empty=f"Nothing is below its reorder point as of {frame.today}.",
        note=_as_of_today(
            frame,
            f"There are no forecasts: the {_LISTED} of least cover at the demand of the last "
            f"{_WINDOW} days, up to the reorder point. Lead time and reserve are assumptions.",
        ),
    )


def _slow_movers(frame: Frame) -> Section:
    query = f"""with stock as (
    select
        product_id,
        cast(sum(on_hand) as bigint) as on_hand,
        cast(sum(sold_last_28_days) as bigint) as sold
    from {_COVER}
    group by product_id
)
select
    cast(s.product_id as varchar) as number,
    {_NAME} as name,
    s.on_hand,
    s.sold,
    s.on_hand * {_WINDOW} / nullif(s.sold, 0) as days_of_cover,
    s.on_hand * p.list_price as list_value
from stock as s
left join {_PRODUCTS} as p on s.product_id = p.product_id and p.is_current
where s.on_hand > 0 and (s.sold = 0 or s.on_hand * {_WINDOW} / s.sold >= {_SLOW_DAYS})
order by list_value desc nulls last, s.on_hand desc, s.product_id
limit {_LISTED}"""
    return Section(
        title="Slow movers",
        query=query,
        tables=[_COVER, _PRODUCTS],
        columns=[
            *_PRODUCT,
            Column("on_hand", "Pieces in stock", Kind.whole),
            Column("sold", f"Sold in {_WINDOW} days", Kind.whole),
            Column("days_of_cover", "Stock lasts", Kind.days),
            Column("list_value", "At list price", Kind.usd),
        ],
        empty=f"No stock lasts {_SLOW_DAYS} days or more as of {frame.today}.",
        note=_as_of_today(
            frame,
            f"The {_LISTED} of most value whose stock lasts {_SLOW_DAYS} days or more, or that "
            "nobody bought.",
        ),
    )


def _lead_times(frame: Frame) -> Section:
    query = f"""with {sql_periods(frame)},
delivered as (
    select
        o.transporter_id,
        count(*) filter (where p.back = 0) as orders,
        avg(date_diff('second', o.ordered_at, o.delivered_at) / 86400)
            filter (where p.back = 0) as lead_days,
        avg(date_diff('second', o.ordered_at, o.delivered_at) / 86400)
            filter (where p.back = 1) as previous,
        avg(cast(o.is_late as integer)) filter (where p.back = 0) as late_share
    from periods as p
    inner join {_ORDERS} as o
        on cast(o.delivered_at as date) between p.first_day and p.last_day
    where p.back <= 1
    group by o.transporter_id
)
select
    coalesce(t.transporter_name, 'unknown') as name,
    coalesce(t.transport_mode, 'unknown') as mode,
    d.orders,
    t.lead_time_days as promised,
    d.lead_days,
    d.previous,
    d.lead_days / nullif(d.previous, 0) - 1 as change,
    d.late_share
from delivered as d
left join {_TRANSPORTERS} as t on d.transporter_id = t.transporter_id
where d.orders > 0
order by d.orders desc, name"""
    return Section(
        title="Lead time by transporter",
        query=query,
        tables=[_ORDERS, _TRANSPORTERS],
        columns=[
            Column("name", "Transporter"),
            Column("mode", "By"),
            Column("orders", "Orders delivered", Kind.whole),
            Column("promised", "Promised", Kind.days),
            Column("lead_days", "Mean", Kind.days),
            Column("previous", "Before", Kind.days),
            Column("change", "Change", Kind.change),
            Column("late_share", "Late", Kind.percent),
        ],
        empty=f"Nothing was delivered in {frame.period.name}.",
        note=f"From order to delivery, of what was delivered. {comparison_note(frame)}",
    )


def _as_of_today(frame: Frame, told: str) -> str:
    return f"As of {frame.today.isoformat()}, whatever the period. {told}"
