{%- set upstreams = [
    'base_order', 'hist_order', 'base_sale', 'dim_client', 'hist_client', 'hist_transporter'
] %}

{{ config(
    materialized='incremental',
    incremental_strategy='append',
    pre_hook=[
        "{{ open_increment(" ~ upstreams ~ ") }}",
        "{{ replace_scope(is_changed_order(), 'order_id') }}",
        "{{ replace_scope(is_stale_order(), 'order_id') }}",
    ],
    post_hook="{{ close_increment() }}"
) }}

with orders as (

    select * from {{ ref('stg_order') }}

),

order_changes as (

    select * from {{ ref('hist_order') }}

),

sales as (

    select * from {{ ref('stg_sale') }}

),

client_versions as (

    {{ version_periods(ref('dim_client'), 'client_id', ['client_key']) }}

),

transporter_promises as (

    select * from {{ ref('int_transporter_promises') }}

),

missing_orders as (

    select
        orders.*,
        {{ utc_date('orders.ordered_at') }} as order_date
    from orders
    {% if not has_news(upstreams) %}
        where false
    {% elif is_incremental() %}
        where {{ is_missing_order('orders') }}
    {% endif %}

),

-- A snapshot read tells that an order has a status, not since when: its time is not taken.
status_times as (

    select
        order_id,
        min(case when status = 'shipped' then _source_ts end) as shipped_at,
        min(case when status = 'delivered' then _source_ts end) as delivered_at,
        min(case when status = 'cancelled' then _source_ts end) as cancelled_at
    from order_changes
    where
        _op in ('c', 'u')
        and order_id in (select missing_orders.order_id from missing_orders)
    group by order_id

),

revenue as (

    select
        order_id,
        count(*) as line_count,
        sum(quantity) as quantity,
        sum(gross_amount) as gross_amount,
        sum(discount_amount) as discount_amount,
        sum(net_amount) as net_amount
    from sales
    where order_id in (select missing_orders.order_id from missing_orders)
    group by order_id

),

promised as (

    select
        missing_orders.*,
        {{ promised_date('missing_orders', 'promise') }} as promised_date
    from missing_orders
    left join transporter_promises as promise
        on missing_orders.transporter_id = promise.transporter_id
        and {{ covers('promise', 'missing_orders.ordered_at') }}

),

final as (

    select
        promised.order_id,
        promised.client_id,
        client_versions.client_key,
        promised.store_id,
        promised.transporter_id,
        promised.ordered_at,
        promised.order_date,
        {{ month_start('promised.order_date') }} as order_month,
        promised.promised_date,
        status_times.shipped_at,
        status_times.delivered_at,
        status_times.cancelled_at,
        promised.order_status,
        -- One day of grace: carriers deliver in the evening what was promised for the day.
        (
            {{ utc_date('status_times.delivered_at') }}
            > cast({{ dbt.dateadd('day', 1, 'promised.promised_date') }} as date)
        ) as is_late,
        cast(coalesce(revenue.line_count, 0) as bigint) as line_count,
        cast(coalesce(revenue.quantity, 0) as bigint) as quantity,
        cast(coalesce(revenue.gross_amount, 0) as decimal(18, 2)) as gross_amount,
        cast(coalesce(revenue.discount_amount, 0) as decimal(18, 2)) as discount_amount,
        cast(coalesce(revenue.net_amount, 0) as decimal(18, 2)) as net_amount
    from promised
    left join client_versions
        on promised.client_id = client_versions.client_id
        and {{ covers('client_versions', 'promised.ordered_at') }}
    left join status_times
        on promised.order_id = status_times.order_id
    left join revenue
        on promised.order_id = revenue.order_id

)

select * from final
