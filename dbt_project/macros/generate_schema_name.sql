{#
  A model's schema is the one that its folder names: readers look for `marts`, not `main_marts`. A
  prefix keeps builds apart that share a catalog: of several people, or of several engines.
#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{- schema_prefix() ~ (custom_schema_name or target.schema) | trim -}}
{%- endmacro %}

{% macro schema_prefix() -%}
    {{- env_var('LAKEHOUSE_SCHEMA_PREFIX', '')
        or adapter.dispatch('engine_prefix', 'lakehouse')() -}}
{%- endmacro %}

{% macro default__engine_prefix() -%}
{%- endmacro %}

{# Spark shares the metastore with Trino, and a table has one writing engine. #}
{% macro spark__engine_prefix() -%}
    spark_
{%- endmacro %}
