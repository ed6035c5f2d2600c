#!/bin/sh
# Roles, and what change data capture may see: run once, when the data folder is made.
set -eu
psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" \
    -v shop_password="$SHOP_DB_PASSWORD" -v cdc_password="$CDC_DB_PASSWORD" <<'SQL'
create role shop login password :'shop_password';
create role cdc login replication password :'cdc_password';
grant create on database :"DBNAME" to shop;
grant create, usage on schema public to shop;

-- The connector reads, and nothing else: tables that the shop makes later are readable, too.
grant usage on schema public to cdc;
alter default privileges for role shop in schema public grant select on tables to cdc;

-- Writing here now and then lets the slot move on while the shop sleeps.
create schema cdc authorization cdc;
create table cdc.heartbeat (id integer primary key, at timestamptz not null);
insert into cdc.heartbeat values (1, now());
alter table cdc.heartbeat owner to cdc;

-- A publication of whole schemas takes tables to come, which only a superuser may promise.
create publication lakehouse for tables in schema public, cdc;
SQL
