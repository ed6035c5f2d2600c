#!/bin/sh
# Builds and tests all models on Trino, from what has landed by now. One run at a time.
set -eu

export LAKEHOUSE_TRINO_HOST="$TRINO_HOST" LAKEHOUSE_TRINO_PORT="$TRINO_PORT"
export LAKEHOUSE_TRINO_SCHEME=https LAKEHOUSE_TRINO_CERT="$TRINO_ACCESS/ca.pem" LAKEHOUSE_TRINO_USER=dbt
cd "$LAKEHOUSE_PROJECT_DIR"
exec "$LAKEHOUSE_PROGRAMS/dbt" build --target trino --exclude-resource-type unit_test \
    --target-path "$LAKEHOUSE_HOME/target" --log-path "$LAKEHOUSE_HOME/logs" "$@"
