"""What a flow run finds around it: settings, source, its own id."""

from __future__ import annotations

import os
from pathlib import Path

from prefect.runtime import flow_run

from pipelines import logs
from pipelines.caller import Caller
from pipelines.cdc.kafka import KafkaSource
from pipelines.cdc.kafka_cluster import read_properties
from pipelines.errors import UsageError
from pipelines.orchestration.tasks import as_tasks
from pipelines.settings import Settings, load_settings


def settings_of_worker() -> Settings:
    """The settings that the worker has handed over as variables.

    Raises:
        UsageError: the lake's home is not told, or is relative to a folder that changes with each
            run.
    """
    home = os.environ.get("LAKEHOUSE_HOME")
    if home is None or not Path(home).is_absolute():
        raise UsageError(
            f"a flow run begins in a folder of its own, where LAKEHOUSE_HOME={home or ''} leads "
            "nowhere",
            "start the worker with `lakehouse flows work`, which hands its settings over",
        )
    logs.configure([])
    return load_settings()


def source_of(settings: Settings, *, accept_gap: bool = False) -> KafkaSource | None:
    """Kafka, where the settings name it; None means the lake's inbox.

    Args:
        accept_gap: go on behind messages that expired in Kafka unread.
    """
    if settings.kafka is None:
        return None
    properties = read_properties(settings.kafka_config) if settings.kafka_config else {}
    return KafkaSource(settings.kafka, None, properties, accept_gap=accept_gap)


def prefect_for(settings: Settings) -> Caller:
    """The flow run that is on, as who has a run of the chain made."""
    run_id: str | None = flow_run.get_id()
    return Caller(run_id, as_tasks(settings))
