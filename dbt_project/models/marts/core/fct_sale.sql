{%- set upstreams = [
    'base_sale', 'base_order', 'dim_product', 'hist_product', 'dim_client', 'hist_client'
] %}

{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook=[
        "{{ open_increment(" ~ upstreams ~ ") }}",
        "{{ replace_scope(is_changed_sale(), 'sale_id', date_column='sale_date') }}",
        "{{ replace_scope(is_stale_sale(), 'sale_id', date_column='sale_date') }}",
    ],
    post_hook=[
        "{{ log_touched_dates(is_changed_sale(), 'sale_date') }}",
        "{{ log_days_of_changed_sales() }}",
        "{{ close_increment() }}",
    ]
) }}

with sales as (

    select * from {{ ref('stg_sale') }}

),

orders as (

    select * from {{ ref('stg_order') }}

),

product_versions as (

    {{ version_periods(ref('dim_product'), 'product_id', ['product_key', 'list_price']) }}

),

client_versions as (

    {{ version_periods(ref('dim_client'), 'client_id', ['client_key']) }}

),

missing_sales as (

    select
        sales.*,
        {{ utc_date('sales.sold_at') }} as sale_date
    from sales
    {% if not has_news(upstreams) %}
        where false
    {% elif is_incremental() %}
        where {{ is_missing_sale('sales') }}
    {% endif %}

),

final as (

    select
        sale.sale_id,
        sale.order_id,
        sale.line_no,
        sale.product_id,
        product_versions.product_key,
        sale.client_id,
        client_versions.client_key,
        orders.store_id,
        orders.transporter_id,
        sale.sold_at,
        sale.sale_date,
        {{ month_start('sale.sale_date') }} as sale_month,
        sale.quantity,
        sale.gross_amount,
        sale.discount_amount,
        sale.net_amount,
        product_versions.list_price
    from missing_sales as sale
    left join orders
        on sale.order_id = orders.order_id
    left join product_versions
        on sale.product_id = product_versions.product_id
        and {{ covers('product_versions', 'sale.sold_at') }}
    left join client_versions
        on sale.client_id = client_versions.client_id
        and {{ covers('client_versions', 'sale.sold_at') }}

)

select * from final
