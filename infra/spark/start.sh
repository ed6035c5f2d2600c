#!/bin/sh
# Spark's Thrift server in the foreground. As many parts as it works on at a time, instead of 200 and 50.
set -eu

exec "$SPARK_HOME/bin/spark-submit" \
    --class org.apache.spark.sql.hive.thriftserver.HiveThriftServer2 \
    --conf "spark.sql.shuffle.partitions=$SPARK_PARTITIONS" \
    --conf "spark.databricks.delta.snapshotPartitions=$SPARK_PARTITIONS" \
    spark-internal
