#!/bin/sh
# A role and a database for each service that keeps its own state: run once, when the data folder is made.
set -eu
psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" \
    -v metastore_password="$METASTORE_DB_PASSWORD" <<'SQL'
create role metastore login password :'metastore_password';
create database metastore owner metastore;
revoke connect on database metastore from public;
SQL
