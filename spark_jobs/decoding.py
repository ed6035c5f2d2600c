"""What Spark's workers do: decode messages of one topic by the platform's own decoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa

from pipelines.cdc.decode import FORMER_KEY_HEADER, Decoder
from pipelines.cdc.erasures import Erased
from pipelines.cdc.kafka_messages import line
from pipelines.cdc.masking import Masker
from pipelines.cdc.raw_rows import all_rows
from pipelines.contract import Table
from pipelines.lake.tables import raw_schema

# What the decoder tells of a message: column → its name in `decoded`, and type.
PARTITION, OFFSET = "_message_partition", "_message_offset"
DISPOSITION, REASON_CODE, REASON = (
    "_message_disposition", "_message_reason_code", "_message_reason",
)  # fmt: skip
LINE = "_message_line"
_TOLD = {
    PARTITION: ("partition_no", pa.int32()),
    OFFSET: ("offset_no", pa.int64()),
    DISPOSITION: ("disposition", pa.string()),
    REASON_CODE: ("reason_code", pa.string()),
    REASON: ("reason", pa.string()),
    LINE: ("line", pa.string()),
}
# Spark's numbers of the kinds of time, and those of librdkafka.
_TIMESTAMP_KINDS = {0: 1, 1: 2}


@dataclass(frozen=True)
class KafkaRow:
    """A row of Spark's Kafka source, with the methods of `confluent_kafka.Message` in use."""

    row: dict[str, Any]

    def topic(self) -> str:
        return str(self.row["topic"])

    def partition(self) -> int:
        return int(self.row["partition"])

    def offset(self) -> int:
        return int(self.row["offset"])

    def key(self) -> bytes | None:
        return self.row["key"]  # type: ignore[no-any-return]

    def value(self) -> bytes | None:
        return self.row["value"]  # type: ignore[no-any-return]

    def timestamp(self) -> tuple[int, int]:
        at: datetime = self.row["timestamp"]
        return _TIMESTAMP_KINDS.get(self.row["timestampType"], 0), round(at.timestamp() * 1000)

    def headers(self) -> Sequence[tuple[str, bytes | None]] | None:
        return [(header["key"], header["value"]) for header in self.row["headers"] or ()]

    def error(self) -> Any:
        return None

    def __len__(self) -> int:
        return len(self.value() or b"")


class KafkaRows:
    """Rows of Spark's Kafka source, as the decoder takes them."""

    def __init__(self, rows: pa.RecordBatch) -> None:
        self._rows = rows
        self._places: dict[tuple[int, int], int] = {}

    def table(self) -> pa.Table:
        """Columns `partition`, `offset`, `key`, `payload` and `former_key`."""
        rows = self._rows
        return pa.table(
            {
                "partition": rows["partition"],
                "offset": rows["offset"],
                "key": rows["key"].cast(pa.large_binary()),
                "payload": rows["value"].cast(pa.large_binary()),
                "former_key": self._former_keys(),
            }
        )

    def _former_keys(self) -> pa.Array:
        headers = self._rows["headers"]
        if headers.null_count == len(headers):
            return pa.nulls(len(headers), pa.string())
        texts = []
        for told in headers.to_pylist():
            values = [h["value"] for h in told or () if h["key"] == FORMER_KEY_HEADER]
            texts.append(next((v.decode(errors="replace") for v in values if v is not None), None))
        return pa.array(texts, pa.string())

    def line_of(self, partition: int, offset: int) -> str:
        """One of them as a line of a capture file."""
        if not self._places:
            columns = (self._rows[name].to_pylist() for name in ("partition", "offset"))
            self._places = {place: row for row, place in enumerate(zip(*columns, strict=True))}
        (row,) = self._rows.slice(self._places[partition, offset], 1).to_pylist()
        return line(KafkaRow(row))


@dataclass(frozen=True)
class Decoding:
    """Decodes the messages of one topic; goes to the workers as a whole.

    Args:
        table: the contract, or None where the topic has none.
        control: the disposition of all its messages if it is a control topic.
        erased: as known when the batch began.
    """

    topic: str
    table: Table | None
    control: str | None
    batch_id: str
    landed_at: datetime
    masker: Masker = field(repr=False)
    erased: Erased = field(repr=False)

    @property
    def schema(self) -> pa.Schema:
        """The raw table's columns, then what the decoder tells; lines are sealed."""
        told = [pa.field(name, data_type) for name, (_, data_type) in _TOLD.items()]
        told[-1] = pa.field(LINE, pa.binary())
        return pa.schema([*(raw_schema(self.table) if self.table else ()), *told])

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Turn rows of Spark's Kafka source into rows of `schema`, one for each message."""
        with duckdb.connect(config={"threads": "1"}) as connection:
            connection.execute("set TimeZone = 'UTC'")
            decoder = Decoder(connection, self.masker, self.topic, self.table, self.control)
            for batch in batches:
                rows = KafkaRows(batch)
                decoder.decode_messages(rows.table(), rows.line_of)
                if self.table:
                    self.erased.keep_out(connection, self.table)
                for decoded in self._rows(connection):
                    yield _sealed(decoded, self.masker)

    def _rows(self, connection: duckdb.DuckDBPyConnection) -> Iterator[pa.RecordBatch]:
        if self.table:
            yield from all_rows(
                connection, self.table, self.masker, self.batch_id, self.landed_at, _TOLD
            )
            return
        told = ", ".join(f"{sql} as {name}" for name, (sql, _) in _TOLD.items())
        yield from connection.execute(f"select {told} from decoded").to_arrow_reader()


def _sealed(rows: pa.RecordBatch, masker: Masker) -> pa.RecordBatch:
    """The rows with sealed lines: Spark may write them to disk."""
    lines = [
        None if text is None else masker.seal(text.encode()) for text in rows[LINE].to_pylist()
    ]
    place = rows.schema.get_field_index(LINE)
    return rows.set_column(place, pa.field(LINE, pa.binary()), pa.array(lines, pa.binary()))
