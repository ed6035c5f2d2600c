{#
  The tables of schema `state`: what each model has changed and what it has consumed.
  They have no keys on purpose: two models write them at the same time, and an index would make
  the two transactions conflict. Each model only ever touches its own rows.
#}
{% macro state_table(name) -%}
    {{- api.Relation.create(
        database=target.get('database'), schema=schema_prefix() ~ 'state', identifier=name
    ) -}}
{%- endmacro %}

{# Several statements as the text of one hook, or, where an engine takes one at a time, run here. #}
{% macro run_statements(statements) -%}
    {{- adapter.dispatch('run_statements', 'lakehouse')(statements) -}}
{%- endmacro %}

{% macro default__run_statements(statements) -%}
    {%- if execute -%}
        {%- for statement in statements -%}
            {%- do run_query(statement) -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}

{% macro duckdb__run_statements(statements) -%}
    {{- statements | join(';\n') -}}
{%- endmacro %}

{% macro create_state() -%}
    {%- set tables = {
        'landed': 'table_name varchar, batch_id varchar, row_count bigint',
        'arrival': 'model varchar, upstream varchar, increment_id varchar, '
            ~ 'applied bigint, duplicate bigint, stale bigint',
        'increment': 'model varchar, increment_id varchar',
        'consumption': 'model varchar, upstream varchar, token varchar, status varchar',
        'touched_date': 'model varchar, increment_id varchar, touched_date date',
    } -%}
    {%- set schema = api.Relation.create(
        database=target.get('database'), schema=schema_prefix() ~ 'state'
    ) -%}
    {%- set statements = ['create schema if not exists ' ~ schema.without_identifier()] -%}
    {%- for name, columns in tables.items() -%}
        {%- do statements.append(
            'create table if not exists ' ~ state_table(name)
            ~ ' (' ~ columns | replace('varchar', text_type()) ~ ')'
            ~ state_properties(name, columns)
        ) -%}
    {%- endfor -%}
    {{- run_statements(statements) -}}
{%- endmacro %}

{% macro state_properties(name, columns) -%}
    {{- adapter.dispatch('state_properties', 'lakehouse')(name, columns) -}}
{%- endmacro %}

{% macro default__state_properties(name, columns) -%}
{%- endmacro %}

{# Delta refuses two writers at a time of one part of a table: each model has a part of its own. #}
{% macro trino__state_properties(name, columns) -%}
    {{- " with (partitioned_by = array['model'])" if columns.startswith('model ') -}}
{%- endmacro %}

{% macro spark__state_properties(name, columns) -%}
    {{- ' using delta' ~ (' partitioned by (model)' if columns.startswith('model ') else '')
        ~ ' ' ~ table_location(schema_prefix() ~ 'state', name) -}}
{%- endmacro %}

{#
  Fixes what the run may see: the batches in the ledger when it starts. A batch that commits while
  models are running waits for the next run, so that all models of a run see the same events.
#}
{% macro note_landed_batches() -%}
    insert into {{ state_table('landed') }} (table_name, batch_id, row_count)
    select
        ledger.table_name,
        ledger.batch_id,
        sum(coalesce(ledger.landed, 0) + coalesce(ledger.truncate, 0)) as row_count
    from {{ ledger() }} as ledger
    left join {{ state_table('landed') }} as noted
        on ledger.table_name = noted.table_name and ledger.batch_id = noted.batch_id
    where
        noted.batch_id is null
        and ledger.batch_id is not null
        and ledger.table_name is not null
    group by ledger.table_name, ledger.batch_id
{%- endmacro %}

{% macro ledger() -%}
    {{- adapter.dispatch('ledger', 'lakehouse')() -}}
{%- endmacro %}

{% macro default__ledger() -%}
    raw._ledger
{%- endmacro %}

{% macro duckdb__ledger() -%}
    delta_scan('{{ env_var("LAKEHOUSE_STORE", "") or env_var("LAKEHOUSE_HOME", "../lake") }}/raw/_ledger')
{%- endmacro %}

{% macro spark__ledger() -%}
    {{- raw_path('_ledger') or 'raw._ledger' -}}
{%- endmacro %}

{#
  An increment that every known reader has consumed is forgotten, with its dates and its tokens:
  otherwise opening an increment would get slower with every run. A reader is known by its row
  with an empty token, which stays. A reader to come needs no past increments: its first build
  takes everything. A model whose news is still pending ended in a crash: its increments stay.
#}
{% macro prune_state() -%}
    {%- set increment = state_table('increment') -%}
    {%- set consumption = state_table('consumption') -%}
    {%- set touched_date = state_table('touched_date') -%}
    {%- set awaited -%}
        (
            select
                offered.model,
                offered.increment_id
            from {{ increment }} as offered
            inner join {{ consumption }} as reader
                on offered.model = reader.upstream and reader.token = ''
            left join {{ consumption }} as consumed
                on
                    reader.model = consumed.model
                    and reader.upstream = consumed.upstream
                    and offered.increment_id = consumed.token
                    and consumed.status = 'done'
            where consumed.token is null
        )
    {%- endset -%}
    {%- set kept = '(select model, increment_id from ' ~ increment ~ ')' -%}
    {{- run_statements([
        delete_rows(increment, ['model', 'increment_id'], '(model, increment_id) not in ' ~ awaited
            ~ ' and model not in (select model from ' ~ consumption
            ~ " where status = 'pending')"),
        delete_rows(
            touched_date, ['model', 'increment_id'], '(model, increment_id) not in ' ~ kept
        ),
        delete_rows(consumption, ['model', 'upstream', 'token'],
            "token <> '' and upstream not like '%.%' and (upstream, token) not in " ~ kept),
    ]) -}}
{%- endmacro %}
