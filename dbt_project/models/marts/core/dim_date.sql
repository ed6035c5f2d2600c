-- Re-made by each run: it has a few thousand rows, and its end moves with the business date.
with business_date as (
    select * from {{ ref('int_business_date') }}
),

day as (
    {{ days_between(
        "cast('2016-01-01' as date)",
        "(select cast(concat(cast(year(business_date) as " ~ text_type() ~ "), '-12-31') as date)
          from business_date)"
    ) }}
),

final as (
    select
        date_day,
        cast(year(date_day) as integer) as year_number,
        cast(quarter(date_day) as integer) as quarter_number,
        cast(month(date_day) as integer) as month_number,
        cast(day(date_day) as integer) as day_of_month,
        cast({{ iso_year('date_day') }} as integer) as iso_year,
        cast({{ iso_week('date_day') }} as integer) as iso_week,
        cast({{ iso_day_of_week('date_day') }} as integer) as day_of_week,
        cast({{ iso_day_of_week('date_day') }} as integer) >= 6 as is_weekend,
        cast(date_trunc('week', date_day) as date) as week_start_date,
        cast(date_trunc('month', date_day) as date) as month_start_date,
        cast(date_trunc('quarter', date_day) as date) as quarter_start_date,
        cast(date_trunc('year', date_day) as date) as year_start_date
    from day
)

select * from final
