"""What the report on sales asks of the published tables."""

from __future__ import annotations

from datetime import timedelta

from pipelines.reports.charts import BLUE, ORANGE, Line, bars, lines
from pipelines.reports.figures import Kind, written
from pipelines.reports.period import Span
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

_SALES = "marts.fct_sale"
_PRODUCTS = "marts.dim_product"
_PROMOTIONS = "marts.fct_promotion_week"
_FORECASTS = "predictions.mart_forecast_product_day"
_DAYS_BESIDE_A_DAY = 13
_OF_PRODUCTS = f"left join {_PRODUCTS} as p on s.product_id = p.product_id and p.is_current"
_PRODUCT_NAME = "coalesce(p.product_name, 'without a name')"


def sections(frame: Frame) -> list[Section]:
    """The sections of the report, in their order; the first holds the headline figures."""
    return [
        _headline(frame),
        _daily(frame),
        _departments(frame),
        _stores(frame),
        _top_products(frame),
        _falling_products(frame),
        _promoted(frame),
        _clients(frame),
        _expected(frame),
    ]


def _headline(frame: Frame) -> Section:
    counted = f"""{sql_periods(frame)},
counted as (
    select
        p.back,
        coalesce(sum(s.net_amount), 0) as revenue,
        coalesce(sum(s.gross_amount), 0) as gross_amount,
        coalesce(sum(s.quantity) filter (where {frame.is_goods}), 0) as pieces,
        count(distinct s.order_id) as orders
    from periods as p
    left join {_SALES} as s on s.sale_date between p.first_day and p.last_day
    left join {_PRODUCTS} as d on s.product_id = d.product_id and d.is_current
    group by p.back
)"""
    measures = [
        ("Revenue, net", Kind.usd, "revenue"),
        ("Orders", Kind.whole, "orders"),
        ("Basket value", Kind.usd, "revenue / nullif(orders, 0)"),
        ("Pieces", Kind.whole, "pieces"),
        ("Price realisation", Kind.percent, "revenue / nullif(gross_amount, 0)"),
    ]
    return Section(
        title="Headline figures",
        query=sql_headline(counted, measures),
        tables=[_SALES, _PRODUCTS],
        columns=headline_columns(frame),
        empty="Nothing was sold.",
        note="Basket value is revenue by order; price realisation is net of gross revenue; "
        f"pieces leave out these departments: {frame.left_out or 'none'}. "
        f"{comparison_note(frame)} {RELATIVE}",
    )


def _daily(frame: Frame) -> Section:
    period = frame.period
    is_day = period.span is Span.day
    # A day alone is no line.
    first = period.first - timedelta(days=_DAYS_BESIDE_A_DAY if is_day else 0)
    query = f"""with days as (
    select cast(unnest(generate_series({sql_day(first)}, {sql_day(period.last)}, interval 1 day))
        as date) as day
),
sold as (
    select sale_date, sum(net_amount) as revenue
    from {_SALES}
    group by sale_date
)
select
    days.day,
    coalesce(sold.revenue, 0) as revenue,
    before.revenue as week_before,
    coalesce(sold.revenue, 0) / nullif(before.revenue, 0) - 1 as change
from days
left join sold on sold.sale_date = days.day
left join sold as before on before.sale_date = days.day - 7
where days.day >= {sql_day(frame.known_from)}
order by days.day"""
    return Section(
        title="Day by day",
        query=query,
        tables=[_SALES],
        columns=[
            Column("day", "Day", Kind.day),
            Column("revenue", "Revenue", Kind.usd),
            Column("week_before", "A week before", Kind.usd),
            Column("change", "Change", Kind.change),
        ],
        empty="Nothing was sold.",
        note="The 14 days that end with the day told." if is_day else "",
        draw=_draw_daily,
    )


def _draw_daily(rows: list[Row]) -> str:
    earlier = [None if row["week_before"] is None else float(row["week_before"]) for row in rows]
    drawn = [
        Line("Revenue", [float(row["revenue"]) for row in rows], BLUE),
        Line("A week before", earlier, ORANGE, is_dashed=True),
    ]
    return lines("Revenue by day", [f"{row['day']:%d %b}" for row in rows], drawn, "USD a day")


