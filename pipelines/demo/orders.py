"""Transporters, orders and order lines: how the real baskets came to be delivered.

A basket's till time is its delivery; placing and shipping are dated back from there by the
transporter's lead time. Cancelled orders and dropped lines are added, and never give a sale.
"""

import duckdb

from pipelines.demo.basics import Tx

# id, name, mode, lead time (days), share of the orders, share of its deliveries that are late
_TRANSPORTERS = """
create table transporter (
    transporter_id integer, name varchar, mode varchar, lead_time_days integer,
    share double, late_share double);
insert into transporter values
    (1, 'Store Pick-up', 'pick-up', 0, 0.60, 0.00),
    (2, 'Swift Wheel Couriers', 'courier', 1, 0.14, 0.05),
    (3, 'Lakeside Vans', 'van', 2, 0.10, 0.07),
    (4, 'Union Parcel Post', 'postal', 3, 0.08, 0.09),
    (5, 'Tri-County Haulage', 'van', 4, 0.05, 0.12),
    (6, 'Rural Route Post', 'postal', 5, 0.03, 0.16);
create macro parcel_speed_up() as timestamp '2017-06-05 06:00:00';
"""

_TRANSPORTER_EVENTS = f"""
create table ev_transporter as
select timestamp '2016-01-04 09:00:00' as commit_at, {Tx.TRANSPORTER} as tx_kind,
    transporter_id as tx_id, 'c' as op, transporter_id, name, mode, lead_time_days
from transporter
union all
select parcel_speed_up() + to_microseconds(271828), {Tx.TRANSPORTER}, transporter_id, 'u',
    transporter_id, name, mode, 2
from transporter where transporter_id = 4
"""

# `excess`: by how many seconds an order took longer than promised (negative: came early).
# An order belongs to the shorter lead time if it was placed after that took effect.
_DELIVERED = """
create table delivered as
with basket as (
    select order_id, any_value(client_id) as client_id, any_value(store_id) as store_id,
        min(sold_at) as sold_at, count(*)::integer as lines, min(sale_id) as first_sale_id,
        md5_number('order' || order_id) as dice
    from line group by order_id
), shares as (
    select *, sum(share) over (order by transporter_id) - share as low,
        sum(share) over (order by transporter_id) as high
    from transporter
), carried as (
    select b.*, s.transporter_id, roll(b.dice, 1) < s.late_share as is_late,
        case when s.transporter_id = 4 and b.sold_at - to_days(2) >= parcel_speed_up()
            then 2 else s.lead_time_days end as lead_time_days
    from basket b
    join shares s on roll(b.dice, 0) >= s.low and (roll(b.dice, 0) < s.high or s.transporter_id = 6)
), timed as (
    select *, sold_at - case
            when transporter_id = 1 then seconds(1800, 10800, fine(dice, 1))
            when is_late then to_days(lead_time_days) + seconds(86400, 345600, fine(dice, 1))
            else to_days(lead_time_days) - seconds(0, 28800, fine(dice, 1))
        end as ordered_at
    from carried
)
select *, commit_time(ordered_at, dice) as placed_at,
    partway(ordered_at, sold_at, 0.15 + 0.45 * roll(dice, 4)) as shipped_at,
    commit_time(sold_at, dice) as delivered_at
from timed
"""

# Ordered again some days after a real basket, thought better of, never shipped.
_CANCELLED = """
create table cancelled as
with again as (
    select 90000000000 + d.first_sale_id as order_id, d.order_id as like_order_id, d.client_id,
        d.store_id, d.transporter_id, md5_number('cancelled' || d.order_id) as dice,
        d.ordered_at + seconds(86400, 1728000, roll(d.dice, 6)) as ordered_at
    from delivered d where roll(d.dice, 5) < 0.004
)
select *, commit_time(ordered_at, dice) as placed_at,
    commit_time(ordered_at + seconds(600, 21600, roll(dice, 1)), dice) as cancelled_at,
    1 + floor(5 * roll(dice, 2))::integer as lines
from again
where ordered_at >= opening() and cancelled_at < closing()
"""

_ORDER_EVENTS = f"""
create table ev_order as
with made as (
    select order_id, client_id, store_id, transporter_id, ordered_at, placed_at, shipped_at,
        delivered_at as closed_at, 'delivered' as ended
    from delivered
    union all
    select order_id, client_id, store_id, transporter_id, ordered_at, placed_at, null,
        cancelled_at, 'cancelled'
    from cancelled
), step as (
    select *, placed_at as commit_at, {Tx.PLACED} as tx_kind, 'c' as op, 'placed' as status
    from made
    union all
    select *, shipped_at, {Tx.SHIPPED}, 'u', 'shipped' from made where ended = 'delivered'
    union all
    select *, closed_at, {Tx.CLOSED}, 'u', ended from made
)
select commit_at, tx_kind, order_id as tx_id, op, order_id, client_id, store_id, transporter_id,
    ordered_at, status
from step
"""

_PRICED = """
create view priced_line as
select *, (net_amount + discount_amount)::decimal(18, 2) as gross_amount,
    round((net_amount + discount_amount)::double / greatest(quantity, 1), 4)::decimal(18, 4)
        as unit_price
from line
"""

# A line too many, of something that the client buys at another time.
_DROPPED = """
create table dropped as
with ranked as (
    select *, row_number() over (partition by client_id order by order_id) as nth,
        count(*) over (partition by client_id) as orders
    from delivered
)
select o.order_id, o.lines + 1 as line_no, l.product_id, least(l.quantity, 100) as quantity,
    l.unit_price, 0::decimal(18, 2) as discount_amount, o.placed_at,
    case when roll(o.dice, 3) < 0.5 then partway(o.placed_at, o.shipped_at, 0.25) end
        as edited_at,
    partway(o.placed_at, o.shipped_at, 0.6) as dropped_at
from ranked o
join ranked other on other.client_id = o.client_id and other.nth = o.nth % o.orders + 1
join priced_line l on l.order_id = other.order_id and l.line_no = 1
where roll(o.dice, 5) >= 0.98
"""

_ITEM_EVENTS = f"""
create table ev_order_item as
select o.placed_at as commit_at, {Tx.PLACED} as tx_kind, o.order_id as tx_id, 'c' as op, o.order_id,
    l.line_no, l.product_id, l.quantity, l.unit_price, l.discount_amount
from priced_line l join delivered o on o.order_id = l.order_id
union all
select o.placed_at, {Tx.PLACED}, o.order_id, 'c', o.order_id,
    l.line_no, l.product_id, l.quantity, l.unit_price, l.discount_amount
from cancelled o
join priced_line l on l.order_id = o.like_order_id and l.line_no <= o.lines
union all
select placed_at, {Tx.PLACED}, order_id, 'c', order_id, line_no, product_id, quantity,
    unit_price, discount_amount
from dropped
union all
select edited_at, {Tx.ITEM}, order_id, 'u', order_id, line_no, product_id, quantity + 1,
    unit_price, discount_amount
from dropped where edited_at is not null
union all
select dropped_at, {Tx.ITEM}, order_id, 'd', order_id, line_no, product_id, quantity,
    unit_price, discount_amount
from dropped
"""


def build(con: duckdb.DuckDBPyConnection) -> None:
    """Makes `delivered`, `cancelled`, and the events of transporter, order and order_item."""
    for statement in (
        _TRANSPORTERS,
        _TRANSPORTER_EVENTS,
        _DELIVERED,
        _CANCELLED,
        _ORDER_EVENTS,
        _PRICED,
        _DROPPED,
        _ITEM_EVENTS,
    ):
        con.execute(statement)
