{#
  Versions of a thing, cut from its change log (slowly changing dimension, type 2). A version
  opens when a tracked column differs from what it was, or when the thing is created again; it
  ends where the next one opens, or where the thing is deleted. A run re-cuts all versions of the
  keys that have news, and of them only: a late event may fall between two versions.

      pre_hook:  open_increment(['hist_x']), replace_scope(has_changed(ref('hist_x'), 'x_id'), 'x_id')
      the model: with {{ scd2_versions(ref('hist_x'), 'x_id', {…}) }}, final as (… from versions)

  Order is the source's (_order_key). Boundaries are times of the source, and those may run
  backwards against that order (clocks do): a running maximum makes them monotone for each key.
  Of several changes at one instant the last counts.
#}

{# An order key begins with its epoch, of ten digits. #}
{% macro same_epoch(order_key, other) -%}
    substr({{ order_key }}, 1, 10) = substr({{ other }}, 1, 10)
{%- endmacro %}

{#
  The rows that a run re-cuts. A truncate, which has no key, concerns every key. One set of keys,
  so that the engine joins, and skips the parts of the log which hold none of them.
#}
{% macro has_changed(log, key, toast=[]) -%}
    {{ key }} in (
        select news.{{ key }} from {{ log }} as news
        where news._increment_id in {{ pending(log.identifier) }} and news.{{ key }} is not null
        union all
        select every.{{ key }} from {{ log }} as every
        where
            every.{{ key }} is not null
            and exists (
                select 1 from {{ log }} as news
                where
                    news._increment_id in {{ pending(log.identifier) }}
                    and news.{{ key }} is null
            )
        {%- if toast %}
        {#- What a former key brings late, its heirs have, too. #}
        union all
        select heir.{{ key }} from {{ log }} as heir
        where heir._former_key is not null
        {%- endif %}
    )
{%- endmacro %}

{#
  CTEs, the last of which, `versions`, has the key, the tracked columns, valid_from, valid_to,
  is_current and is_deleted. `columns` maps a column of the log to its name in the dimension.
  `toast` names the columns of the log that may be unavailable: a version has their last value,
  or what it took over from a former key. has_changed gets it, too, and the model begins with
  `with recursive`.
#}
{% macro scd2_versions(log, key, columns, toast=[]) -%}
    {%- set in_order = 'over (partition by ' ~ key ~ ' order by _order_key)' -%}
{% if toast -%}
{{ inherited(log, [key], toast) }}

{% endif -%}
own_change as (
    select
        event.{{ key }},
        {% for column, name in columns.items() -%}
        {% if column in toast -%}
        {%- set supply = 'inherited_' ~ (toast.index(column) + 1) -%}
        case when {{ brings(column) }} then event.{{ column }} else {{ supply }}._value end
            as {{ name }},
        count(case when event._former_key is not null or {{ brings(column) }} then 1 end) over (
            partition by event.{{ key }} order by event._order_key
            rows between unbounded preceding and current row
        ) as _{{ name }}_since,
        {% else -%}
        {{ column }} as {{ name }},
        {% endif -%}
        {% endfor -%}
        event._op in ('c', 'u', 'r') as is_alive,
        event._order_key,
        event._source_ts
    from (
        select * from {{ log }}
        where
            {{ key }} is not null
            {%- if is_incremental() %}
            and (
                {{ has_changed(log, key, toast) }}
            )
            {%- endif %}
    ) as event
    {%- for name in toast %}
    left join inherited_{{ loop.index }}
        on
            event.{{ key }} = inherited_{{ loop.index }}.{{ key }}
            and event._order_key = inherited_{{ loop.index }}._linked_at
    {%- endfor %}
),

truncate_event as (
    select
        _op,
        _order_key,
        _source_ts
    from {{ log }}
    where {{ key }} is null
),

-- To each key a truncate is a delete, and so is a snapshot that did not bring it (p).
change as (
    select
        {{ key }},
        {% for column, name in columns.items() -%}
        {% if column in toast -%}
        max({{ name }}) over (partition by {{ key }}, _{{ name }}_since) as {{ name }},
        {% else -%}
        {{ name }},
        {% endif -%}
        {% endfor -%}
        is_alive,
        _order_key,
        _source_ts
    from own_change
    union all
    select
        keys.{{ key }},
        {% for name in columns.values() -%}
        null as {{ name }},
        {% endfor -%}
        false as is_alive,
        truncate_event._order_key,
        truncate_event._source_ts
    from truncate_event
    cross join (select distinct {{ key }} from own_change) as keys
    where
        truncate_event._op = 't'
        or not exists (
            select 1 from own_change as brought
            where
                keys.{{ key }} = brought.{{ key }}
                and {{ same_epoch('brought._order_key', 'truncate_event._order_key') }}
        )
),

dated as (
    select
        *,
        max(_source_ts) over (
            partition by {{ key }} order by _order_key
            rows between unbounded preceding and current row
        ) as valid_from
    from change
),

followed as (
    select
        *,
        lead(valid_from) {{ in_order }} as next_at
    from dated
),

last_of_instant as (
    select * from followed
    where next_at is null or next_at <> valid_from
),

compared as (
    select
        *,
        lag(is_alive) {{ in_order }} as was_alive
        {%- for name in columns.values() %},
        lag({{ name }}) {{ in_order }} as was_{{ name }}
        {%- endfor %}
    from last_of_instant
),

boundary as (
    select * from compared
    where
        is_alive <> coalesce(was_alive, false)
        or (
            is_alive
            and (
                {%- for name in columns.values() %}
                {{ 'or ' if not loop.first }}{{ name }} is distinct from was_{{ name }}
                {%- endfor %}
            )
        )
),

bounded as (
    select
        *,
        lead(valid_from) {{ in_order }} as valid_to,
        lead(is_alive) {{ in_order }} as next_is_alive
    from boundary
),

versions as (
    select
        {{ key }},
        {% for name in columns.values() -%}
        {{ name }},
        {% endfor -%}
        valid_from,
        valid_to,
        valid_to is null as is_current,
        coalesce(not next_is_alive, false) as is_deleted
    from bounded
    where is_alive
)
{%- endmacro %}