def _departments(frame: Frame) -> Section:
    return Section(
        title="Departments",
        query=_compared(frame, "coalesce(p.department, 'unknown')", _OF_PRODUCTS),
        tables=[_SALES, _PRODUCTS],
        columns=_compared_columns("Department"),
        empty="Nothing was sold.",
        note=f"The ten of most revenue. {comparison_note(frame)}",
        draw=_draw_departments,
    )


def _draw_departments(rows: list[Row]) -> str:
    told = [written(row["revenue"], Kind.usd) for row in rows]
    values = [float(row["revenue"]) for row in rows]
    return bars("Revenue by department", [row["name"] for row in rows], values, told)


def _stores(frame: Frame) -> Section:
    return Section(
        title="Stores",
        query=_compared(frame, "coalesce('Store ' || s.store_id, 'unknown')"),
        tables=[_SALES],
        columns=_compared_columns("Store"),
        empty="Nothing was sold.",
        note=f"The ten of most revenue. {comparison_note(frame)}",
    )


def _top_products(frame: Frame) -> Section:
    return Section(
        title="Top products",
        query=_compared(frame, _PRODUCT_NAME, _OF_PRODUCTS, also="s.product_id"),
        tables=[_SALES, _PRODUCTS],
        columns=[Column("also", "No."), *_compared_columns("Product")],
        empty="Nothing was sold.",
        note=f"The ten of most revenue. {comparison_note(frame)}",
    )


def _falling_products(frame: Frame) -> Section:
    query = _compared(
        frame,
        _PRODUCT_NAME,
        _OF_PRODUCTS,
        also="s.product_id",
        only="revenue < previous",
        order="revenue - previous",
    )
    columns = [
        Column("also", "No."),
        Column("name", "Product"),
        Column("revenue", "Revenue", Kind.usd),
        Column("previous", "Before", Kind.usd),
        Column("difference", "Difference", Kind.difference),
        Column("change", "Change", Kind.change),
    ]
    nothing_before = f"No whole {frame.period.span} before it is known, so nothing can have fallen."
    return Section(
        title="Falling products",
        query=query,
        tables=[_SALES, _PRODUCTS],
        columns=columns,
        empty=f"No product fell against {frame.period.before.name}."
        if frame.earlier
        else nothing_before,
        note=f"The ten that lost most revenue. {comparison_note(frame)}",
    )


def _promoted(frame: Frame) -> Section:
    join = f"""left join {_PROMOTIONS} as w
        on s.product_id = w.product_id
        and w.week_start_date = date_trunc('week', s.sale_date)
        and (w.is_on_display or w.is_in_mailer)"""
    key = "case when w.product_id is null then 'Not promoted' else 'Promoted' end"
    return Section(
        title="Promoted sales",
        query=_compared(frame, key, join),
        tables=[_SALES, _PROMOTIONS],
        columns=_compared_columns("Sales"),
        empty="Nothing was sold.",
        note="Promoted: the product was on display or in the mailer of a store in that week, "
        f"whether or not in the store that sold it. {comparison_note(frame)}",
    )


def _clients(frame: Frame) -> Section:
    previous = _if_known(frame, "count(distinct s.client_id) filter (where p.back = 1)")
    query = f"""with {sql_periods(frame)},
first_sales as (
    select client_id, min(sale_date) as first_sale_date
    from {_SALES}
    where client_id is not null
    group by client_id
),
counted as (
    select
        case when f.first_sale_date >= p.first_day then 'New' else 'Returning' end as name,
        count(distinct s.client_id) filter (where p.back = 0) as clients,
        {previous} as previous,
        coalesce(sum(s.net_amount) filter (where p.back = 0), 0) as revenue
    from periods as p
    inner join {_SALES} as s on s.sale_date between p.first_day and p.last_day
    inner join first_sales as f on s.client_id = f.client_id
    where p.back <= 1
    group by name
)
select
    name,
    clients,
    previous,
    clients / nullif(previous, 0) - 1 as change,
    revenue,
    revenue / nullif(sum(revenue) over (), 0) as share
from counted
order by name"""
    return Section(
        title="New and returning clients",
        query=query,
        tables=[_SALES],
        columns=[
            Column("name", "Clients"),
            Column("clients", "Clients who bought", Kind.whole),
            Column("previous", "Before", Kind.whole),
            Column("change", "Change", Kind.change),
            Column("revenue", "Revenue", Kind.usd),
            Column("share", "Share", Kind.percent),
        ],
        empty="No sale is of a known client.",
        note="New: the first sale of all that the lake knows lies in the period. "
        + comparison_note(frame),
    )


