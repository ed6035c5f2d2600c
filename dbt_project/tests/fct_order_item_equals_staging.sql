-- The lines of each product, alive in staging, are all there and no others.
with fact as (

    select
        product_id,
        count(*) as line_count,
        sum(quantity) as quantity,
        sum(discount_amount) as discount_amount
    from {{ ref('fct_order_item') }}
    group by product_id

),

staged as (

    select
        product_id,
        count(*) as line_count,
        sum(quantity) as quantity,
        sum(discount_amount) as discount_amount
    from {{ ref('stg_order_item') }}
    group by product_id

)

{{ differing_rows('fact', 'staged') }}
