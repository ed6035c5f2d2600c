#!/bin/sh
# Works off what Prefect has in the queue of models, one run at a time; `worker` has deployed them.
set -eu

. "$(dirname "$0")/on-trino.sh"
export PREFECT_API_URL="http://$PREFECT_HOST:$PREFECT_PORT/api" PREFECT_WORKER_WEBSERVER_HOST=127.0.0.1
export MLFLOW_TRACKING_URI="http://$MLFLOW_HOST:$MLFLOW_PORT"
exec "$LAKEHOUSE_PROGRAMS/lakehouse" flows work --limit 1 --name compose-models --queue models
