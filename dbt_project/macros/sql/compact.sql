{#
  Joins the small files that increments leave in the tables of Trino or Spark, and deletes those
  replaced more than a week ago. Between runs, by hand or by a schedule:

      dbt run-operation compact --target trino
#}
{% macro compact() -%}
    {{- adapter.dispatch('compact', 'lakehouse')() -}}
{%- endmacro %}

{% macro default__compact() -%}
{%- endmacro %}

{# The schemas that dbt writes. #}
{% macro written_schemas() -%}
    {%- set names = [] -%}
    {%- for name in ['staging', 'intermediate', 'marts', 'state'] -%}
        {%- do names.append(schema_prefix() ~ name) -%}
    {%- endfor -%}
    {{- return(names) -}}
{%- endmacro %}

{% macro trino__compact() -%}
    {%- set tables = run_query(
        'select table_schema, table_name from ' ~ target.database ~ '.information_schema.tables'
        ~ " where table_type = 'BASE TABLE'"
        ~ " and table_schema in ('" ~ written_schemas() | join("', '") ~ "')"
    ) -%}
    {%- for schema, table in tables.rows -%}
        {%- set relation = api.Relation.create(target.database, schema, table) -%}
        {%- do run_query('alter table ' ~ relation ~ ' execute optimize') -%}
        {%- do run_query(
            'call ' ~ target.database ~ ".system.vacuum('" ~ schema ~ "', '" ~ table ~ "', '7d')"
        ) -%}
    {%- endfor -%}
{%- endmacro %}

{% macro spark__compact() -%}
    {%- for schema in written_schemas() -%}
        {%- for relation in adapter.list_relations(none, schema) if relation.is_table -%}
            {%- do run_query('optimize ' ~ relation) -%}
            {%- do run_query('vacuum ' ~ relation) -%}
        {%- endfor -%}
    {%- endfor -%}
{%- endmacro %}
