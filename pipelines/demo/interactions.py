"""Client interactions: real campaigns and coupon redemptions, simulated product views."""

import duckdb

from pipelines.demo.basics import Tx

# A coupon names many products: take one that somebody bought, so that the catalogue holds it.
# Campaign mails go out in the morning, coupons are redeemed in the afternoon.
_REAL = """
create table told as
with bought as (
    select distinct product_id from line
), coupon_product as (
    select c.coupon_upc, c.campaign_id,
        coalesce(min(b.product_id), min(c.product_id)) as product_id
    from coupon c left join bought b on b.product_id = c.product_id
    group by all
), redeemed as (
    select r.household_id as client_id, p.product_id, 'coupon' as kind,
        r.redemption_date + seconds(54000, 82800, roll(
            md5_number(concat_ws(':', 'coupon', household_id, coupon_upc, redemption_date)), 0))
            as seen_at
    from coupon_redemption r
    semi join chosen c on c.client_id = r.household_id
    left join coupon_product p using (coupon_upc, campaign_id)
), mailed as (
    select m.household_id as client_id, null::bigint as product_id, 'campaign' as kind,
        c.start_date + seconds(28800, 36000, roll(
            md5_number(concat_ws(':', 'campaign', household_id, campaign_id)), 0)) as seen_at
    from campaign_client m
    semi join chosen c on c.client_id = m.household_id
    join campaign c using (campaign_id)
)
from redeemed union all from mailed
"""

# Looked at before a quarter of the purchases; now and then at something that another bought.
_VIEWS = """
create table viewed as
select l.client_id, l.product_id, 'view' as kind,
    o.ordered_at - seconds(3600, 259200, fine(l.dice, 0)) as seen_at
from line l join delivered o on o.order_id = l.order_id
where roll(l.dice, 6) < 0.25
union all
select l.client_id, other.product_id, 'view', l.seen_at
from (
    select client_id, n * 7919 % (select max(n) from line) + 1 as other_n,
        sold_at + seconds(0, 1209600, fine(dice, 0)) as seen_at
    from line where roll(dice, 6) >= 0.97
) l
join line other on other.n = l.other_n and other.sold_at < l.seen_at
"""

_EVENTS = f"""
create table ev_client_interaction as
with numbered as (
    select row_number() over (order by seen_at, kind, client_id, product_id) as interaction_id, *
    from (from told union all from viewed)
    where seen_at < closing()
)
select seen_at + to_microseconds(1 + interaction_id * 7919 % 999998) as commit_at,
    {Tx.INTERACTION} as tx_kind, interaction_id as tx_id, 'c' as op, interaction_id, client_id,
    product_id, kind, seen_at
from numbered
"""


def build(con: duckdb.DuckDBPyConnection) -> None:
    """Makes the events of client_interaction, from `line` and `delivered`."""
    for statement in (_REAL, _VIEWS, _EVENTS):
        con.execute(statement)
