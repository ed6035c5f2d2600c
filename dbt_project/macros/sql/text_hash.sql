{#
  A stable identifier of some columns: md5 as hex text. Columns are set apart by a character that
  no key holds, so that ('a', 'bc') and ('ab', 'c') differ. Only for columns whose text is the
  same on every engine: integers, dates and text, not timestamps or floats.
#}
{% macro text_hash(columns) -%}
    {%- set parts = [] -%}
    {%- for column in columns -%}
        {%- do parts.append("coalesce(cast(" ~ column ~ " as " ~ text_type() ~ "), '')") -%}
    {%- endfor -%}
    {{- adapter.dispatch('text_md5', 'lakehouse')(parts | join(" || chr(31) || ")) -}}
{%- endmacro %}

{% macro default__text_md5(text) -%}
    md5({{ text }})
{%- endmacro %}

{% macro trino__text_md5(text) -%}
    lower(to_hex(md5(to_utf8({{ text }}))))
{%- endmacro %}

{# Text of any length. #}
{% macro text_type() -%}
    {{- adapter.dispatch('text_type', 'lakehouse')() -}}
{%- endmacro %}

{% macro default__text_type() -%}
    varchar
{%- endmacro %}

{% macro spark__text_type() -%}
    string
{%- endmacro %}
