{#
  A model's schema is the one that its folder names: readers look for `marts`, not `main_marts`. A
  prefix keeps builds apart that share a catalog: of several people, or of several engines.
#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{- schema_prefix() ~ (custom_schema_name or target.schema) | trim ~ audit_suffix(custom_schema_name) -}}
{%- endmacro %}

{#
  On Trino, what readers see is views over tables that have passed their gates: these are built in
  a schema beside, and `lakehouse --target trino run` moves the views.
#}
{% macro audit_suffix(custom_schema_name) -%}
    {{- adapter.dispatch('audit_suffix', 'lakehouse')(custom_schema_name) -}}
{%- endmacro %}

{% macro default__audit_suffix(custom_schema_name) -%}
{%- endmacro %}

{% macro trino__audit_suffix(custom_schema_name) -%}
    {{- '_audit' if custom_schema_name in ['marts', 'features', 'predictions'] -}}
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
