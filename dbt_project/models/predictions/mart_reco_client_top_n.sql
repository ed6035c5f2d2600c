with newest as (

    {{ last_runs('recommend') }}

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
    from {{ inference('recommendation') }} as recommendations
    inner join newest
        on recommendations.run_id = newest.run_id

)

select * from final
