{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook=[
        "{{ open_increment(['base_sale']) }}",
        "{{ replace_scope(is_changed_client_day(), ['client_id', 'sale_date']) }}",
    ],
    post_hook="{{ close_increment() }}"
) }}

with sales as (

    select
        *,
        {{ utc_date('sold_at') }} as sale_date
    from {{ ref('stg_sale') }}
    where not {{ is_nobody('client_id') }}

),

final as (

    select
        client_id,
        sale_date,
        cast(count(distinct order_id) as bigint) as order_count,
        cast(sum(quantity) as bigint) as quantity,
        cast(sum(net_amount) as decimal(18, 2)) as net_amount
    from sales
    {% if not has_news('base_sale') %}
        where false
    {% elif is_incremental() %}
        where {{ is_changed_client_day() }}
    {% endif %}
    group by client_id, sale_date

)

select * from final
