-- The sums of each week and store are those of its days.
with weekly as (

    select
        week_start_date,
        store_id,
        sum(order_count) as order_count,
        sum(quantity) as quantity,
        sum(gross_amount) as gross_amount,
        sum(discount_amount) as discount_amount,
        sum(net_amount) as net_amount
    from {{ ref('mart_sales_weekly') }}
    group by week_start_date, store_id

),

daily as (

    select
        cast({{ dbt.date_trunc('week', 'sale_date') }} as date) as week_start_date,
        store_id,
        sum(order_count) as order_count,
        sum(quantity) as quantity,
        sum(gross_amount) as gross_amount,
        sum(discount_amount) as discount_amount,
        sum(net_amount) as net_amount
    from {{ ref('mart_sales_daily') }}
    group by cast({{ dbt.date_trunc('week', 'sale_date') }} as date), store_id

)

{{ differing_rows('weekly', 'daily') }}
