{#- A quotient of four decimals, null when there is nothing to divide by. Through double and one
    rounding: engines disagree on the scale of a quotient of decimals. -#}
{% macro ratio(numerator, denominator) -%}
    {{- adapter.dispatch('ratio', 'lakehouse')(numerator, denominator) -}}
{%- endmacro %}


{% macro default__ratio(numerator, denominator) -%}
    cast(
        round(
            cast({{ numerator }} as double) / nullif(cast({{ denominator }} as double), 0), 4
        ) as decimal(18, 4)
    )
{%- endmacro %}


{#- Spark rounds the number as it is written, the others its multiple: here, the same. -#}
{% macro spark__ratio(numerator, denominator) -%}
    cast(
        round(
            cast({{ numerator }} as double) / nullif(cast({{ denominator }} as double), 0) * 10000
        ) / 10000 as decimal(18, 4)
    )
{%- endmacro %}
