{# Microseconds since 1970, as an integer: the one text of an instant that all engines share. #}
{% macro epoch_us(column) -%}
    {{- adapter.dispatch('epoch_us', 'lakehouse')(column) -}}
{%- endmacro %}

{% macro default__epoch_us(column) -%}
    epoch_us({{ column }})
{%- endmacro %}

{% macro trino__epoch_us(column) -%}
    cast(round(to_unixtime({{ column }}) * 1000000) as bigint)
{%- endmacro %}

{% macro spark__epoch_us(column) -%}
    unix_micros({{ column }})
{%- endmacro %}

{# A table of one column, date_day: the days from the first to the last, both included. #}
{% macro days_between(first_day, last_day) -%}
    {{- adapter.dispatch('days_between', 'lakehouse')(first_day, last_day) -}}
{%- endmacro %}

{% macro default__days_between(first_day, last_day) -%}
    select cast(series.day_at as date) as date_day
    from unnest(generate_series({{ first_day }}, {{ last_day }}, interval 1 day)) as series (day_at)
{%- endmacro %}

{% macro trino__days_between(first_day, last_day) -%}
    select series.date_day
    from unnest(sequence({{ first_day }}, {{ last_day }}, interval '1' day)) as series (date_day)
{%- endmacro %}

{% macro spark__days_between(first_day, last_day) -%}
    select explode(sequence(span.first_day, span.last_day, interval 1 day)) as date_day
    from (
        select
            {{ first_day }} as first_day,
            {{ last_day }} as last_day
    ) as span
{%- endmacro %}

{# Monday is 1, Sunday 7, whatever the engine counts from. #}
{% macro iso_day_of_week(day) -%}
    {{- adapter.dispatch('iso_day_of_week', 'lakehouse')(day) -}}
{%- endmacro %}

{% macro default__iso_day_of_week(day) -%}
    isodow({{ day }})
{%- endmacro %}

{% macro trino__iso_day_of_week(day) -%}
    day_of_week({{ day }})
{%- endmacro %}

{% macro spark__iso_day_of_week(day) -%}
    (weekday({{ day }}) + 1)
{%- endmacro %}

{% macro iso_week(day) -%}
    {{- adapter.dispatch('iso_week', 'lakehouse')(day) -}}
{%- endmacro %}

{% macro default__iso_week(day) -%}
    week({{ day }})
{%- endmacro %}

{% macro spark__iso_week(day) -%}
    weekofyear({{ day }})
{%- endmacro %}

{# The year that the ISO week belongs to: the year of its Thursday. #}
{% macro iso_year(day) -%}
    {{- adapter.dispatch('iso_year', 'lakehouse')(day) -}}
{%- endmacro %}

{% macro default__iso_year(day) -%}
    isoyear({{ day }})
{%- endmacro %}

{% macro trino__iso_year(day) -%}
    year_of_week({{ day }})
{%- endmacro %}

{% macro spark__iso_year(day) -%}
    extract(yearofweek from {{ day }})
{%- endmacro %}
