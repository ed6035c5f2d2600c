#!/bin/sh
# Users, and what change data capture may see: run once, when the data folder is made.
set -eu
quoted() {
    printf '%s' "$1" | sed "s/\\\\/\\\\\\\\/g; s/'/''/g"
}
MYSQL_PWD="$MARIADB_ROOT_PASSWORD" mariadb --no-defaults --user=root --socket="$MARIADB_SOCKET" <<SQL
create user depot identified by '$(quoted "$DEPOT_DB_PASSWORD")';
grant all on depot.* to depot;

-- The connector reads this database and the log, and nothing else. While a snapshot begins, it stops
-- all writes for a moment (reload), to read rows and the place in the log as of one moment.
create user cdc identified by '$(quoted "$MARIADB_CDC_PASSWORD")';
grant replication slave, binlog monitor, reload on *.* to cdc;
grant select, lock tables on depot.* to cdc;
SQL
