{#- A quotient of four decimals, null when there is nothing to divide by. Through double and one
    rounding: engines disagree on the scale of a quotient of decimals. -#}
{% macro ratio(numerator, denominator) -%}
    cast(
        round(
            cast({{ numerator }} as double) / nullif(cast({{ denominator }} as double), 0), 4
        ) as decimal(18, 4)
    )
{%- endmacro %}
