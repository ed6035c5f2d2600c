{#
  The current state of a source table: one row a key, dead or alive. A run folds the new events
  into it. Only the greatest position of a key counts, so that late, repeated and re-ordered
  events need no history; the dead stay, so that a late event cannot bring them back.
  A truncate is a row without key: what stands below its position is dead.
#}
{% macro fold_current(relation) -%}
    {{- config(
        materialized='incremental',
        incremental_strategy='replace_changed',
        pre_hook=["{{ open_increment(contract_name()) }}"],
        post_hook=["{{ close_increment() }}"],
    ) -}}
    {%- set key = contract_key() -%}
    {%- set columns = contract_columns() -%}
    {%- set own = columns + ['_op', '_order_key', '_source_ts', '_batch_id'] -%}
    {%- if not has_news(contract_name()) -%}
        select * from {{ this }} where false
    {%- else -%}
with delivered as (
    {{ delivered(relation) }}
),

numbered as (
    select
        *,
        row_number() over (
            partition by {{ key | join(', ') }} order by _order_key desc, _partition desc
        ) as _nth
    from delivered
),

news as (
    select {{ own | join(', ') }}
    from numbered
    where _nth = 1
),

{% if is_incremental() -%}
met as (
    {{ met_by('news') }}
),

winner as (
    select
        {% for column in own -%}
        news.{{ column }}{{ ',' if not loop.last }}
        {% endfor -%}
    from news
    left join met
        on
            news.{{ key[0] }} is not distinct from met.{{ key[0] }}
            {%- for column in key[1:] %}
            and news.{{ column }} is not distinct from met.{{ column }}
            {%- endfor %}
    where met._order_key is null or news._order_key > met._order_key
),

truncation as (
    select _order_key from winner where _op = 't'
    union all
    select _order_key from met where _op = 't'
),

truncated as (
    select
        {% for column in own -%}
        state.{{ column }}{{ ',' if not loop.last }}
        {% endfor -%}
    from {{ this }} as state
    inner join (select _order_key from winner where _op = 't') as truncate_event
        on state._order_key < truncate_event._order_key
    left join winner
        on
            {%- for column in key %}
            {{ 'and ' if not loop.first }}state.{{ column }} = winner.{{ column }}
            {%- endfor %}
    where not state._is_deleted and winner._order_key is null
),
{%- else -%}
winner as (
    select * from news
),

truncation as (
    select _order_key from winner where _op = 't'
),
{%- endif %}

changed as (
    select * from winner
    {%- if is_incremental() %}
    union all
    select * from truncated
    {%- endif %}
),

final as (
    select
        {% for column in columns -%}
        {{ column }},
        {% endfor -%}
        _op in ('d', 't')
        or _order_key < coalesce((select max(_order_key) from truncation), '') as _is_deleted,
        _op,
        _order_key,
        _source_ts,
        _batch_id,
        cast('{{ invocation_id }}' as varchar) as _increment_id
    from changed
)

select * from final
    {%- endif -%}
{%- endmacro %}
