{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook=[
        "{{ open_increment(['base_sale', 'hist_sale']) }}",
        "{{ replace_scope(is_changed_product_day(), ['product_id', 'sale_date']) }}",
    ],
    post_hook="{{ close_increment() }}"
) }}

with sales as (

    select
        *,
        {{ utc_date('sold_at') }} as sale_date
    from {{ ref('stg_sale') }}

),

sale_changes as (

    select * from {{ ref('hist_sale') }}
    {% if not has_news(['base_sale', 'hist_sale']) %}
        where false
    {% elif is_incremental() %}
        where sale_id in ({{ placed_sales() }})
    {% endif %}

),

-- Where a sale stands or ever stood: who reads this must hear of one that is gone.
product_days as (

    select distinct
        product_id,
        {{ utc_date('sold_at') }} as sale_date
    from sale_changes
    where product_id is not null and sold_at is not null

),

final as (

    select
        product_days.product_id,
        product_days.sale_date,
        cast(count(sales.sale_id) as bigint) as line_count,
        cast(coalesce(sum(sales.quantity), 0) as bigint) as quantity,
        cast(coalesce(sum(sales.net_amount), 0) as decimal(18, 2)) as net_amount,
        cast(coalesce(sum(sales.discount_amount), 0) as decimal(18, 2)) as discount_amount,
        cast('{{ invocation_id }}' as {{ text_type() }}) as _increment_id
    from product_days
    left join sales
        on product_days.product_id = sales.product_id
        and product_days.sale_date = sales.sale_date
    group by product_days.product_id, product_days.sale_date

)

select * from final
