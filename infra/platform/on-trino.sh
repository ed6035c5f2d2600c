# To be read by a script: where Trino and the store are, in the words of `lakehouse`.
export LAKEHOUSE_TARGET=trino
export LAKEHOUSE_TRINO_HOST="$TRINO_HOST" LAKEHOUSE_TRINO_PORT="$TRINO_PORT"
export LAKEHOUSE_TRINO_SCHEME=https LAKEHOUSE_TRINO_CERT="$TRINO_ACCESS/ca.pem" LAKEHOUSE_TRINO_USER=dbt
export AWS_ENDPOINT_URL="http://$S3_HOST:$S3_PORT"
