"""Sales: one for each real line, posted with the delivery, and a few posted by mistake."""

import duckdb

from pipelines.demo.basics import Tx

# Posted to the wrong order, half of them corrected first, all voided within three days. Their
# line numbers lie beyond any basket (the longest has 161 lines), their ids beyond any sale.
_MISTAKES = """
create table mistake as
select 9000000000 + l.sale_id as sale_id, l.order_id, 1000 + l.line_no as line_no, l.product_id,
    l.client_id, least(l.quantity, 100) as quantity, l.gross_amount, l.discount_amount,
    l.net_amount, t.sold_at, commit_time(t.sold_at, l.dice) as posted_at,
    case when roll(l.dice, 3) < 0.5
        then commit_time(t.sold_at + seconds(3600, 43200, roll(l.dice, 4)), l.dice) end
        as corrected_at,
    commit_time(t.sold_at + seconds(86400, 259200, roll(l.dice, 5)), l.dice) as voided_at
from priced_line l,
    lateral (select l.sold_at + seconds(300, 3600, roll(l.dice, 2)) as sold_at) t
where roll(l.dice, 7) < 0.002 and l.sold_at < closing() - to_days(4)
"""

_SALE_EVENTS = f"""
create table ev_sale as
select o.delivered_at as commit_at, {Tx.CLOSED} as tx_kind, o.order_id as tx_id, 'c' as op,
    l.sale_id, l.order_id, l.line_no, l.product_id, l.client_id, l.quantity, l.gross_amount,
    l.discount_amount, l.net_amount, l.sold_at
from priced_line l join delivered o on o.order_id = l.order_id
union all
select posted_at, {Tx.MISTAKE}, sale_id, 'c', sale_id, order_id, line_no, product_id, client_id,
    quantity, gross_amount, discount_amount, net_amount, sold_at
from mistake
union all
select corrected_at, {Tx.MISTAKE}, sale_id, 'u', sale_id, order_id, line_no, product_id,
    client_id, quantity + 1, (gross_amount + net_amount)::decimal(18, 2), discount_amount,
    (net_amount + net_amount)::decimal(18, 2), sold_at
from mistake where corrected_at is not null
union all
select voided_at, {Tx.MISTAKE}, sale_id, 'd', sale_id, order_id, line_no, product_id, client_id,
    quantity, gross_amount, discount_amount, net_amount, sold_at
from mistake
"""


def build(con: duckdb.DuckDBPyConnection) -> None:
    """Makes the events of sale, from `priced_line` and `delivered`."""
    con.execute(_MISTAKES)
    con.execute(_SALE_EVENTS)
