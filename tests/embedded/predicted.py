"""Rows for the marts of predictions, which fill with weeks of models' work."""

# Forecasts are measured, and churn is told, only where a model has predicted some time ago.
PREDICTED = """
insert into predictions.mart_forecast_accuracy by name
select
    product_id, date '2017-12-01' as origin_date, date '2017-12-01' + day::int as forecast_date,
    day as horizon_day, day % 4 as quantity, 1.5 as mean, 1.25 as baseline,
    abs(day % 4 - 1.5) as absolute_error, abs(day % 4 - 1.25) as baseline_absolute_error,
    day % 4 <= 2 as is_within_interval, 'forecast/1' as model_version, 'made' as run_id
from (select distinct product_id from marts.fct_sale limit 50), range(1, 15) as days (day);
insert into predictions.mart_forecast_product_day by name
select
    product_id, date '2017-12-01' as origin_date, date '2017-12-01' + day::int as forecast_date,
    day as horizon_day, 1.5 as mean, 0.5 + day / 100 as p10, 1 as p50, 3 + day / 100 as p90,
    1.25 as baseline, 'forecast/1' as model_version, 'made' as run_id
from (select distinct product_id from marts.fct_sale limit 50), range(1, 15) as days (day);
insert into predictions.mart_stock_projection by name
select
    product_id, date '2017-12-01' as business_date, date '2017-11-30' as origin_date, 9 as on_hand,
    12.5 as expected_demand, 8 as demand_until_replenished,
    case when product_id % 3 = 0 then date '2017-12-09' end as stock_out_date,
    7 as lead_time_days, 3 as safety_stock_days, product_id % 4 as order_quantity,
    'forecast/1' as model_version, 'made' as run_id
from (select distinct product_id from marts.fct_sale limit 50);
insert into predictions.mart_churn_client by name
select
    client_id, date '2017-12-31' as feature_date, client_id % 10 / 10 as probability,
    'made' as reason, 'churn/1' as model_version, 'made' as run_id
from (select distinct client_id from marts.fct_sale);
"""
