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
        {%- do names.append(schema_prefix() ~ name ~ audit_suffix(name)) -%}
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
        {%- if not shows_a_version_of_last_week(schema, table) -%}
            {%- do run_query(
                'call ' ~ target.database ~ ".system.vacuum('" ~ schema ~ "', '" ~ table ~ "', '7d')"
            ) -%}
        {%- endif -%}
    {%- endfor -%}
{%- endmacro %}

{#
  Whether readers see a version of the table that was replaced more than a week ago: its files would
  go. The next publication moves them on, and then they may.
#}
{% macro shows_a_version_of_last_week(schema, table) -%}
    {%- if not schema.endswith('_audit') -%}
        {{- return(false) -}}
    {%- endif -%}
    {%- set shown = schema[:-6] -%}
    {%- set record = target.database ~ '.' ~ schema_prefix() ~ 'marts._publication' -%}
    {%- set known = run_query(
        'select 1 from ' ~ target.database ~ ".information_schema.tables where table_schema = '"
        ~ schema_prefix() ~ "marts' and table_name = '_publication'"
    ) -%}
    {%- if not known.rows -%}
        {{- return(false) -}}
    {%- endif -%}
    {%- set later = run_query(
        'select 1 from ' ~ target.database ~ '.' ~ schema ~ '."' ~ table ~ '$history" as made'
        ~ ' inner join ' ~ record ~ ' as told on made.version > told.version'
        ~ " where told.table_name = '" ~ shown ~ '.' ~ table ~ "'"
        ~ " and made.timestamp < current_timestamp - interval '7' day"
    ) -%}
    {{- return(later.rows | length > 0) -}}
{%- endmacro %}

{% macro spark__compact() -%}
    {%- for schema in written_schemas() -%}
        {%- for relation in adapter.list_relations(none, schema) if relation.is_table -%}
            {%- do run_query('optimize ' ~ relation) -%}
            {%- do run_query('vacuum ' ~ relation) -%}
        {%- endfor -%}
    {%- endfor -%}
{%- endmacro %}
