"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 if there are dead letters.")]
Source = Annotated[
    Path | None, typer.Option("--from", help="Folder of capture files: <topic>/*.jsonl[.gz|.zst].")
]
Kafka = Annotated[
    str | None,
    typer.Option(
        "--kafka", metavar="BOOTSTRAP", help="Land from Kafka: host:port,… (LAKEHOUSE_KAFKA)"
    ),
]
Topics = Annotated[
    str | None,
    typer.Option(metavar="RE", help="Whole topic names; default those of the contracts."),
]
KafkaConfig = Annotated[
    Path | None,
    typer.Option(
        envvar="LAKEHOUSE_KAFKA_CONFIG",
        help="File of librdkafka properties, one name=value a line.",
    ),
]
AcceptGap = Annotated[
    bool, typer.Option("--accept-gap", help="Go on behind messages that expired in Kafka unread.")
]
