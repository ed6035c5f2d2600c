{%- set upstreams = [
    'base_order_item', 'base_order', 'base_sale', 'dim_product', 'hist_product'
] %}

{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook=[
        "{{ open_increment(" ~ upstreams ~ ") }}",
        "{{ replace_scope(is_changed_order_line(), 'order_id') }}",
        "{{ replace_scope(is_stale_order_line(), 'order_id') }}",
    ],
    post_hook="{{ close_increment() }}"
) }}

with order_lines as (

    select * from {{ ref('stg_order_item') }}

),

orders as (

    select
        *,
        {{ utc_date('ordered_at') }} as order_date
    from {{ ref('stg_order') }}

),

sales as (

    select * from {{ ref('stg_sale') }}

),

product_versions as (

    {{ version_periods(ref('dim_product'), 'product_id', ['product_key']) }}

),

missing_lines as (

    select order_lines.* from order_lines
    {% if not has_news(upstreams) %}
        where false
    {% elif is_incremental() %}
        where {{ is_missing_order_line('order_lines') }}
    {% endif %}

),

-- A line is posted once; should the source post it again, the first sale stands for it here.
line_sales as (

    select
        order_id,
        line_no,
        min(sale_id) as sale_id
    from sales
    where order_id in (select missing_lines.order_id from missing_lines)
    group by order_id, line_no

),

final as (

    select
        order_line.order_id,
        order_line.line_no,
        orders.client_id,
        orders.store_id,
        orders.ordered_at,
        orders.order_date,
        {{ month_start('orders.order_date') }}
            as order_month,
        order_line.product_id,
        product_versions.product_key,
        order_line.quantity,
        order_line.unit_price,
        order_line.discount_amount,
        cast(
            round(order_line.quantity * order_line.unit_price, 2) as decimal(18, 2)
        ) as gross_amount,
        orders.order_status,
        line_sales.sale_id
    from missing_lines as order_line
    left join orders
        on order_line.order_id = orders.order_id
    left join product_versions
        on order_line.product_id = product_versions.product_id
        and {{ covers('product_versions', 'orders.ordered_at') }}
    left join line_sales
        on order_line.order_id = line_sales.order_id
        and order_line.line_no = line_sales.line_no

)

select * from final
