{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook=[
        "{{ open_increment(['base_order']) }}",
        "{{ replace_scope(
            'exists (select 1 from ' ~ pending('base_order') ~ ' as news)', 'store_id'
        ) }}",
    ],
    post_hook=["{{ close_increment() }}"],
) }}

-- Any new order may move the last day of its store, and nearly all stores sell every day: with
-- news, all stores are re-made in one pass over the orders; without, nothing is read.
with orders as (
    select * from {{ ref('stg_order') }}
    {% if not has_news(['base_order']) %}
        where false
    {% endif %}
),

store as (
    select
        store_id,
        cast(min(ordered_at) as date) as first_order_date,
        cast(max(ordered_at) as date) as last_order_date
    from orders
    where store_id is not null
    group by store_id
),

final as (
    select
        store_id,
        -- Each store is supplied from one of two warehouses.
        cast(store_id % 2 + 1 as integer) as warehouse_id,
        first_order_date,
        last_order_date
    from store
)

select * from final
