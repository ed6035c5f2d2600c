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

-- The last days of the last year look at the next.
year_with_holidays as (
    select distinct cast(year(date_day) as integer) as year_number from day
    union all
    select cast(year(business_date) as integer) + 1 as year_number from business_date
),

dated_year as (
    {{ holiday_years('year_with_holidays') }}
),

holiday as (
    {{ us_holidays('dated_year') }}
),

-- A day is at a holiday's distance, or farther from any than counts.
ahead as (
    select
        day.date_day,
        min({{ dbt.datediff('day.date_day', 'holiday.holiday_date', 'day') }}) as distance
    from day
    inner join holiday
        on day.date_day <= holiday.holiday_date
    group by day.date_day
),

behind as (
    select
        day.date_day,
        min({{ dbt.datediff('holiday.holiday_date', 'day.date_day', 'day') }}) as distance
    from day
    inner join holiday
        on day.date_day >= holiday.holiday_date
    group by day.date_day
),

final as (
    select
        day.date_day,
        cast(year(day.date_day) as integer) as year_number,
        cast(quarter(day.date_day) as integer) as quarter_number,
        cast(month(day.date_day) as integer) as month_number,
        cast(day(day.date_day) as integer) as day_of_month,
        cast({{ iso_year('day.date_day') }} as integer) as iso_year,
        cast({{ iso_week('day.date_day') }} as integer) as iso_week,
        cast({{ iso_day_of_week('day.date_day') }} as integer) as day_of_week,
        cast({{ iso_day_of_week('day.date_day') }} as integer) >= 6 as is_weekend,
        cast(date_trunc('week', day.date_day) as date) as week_start_date,
        cast(date_trunc('month', day.date_day) as date) as month_start_date,
        cast(date_trunc('quarter', day.date_day) as date) as quarter_start_date,
        cast(date_trunc('year', day.date_day) as date) as year_start_date,
        holiday.holiday_name,
        cast(least(ahead.distance, 14) as integer) as days_to_holiday,
        cast(least(behind.distance, 14) as integer) as days_since_holiday
    from day
    left join holiday
        on day.date_day = holiday.holiday_date
    left join ahead
        on day.date_day = ahead.date_day
    left join behind
        on day.date_day = behind.date_day
)

select * from final
