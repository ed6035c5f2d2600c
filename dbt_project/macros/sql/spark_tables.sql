{#
  Tables on Spark are Delta tables, written and replaced in one commit.

  They name their place, which is the one that the metastore would give them: so they are external
  tables, of which Spark takes over what it finds there. A server that dies while it creates a table
  leaves files without a name; to a table that the metastore places, they would be in the way.
#}
{% macro table_location(schema, identifier) -%}
    {#- Spark fills in its setting. -#}
    location '${spark.sql.warehouse.dir}/{{ schema }}.db/{{ identifier }}'
{%- endmacro %}

{% macro spark__create_table_as(temporary, relation, compiled_code, language='sql') -%}
    {%- if temporary -%}
    create or replace temporary view {{ relation }} as
    {{ compiled_code }}
    {%- else -%}
    {%- if config.get('contract').enforced -%}
        {{- get_assert_columns_equivalent(compiled_code) -}}
        {%- set compiled_code = get_select_subquery(compiled_code) -%}
    {%- endif -%}
    create or replace table {{ relation }}
    using delta
    {{ table_location(relation.schema, relation.identifier) }}
    tblproperties ('lakehouse.writer' = 'spark')
    as
    {{ compiled_code }}
    {%- endif -%}
{%- endmacro %}

{# dbt-spark knows strategies of its own alone; here they are found as on the other engines. #}
{% macro dbt_spark_validate_get_incremental_strategy(raw_strategy, file_format) -%}
    {{- return(raw_strategy) -}}
{%- endmacro %}

{% macro dbt_spark_get_incremental_sql(
    strategy, source, target, existing, unique_key, incremental_predicates
) -%}
    {{- adapter.get_incremental_strategy_macro(context, strategy)({
        'target_relation': target,
        'temp_relation': source,
        'dest_columns': adapter.get_columns_in_relation(target),
    }) -}}
{%- endmacro %}

{% macro spark__get_incremental_append_sql(arg_dict) -%}
    {{- trino__get_incremental_append_sql(arg_dict) -}}
{%- endmacro %}

{% macro spark__get_select_subquery(sql) -%}
    {{- select_never_null(sql, 'raise_error') -}}
{%- endmacro %}

{# What a contract says is never null is seen to by each statement that writes. #}
{% macro spark__persist_constraints(relation, model) -%}
{%- endmacro %}

{# A cursor of Spark's server tells no decimal's digits: a query's types are asked for instead. #}
{% macro spark__get_assert_columns_equivalent(sql) -%}
    {%- set found, promised = [], [] -%}
    {%- for row in run_query('describe query ' ~ sql).rows -%}
        {%- do found.append(column_of_contract(row[0], row[1])) -%}
    {%- endfor -%}
    {%- for column in model.columns.values() -%}
        {%- do promised.append(column_of_contract(column.name, column.data_type)) -%}
    {%- endfor -%}
    {%- if found | sort(attribute='formatted') != promised | sort(attribute='formatted') -%}
        {%- do exceptions.raise_contract_error(promised, found) -%}
    {%- endif -%}
{%- endmacro %}

{# The contracts of the marts name types as DuckDB does. #}
{% macro column_of_contract(name, data_type) -%}
    {%- set names = {'varchar': 'string', 'timestamptz': 'timestamp', 'integer': 'int'} -%}
    {%- set type = data_type | lower | replace(' ', '') -%}
    {%- set type = names.get(type, type) -%}
    {{- return({'name': name, 'data_type': type, 'formatted': name | lower ~ ' ' ~ type}) -}}
{%- endmacro %}

{# dbt-spark's own goes by way of seconds. #}
{% macro spark__dateadd(datepart, interval, from_date_or_timestamp) -%}
    dateadd({{ datepart }}, {{ interval }}, {{ from_date_or_timestamp }})
{%- endmacro %}

{#
  Errors where a value does not fit, instead of null: the adapter switches that off in each of its
  sessions, and a model has a session of its own.
#}
{% macro strict_values() -%}
    {{- adapter.dispatch('strict_values', 'lakehouse')() -}}
{%- endmacro %}

{% macro default__strict_values() -%}
{%- endmacro %}

{% macro spark__strict_values() -%}
    set spark.sql.ansi.enabled = true
{%- endmacro %}
