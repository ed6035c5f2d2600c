-- A product that sold often enough has a row for each day from its first sale to the business date.
with sold_days as (

    select
        sale.product_id,
        min(sale.sale_date) as first_date,
        count(distinct sale.sale_date) as selling_days
    from {{ ref('fct_sale') }} as sale
    inner join {{ ref('int_business_date') }} as business_day
        on sale.sale_date <= business_day.business_date
    group by sale.product_id

),

features as (

    select
        product_id,
        count(*) as day_count
    from {{ ref('feat_product_day') }}
    group by product_id

),

expected as (

    select
        sold_days.product_id,
        1 + {{ dbt.datediff('sold_days.first_date', 'business_day.business_date', 'day') }}
            as day_count
    from sold_days
    cross join {{ ref('int_business_date') }} as business_day
    where sold_days.selling_days >= {{ var('feature_least_selling_days') }}

)

{{ differing_rows('features', 'expected') }}
