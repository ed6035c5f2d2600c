-- The sums of a product and day are those of its posted sales, where the product has features.
with product as (

    select distinct product_id from {{ ref('feat_product_day') }}

),

features as (

    select
        product_id,
        feature_date as sale_date,
        quantity,
        net_amount,
        discount_amount
    from {{ ref('feat_product_day') }}
    where days_since_sale = 0

),

fact as (

    select
        sale.product_id,
        sale.sale_date,
        sum(sale.quantity) as quantity,
        sum(sale.net_amount) as net_amount,
        sum(sale.discount_amount) as discount_amount
    from {{ ref('fct_sale') }} as sale
    inner join product
        on sale.product_id = product.product_id
    inner join {{ ref('int_business_date') }} as business_day
        on sale.sale_date <= business_day.business_date
    group by sale.product_id, sale.sale_date

)

{{ differing_rows('features', 'fact') }}
