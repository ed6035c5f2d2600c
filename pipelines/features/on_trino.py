"""The published feature tables on Trino: the versions that the views of readers are pinned to."""

from __future__ import annotations

import pyarrow as pa

from pipelines.lake.publish_on_trino import AUDIT
from pipelines.lake.trino import Asked, asker
from pipelines.settings import Settings

_SECONDS = 60.0


class TrinoTables:
    """Reads each table below its view, so that a former version can be read, too."""

    def __init__(self, settings: Settings) -> None:
        self._ask: Asked = asker(settings, _SECONDS)
        self._prefix = settings.schema_prefix

    def scan(self, table: str, version: int) -> str:
        schema, _, name = table.partition(".")
        return f"{self._prefix}{schema}{AUDIT}.{name} for version as of {version}"

    def hold(self, name: str, query: str) -> str:
        return f"({query}) as {name}"

    def fetch(self, query: str, schema: pa.Schema) -> pa.Table:
        columns = ", ".join(f'"{name}"' for name in schema.names)
        rows = self._ask(f"select {columns} from ({query}) as asked")
        values = list(zip(*rows, strict=True)) or [()] * len(schema)
        arrays = [pa.array(v, field.type) for v, field in zip(values, schema, strict=True)]
        return pa.table(arrays, schema=schema)
