{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook=[
        "{{ open_increment(['base_inventory_movement']) }}",
        "{{ replace_scope(is_after_business_date(), 'snapshot_date') }}",
        "{{ replace_scope(is_outdated_snapshot(), " ~ [
            'product_id', 'warehouse_id', 'snapshot_date'
        ] ~ ", date_column='snapshot_date') }}",
    ],
    post_hook=[
        "{{ log_touched_dates(is_outdated_snapshot(), 'snapshot_date') }}",
        "{{ close_increment() }}",
    ]
) }}

with movements as (

    select
        *,
        {{ utc_date('moved_at') }} as movement_date
    from {{ ref('stg_inventory_movement') }}

),

business_day as (

    select business_date from {{ ref('int_business_date') }}

),

pairs as (

    select
        movements.product_id,
        movements.warehouse_id,
        min(movements.movement_date) as first_date
    from movements
    group by movements.product_id, movements.warehouse_id

),

-- What the hooks left of this table; nothing at first.
kept as (

    {% if is_incremental() %}
        select * from {{ this }}
    {% else %}
        select
            product_id,
            warehouse_id,
            first_date as snapshot_date,
            0 as on_hand
        from pairs
        where false
    {% endif %}

),

last_days as (

    select
        product_id,
        warehouse_id,
        max(snapshot_date) as snapshot_date
    from kept
    group by product_id, warehouse_id

),

-- Where each pair goes on from.
last_kept as (

    select
        kept.product_id,
        kept.warehouse_id,
        kept.snapshot_date,
        kept.on_hand
    from kept
    inner join last_days
        on kept.product_id = last_days.product_id
        and kept.warehouse_id = last_days.warehouse_id
        and kept.snapshot_date = last_days.snapshot_date

),

spans as (

    select
        pairs.product_id,
        pairs.warehouse_id,
        coalesce(
            cast({{ dbt.dateadd('day', 1, 'last_kept.snapshot_date') }} as date),
            pairs.first_date
        ) as start_date,
        coalesce(last_kept.on_hand, 0) as opening_stock
    from pairs
    left join last_kept
        on pairs.product_id = last_kept.product_id
        and pairs.warehouse_id = last_kept.warehouse_id

),

-- Never an empty range, which some engines refuse; the join below drops what is not needed.
calendar as (

    {{ days_between(
        '(select least(min(spans.start_date), max(business_day.business_date))
          from spans cross join business_day)',
        '(select business_date from business_day)'
    ) }}

),

days as (

    select
        spans.product_id,
        spans.warehouse_id,
        spans.opening_stock,
        calendar.date_day as snapshot_date
    from spans
    cross join business_day
    inner join calendar
        on spans.start_date <= calendar.date_day
        and business_day.business_date >= calendar.date_day

),

moved as (

    select
        product_id,
        warehouse_id,
        movement_date,
        sum(case when movement_kind = 'receipt' then quantity else 0 end) as received_quantity,
        sum(case when movement_kind = 'sale' then -quantity else 0 end) as sold_quantity,
        sum(
            case when movement_kind in ('receipt', 'sale') then 0 else quantity end
        ) as adjusted_quantity,
        sum(quantity) as moved_quantity
    from movements
    where movement_date >= (select min(days.snapshot_date) from days)
    group by product_id, warehouse_id, movement_date

),

stock as (

    select
        days.product_id,
        days.warehouse_id,
        days.snapshot_date,
        moved.received_quantity,
        moved.sold_quantity,
        moved.adjusted_quantity,
        days.opening_stock + sum(coalesce(moved.moved_quantity, 0)) over (
            partition by days.product_id, days.warehouse_id
            order by days.snapshot_date
            rows between unbounded preceding and current row
        ) as on_hand
    from days
    left join moved
        on days.product_id = moved.product_id
        and days.warehouse_id = moved.warehouse_id
        and days.snapshot_date = moved.movement_date

),

final as (

    select
        snapshot_date,
        {{ month_start('snapshot_date') }} as snapshot_month,
        product_id,
        warehouse_id,
        cast(on_hand as bigint) as on_hand,
        cast(coalesce(received_quantity, 0) as bigint) as received_quantity,
        cast(coalesce(sold_quantity, 0) as bigint) as sold_quantity,
        cast(coalesce(adjusted_quantity, 0) as bigint) as adjusted_quantity,
        on_hand <= 0 as is_stock_out
    from stock

)

select * from final
