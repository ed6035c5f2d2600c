#!/bin/sh
# Redis takes no variables: the password comes by standard input, where no list of processes shows it.
set -eu
exec redis-server "$(dirname "$0")/redis.conf" - <<END
bind $REDIS_LISTEN
port $REDIS_PORT
dir $REDIS_DATA
requirepass "$REDIS_PASSWORD"
END
