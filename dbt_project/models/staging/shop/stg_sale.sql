with base as (
    select * from {{ ref('base_sale') }}
),

final as (
    select
        sale_id,
        order_id,
        line_no,
        product_id,
        client_id,
        quantity,
        gross_amount,
        discount_amount,
        net_amount,
        sold_at,
        _source_ts,
        _increment_id
    from base
    where not _is_deleted
)

select * from final
