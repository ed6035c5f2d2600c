{#- Keys of the rows of `model` that changed in an increment which this model has not consumed.
    To be used on base, history and dimension models: they keep dead keys, views do not. -#}
{% macro news_of(model, key) -%}
    select {{ key }} from {{ ref(model) }} where _increment_id in {{ pending(model) }}
{%- endmacro %}
