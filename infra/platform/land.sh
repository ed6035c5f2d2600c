#!/bin/sh
# Follows Kafka until it is stopped. Tables and what is known of them lie in the store.
set -eu

export LAKEHOUSE_KAFKA="$KAFKA_HOST:$KAFKA_PORT"
export LAKEHOUSE_METASTORE="thrift://$METASTORE_HOST:$METASTORE_PORT"
export AWS_ENDPOINT_URL="http://$S3_HOST:$S3_PORT"
exec "$LAKEHOUSE_PROGRAMS/lakehouse" land --follow \
    --metrics-host "$LANDER_LISTEN" --metrics-port "$LANDER_PORT"