def _expected(frame: Frame) -> Section:
    coming = frame.period.after
    query = f"""with newest as (
    select product_id, forecast_date, mean
    from {_FORECASTS}
    where forecast_date between {sql_day(coming.first)} and {sql_day(coming.last)}
    qualify row_number() over (
        partition by product_id, forecast_date order by origin_date desc
    ) = 1
),
sold as (
    select product_id, sale_date, sum(quantity) as quantity
    from {_SALES}
    group by product_id, sale_date
)
select
    newest.forecast_date as day,
    count(*) as products,
    sum(newest.mean) as expected,
    coalesce(sum(sold.quantity), 0) as sold_before,
    sum(newest.mean) / nullif(sum(sold.quantity), 0) - 1 as change
from newest
left join sold
    on sold.product_id = newest.product_id
    and sold.sale_date = newest.forecast_date - 28
group by newest.forecast_date
order by newest.forecast_date"""
    return Section(
        title=f"Expected in {coming.name}" if coming.span is not Span.day else "Expected next",
        query=query,
        tables=[_FORECASTS, _SALES],
        columns=[
            Column("day", "Day", Kind.day),
            Column("products", "Products forecast", Kind.whole),
            Column("expected", "Expected pieces", Kind.tenths),
            Column("sold_before", "Pieces four weeks before", Kind.whole),
            Column("change", "Change", Kind.change),
        ],
        empty=f"There are no forecasts for {coming.name}: "
        "lakehouse train forecast, then lakehouse score, make them.",
        note="By the newest forecast of each day; days without one are left out. Compared with "
        "what the same products sold on the same weekday four weeks before.",
        draw=_draw_expected,
    )


def _draw_expected(rows: list[Row]) -> str:
    drawn = [
        Line("Expected", [float(row["expected"]) for row in rows], BLUE),
        Line("Four weeks before", [float(row["sold_before"]) for row in rows], ORANGE, True),
    ]
    labels = [f"{row['day']:%d %b}" for row in rows]
    return lines("Expected pieces by day", labels, drawn, "pieces a day")


def _compared(
    frame: Frame,
    key: str,
    join: str = "",
    *,
    also: str = "''",
    only: str = "revenue > 0",
    order: str = "revenue desc",
) -> str:
    """Ten groups of sales of the period, beside the period before it.

    Args:
        key: expression over sales `s`, and what is joined: names the group.
        also: another one that tells groups of the same name apart.
    """
    period = frame.period
    first, begin = sql_day(period.first), sql_day(period.before.first)
    previous = _if_known(frame, "coalesce(sum(net_amount) filter (where not is_now), 0)")
    return f"""with sold as (
    select
        {key} as name,
        cast({also} as varchar) as also,
        s.sale_date >= {first} as is_now,
        s.order_id,
        s.net_amount
    from {_SALES} as s
    {join}
    where s.sale_date between {begin} and {sql_day(period.last)}
),
compared as (
    select
        name,
        also,
        coalesce(sum(net_amount) filter (where is_now), 0) as revenue,
        {previous} as previous,
        count(distinct order_id) filter (where is_now) as orders
    from sold
    group by name, also
),
shared as (
    select *, revenue / nullif(sum(revenue) over (), 0) as share
    from compared
)
select
    name,
    also,
    revenue,
    share,
    orders,
    previous,
    revenue - previous as difference,
    revenue / nullif(previous, 0) - 1 as change
from shared
where {only}
order by {order}, name, also
limit 10"""


def _if_known(frame: Frame, previous: str) -> str:
    """An expression over the period before, or nothing where the lake does not know it whole."""
    return previous if frame.earlier else "cast(null as double)"


def _compared_columns(name: str) -> list[Column]:
    return [
        Column("name", name),
        Column("revenue", "Revenue", Kind.usd),
        Column("share", "Share", Kind.percent),
        Column("orders", "Orders", Kind.whole),
        Column("previous", "Before", Kind.usd),
        Column("change", "Change", Kind.change),
    ]
