-- Negative stock means that the source's stock book lacks movements (or that they are late).
{{ config(severity='warn') }}

select
    product_id,
    warehouse_id,
    snapshot_date,
    on_hand
from {{ ref('fct_inventory_snapshot') }}
where on_hand < 0
