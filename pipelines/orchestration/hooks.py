"""What happens when a flow run ends badly, in the process of the run itself."""

from __future__ import annotations

from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State

from pipelines.errors import LakehouseError
from pipelines.orchestration.artifacts import show_failure


def tell_why(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Show cause and remedy beside a run that failed by an error that a person can act on."""
    error = state.result(raise_on_failure=False)
    if isinstance(error, LakehouseError):
        show_failure(error)
