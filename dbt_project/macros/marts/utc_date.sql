{#- The day of an instant, UTC, and the first day of its month. On DuckDB a cast from timestamptz
    asks the calendar of the session's time zone, four times as slow as counting microseconds. -#}
{% macro utc_date(instant) -%}
    {{ return(adapter.dispatch('utc_date', 'lakehouse')(instant)) }}
{%- endmacro %}


{% macro default__utc_date(instant) -%}
    {{ return('cast(' ~ instant ~ ' as date)') }}
{%- endmacro %}


{% macro duckdb__utc_date(instant) -%}
    {{ return('cast(make_timestamp(epoch_us(' ~ instant ~ ')) as date)') }}
{%- endmacro %}


{% macro month_start(day) -%}
    {{ return('cast(' ~ dbt.date_trunc('month', day) ~ ' as date)') }}
{%- endmacro %}
