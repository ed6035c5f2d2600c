with base as (
    select * from {{ ref('base_inventory_movement') }}
),

final as (
    select
        movement_id,
        product_id,
        warehouse_id,
        kind as movement_kind,
        quantity,
        moved_at,
        _source_ts,
        _increment_id
    from base
    where not _is_deleted
)

select * from final
