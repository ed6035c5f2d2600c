{#
  Versions of a thing, cut from its change log (slowly changing dimension, type 2). A version
  opens when a tracked column differs from what it was, or when the thing is created again; it
  ends where the next one opens, or where the thing is deleted. A run re-cuts all versions of the
  keys that have news, and of them only: a late event may fall between two versions.

      pre_hook:  open_increment(['hist_x']), replace_scope(has_changed(ref('hist_x'), 'x_id'))
      the model: with {{ scd2_versions(ref('hist_x'), 'x_id', {…}) }}, final as (… from versions)

  Order is the source's (_order_key). Boundaries are times of the source, and those may run
  backwards against that order (clocks do): a running maximum makes them monotone for each key.
  Of several changes at one instant the last counts.
#}

{# The rows that a run re-cuts. A truncate, which has no key, concerns every key. #}
{% macro has_changed(log, key) -%}
    {{ key }} in (
        select news.{{ key }} from {{ log }} as news
        where news._increment_id in {{ pending(log.identifier) }} and news.{{ key }} is not null
    )
    or exists (
        select 1 from {{ log }} as news
        where news._increment_id in {{ pending(log.identifier) }} and news.{{ key }} is null
    )
{%- endmacro %}

{#
  CTEs, the last of which, `versions`, has the key, the tracked columns, valid_from, valid_to,
  is_current and is_deleted. `columns` maps a column of the log to its name in the dimension.
#}
{% macro scd2_versions(log, key, columns) -%}
    {%- set in_order = 'over (partition by ' ~ key ~ ' order by _order_key)' -%}
own_change as (
    select
        {{ key }},
        {% for column, name in columns.items() -%}
        {{ column }} as {{ name }},
        {% endfor -%}
        _op in ('c', 'u', 'r') as is_alive,
        _order_key,
        _source_ts
    from {{ log }}
    where
        {{ key }} is not null
        {%- if is_incremental() %}
        and (
            {{ has_changed(log, key) }}
        )
        {%- endif %}
),

truncate_event as (
    select
        _order_key,
        _source_ts
    from {{ log }}
    where {{ key }} is null
),

-- To each key a truncate is a delete.
change as (
    select * from own_change
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
