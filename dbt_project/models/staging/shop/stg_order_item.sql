with base as (
    select * from {{ ref('base_order_item') }}
),

final as (
    select
        order_id,
        line_no,
        product_id,
        quantity,
        unit_price,
        discount_amount,
        _source_ts,
        _increment_id
    from base
    where not _is_deleted
)

select * from final
