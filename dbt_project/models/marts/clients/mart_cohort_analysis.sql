-- Rebuilt each run from one row a client and day: each month adds a row to every cohort.
{{ config(materialized='table') }}

with client_days as (

    select * from {{ ref('int_client_day_sales') }}

),

business_day as (

    select business_date from {{ ref('int_business_date') }}

),

calendar as (

    select distinct month_start_date from {{ ref('dim_date') }}

),

client_months as (

    select
        client_days.client_id,
        {{ month_start('client_days.sale_date') }} as sale_month,
        sum(client_days.order_count) as order_count,
        sum(client_days.net_amount) as net_amount
    from client_days
    inner join business_day
        on client_days.sale_date <= business_day.business_date
    group by client_days.client_id, {{ month_start('client_days.sale_date') }}

),

acquisitions as (

    select
        client_id,
        min(sale_month) as cohort_month
    from client_months
    group by client_id

),

cohorts as (

    select
        cohort_month,
        count(*) as client_count
    from acquisitions
    group by cohort_month

),

activity as (

    select
        acquisitions.cohort_month,
        client_months.sale_month,
        count(*) as active_client_count,
        sum(client_months.order_count) as order_count,
        sum(client_months.net_amount) as net_amount
    from client_months
    inner join acquisitions
        on client_months.client_id = acquisitions.client_id
    group by acquisitions.cohort_month, client_months.sale_month

),

-- A month in which nobody of a cohort bought is a row, too.
cohort_months as (

    select
        cohorts.cohort_month,
        cohorts.client_count,
        calendar.month_start_date as activity_month
    from cohorts
    cross join business_day
    inner join calendar
        on cohorts.cohort_month <= calendar.month_start_date
        and business_day.business_date >= calendar.month_start_date

),

final as (

    select
        cohort_months.cohort_month,
        cast(
            {{ dbt.datediff(
                'cohort_months.cohort_month', 'cohort_months.activity_month', 'month'
            ) }} as integer
        ) as months_since,
        cohort_months.activity_month,
        cast(cohort_months.client_count as bigint) as client_count,
        cast(coalesce(activity.active_client_count, 0) as bigint) as active_client_count,
        {{ ratio('coalesce(activity.active_client_count, 0)', 'cohort_months.client_count') }}
            as retention,
        cast(coalesce(activity.order_count, 0) as bigint) as order_count,
        cast(coalesce(activity.net_amount, 0) as decimal(18, 2)) as net_amount
    from cohort_months
    left join activity
        on cohort_months.cohort_month = activity.cohort_month
        and cohort_months.activity_month = activity.sale_month

)

select * from final
