{#
  Joins the small files that increments leave in Trino's tables, and deletes those replaced more than
  a week ago. Between runs, by hand or by a schedule:

      dbt run-operation compact --target trino
#}
{% macro compact() -%}
    {%- set tables = run_query(
        'select table_schema, table_name from ' ~ target.database ~ '.information_schema.tables'
        ~ " where table_type = 'BASE TABLE'"
        ~ " and table_schema in ('staging', 'intermediate', 'marts', 'state')"
    ) -%}
    {%- for schema, table in tables.rows -%}
        {%- set relation = api.Relation.create(target.database, schema, table) -%}
        {%- do run_query('alter table ' ~ relation ~ ' execute optimize') -%}
        {%- do run_query(
            'call ' ~ target.database ~ ".system.vacuum('" ~ schema ~ "', '" ~ table ~ "', '7d')"
        ) -%}
    {%- endfor -%}
{%- endmacro %}
