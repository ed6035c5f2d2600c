-- Rebuilt each run: each product leans on all others of its department.
{{ config(materialized='table') }}

{#- Logarithms are kept as whole ten-thousandths: their sums are exact, on every engine alike. -#}
{%- set least_weeks = 8 %}
{%- set unit = 10000 %}
{%- set least_fits = 10 %}

with product_days as (

    select * from {{ ref('feat_product_day') }}

),

business_day as (

    select business_date from {{ ref('int_business_date') }}

),

products as (

    select
        product_id,
        department
    from {{ ref('dim_product') }}
    where is_current

),

-- Whole weeks with sales.
weeks as (

    select
        product_id,
        cast({{ dbt.date_trunc('week', 'feature_date') }} as date) as week_start_date,
        sum(quantity) as quantity,
        sum(net_amount) as net_amount
    from product_days
    group by product_id, cast({{ dbt.date_trunc('week', 'feature_date') }} as date)
    having count(*) = 7 and sum(quantity) > 0 and sum(net_amount) > 0

),

observations as (

    select
        product_id,
        cast(
            round(
                ln(cast(net_amount as double) / cast(quantity as double)) * {{ unit }}
            ) as bigint
        ) as price,
        cast(round(ln(cast(quantity as double)) * {{ unit }}) as bigint) as pieces
    from weeks

),

sums as (

    select
        product_id,
        count(*) as observation_count,
        cast(count(*) * sum(price * price) - sum(price) * sum(price) as double) as price_square,
        cast(count(*) * sum(price * pieces) - sum(price) * sum(pieces) as double) as price_pieces,
        cast(count(*) * sum(pieces * pieces) - sum(pieces) * sum(pieces) as double)
            as pieces_square
    from observations
    group by product_id

),

-- Least squares, where there are enough weeks and the price has moved.
fits as (

    select
        product_id,
        price_pieces / price_square as slope,
        greatest(pieces_square - price_pieces * price_pieces / price_square, 0)
        / ((observation_count - 2) * price_square) as variance
    from sums
    where observation_count >= {{ least_weeks }} and price_square > 0

),

-- What a product says of the others counts by its certainty: by 1 / variance, in whole thousandths.
-- A fit closer than a standard error of 0.1 is chance.
weighed as (

    select
        fits.product_id,
        fits.slope,
        fits.variance,
        coalesce(products.department, 'UNKNOWN') as department,
        cast(round(greatest(least(fits.slope, 20), -20) * 1000) as bigint) as whole_slope,
        cast(round(1000 / greatest(fits.variance, 0.01)) as bigint) as weight
    from fits
    left join products
        on fits.product_id = products.product_id

),

pool_members as (

    select
        department as pool,
        weight,
        whole_slope
    from weighed
    union all
    select
        'all' as pool,
        weight,
        whole_slope
    from weighed

),

pool_sums as (

    select
        pool,
        count(*) as fit_count,
        cast(sum(weight) as double) as weights,
        cast(sum(weight * weight) as double) as weights_squared,
        cast(sum(weight * whole_slope) as double) as slopes,
        cast(sum(weight * whole_slope * whole_slope) as double) as slopes_squared
    from pool_members
    where weight > 0
    group by pool

),

-- How far products differ beyond chance (DerSimonian and Laird, Meta-analysis in clinical trials).
pools as (

    select
        pool,
        fit_count,
        slopes / weights / 1000 as slope,
        1000 / weights as variance,
        coalesce(
            greatest(
                (
                    (slopes_squared - slopes * slopes / weights) / 1000000000
                    - (fit_count - 1)
                ) * 1000 / nullif(weights - weights_squared / weights, 0),
                0
            ),
            0
        ) as between_variance
    from pool_sums

),

learnt_products as (

    select distinct product_id from product_days

),

-- A department of few fits leans on all products.
pooled as (

    select
        learnt_products.product_id,
        weighed.slope,
        weighed.variance,
        coalesce(department_pool.slope, common_pool.slope) as pool_slope,
        coalesce(department_pool.variance, common_pool.variance) as pool_variance,
        coalesce(department_pool.between_variance, common_pool.between_variance)
            as between_variance
    from learnt_products
    left join products
        on learnt_products.product_id = products.product_id
    left join weighed
        on learnt_products.product_id = weighed.product_id
    left join pools as department_pool
        on coalesce(products.department, 'UNKNOWN') = department_pool.pool
        and department_pool.fit_count >= {{ least_fits }}
    left join pools as common_pool
        on common_pool.pool = 'all'

),

shrunk as (

    select
        *,
        case
            when slope is null or between_variance is null then 0
            else between_variance / (between_variance + greatest(variance, 0.01))
        end as own_share
    from pooled

),

final as (

    select
        shrunk.product_id,
        business_day.business_date as feature_date,
        {{ ratio(
            'shrunk.own_share * coalesce(shrunk.slope, 0)'
            ~ ' + (1 - shrunk.own_share) * shrunk.pool_slope', '1'
        ) }} as estimate,
        {{ ratio(
            'sqrt((1 - shrunk.own_share) * (1 - shrunk.own_share) * shrunk.pool_variance'
            ~ ' + case when shrunk.slope is null then shrunk.between_variance'
            ~ ' else shrunk.own_share * greatest(shrunk.variance, 0.01) end)', '1'
        ) }} as standard_error,
        cast(coalesce(sums.observation_count, 0) as bigint) as observation_count,
        shrunk.own_share < 0.5 as is_pooled
    from shrunk
    cross join business_day
    left join sums
        on shrunk.product_id = sums.product_id

)

select * from final
