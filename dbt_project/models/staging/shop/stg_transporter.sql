with base as (
    select * from {{ ref('base_transporter') }}
),

final as (
    select
        transporter_id,
        name as transporter_name,
        {{ adapter.quote('mode') }} as transport_mode,
        lead_time_days,
        _source_ts,
        _increment_id
    from base
    where not _is_deleted
)

select * from final
