#!/bin/sh
# A role and a database for each service that keeps its own state. Runs when the data folder is made;
# run again, it makes those of services that came later, and brings changed passwords.
set -eu

# $1: the service, $2: the variable with its password, which no list of processes shows this way.
own() {
    psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" -v name="$1" -v variable="$2" <<'SQL'
\getenv password :variable
select format('create role %I login', :'name')
where not exists (select from pg_roles where rolname = :'name') \gexec
alter role :"name" password :'password';
select format('create database %I owner %I', :'name', :'name')
where not exists (select from pg_database where datname = :'name') \gexec
revoke connect on database :"name" from public;
SQL
}

own metastore METASTORE_DB_PASSWORD
own prefect PREFECT_DB_PASSWORD
own mlflow MLFLOW_DB_PASSWORD
own marquez MARQUEZ_DB_PASSWORD
own superset SUPERSET_DB_PASSWORD
own feast FEAST_DB_PASSWORD
