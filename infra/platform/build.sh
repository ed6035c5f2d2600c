#!/bin/sh
# Builds all models on Trino from what has landed by now, checks them, and shows readers what passed. One run at a time.
set -eu

. "$(dirname "$0")/on-trino.sh"
exec "$LAKEHOUSE_PROGRAMS/lakehouse" run "$@"
