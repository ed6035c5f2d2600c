{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook=[
        "{{ open_increment(['mart_sales_daily']) }}",
        "{{ replace_scope(is_touched_period('mart_sales_daily', 'month'), 'month_start_date') }}",
    ],
    post_hook="{{ close_increment() }}"
) }}

with daily_sales as (

    select
        *,
        {{ month_start('sale_date') }} as month_start_date
    from {{ ref('mart_sales_daily') }}

),

final as (

    select
        month_start_date,
        product_id,
        store_id,
        cast(sum(order_count) as bigint) as order_count,
        cast(sum(quantity) as bigint) as quantity,
        cast(sum(gross_amount) as decimal(18, 2)) as gross_amount,
        cast(sum(discount_amount) as decimal(18, 2)) as discount_amount,
        cast(sum(net_amount) as decimal(18, 2)) as net_amount
    from daily_sales
    {% if not has_news('mart_sales_daily') %}
        where false
    {% elif is_incremental() %}
        where {{ is_touched_period('mart_sales_daily', 'month') }}
    {% endif %}
    group by month_start_date, product_id, store_id

)

select * from final
