"""Jobs for `spark-submit`, where one machine no longer does; under the same contracts."""
