{#
  The current state of a source table: one row a key, dead or alive. A run folds the new events
  into it. Only the greatest position of a key counts, so that late, repeated and re-ordered
  events need no history; the dead stay, so that a late event cannot bring them back.
  A truncate is a row without key: what stands below its position is dead. So is the end of a
  snapshot in a new epoch (`p`): what the snapshot did not bring stands below that epoch.

  A column that may be unavailable (TOAST, dropped) is folded by itself: `_<column>_at` is the position of
  the event that brought its value, and the latest that did so counts. Only a change of key needs
  more, since the value may have come under the former key: such keys are resolved from the
  history, which the model of a table with such columns names:

      {{ fold_current(source('shop', 'thing'), history=ref('hist_thing')) }}
#}
{% macro fold_current(relation, history=none) -%}
    {{- config(
        materialized='incremental',
        incremental_strategy='replace_changed',
        pre_hook=["{{ open_increment(contract_name()) }}", "{{ gather_news() }}"],
        post_hook=["{{ drop_news() }}", "{{ close_increment() }}"],
    ) -}}
    {%- set key = contract_key() -%}
    {%- set columns = contract_columns() -%}
    {%- set toast = contract_toast() -%}
    {%- set toasted = [] -%}
    {%- for name in toast -%}
        {%- do toasted.append(adapter.quote(name)) -%}
    {%- endfor -%}
    {%- if execute and not key -%}
        {{- exceptions.raise_compiler_error(
            model.name ~ ': its source table has no key, so there is no current state; '
            ~ 'read its history (change_log), or give the contract a key'
        ) -}}
    {%- elif toast and history is none -%}
        {{- exceptions.raise_compiler_error(
            model.name ~ ': its source table has columns marked toast or dropped; '
            ~ 'write fold_current(source(…), history=ref(…)) with the history model of the table'
        ) -}}
    {%- endif -%}
    {%- set times = [] -%}
    {%- for name in toast -%}
        {%- do times.append(adapter.quote('_' ~ name ~ '_at')) -%}
    {%- endfor -%}
    {%- set folded = columns + ['_op', '_order_key', '_source_ts', '_batch_id'] -%}
    {%- set own = folded + times -%}
    {%- if not has_news(contract_name()) -%}
        select * from {{ this }} where false
    {%- else -%}
with {{ 'recursive ' if toast }}delivered as (
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
    select {{ folded | join(', ') }}
    from numbered
    where _nth = 1
),

{% for name in toast -%}
brought_{{ loop.index }} as (
    select *
    from (
        select
            {{ key | join(', ') }},
            {{ toasted[loop.index0] }} as value,
            _order_key as brought_at,
            row_number() over (
                partition by {{ key | join(', ') }} order by _order_key desc
            ) as _nth
        from delivered
        where {{ brings(name) }}
    ) as supply
    where _nth = 1
),

{% endfor -%}

{% if is_incremental() -%}
met as (
    {{ met_by('news') }}
),
{%- elif toast -%}
met as (
    select
        {% for column in columns -%}
        {{ column }},
        {% endfor -%}
        {% for column in times -%}
        cast(null as {{ text_type() }}) as {{ column }},
        {% endfor -%}
        _op,
        cast(null as {{ text_type() }}) as _order_key,
        _source_ts,
        _batch_id
    from news
    where false
),
{%- endif %}

{% if toast -%}
winner as (
    select
        {% for column in folded if column not in toasted -%}
        case
            when met._order_key is null or news._order_key > met._order_key
                then news.{{ column }}
            else met.{{ column }}
        end as {{ column }},
        {% endfor -%}
        {% for column in toasted -%}
        {%- set supply = 'brought_' ~ loop.index -%}
        {%- set at = 'met.' ~ times[loop.index0] -%}
        case
            when {{ supply }}.brought_at > coalesce({{ at }}, '') then {{ supply }}.value
            else met.{{ column }}
        end as {{ column }},
        case
            when {{ supply }}.brought_at > coalesce({{ at }}, '') then {{ supply }}.brought_at
            else {{ at }}
        end as {{ times[loop.index0] }}{{ ',' if not loop.last }}
        {% endfor -%}
    from news
    left join met
        on {{ same_key('news', 'met', key) }}
    {%- for column in toasted %}
    left join brought_{{ loop.index }}
        on
            {%- set supply = 'brought_' ~ loop.index -%}
            {%- for column in key %}
            {{ 'and ' if not loop.first }}news.{{ column }} = {{ supply }}.{{ column }}
            {%- endfor %}
    {%- endfor %}
    where
        met._order_key is null
        or news._order_key > met._order_key
        {%- for column in times %}
        or brought_{{ loop.index }}.brought_at > coalesce(met.{{ column }}, '')
        {%- endfor %}
),

{% elif is_incremental() -%}
winner as (
    select
        {% for column in own -%}
        news.{{ column }}{{ ',' if not loop.last }}
        {% endfor -%}
    from news
    left join met
        on {{ same_key('news', 'met', key) }}
    where met._order_key is null or news._order_key > met._order_key
),

{% else -%}
winner as (
    select * from news
),

{% endif -%}

truncation as (
    select _order_key from news where _op in ('t', 'p')
    {%- if is_incremental() %}
    union all
    select _order_key from {{ this }} where {{ key[0] }} is null and _op in ('t', 'p')
    {%- endif %}
),

{% if is_incremental() -%}
truncated as (
    select
        {% for column in own -%}
        state.{{ column }}{{ ',' if not loop.last }}
        {% endfor -%}
    from {{ this }} as state
    inner join (select _order_key from news where _op in ('t', 'p')) as truncate_event
        on state._order_key < truncate_event._order_key
    left join winner
        on
            {%- for column in key %}
            {{ 'and ' if not loop.first }}state.{{ column }} = winner.{{ column }}
            {%- endfor %}
    where not state._is_deleted and winner._order_key is null
),
{%- endif %}

changed as (
    select {{ own | join(', ') }} from winner
    {%- if is_incremental() %}
    union all
    select {{ own | join(', ') }} from truncated
    {%- endif %}
),

{% if toast -%}
{{ resolve_former_keys(history, toast, own) }}
{%- endif %}

final as (
    select
        {% for column in columns -%}
        {{ column }},
        {% endfor -%}
        _op in ('d', 't', 'p')
        or _order_key < coalesce((select max(_order_key) from truncation), '') as _is_deleted,
        _op,
        _order_key,
        _source_ts,
        {% for column in times -%}
        {{ column }},
        {% endfor -%}
        _batch_id,
        cast('{{ invocation_id }}' as {{ text_type() }}) as _increment_id
    from {{ 'resolved' if toast else 'changed' }}
)

select * from final
    {%- endif -%}
{%- endmacro %}

{#
  CTEs, the last of which, `resolved`, is `changed` with the values that came under former keys,
  and those rows of the state whose value such a key decides anew.
#}
{% macro resolve_former_keys(history, toast, own) -%}
    {%- set key = contract_key() -%}
    {%- set quoted = [] -%}
    {%- set times = [] -%}
    {%- for name in toast -%}
        {%- do quoted.append(adapter.quote(name)) -%}
        {%- do times.append(adapter.quote('_' ~ name ~ '_at')) -%}
    {%- endfor -%}
{{ inherited(history, key, toast) }}

candidate as (
    select
        {{ own | join(', ') }},
        true as _is_changed
    from changed
    {%- if is_incremental() %}
    union all
    select
        {% for column in own -%}
        state.{{ column }},
        {% endfor -%}
        false as _is_changed
    from {{ this }} as state
    inner join (select distinct {{ key | join(', ') }} from link) as heir
        on
            {%- for column in key %}
            {{ 'and ' if not loop.first }}state.{{ column }} = heir.{{ column }}
            {%- endfor %}
    left join changed
        on
            {%- for column in key %}
            {{ 'and ' if not loop.first }}state.{{ column }} = changed.{{ column }}
            {%- endfor %}
    where changed._order_key is null
    {%- endif %}
),

-- What a key brought by itself before it took over from another belongs to a former row.
resolved as (
    select
        {% for column in own if column not in quoted + times -%}
        candidate.{{ column }},
        {% endfor -%}
        {% for column in quoted -%}
        {%- set at = times[loop.index0] -%}
        case
            when candidate.{{ at }} >= link.linked_at or link.linked_at is null
                then candidate.{{ column }}
            else inherited_{{ loop.index }}._value
        end as {{ column }},
        case
            when candidate.{{ at }} >= link.linked_at or link.linked_at is null
                then candidate.{{ at }}
            else inherited_{{ loop.index }}._brought_at
        end as {{ at }}{{ ',' if not loop.last }}
        {% endfor -%}
    from candidate
    left join link
        on
            {%- for column in key %}
            {{ 'and ' if not loop.first }}candidate.{{ column }} = link.{{ column }}
            {%- endfor %}
            and link.next_at is null
    {%- for name in toast %}
    {%- set supply = 'inherited_' ~ loop.index %}
    left join {{ supply }}
        on
            {%- for column in key %}
            {{ 'and ' if not loop.first }}link.{{ column }} = {{ supply }}.{{ column }}
            {%- endfor %}
            and link.linked_at = {{ supply }}._linked_at
    {%- endfor %}
    where
        candidate._is_changed
        {%- for column in times %}
        or (
            coalesce(candidate.{{ column }}, '') < link.linked_at
            and inherited_{{ loop.index }}._brought_at is distinct from candidate.{{ column }}
        )
        {%- endfor %}
),
{%- endmacro %}
