-- Product by product, quantity and revenue are those of the sales up to the business date.
with products as (

    select
        product_id,
        quantity,
        net_amount
    from {{ ref('mart_product_performance') }}

),

sales as (

    select
        sale.product_id,
        sum(sale.quantity) as quantity,
        sum(sale.net_amount) as net_amount
    from {{ ref('stg_sale') }} as sale
    inner join {{ ref('int_business_date') }} as business_day
        on {{ utc_date('sale.sold_at') }} <= business_day.business_date
    group by sale.product_id

)

{{ differing_rows('products', 'sales') }}
