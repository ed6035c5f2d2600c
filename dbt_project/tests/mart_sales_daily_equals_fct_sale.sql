-- The sums of each day and store are those of its posted sales.
with daily as (

    select
        sale_date,
        store_id,
        sum(quantity) as quantity,
        sum(gross_amount) as gross_amount,
        sum(discount_amount) as discount_amount,
        sum(net_amount) as net_amount
    from {{ ref('mart_sales_daily') }}
    group by sale_date, store_id

),

fact as (

    select
        sale_date,
        store_id,
        sum(quantity) as quantity,
        sum(gross_amount) as gross_amount,
        sum(discount_amount) as discount_amount,
        sum(net_amount) as net_amount
    from {{ ref('fct_sale') }}
    group by sale_date, store_id

)

{{ differing_rows('daily', 'fact') }}
