{#
  Every distinct change of a source table, once. A change that was delivered again (after a
  restart of the connector) has the same identity: key, position and kind. Of its copies the one
  with the smallest offset is kept, whichever came first, so that the order of the batches does
  not show.
#}
{% macro change_log(relation) -%}
    {{- config(
        materialized='incremental',
        incremental_strategy='replace_changed',
        meta={'identity': ['_change_id']},
        pre_hook=["{{ open_increment(contract_name()) }}"],
        post_hook=["{{ close_increment() }}"],
    ) -}}
    {%- set key = contract_key() -%}
    {%- set columns = contract_columns() -%}
    {%- if not has_news(contract_name()) -%}
        select * from {{ this }} where false
    {%- else -%}
with delivered as (
    {{ delivered(relation) }}
),

identified as (
    select
        *,
        {{ text_hash(key + ['_change_position', '_op']) }} as _change_id
    from delivered
),

numbered as (
    select
        *,
        row_number() over (partition by _change_id order by _order_key, _partition) as _copy
    from identified
),

news as (
    select * from numbered
    where _copy = 1
),

{% if is_incremental() -%}
known as (
    select met._change_id, met._order_key
    from (
        {{ met_by('news') }}
    ) as met
    where met._order_key >= (select min(_change_position) from news)
),

changed as (
    select news.*
    from news
    left join known on news._change_id = known._change_id
    where known._change_id is null or news._order_key < known._order_key
),
{%- else -%}
changed as (
    select * from news
),
{%- endif %}

final as (
    select
        {% for column in columns -%}
        {{ column }},
        {% endfor -%}
        _op,
        _order_key,
        _source_ts,
        _change_id,
        _batch_id,
        cast('{{ invocation_id }}' as varchar) as _increment_id
    from changed
)

select * from final
    {%- endif -%}
{%- endmacro %}
