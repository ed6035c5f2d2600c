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
insert into predictions.mart_churn_client by name
select
    client_id, date '2017-12-31' as feature_date, client_id % 10 / 10 as probability,
    'made' as reason, 'churn/1' as model_version, 'made' as run_id
from (select distinct client_id from marts.fct_sale);
"""
