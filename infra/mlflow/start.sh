#!/bin/sh
# MLflow's tracking server. Clients come to the store through it, so that they need no keys of S3.
set -eu
# libpq's variable: in the URI the password would be seen in the list of processes.
export PGPASSWORD="$MLFLOW_DB_PASSWORD"
export MLFLOW_S3_ENDPOINT_URL="http://$S3_HOST:$S3_PORT"
exec "$MLFLOW_ENVIRONMENT/bin/python" -m mlflow server \
    --host "$MLFLOW_LISTEN" --port "$MLFLOW_PORT" --workers 1 \
    --allowed-hosts "$MLFLOW_HOST:*,localhost:*,127.0.0.1:*" \
    --backend-store-uri "postgresql+psycopg2://mlflow@$PLATFORM_DB_HOST:$PLATFORM_DB_PORT/mlflow" \
    --artifacts-destination s3://mlflow
