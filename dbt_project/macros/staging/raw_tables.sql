{# The raw table of a source: DuckDB and Spark read it by its path, Trino by its name. #}
{% macro raw_table(relation) -%}
    {{- adapter.dispatch('raw_table', 'lakehouse')(relation) -}}
{%- endmacro %}

{% macro default__raw_table(relation) -%}
    {{- relation -}}
{%- endmacro %}

{% macro trino__raw_table(relation) -%}
    {{- relation.incorporate(path={'identifier': contract_name() | replace('.', '_')}) -}}
{%- endmacro %}

{% macro spark__raw_table(relation) -%}
    {{- raw_path(contract_name()) or trino__raw_table(relation) -}}
{%- endmacro %}

{# LAKEHOUSE_SPARK_RAW says where the raw tables lie, as Spark sees it; without it, by name. #}
{% macro raw_path(folder) -%}
    {%- set location = env_var('LAKEHOUSE_SPARK_RAW', '') -%}
    {{- 'delta.`' ~ location ~ '/' ~ folder ~ '`' if location -}}
{%- endmacro %}

{#
  Makes the raw tables known to an engine that reads them by name. LAKEHOUSE_TRINO_RAW says where
  they lie, as Trino sees it; without it, they are known already.
#}
{% macro register_raw_tables() -%}
    {{- adapter.dispatch('register_raw_tables', 'lakehouse')() -}}
{%- endmacro %}

{% macro default__register_raw_tables() -%}
{%- endmacro %}

{% macro trino__register_raw_tables() -%}
    {%- set location = env_var('LAKEHOUSE_TRINO_RAW', '') -%}
    {%- if execute and location -%}
        {%- set folders = {'_ledger': '_ledger'} -%}
        {%- for table in graph.sources.values() if table.config.meta.server -%}
            {%- set meta = table.config.meta -%}
            {%- set folder = meta.server ~ '.' ~ meta.namespace ~ '.' ~ table.name -%}
            {%- do folders.update({folder | replace('.', '_'): folder}) -%}
        {%- endfor -%}
        {%- for table in graph.sources.values() if table.source_name == 'inference' -%}
            {%- do folders.update({'inference_' ~ table.name: 'inference.' ~ table.name}) -%}
        {%- endfor -%}
        {%- do run_query('create schema if not exists ' ~ target.database ~ '.raw') -%}
        {%- set known = run_query(
            'select table_name from ' ~ target.database
            ~ ".information_schema.tables where table_schema = 'raw'"
        ).columns[0].values() -%}
        {%- for name, folder in folders.items() if name not in known -%}
            {%- do run_query(
                'call ' ~ target.database ~ ".system.register_table('raw', '" ~ name ~ "', '"
                ~ location ~ '/' ~ folder ~ "')"
            ) -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}
