#!/bin/sh
# Stands for the script of that name in Kafka's image; KAFKA_JARS is a folder that Maven filled.
exec java ${KAFKA_HEAP_OPTS:-} ${KAFKA_LOG4J_OPTS:-} -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
    -cp "$KAFKA_JARS/*" org.apache.kafka.connect.cli.ConnectDistributed "$@"
