{#
  CTEs that tell what each key took over when it took the place of a former key: `link`, and for
  each column that may be unavailable `inherited_1`, `inherited_2` … (key, _linked_at, _value,
  _brought_at). They want `with recursive`.

  A create that names a former key has that key's values, as they were then; they may have come
  under a key before that one, and so on. `life` walks these stretches backwards: of `key_at` from
  `begins_at` (where it took over from another; empty if it did not) to `ends_at`.
#}
{% macro inherited(history, key, toast) -%}
link as (
    select
        {{ key | join(', ') }},
        {{ key_texts(key) }} as key_at,
        _former_key,
        _order_key as linked_at,
        lead(_order_key) over (partition by {{ key | join(', ') }} order by _order_key) as next_at
    from {{ history }}
    where _former_key is not null
),

life ({{ key | join(', ') }}, linked_at, key_at, begins_at, _former_key, ends_at) as (
    select
        {{ key | join(', ') }},
        linked_at,
        key_at,
        linked_at as begins_at,
        _former_key,
        cast(null as {{ text_type() }}) as ends_at
    from link
    union all
    select
        {% for column in key -%}
        life.{{ column }},
        {% endfor -%}
        life.linked_at,
        life._former_key as key_at,
        coalesce(former.linked_at, '') as begins_at,
        former._former_key,
        life.begins_at as ends_at
    from life
    left join link as former
        on
            life._former_key = former.key_at
            and life.begins_at > former.linked_at
            and (former.next_at is null or former.next_at >= life.begins_at)
    where life._former_key is not null
),

event_of_life as (
    select
        {% for column in key -%}
        life.{{ column }},
        {% endfor -%}
        life.linked_at,
        {% for name in toast -%}
        event.{{ adapter.quote(name) }},
        {% endfor -%}
        event._unavailable,
        event._op,
        event._order_key
    from life
    inner join (
        select
            *,
            {{ key_texts(key) }} as key_at
        from {{ history }}
        where exists (select 1 from link)
    ) as event
        on
            life.key_at = event.key_at
            and life.begins_at <= event._order_key
            and life.ends_at > event._order_key
),

{% for name in toast -%}
inherited_{{ loop.index }} as (
    select *
    from (
        select
            {{ key | join(', ') }},
            linked_at as _linked_at,
            {{ adapter.quote(name) }} as _value,
            _order_key as _brought_at,
            row_number() over (
                partition by {{ key | join(', ') }}, linked_at order by _order_key desc
            ) as _nth
        from event_of_life
        where {{ brings(name) }}
    ) as supply
    where _nth = 1
),

{% endfor -%}
{%- endmacro %}
