{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook="{{ replace_scope(is_superseded_origin(), 'origin_date') }}"
) }}

with newest as (

    {{ last_runs('forecast', by_origin=true) }}

),

final as (

    select
        forecasts.product_id,
        forecasts.forecast_date,
        forecasts.origin_date,
        forecasts.horizon_day,
        forecasts.mean,
        forecasts.p10,
        forecasts.p50,
        forecasts.p90,
        forecasts.baseline,
        forecasts.model_version,
        forecasts.run_id
    from {{ inference('forecast') }} as forecasts
    inner join newest
        on forecasts.run_id = newest.run_id
    {% if is_incremental() %}
        where newest.run_id not in (select kept.run_id from {{ this }} as kept)
    {% endif %}

)

select * from final
