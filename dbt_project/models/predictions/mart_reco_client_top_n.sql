with newest as (

    {{ last_runs('recommend') }}

),

recommendations as (

    select * from {{ inference('recommendation') }}

),

final as (

    select
        recommendations.client_id,
        recommendations.list,
        recommendations.rank,
        recommendations.product_id,
        recommendations.score,
        recommendations.reason,
        newest.origin_date,
        recommendations.model_version,
        recommendations.run_id
    from recommendations
    inner join newest
        on recommendations.run_id = newest.run_id

)

select * from final
