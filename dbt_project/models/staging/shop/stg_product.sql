with base as (
    select * from {{ ref('base_product') }}
),

final as (
    select
        product_id,
        name as product_name,
        brand,
        department,
        category,
        {{ adapter.quote('type') }} as product_type,
        package_size,
        list_price,
        is_active,
        _source_ts,
        _increment_id
    from base
    where not _is_deleted
)

select * from final
