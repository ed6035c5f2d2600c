{#
  Tables on Trino are written and replaced in one commit: readers see the former rows until the new
  ones are there. (dbt-trino creates a table with a contract empty, and fills it then.)
#}
{% macro trino__create_table_as(temporary, relation, sql, on_exists=none) -%}
    {%- if config.get('contract').enforced -%}
        {{- get_assert_columns_equivalent(sql) -}}
        {%- set sql = get_select_subquery(sql) -%}
    {%- endif -%}
    create or replace table {{ relation }}
    {{ properties(temporary) }}
    as (
        {{ sql }}
    )
{%- endmacro %}

{% macro trino__get_incremental_append_sql(arg_dict) -%}
    {%- set columns = get_quoted_csv(arg_dict.dest_columns | map(attribute='name')) -%}
    {%- set rows = 'select ' ~ columns ~ ' from ' ~ arg_dict.temp_relation -%}
    insert into {{ arg_dict.target_relation }} ({{ columns }})
    select {{ columns }}
    from ({{ get_select_subquery(rows) if config.get('contract').enforced else rows }}) as added
{%- endmacro %}

{% macro trino__get_select_subquery(sql) -%}
    {{- select_never_null(sql, 'fail') -}}
{%- endmacro %}

{# A table made of a query has no constraints: what a contract says is never null is seen to here. #}
{% macro select_never_null(sql, fail) -%}
    select
        {%- for column in model.columns.values() %}
        {%- set name = adapter.quote(column.name) %}
        {%- if column.constraints | selectattr('type', 'equalto', 'not_null') | list %}
        coalesce({{ name }}, {{ fail }}('{{ model.name }}.{{ column.name }} is null')) as {{ name }}
        {%- else %}
        {{ name }}
        {%- endif -%}
        {{ ',' if not loop.last }}
        {%- endfor %}
    from (
        {{ sql }}
    ) as model_rows
{%- endmacro %}

{# The contracts of the marts name types as DuckDB does. #}
{% macro trino__get_empty_schema_sql(columns) -%}
    select
        {%- for column in columns.values() %}
        cast(null as {{ column.data_type | replace('timestamptz', 'timestamp(6)') }})
            as {{ adapter.quote(column.name) }}{{ ',' if not loop.last }}
        {%- endfor %}
{%- endmacro %}

{#
  Whose client dies while it creates a new table, loses the files and keeps the name: Trino undoes the
  one without the other. Such a table has no columns any more; it goes, and is built anew.
#}
{% macro drop_wrecks() -%}
    {{- adapter.dispatch('drop_wrecks', 'lakehouse')() -}}
{%- endmacro %}

{% macro default__drop_wrecks() -%}
{%- endmacro %}

{% macro trino__drop_wrecks() -%}
    {%- set schema = target.database ~ '.information_schema' -%}
    {%- if execute -%}
        {%- set wrecks = run_query(
            'select named.table_schema, named.table_name from ' ~ schema ~ '.tables as named'
            ~ ' left join ' ~ schema ~ '.columns as known'
            ~ ' on named.table_schema = known.table_schema and named.table_name = known.table_name'
            ~ " where named.table_type = 'BASE TABLE' and known.column_name is null"
            ~ " and named.table_schema in ('" ~ written_schemas() | join("', '") ~ "')"
        ) -%}
        {%- for schema, table in wrecks.rows -%}
            {%- do adapter.drop_relation(
                api.Relation.create(target.database, schema, table, type='table')
            ) -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}
