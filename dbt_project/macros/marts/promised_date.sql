{#- The day by which the transporter promised to deliver: from an order and its row of
    int_transporter_promises. -#}
{% macro promised_date(order, promise) -%}
    cast({{ dbt.dateadd('day', promise ~ '.lead_time_days', order ~ '.order_date') }} as date)
{%- endmacro %}
