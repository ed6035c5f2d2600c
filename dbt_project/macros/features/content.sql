{% macro has_another_version() -%}
    product_id in ({{ news_of('dim_product', 'product_id') }})
{%- endmacro %}


{% macro is_no_product() -%}
    product_id not in (select product_id from {{ ref('dim_product') }} where is_current)
{%- endmacro %}


{#- The sixteen buckets that words are counted in: by the first hexadecimal digit of their hash. -#}
{% macro bucket_counts() -%}
    {%- for digit in '0123456789abcdef' -%}
    sum(case when bucket = '{{ digit }}' then 1 else 0 end) as token_hash_{{ loop.index0 }}
    {{- ', ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}


{% macro bucket_columns(counts) -%}
    {%- for n in range(16) -%}
    cast(coalesce({{ counts }}.token_hash_{{ n }}, 0) as integer) as token_hash_{{ n }}
    {{- ', ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}
