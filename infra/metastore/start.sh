#!/bin/sh
# Makes the metastore's tables where its database has none, then serves.
set -eu

metastore() {
    # Java 17 keeps from reflection what Hive's libraries look into.
    java ${METASTORE_HEAP_OPTS:-} -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
        --add-opens=java.base/java.io=ALL-UNNAMED --add-opens=java.base/java.lang=ALL-UNNAMED \
        --add-opens=java.base/java.net=ALL-UNNAMED --add-opens=java.base/java.util=ALL-UNNAMED \
        "-Dlog4j.configurationFile=$METASTORE_CONF_DIR/log4j2.properties" \
        -cp "$METASTORE_CONF_DIR:$METASTORE_HOME/extra/*:$METASTORE_HOME/lib/*" "$@"
}

schema_tool=org.apache.hadoop.hive.metastore.tools.MetastoreSchemaTool
metastore $schema_tool -dbType postgres -info || metastore $schema_tool -dbType postgres -initSchema
metastore org.apache.hadoop.hive.metastore.HiveMetaStore -p "$METASTORE_PORT" &
child=$!
trap 'kill "$child"' TERM INT
wait "$child"
