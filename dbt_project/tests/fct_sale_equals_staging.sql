-- Each month's posted sales, to the cent, are those that staging shows.
with fact as (

    select
        sale_month,
        count(*) as sale_count,
        sum(quantity) as quantity,
        sum(gross_amount) as gross_amount,
        sum(discount_amount) as discount_amount,
        sum(net_amount) as net_amount
    from {{ ref('fct_sale') }}
    group by sale_month

),

staged as (

    select
        {{ month_start(utc_date('sold_at')) }} as sale_month,
        count(*) as sale_count,
        sum(quantity) as quantity,
        sum(gross_amount) as gross_amount,
        sum(discount_amount) as discount_amount,
        sum(net_amount) as net_amount
    from {{ ref('stg_sale') }}
    group by {{ month_start(utc_date('sold_at')) }}

)

{{ differing_rows('fact', 'staged') }}
