with stock as (

    select
        product_id,
        max(business_date) as business_date,
        cast(sum(on_hand) as bigint) as on_hand,
        max(lead_time_days) as lead_time_days,
        max(safety_stock_days) as safety_stock_days
    from {{ ref('mart_stock_coverage') }}
    group by product_id

),

forecasts as (

    select * from {{ ref('mart_forecast_product_day') }}

),

newest as (

    select max(origin_date) as origin_date from forecasts

),

-- What is sold on the business date is out of the stock already.
ahead as (

    select
        stock.product_id,
        stock.business_date,
        stock.on_hand,
        stock.lead_time_days,
        stock.safety_stock_days,
        forecasts.forecast_date,
        forecasts.origin_date,
        forecasts.mean,
        forecasts.model_version,
        forecasts.run_id,
        sum(forecasts.mean) over (
            partition by stock.product_id
            order by forecasts.forecast_date
            rows between unbounded preceding and current row
        ) as demand_so_far,
        row_number() over (
            partition by stock.product_id order by forecasts.forecast_date
        ) as day_ahead
    from stock
    inner join forecasts
        on stock.product_id = forecasts.product_id
    inner join newest
        on forecasts.origin_date = newest.origin_date
    where forecasts.forecast_date > stock.business_date

),

projected as (

    select
        product_id,
        max(business_date) as business_date,
        max(origin_date) as origin_date,
        max(on_hand) as on_hand,
        max(lead_time_days) as lead_time_days,
        max(safety_stock_days) as safety_stock_days,
        cast(sum(mean) as decimal(18, 4)) as expected_demand,
        cast(
            sum(case when day_ahead <= lead_time_days + safety_stock_days then mean else 0 end)
            as decimal(18, 4)
        ) as demand_until_replenished,
        min(case when demand_so_far >= on_hand then forecast_date end) as stock_out_date,
        max(model_version) as model_version,
        max(run_id) as run_id
    from ahead
    group by product_id

),

final as (

    select
        product_id,
        business_date,
        origin_date,
        on_hand,
        expected_demand,
        demand_until_replenished,
        stock_out_date,
        lead_time_days,
        safety_stock_days,
        case
            when demand_until_replenished > on_hand
                then cast(ceil(demand_until_replenished - on_hand) as bigint)
            else cast(0 as bigint)
        end as order_quantity,
        model_version,
        run_id
    from projected

)

select * from final
