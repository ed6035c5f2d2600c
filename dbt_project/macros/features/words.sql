{# A row a word of a text, with the columns of its row: words are runs of letters and digits. #}
{% macro words_of(relation, columns, text) -%}
    {{- adapter.dispatch('words_of', 'lakehouse')(relation, columns, text) -}}
{%- endmacro %}

{% macro default__words_of(relation, columns, text) -%}
    select
        {{ columns | join(', ') }},
        unnest(string_split(regexp_replace(lower({{ text }}), '[^a-z0-9]+', ' ', 'g'), ' ')) as word
    from {{ relation }}
{%- endmacro %}

{% macro trino__words_of(relation, columns, text) -%}
    select
        {{ columns | join(', ') }},
        word
    from {{ relation }}
    cross join unnest(
        split(regexp_replace(lower({{ text }}), '[^a-z0-9]+', ' '), ' ')
    ) as split_text (word)
{%- endmacro %}

{% macro spark__words_of(relation, columns, text) -%}
    select
        {{ columns | join(', ') }},
        explode(split(regexp_replace(lower({{ text }}), '[^a-z0-9]+', ' '), ' ')) as word
    from {{ relation }}
{%- endmacro %}
