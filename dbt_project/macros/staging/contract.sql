{#
  What a model needs to know of its source table, read from the contract (the source's YAML), so
  that a new table costs no SQL. `graph` is empty while dbt parses: nothing is known before then. It is
  empty in unit tests, too: they give the answers of these macros themselves.
#}
{% macro contract_table() -%}
    {%- if not execute -%}
        {{- return(none) -}}
    {%- endif -%}
    {%- set source_name, table_name = model.sources[0] -%}
    {%- for table in graph.sources.values() -%}
        {%- if table.source_name == source_name and table.name == table_name -%}
            {{- return(table) -}}
        {%- endif -%}
    {%- endfor -%}
    {{- exceptions.raise_compiler_error('no source table for the model ' ~ model.name) -}}
{%- endmacro %}

{# The name under which the ledger counts the table: server.namespace.table. #}
{% macro contract_name() -%}
    {%- set table = contract_table() -%}
    {%- if table is none -%}
        {{- return('') -}}
    {%- endif -%}
    {%- set meta = table.config.meta -%}
    {{- return(meta.server ~ '.' ~ meta.namespace ~ '.' ~ table.name) -}}
{%- endmacro %}

{# The key columns, quoted: one may be a reserved word. #}
{% macro contract_key() -%}
    {%- set quoted = [] -%}
    {%- set table = contract_table() -%}
    {%- for name in (table.config.meta.key if table else []) -%}
        {%- do quoted.append(adapter.quote(name)) -%}
    {%- endfor -%}
    {{- return(quoted) -}}
{%- endmacro %}

{# The columns that enter the lake, quoted, in the contract's order. #}
{% macro contract_columns() -%}
    {%- set quoted = [] -%}
    {%- set table = contract_table() -%}
    {%- for column in (table.columns.values() if table else []) -%}
        {%- if column.config.meta.get('pii') != 'drop' -%}
            {%- do quoted.append(adapter.quote(column.name)) -%}
        {%- endif -%}
    {%- endfor -%}
    {{- return(quoted) -}}
{%- endmacro %}

{# Those of them that are times, quoted. #}
{% macro contract_times() -%}
    {%- set quoted = [] -%}
    {%- set table = contract_table() -%}
    {%- for column in (table.columns.values() if table else []) -%}
        {%- if column.data_type == 'timestamp' and not column.config.meta.get('pii') -%}
            {%- do quoted.append(adapter.quote(column.name)) -%}
        {%- endif -%}
    {%- endfor -%}
    {{- return(quoted) -}}
{%- endmacro %}

{#
  Names of the columns that may arrive as "unavailable": updates leave them out (TOAST), or the
  source no longer has them (dropped).
#}
{% macro contract_toast() -%}
    {%- set names = [] -%}
    {%- set table = contract_table() -%}
    {%- for column in (table.columns.values() if table else []) -%}
        {%- set meta = column.config.meta -%}
        {%- if (meta.get('toast') or meta.get('dropped')) and meta.get('pii') != 'drop' -%}
            {%- do names.append(column.name) -%}
        {%- endif -%}
    {%- endfor -%}
    {{- return(names) -}}
{%- endmacro %}

{# How often the source's positions began anew. #}
{% macro contract_epoch() -%}
    {%- set table = contract_table() -%}
    {{- return((table.config.meta.get('epoch') or 0) if table else 0) -}}
{%- endmacro %}
