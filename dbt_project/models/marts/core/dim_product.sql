{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook=[
        "{{ open_increment(['hist_product']) }}",
        "{{ replace_scope(has_changed(ref('hist_product'), 'product_id'), 'product_id') }}",
    ],
    post_hook=["{{ close_increment() }}"],
) }}

with {{ scd2_versions(ref('hist_product'), 'product_id', {
    'name': 'product_name',
    'brand': 'brand',
    "coalesce(nullif(trim(department), ''), 'UNKNOWN')": 'department',
    'category': 'category',
    adapter.quote('type'): 'product_type',
    'package_size': 'package_size',
    'list_price': 'list_price',
    'is_active': 'is_active',
}) }},

final as (
    select
        {{ text_hash(['product_id', epoch_us('valid_from')]) }} as product_key,
        product_id,
        product_name,
        brand,
        department,
        category,
        product_type,
        package_size,
        list_price,
        is_active,
        valid_from,
        valid_to,
        is_current,
        is_deleted,
        cast('{{ invocation_id }}' as {{ text_type() }}) as _increment_id
    from versions
)

select * from final
