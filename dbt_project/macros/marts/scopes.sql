{#- What the incremental facts must make again: predicates for replace_scope, and the keys behind
    them. A hook deletes the rows of the scope; the model then makes, of all keys that the news
    could concern, those that `this` has not (any more).

    A re-cut dimension version concerns few of its key's facts: only those that now belong to
    another version (`stale_*`) are made again, not all facts of the product or client. -#}


{# Sales with news of their own or of their order. #}
{% macro changed_sales() -%}
    {{ news_of('base_sale', 'sale_id') }}
    union all
    select sale_id from {{ ref('base_sale') }}
    where order_id in ({{ news_of('base_order', 'order_id') }})
{%- endmacro %}


{# Keys whose versions were re-cut. The history has those of which no version is left (created and
   deleted at one instant), the dimension those that were re-made as a whole. #}
{% macro recut(dimension, history, key) -%}
    {{ news_of(dimension, key) }}
    union all
    {{ news_of(history, key) }}
{%- endmacro %}


{% macro recut_products() -%}
    {{ recut('dim_product', 'hist_product', 'product_id') }}
{%- endmacro %}


{% macro recut_clients() -%}
    {{ recut('dim_client', 'hist_client', 'client_id') }}
{%- endmacro %}


{# Sales that a re-cut gave another version of their product or client. #}
{% macro stale_sales() -%}
    select fact.sale_id
    from {{ this }} as fact
    left join (
        {{ version_periods(ref('dim_product'), 'product_id', ['product_key', 'list_price']) }}
        where product_id in ({{ recut_products() }})
    ) as version
        on fact.product_id = version.product_id and {{ covers('version', 'fact.sold_at') }}
    where
        fact.product_id in ({{ recut_products() }})
        and (
            fact.product_key is distinct from version.product_key
            or fact.list_price is distinct from version.list_price
        )
    union all
    select fact.sale_id
    from {{ this }} as fact
    left join (
        {{ version_periods(ref('dim_client'), 'client_id', ['client_key']) }}
        where client_id in ({{ recut_clients() }})
    ) as version
        on fact.client_id = version.client_id and {{ covers('version', 'fact.sold_at') }}
    where
        fact.client_id in ({{ recut_clients() }})
        and fact.client_key is distinct from version.client_key
{%- endmacro %}


{% macro is_changed_sale() -%}
    sale_id in ({{ changed_sales() }})
{%- endmacro %}


{% macro is_stale_sale() -%}
    {%- if has_news(['dim_product', 'hist_product', 'dim_client', 'hist_client']) -%}
    sale_id in ({{ stale_sales() }})
    {%- else -%}
    false
    {%- endif -%}
{%- endmacro %}


{# Sales that the news could concern and that are not there (any more). #}
{% macro is_missing_sale(sales) -%}
    {{ sales }}.sale_id in (
            {{ changed_sales() }}
            union all
            select sale_id from {{ ref('stg_sale') }}
            where
                product_id in ({{ recut_products() }})
                or client_id in ({{ recut_clients() }})
        )
        and not exists (
            select 1 from {{ this }} as kept where kept.sale_id = {{ sales }}.sale_id
        )
{%- endmacro %}


{# The days on which changed sales ever stood: an aggregate may still hold a sale that moved away or
   is gone, although this fact does not. #}
{% macro log_days_of_changed_sales() -%}
    {%- set history = ref('hist_sale') -%}
    {%- set predicate -%}
        sold_at is not null and sale_id in ({{ news_of('base_sale', 'sale_id') }})
    {%- endset -%}
    {%- if is_incremental() -%}
        {{- insert_touched_dates(history, utc_date('sold_at'), predicate) -}}
    {%- endif -%}
{%- endmacro %}


{# Orders with news of their own, of their history, or of their sales (before and after). #}
{% macro changed_orders() -%}
    {{ news_of('base_order', 'order_id') }}
    union all
    {{ news_of('hist_order', 'order_id') }}
    union all
    {{ orders_of_changed_sales() }}
{%- endmacro %}


{# A sale may have moved from one order to another: its history knows both. #}
{% macro orders_of_changed_sales() -%}
    select order_id from {{ ref('hist_sale') }}
    where sale_id in ({{ news_of('base_sale', 'sale_id') }})
{%- endmacro %}


{# Orders that a re-cut gave another version of their client or another promise. #}
{% macro stale_orders() -%}
    select fact.order_id
    from {{ this }} as fact
    left join (
        {{ version_periods(ref('dim_client'), 'client_id', ['client_key']) }}
        where client_id in ({{ recut_clients() }})
    ) as version
        on fact.client_id = version.client_id and {{ covers('version', 'fact.ordered_at') }}
    where
        fact.client_id in ({{ recut_clients() }})
        and fact.client_key is distinct from version.client_key
    union all
    select fact.order_id
    from {{ this }} as fact
    inner join {{ ref('int_transporter_promises') }} as promise
        on fact.transporter_id = promise.transporter_id
        and {{ covers('promise', 'fact.ordered_at') }}
    where
        promise.transporter_id in ({{ news_of('hist_transporter', 'transporter_id') }})
        and fact.promised_date is distinct from {{ promised_date('fact', 'promise') }}
{%- endmacro %}


{% macro is_changed_order() -%}
    order_id in ({{ changed_orders() }})
{%- endmacro %}


{% macro is_stale_order() -%}
    {%- if has_news(['dim_client', 'hist_client', 'hist_transporter']) -%}
    order_id in ({{ stale_orders() }})
    {%- else -%}
    false
    {%- endif -%}
{%- endmacro %}


{# Orders that the news could concern and that are not there (any more). #}
{% macro is_missing_order(orders) -%}
    {{ orders }}.order_id in (
            {{ changed_orders() }}
            union all
            select order_id from {{ ref('stg_order') }}
            where
                client_id in ({{ recut_clients() }})
                or transporter_id in ({{ news_of('hist_transporter', 'transporter_id') }})
        )
        and not exists (
            select 1 from {{ this }} as kept where kept.order_id = {{ orders }}.order_id
        )
{%- endmacro %}


{# Orders of which a line has news, or the order itself, or a sale of it. #}
{% macro changed_order_lines() -%}
    {{ news_of('base_order_item', 'order_id') }}
    union all
    {{ news_of('base_order', 'order_id') }}
    union all
    {{ orders_of_changed_sales() }}
{%- endmacro %}


{# Orders of which a line belongs to another version of its product since a re-cut. #}
{% macro stale_order_lines() -%}
    select fact.order_id
    from {{ this }} as fact
    left join (
        {{ version_periods(ref('dim_product'), 'product_id', ['product_key']) }}
        where product_id in ({{ recut_products() }})
    ) as version
        on fact.product_id = version.product_id and {{ covers('version', 'fact.ordered_at') }}
    where
        fact.product_id in ({{ recut_products() }})
        and fact.product_key is distinct from version.product_key
{%- endmacro %}


{% macro is_changed_order_line() -%}
    order_id in ({{ changed_order_lines() }})
{%- endmacro %}


{% macro is_stale_order_line() -%}
    {%- if has_news(['dim_product', 'hist_product']) -%}
    order_id in ({{ stale_order_lines() }})
    {%- else -%}
    false
    {%- endif -%}
{%- endmacro %}


{# Lines of orders that the news could concern and of which no line is there (any more). #}
{% macro is_missing_order_line(lines) -%}
    {{ lines }}.order_id in (
            {{ changed_order_lines() }}
            union all
            select order_id from {{ ref('stg_order_item') }}
            where product_id in ({{ recut_products() }})
        )
        and not exists (
            select 1 from {{ this }} as kept where kept.order_id = {{ lines }}.order_id
        )
{%- endmacro %}


{% macro is_changed_interaction() -%}
    interaction_id in ({{ news_of('base_client_interaction', 'interaction_id') }})
{%- endmacro %}


{% macro is_changed_promotion() -%}
    (product_id, week_start_date) in ({{ news_of('base_promotion', 'product_id, week_start') }})
{%- endmacro %}


{# Clients' days on which a sale appeared, changed or vanished. #}
{% macro is_changed_client_day() -%}
    (client_id, sale_date) in (
        select client_id, {{ utc_date('sold_at') }} as sale_date
        from {{ ref('hist_sale') }}
        where sale_id in ({{ news_of('base_sale', 'sale_id') }})
    )
{%- endmacro %}


{# Sales whose place has news: where they stand, or where it turns out late that they stood. #}
{% macro placed_sales() -%}
    {{ news_of('base_sale', 'sale_id') }}
    union all
    {{ news_of('hist_sale', 'sale_id') }}
{%- endmacro %}


{# Products' days on which a sale appeared, changed or vanished. #}
{% macro is_changed_product_day() -%}
    (product_id, sale_date) in (
        select product_id, {{ utc_date('sold_at') }} as sale_date
        from {{ ref('hist_sale') }}
        where sale_id in ({{ placed_sales() }})
    )
{%- endmacro %}


{# Snapshots of a pair from the first day on that a new, changed or vanished movement touches.
   (As a set of keys: a correlated "exists" takes DuckDB ten times as long.) #}
{% macro is_outdated_snapshot() -%}
    (product_id, warehouse_id, snapshot_date) in (
        select fact.product_id, fact.warehouse_id, fact.snapshot_date
        from {{ this }} as fact
        inner join (
            select product_id, warehouse_id, min({{ utc_date('moved_at') }}) as first_date
            from {{ ref('hist_inventory_movement') }}
            where movement_id in ({{ news_of('base_inventory_movement', 'movement_id') }})
            group by product_id, warehouse_id
        ) as touched
            on fact.product_id = touched.product_id
            and fact.warehouse_id = touched.warehouse_id
            and fact.snapshot_date >= touched.first_date
    )
{%- endmacro %}


{# The business date may have been set back. #}
{% macro is_after_business_date() -%}
    snapshot_date > (select business_date from {{ ref('int_business_date') }})
{%- endmacro %}


{% macro is_touched_day(upstream) -%}
    sale_date in {{ touched_dates(upstream) }}
{%- endmacro %}


{# The whole week or month of a touched day: `period` is 'week' or 'month'. #}
{% macro is_touched_period(upstream, period) -%}
    {{ period }}_start_date in (
        select cast({{ dbt.date_trunc(period, 'touched_date') }} as date)
        from {{ touched_dates(upstream) }} as touched
    )
{%- endmacro %}
