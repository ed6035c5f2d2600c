#!/bin/sh
# Brings each connector of a folder to its file, and waits until it runs. Any number of times.
set -eu
connect="http://$CONNECT_HOST:$CONNECT_PORT/connectors"
for file in "$1"/*.json; do
    name=$(basename "$file" .json)
    curl -sS --fail-with-body --retry 10 --retry-delay 1 --retry-connrefused \
        -X PUT -H 'Content-Type: application/json' --data "@$file" "$connect/$name/config"
    echo
    tries=0
    until curl -sS "$connect/$name/status" | grep -q '"tasks":\[{"id":0,"state":"RUNNING"'; do
        tries=$((tries + 1))
        if [ "$tries" -ge 60 ]; then
            echo "connector $name does not run:" >&2
            curl -sS "$connect/$name/status" >&2
            exit 1
        fi
        sleep 1
    done
    echo "connector $name runs"
done
