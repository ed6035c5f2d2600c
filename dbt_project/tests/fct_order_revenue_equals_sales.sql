-- Each month's orders carry the sales posted for them, to the cent.
with orders as (

    select
        order_month,
        sum(line_count) as line_count,
        sum(quantity) as quantity,
        sum(gross_amount) as gross_amount,
        sum(discount_amount) as discount_amount,
        sum(net_amount) as net_amount
    from {{ ref('fct_order') }}
    where line_count > 0
    group by order_month

),

-- By way of staging, not of fct_sale: both facts could share a mistake.
sales as (

    select
        {{ month_start(utc_date('placed.ordered_at')) }} as order_month,
        count(*) as line_count,
        sum(sale.quantity) as quantity,
        sum(sale.gross_amount) as gross_amount,
        sum(sale.discount_amount) as discount_amount,
        sum(sale.net_amount) as net_amount
    from {{ ref('stg_sale') }} as sale
    inner join {{ ref('stg_order') }} as placed
        on sale.order_id = placed.order_id
    group by {{ month_start(utc_date('placed.ordered_at')) }}

)

{{ differing_rows('orders', 'sales') }}
