with base as (
    select * from {{ ref('base_order') }}
),

final as (
    select
        order_id,
        client_id,
        store_id,
        transporter_id,
        ordered_at,
        status as order_status,
        _source_ts,
        _increment_id
    from base
    where not _is_deleted
)

select * from final
