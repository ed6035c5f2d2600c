{#
  Who stands for all persons that `lakehouse erase` took out: their facts go on under this id, which
  is no single client, so that marts with a row a client leave it out.
#}
{% macro is_nobody(client_id) -%}
    {{ client_id }} = -1
{%- endmacro %}
