{#- What a reconciliation test returns: rows of either relation that the other one lacks. -#}
{% macro differing_rows(left, right) -%}
    (
        select * from {{ left }}
        except
        select * from {{ right }}
    )
    union all
    (
        select * from {{ right }}
        except
        select * from {{ left }}
    )
{%- endmacro %}
