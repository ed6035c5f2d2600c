"""The shop's events in three deliveries, made worse: late, twice, keys changed, tables emptied."""

from __future__ import annotations

import json
from collections import defaultdict
from copy import deepcopy
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.demo.shop import capture

Line = dict[str, Any]
_DAYS = [None, date(2017, 7, 1), date(2017, 10, 1), None]
# Within a partition Kafka keeps the order, so what comes late or besides has partitions of its own.
_LATE, _ADDED = 100, 200


def deliveries(folder: Path, clients: int) -> list[Path]:
    """Write three folders of capture files, to be landed and built one after the other."""
    slices = [
        _captured(folder / f"whole-{n}", clients, start, until)
        for n, (start, until) in enumerate(pairwise(_DAYS))
    ]
    written = []
    held: list[Line] = []
    for n, (lines, added) in enumerate(zip(slices, _added(slices), strict=True)):
        is_last = n == len(slices) - 1
        late = [] if is_last else [line for line in lines if _place(line) % 11 == 3]
        again = [line for line in lines if _place(line) % 17 == 5]
        kept = [line for line in lines if line not in late]
        written.append(folder / f"delivery-{n}")
        _write(written[-1], kept)
        _write(written[-1], held[::-1], _LATE + n)
        _write(written[-1], added, _ADDED + n)
        held = late + again
    return written


def _captured(folder: Path, clients: int, start: date | None, until: date | None) -> list[Line]:
    capture(folder, clients=clients, start=start, until=until)
    lines = []
    for file in sorted(folder.rglob("*.jsonl*")):
        lines += pa.input_stream(str(file)).read().decode().splitlines()
    return [_opened(json.loads(line)) for line in lines]


def _opened(line: Line) -> Line:
    return line | {"payload": json.loads(line["payload"]) if line["payload"] else None}


def _place(line: Line) -> int:
    return int(line["offset"]) + int(line["partition"])


def _added(slices: list[list[Line]]) -> list[list[Line]]:
    """What the shop itself never does, for each delivery."""
    product, other = _changes(slices[1], "product")[-2:]
    (client,) = _changes(slices[1], "client")
    item = _changes(slices[1], "order_item")[7]
    row, old = product["payload"]["after"], client["payload"]["after"]
    moved = item["payload"]["after"] | {"line_no": 90}
    dearer = [other["payload"]["after"] | {"list_price": price} for price in ("7.77", "8.88")]
    return [
        [],
        [
            _after(product, "d", 1, before=row),
            *_rekeyed(item, moved),
            _after(_middle(slices[1], "client_interaction"), "t", 1),
            # Two changes within a millisecond are two versions.
            *(_after(other, "u", n, after=image) for n, image in enumerate(dearer, 1)),
        ],
        [
            _after(product, "c", 86_400_000_000, after=row),
            *_rekeyed(client, old | {"client_id": 9_999_999}),
            _after(_middle(slices[1], "promotion"), "t", 1),
        ],
    ]


def _changes(lines: list[Line], table: str) -> list[Line]:
    return [
        line
        for line in lines
        if line["topic"].endswith(f".{table}") and line["payload"] and line["payload"]["after"]
    ]


def _middle(lines: list[Line], table: str) -> Line:
    found = _changes(lines, table)
    return found[len(found) // 2]


def _rekeyed(line: Line, row: Line) -> list[Line]:
    """A change of key, as Debezium tells it: the old key dies, the new one is created."""
    former = line["payload"]["after"]
    created = _after(line, "c", 2, after=row)
    created["headers"] = ["__debezium.oldkey", line["key"]]
    return [_after(line, "d", 1, before=former), created]


def _after(line: Line, op: str, microseconds: int, **images: Line) -> Line:
    """A change that follows another one of the same table, before anything else happens."""
    made = deepcopy(line)
    payload = made["payload"]
    payload |= {"op": op, "before": None, "after": None} | images
    payload["source"]["lsn"] += min(microseconds, 7)
    payload["source"]["ts_us"] += microseconds
    payload["source"].pop("ts_ns")
    row = payload["after"] or payload["before"]
    names = json.loads(line["key"])
    made["key"] = json.dumps({name: row[name] for name in names}) if row else None
    return made


def _write(folder: Path, lines: list[Line], partition: int | None = None) -> None:
    """Append to the files of the topics; in a partition of their own, with offsets anew."""
    offsets: dict[str, int] = defaultdict(int)
    texts: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        topic = line["topic"]
        place = {} if partition is None else {"partition": partition, "offset": offsets[topic]}
        offsets[topic] += 1
        payload = None if line["payload"] is None else json.dumps(line["payload"])
        texts[topic].append(json.dumps(line | place | {"payload": payload}) + "\n")
    for topic, found in texts.items():
        file = folder / topic / f"{partition or 0}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(found), encoding="utf-8")
