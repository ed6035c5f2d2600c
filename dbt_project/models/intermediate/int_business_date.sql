{{ config(materialized='table') }}

{% set given = var('business_date', none) %}

with sale as (
    select * from {{ ref('stg_sale') }}
),

newest as (
    select cast(max(sold_at) as date) as sold_date
    from sale
),

-- Before the first sale the calendar has begun and nothing has happened.
final as (
    select
        {{ "cast('" ~ given ~ "' as date)" if given
            else "coalesce(sold_date, cast('2016-01-01' as date))" }} as business_date
    from newest
)

select * from final
