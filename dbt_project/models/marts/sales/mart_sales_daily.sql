{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook=[
        "{{ open_increment(['fct_sale']) }}",
        "{{ replace_scope(is_touched_day('fct_sale'), 'sale_date', date_column='sale_date') }}",
    ],
    post_hook=[
        "{{ log_touched_dates(is_touched_day('fct_sale'), 'sale_date') }}",
        "{{ close_increment() }}",
    ]
) }}

with sales as (

    select * from {{ ref('fct_sale') }}

),

final as (

    select
        sale_date,
        sale_month,
        product_id,
        store_id,
        cast(count(distinct order_id) as bigint) as order_count,
        cast(sum(quantity) as bigint) as quantity,
        cast(sum(gross_amount) as decimal(18, 2)) as gross_amount,
        cast(sum(discount_amount) as decimal(18, 2)) as discount_amount,
        cast(sum(net_amount) as decimal(18, 2)) as net_amount
    from sales
    {% if not has_news('fct_sale') %}
        where false
    {% elif is_incremental() %}
        where {{ is_touched_day('fct_sale') }}
    {% endif %}
    group by sale_date, sale_month, product_id, store_id

)

select * from final
