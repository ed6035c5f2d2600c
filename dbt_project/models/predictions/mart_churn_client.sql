with newest as (

    {{ last_runs('churn') }}

),

final as (

    select
        churn.client_id,
        churn.feature_date,
        churn.probability,
        churn.reason,
        churn.model_version,
        churn.run_id
    from {{ inference('churn') }} as churn
    inner join newest
        on churn.run_id = newest.run_id

)

select * from final
