with base as (
    select * from {{ ref('base_client_interaction') }}
),

final as (
    select
        interaction_id,
        client_id,
        product_id,
        kind as interaction_kind,
        {{ adapter.quote('at') }} as interacted_at,
        _source_ts,
        _increment_id
    from base
    where not _is_deleted
)

select * from final
