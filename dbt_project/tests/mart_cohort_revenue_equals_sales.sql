-- Over all cohorts, each month's revenue is that of the sales up to the business date.
with cohorts as (

    select
        activity_month as sale_month,
        sum(net_amount) as net_amount
    from {{ ref('mart_cohort_analysis') }}
    where active_client_count > 0
    group by activity_month

),

sales as (

    select
        {{ month_start(utc_date('sale.sold_at')) }} as sale_month,
        sum(sale.net_amount) as net_amount
    from {{ ref('stg_sale') }} as sale
    inner join {{ ref('int_business_date') }} as business_day
        on {{ utc_date('sale.sold_at') }} <= business_day.business_date
    where not {{ is_nobody('sale.client_id') }}
    group by {{ month_start(utc_date('sale.sold_at')) }}

)

{{ differing_rows('cohorts', 'sales') }}
