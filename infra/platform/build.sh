#!/bin/sh
# Builds all models on Trino from what has landed by now, checks them, and shows readers what passed. One run at a time.
set -eu

export LAKEHOUSE_TRINO_HOST="$TRINO_HOST" LAKEHOUSE_TRINO_PORT="$TRINO_PORT"
export LAKEHOUSE_TRINO_SCHEME=https LAKEHOUSE_TRINO_CERT="$TRINO_ACCESS/ca.pem" LAKEHOUSE_TRINO_USER=dbt
export AWS_ENDPOINT_URL="http://$S3_HOST:$S3_PORT"
exec "$LAKEHOUSE_PROGRAMS/lakehouse" --target trino run "$@"
