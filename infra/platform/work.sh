#!/bin/sh
# Brings the deployments to Prefect's server, and works their runs off, one at a time.
set -eu

. "$(dirname "$0")/on-trino.sh"
export PREFECT_API_URL="http://$PREFECT_HOST:$PREFECT_PORT/api" PREFECT_WORKER_WEBSERVER_HOST=127.0.0.1
export LAKEHOUSE_REDIS="redis://:$REDIS_PASSWORD@$REDIS_HOST:$REDIS_PORT"
export LAKEHOUSE_FEATURE_REGISTRY="postgresql://feast:$FEAST_DB_PASSWORD@$PLATFORM_DB_HOST:$PLATFORM_DB_PORT/feast"
"$LAKEHOUSE_PROGRAMS/lakehouse" flows deploy
exec "$LAKEHOUSE_PROGRAMS/lakehouse" flows work --limit 1 --name compose --queue default
