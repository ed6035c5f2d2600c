with forecasts as (

    select * from {{ ref('mart_forecast_product_day') }}

),

days as (

    select * from {{ ref('feat_product_day') }}

),

business_day as (

    select business_date from {{ ref('int_business_date') }}

),

-- The business date itself is not over.
measured as (

    select
        forecasts.*,
        days.quantity
    from forecasts
    inner join days
        on forecasts.product_id = days.product_id
        and forecasts.forecast_date = days.feature_date
    cross join business_day
    where
        forecasts.forecast_date < business_day.business_date
        and forecasts.origin_date
        >= {{ dbt.dateadd('day', -var('forecast_accuracy_days'), 'business_day.business_date') }}

),

final as (

    select
        product_id,
        origin_date,
        forecast_date,
        horizon_day,
        quantity,
        mean,
        baseline,
        cast(abs(quantity - mean) as decimal(18, 4)) as absolute_error,
        cast(abs(quantity - baseline) as decimal(18, 4)) as baseline_absolute_error,
        coalesce(quantity between p10 and p90, false) as is_within_interval,
        model_version,
        run_id
    from measured

)

select * from final
