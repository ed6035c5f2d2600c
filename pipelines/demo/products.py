"""Products: the real catalogue with its real shelf prices, week by week.

The shelf price of a unit is what the till took plus the shop's own discounts, over the quantity.
Prices come from all households, whatever clients are chosen: a choice must not change them.
"""

import duckdb

from pipelines.demo.basics import Tx

# What the chosen clients named (and when first), and 2 % more that none of them bought.
_CATALOGUE = """
create table catalogue as
with mention as (
    select product_id, min(commit_at) as named_at from ev_order_item group by product_id
    union all
    select product_id, min(commit_at) from ev_client_interaction where product_id is not null
    group by product_id
    union all
    select product_id, min(commit_at) from ev_promotion group by product_id
), named as (
    select product_id, min(named_at) as named_at from mention group by product_id
), shelf_warmer as (
    select product_id, null::timestamp as named_at
    from package_product anti join named using (product_id)
    order by md5('unsold' || product_id), product_id
    limit (select count(*) // 50 from named)
)
from named union all from shelf_warmer
"""

# Lines, first and last sale of a product, and how many lines had each price in each week.
# Weeks start on Monday 05:00 UTC as the package's do (midnight at the shops).
_PRICES = """
-- Ranks prices: the one of more lines first, of two such the lower (prices are below 100,000).
create macro frequent(lines, cents) as lines * 10000000 - cents;
create table price_count as
select product_id, date_trunc('week', sold_at - interval 5 hours) as week,
    case when quantity > 0
        then round((net_amount + discount_amount)::double * 100 / quantity)::bigint end as cents,
    count(*) as lines, min(sold_at) as first_sold_at, max(sold_at) as last_sold_at
from package_line
semi join catalogue using (product_id)
group by all
"""

# The first list price: the most frequent price of the first four weeks on sale (the lower of
# two equally frequent ones), else what such things cost: ending in 9, by product id.
_PRODUCTS = """
create table product as
with life as (
    select product_id, sum(lines) as lines, min(first_sold_at) as first_sold_at,
        max(last_sold_at) as last_sold_at,
        min(week) filter (cents > 0) as first_week
    from price_count group by product_id
), early as (
    select p.product_id, p.cents, sum(p.lines) as lines
    from price_count p join life l on l.product_id = p.product_id
    where p.cents > 0 and p.week < l.first_week + interval 28 days
    group by all
), first_price as (
    select product_id, max_by(cents, frequent(lines, cents)) as cents
    from early group by product_id
)
select c.product_id, c.named_at, l.lines, l.first_sold_at, l.last_sold_at,
    coalesce(f.cents, 79 + 10 * floor(
        90 * pow(roll(md5_number('price' || c.product_id), 0), 2))::bigint) as cents,
    case when l.first_sold_at > opening() + to_days(60) and l.lines >= 26
        then least(l.first_sold_at - to_days(7), c.named_at - interval 1 hour)
        else timestamp '2016-06-01' end as created_at,
    case when l.lines >= 26 then l.last_sold_at + to_days(60) end as delisted_at
from catalogue c
left join life l on l.product_id = c.product_id
left join first_price f on f.product_id = c.product_id
"""

# The list price follows the week's most frequent price when that differs by 2 % or more from
# the list price *then in force*: a fold over the weeks, done for each product by list_reduce.
_PRICE_STEPS = """
create table price_step as
with weekly as (
    select product_id, week, max_by(cents, frequent(lines, cents)) as cents
    from price_count where cents > 0 and week >= opening()
    group by product_id, week having sum(lines) >= 3
), moved as (  -- the same price again can never be a change, whatever is in force
    from weekly qualify cents is distinct from
        lag(cents) over (partition by product_id order by week)
), steps as (
    select p.product_id, list_prepend([{'week': null::timestamp, 'cents': any_value(p.cents)}],
        list([{'week': w.week, 'cents': w.cents}] order by w.week)) as steps
    from moved w join product p on p.product_id = w.product_id
    group by p.product_id
), kept as (
    select product_id, unnest(list_reduce(steps, lambda kept, step:
        case when abs(step[1].cents - kept[-1].cents) * 50 >= kept[-1].cents
            then list_concat(kept, step) else kept end)) as step
    from steps
)
select product_id, step.week as week, step.cents as cents from kept where step.week is not null
"""

# 'FRZN ICE/CUBED' -> 'Frzn Ice/Cubed'; sizes hold runs of blanks ('P     6 OZ').
_EVENTS = f"""
create table ev_product as
with described as (
    select p.*, d.brand, d.department, d.product_category as category, d.product_type as type,
        d.package_size,
        concat_ws(', ', coalesce(list_aggregate(list_transform(
            regexp_extract_all(lower(coalesce(d.product_type, d.product_category)),
                '[a-z0-9''&%]+|[^a-z0-9''&%]+'),
            lambda word: upper(word[1]) || word[2:]), 'string_agg', ''),
            case when d.product_id is not null then 'Product ' || d.product_id end),
            lower(regexp_replace(trim(d.package_size), '\\s+', ' ', 'g'))) as full_name
    from product p left join package_product d on d.product_id = p.product_id
), last_price as (
    select product_id, max_by(cents, week) as cents from price_step group by product_id
), step as (
    select p.*, p.created_at as commit_at, {Tx.PRODUCT} as tx_kind, 'c' as op, p.cents as price,
        true as is_active from described p
    union all
    select p.*, s.week + interval 6 hours + to_microseconds(314159), {Tx.PRICES}, 'u', s.cents,
        true
    from price_step s join described p on p.product_id = s.product_id
    union all
    select p.*, p.delisted_at, {Tx.PRODUCT}, 'u', coalesce(l.cents, p.cents), false
    from described p left join last_price l on l.product_id = p.product_id
    where p.delisted_at < closing()
)
select commit_at, tx_kind, case tx_kind when {Tx.PRICES} then 0 else product_id end as tx_id, op,
    product_id, nullif(full_name, '') as name, brand, department, category, type, package_size,
    (greatest(price, 1)::double / 100)::decimal(18, 2) as list_price, is_active
from step
"""


def build(con: duckdb.DuckDBPyConnection) -> None:
    """Makes `product` and the events of product, after all tables that name products."""
    for statement in (_CATALOGUE, _PRICES, _PRODUCTS, _PRICE_STEPS, _EVENTS):
        con.execute(statement)
