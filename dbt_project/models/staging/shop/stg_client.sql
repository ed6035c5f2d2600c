with base as (
    select * from {{ ref('base_client') }}
),

final as (
    select
        client_id,
        email as email_hash,
        phone as phone_hash,
        age_band,
        income_band,
        household_size,
        kids,
        city,
        created_at,
        _source_ts,
        _increment_id
    from base
    where not _is_deleted
)

select * from final
