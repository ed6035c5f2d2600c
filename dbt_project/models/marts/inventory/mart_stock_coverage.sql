-- Rebuilt each run: with every business day each pair gets a new stock and a new demand window.
{{ config(materialized='table') }}

-- Assumptions: the shop records neither how long a replenishment takes nor what reserve it wants.
{%- set lead_time_days = var('replenishment_lead_time_days', 7) %}
{%- set safety_stock_days = var('safety_stock_days', 3) %}

with snapshots as (

    select * from {{ ref('fct_inventory_snapshot') }}

),

business_day as (

    select
        business_date,
        cast({{ dbt.dateadd('day', -28, 'business_date') }} as date) as window_start_date
    from {{ ref('int_business_date') }}

),

recent_days as (

    select
        snapshots.*,
        business_day.business_date
    from snapshots
    inner join business_day
        on snapshots.snapshot_date > business_day.window_start_date
        and snapshots.snapshot_date <= business_day.business_date

),

demand as (

    select
        business_date,
        product_id,
        warehouse_id,
        max(case when snapshot_date = business_date then on_hand end) as on_hand,
        cast(sum(sold_quantity) as bigint) as sold_last_28_days,
        -- Fewer than 28 for a pair whose first movement is younger.
        cast(count(*) as bigint) as observed_days
    from recent_days
    group by business_date, product_id, warehouse_id

),

reorder_points as (

    select
        *,
        cast(
            ceil(
                cast(sold_last_28_days * {{ lead_time_days + safety_stock_days }} as double)
                / observed_days
            ) as bigint
        ) as reorder_point
    from demand

),

final as (

    select
        product_id,
        warehouse_id,
        business_date,
        on_hand,
        sold_last_28_days,
        {{ ratio('sold_last_28_days', 'observed_days') }} as average_daily_demand,
        {{ ratio('on_hand * observed_days', 'sold_last_28_days') }} as days_of_cover,
        cast({{ lead_time_days }} as integer) as lead_time_days,
        cast({{ safety_stock_days }} as integer) as safety_stock_days,
        reorder_point,
        on_hand <= 0 as is_stock_out,
        on_hand < reorder_point as is_below_reorder_point
    from reorder_points

)

select * from final
