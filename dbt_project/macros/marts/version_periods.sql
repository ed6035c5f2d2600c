{#- The dimension row that was true at the time of a fact.

    version_periods: the versions of a dimension with the span of fact times that they cover.
    The spans of a key join without gap and are open at both ends, so that a fact older than the
    first version (or younger than a deletion) still finds one: the nearest. -#}
{% macro version_periods(dimension, id, columns) -%}
    select
        {{ id }},
        {%- for column in columns %}
        {{ column }},
        {%- endfor %}
        case
            when row_number() over (partition by {{ id }} order by valid_from) = 1
                then {{ far_past() }}
            else valid_from
        end as covers_from,
        coalesce(
            lead(valid_from) over (partition by {{ id }} order by valid_from), {{ far_future() }}
        ) as covers_to
    from {{ dimension }}
{%- endmacro %}


{#- Join condition to a relation made by version_periods. -#}
{% macro covers(period, at) -%}
    {{ at }} >= {{ period }}.covers_from and {{ at }} < {{ period }}.covers_to
{%- endmacro %}


{#- Bounds that no event time reaches. Plain comparisons with them keep the join a hash join;
    "is null or" would not. -#}
{% macro far_past() -%}
    {{ return(adapter.dispatch('utc_instant', 'lakehouse')('0001-01-01 00:00:00')) }}
{%- endmacro %}


{% macro far_future() -%}
    {{ return(adapter.dispatch('utc_instant', 'lakehouse')('9999-12-31 00:00:00')) }}
{%- endmacro %}


{% macro default__utc_instant(text) -%}
    {{ return("cast('" ~ text ~ "+00:00' as timestamp with time zone)") }}
{%- endmacro %}


{% macro trino__utc_instant(text) -%}
    {{ return("timestamp '" ~ text ~ ".000000'") }}
{%- endmacro %}


{% macro spark__utc_instant(text) -%}
    {{ return("cast('" ~ text ~ "+00:00' as timestamp)") }}
{%- endmacro %}
