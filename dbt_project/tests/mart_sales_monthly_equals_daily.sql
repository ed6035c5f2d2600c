-- The sums of each month and store are those of its days.
with monthly as (

    select
        month_start_date,
        store_id,
        sum(order_count) as order_count,
        sum(quantity) as quantity,
        sum(gross_amount) as gross_amount,
        sum(discount_amount) as discount_amount,
        sum(net_amount) as net_amount
    from {{ ref('mart_sales_monthly') }}
    group by month_start_date, store_id

),

daily as (

    select
        {{ month_start('sale_date') }} as month_start_date,
        store_id,
        sum(order_count) as order_count,
        sum(quantity) as quantity,
        sum(gross_amount) as gross_amount,
        sum(discount_amount) as discount_amount,
        sum(net_amount) as net_amount
    from {{ ref('mart_sales_daily') }}
    group by {{ month_start('sale_date') }}, store_id

)

{{ differing_rows('monthly', 'daily') }}
