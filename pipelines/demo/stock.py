"""Inventory movements: simulated receipts and counts around the real sales.

A warehouse orders each Monday up to a level T of recent demand. The sales did happen, so the
receipt is raised to the week's true need where T falls short: then the shelf is empty on Sunday.
In closed form, with need s_w, cumulative net outflow C_w and M_w the running maximum of
max(T_w, s_w) + C_{w-1}: the receipt of week w is M_w - M_{w-1}, the stock after it M_w - C_w >= 0.
"""

import duckdb

from pipelines.demo.basics import Tx

_SALES = """
create table stock_sale as
select l.sale_id, l.order_id, l.product_id, (1 + l.store_id % 2)::integer as warehouse_id,
    l.quantity, l.sold_at, o.delivered_at, stock_week(o.delivered_at)::integer as week
from line l
semi join stocked s on s.product_id = l.product_id
join delivered o on o.order_id = l.order_id
where l.quantity between 1 and 100
"""

# One row a product, warehouse and week from the week in which the product is there.
_WEEKS = """
create table stock_need as
with sold as (
    select product_id, warehouse_id, week, sum(quantity)::bigint as sold
    from stock_sale group by all
), shelf as (
    select s.product_id, s.warehouse_id, sum(s.sold) / 53.0 as usual,
        case when p.created_at < opening() then 0
            else 1 + stock_week(p.created_at + interval 1 minute) end as first_week
    from sold s join product p on p.product_id = s.product_id
    group by s.product_id, s.warehouse_id, p.created_at
), grid as (
    select product_id, warehouse_id, usual, week::integer as week,
        md5_number(concat_ws(':', 'count', product_id, warehouse_id, week)) as dice
    from shelf, range(54) weeks(week)
    where week >= first_week
)
select g.*, coalesce(s.sold, 0) as sold,
    case when roll(dice, 0) < 0.03 then 1 + (roll(dice, 1) < 0.3)::integer else 0 end as lost,
    case when roll(dice, 0) > 0.997 then 1 else 0 end as found
from grid g
left join sold s using (product_id, warehouse_id, week)
"""

# The level: a week's usual demand (half the last eight weeks, half the year) and two standard
# deviations of a Poisson demand. It leaves a stock-out in some 6 % of the weeks.
_LEVELS = """
create table stock_plan as
with recent as (
    select *, sold + lost as need,
        coalesce(avg(sold) over (shelf rows between 8 preceding and 1 preceding), usual) as mean,
        sum(sold + lost - found) over (shelf rows unbounded preceding) - (sold + lost - found)
            as out_before
    from stock_need
    window shelf as (partition by product_id, warehouse_id order by week)
), level as (
    select *, max(greatest(need, ceil((mean + usual) / 2 + 2.0 * sqrt((mean + usual) / 2) + 0.5))
            + out_before) over shelf as supplied
    from recent
    window shelf as (partition by product_id, warehouse_id order by week rows unbounded preceding)
)
select *, (supplied - lag(supplied, 1, 0) over shelf)::bigint as received,
    (supplied - out_before - need)::bigint as left_over
from level
window shelf as (partition by product_id, warehouse_id order by week)
"""

# Lorries unload before Monday 05:30; shelves are counted just before they come.
_EVENTS = f"""
create table ev_inventory_movement as
with dated as (
    select *, stock_week_start(week) - seconds(15, 60, warehouse_id / 3.0) as received_at,
        stock_week_start(week + 1) - seconds(600, 1200, warehouse_id / 3.0) as counted_at
    from stock_plan
)
select delivered_at as commit_at, {Tx.CLOSED} as tx_kind, order_id as tx_id, 'c' as op,
    sale_id as movement_id, product_id, warehouse_id, 'sale' as kind, -quantity as quantity,
    sold_at as moved_at
from stock_sale
union all
select received_at + to_microseconds(161803), {Tx.RECEIPT}, warehouse_id, 'c',
    100000000 + row_number() over (order by week, warehouse_id, product_id), product_id,
    warehouse_id, 'receipt', received, received_at
from dated where received > 0
union all
select counted_at + to_microseconds(141421), {Tx.COUNT}, warehouse_id, 'c',
    200000000 + row_number() over (order by week, warehouse_id, product_id), product_id,
    warehouse_id, 'adjustment', found - lost, counted_at
from dated where found <> lost
"""


def build(con: duckdb.DuckDBPyConnection) -> None:
    """Makes the events of inventory_movement, from `stocked`, `product` and `delivered`."""
    for statement in (_SALES, _WEEKS, _LEVELS, _EVENTS):
        con.execute(statement)
