"""Replaying dead letters: what can land by now lands at its own place; and dropping them for good.

The commits of a replay are rows, marks, ledger. Rows that a replay wrote before it died are found
by their coordinates; marks that the ledger does not know are counted by whoever comes next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from pipelines.cdc import books, dead_letters, novelty, resolutions
from pipelines.cdc.dead_letters import Choice
from pipelines.cdc.decode import DEAD, LANDED, ROUTED, TRUNCATE, Decoder, control_kind
from pipelines.cdc.erasures import Erasures
from pipelines.cdc.evolve import evolve_raw_tables
from pipelines.cdc.ledger import Ledger
from pipelines.cdc.masking import Masker, load_masker
from pipelines.cdc.raw_rows import new_rows
from pipelines.cdc.resolutions import Mark, Resolutions
from pipelines.contract import Contracts, Table
from pipelines.errors import LakehouseError, UsageError
from pipelines.lake import lock
from pipelines.lake.duck import connect
from pipelines.lake.ids import new_id, now
from pipelines.lake.tables import again_if_overtaken, append, create_raw_tables, raw_path
from pipelines.lake.writer import LAKEHOUSE, refuse_other_writer
from pipelines.settings import Settings

_LETTERS_A_BATCH = 50_000

Letter = dict[str, Any]
Place = tuple[int, int]


@dataclass
class ReplayReport:
    """What one replay did.

    Attributes:
        counts: disposition → letters resolved; `landed` and `truncate` are rows of raw tables.
        still_dead: letter id → reason of today, of letters that are still bad.
        placeless: ids of letters that told no coordinates and got no repaired line.
        uncounted: ids of letters whose landing was cut off and has to be repeated first.
    """

    counts: Counter[str] = field(default_factory=Counter)
    still_dead: dict[str, str] = field(default_factory=dict)
    placeless: list[str] = field(default_factory=list)
    uncounted: list[str] = field(default_factory=list)


def replay(
    settings: Settings,
    contracts: Contracts,
    choice: Choice,
    run_id: str,
    repaired: bytes | None = None,
) -> ReplayReport:
    """Decode the chosen open letters under the contracts of today and land what is good.

    Args:
        repaired: a line to take the place of the only letter chosen.

    Raises:
        Busy: a run, or another replay, holds this lake.
        UsageError: a repaired line for several letters, for another message, or still bad.
        LakehouseError: the masking key is missing or another one, the books of the lake do not
            agree, or others keep committing.
    """
    report = ReplayReport()
    with lock.exclusive(settings.state, "lakehouse dead-letters replay"):
        masker = load_masker(settings, create=False)
        ledger, _ = books.open_ledger(settings.raw, contracts)
        create_raw_tables(settings.raw, contracts)
        try:
            resolutions.complete(settings.raw, ledger, run_id)
            letters = dead_letters.find(settings.raw, choice, with_lines=True)
            if repaired is not None:
                repaired = _one_line(repaired, len(letters))
            with connect(settings) as connection:
                evolve_raw_tables(settings.raw, contracts, connection, masker, run_id)
                for topic in pc.unique(letters["topic"]).to_pylist():
                    kind = _SharedTopicReplay if contracts.sharing(topic) else _TopicReplay
                    one = kind(
                        topic, contracts, settings, connection, masker, ledger, run_id, report
                    )
                    own = letters.filter(pc.field("topic") == topic)
                    for start in range(0, len(own), _LETTERS_A_BATCH):
                        one.replay(own.slice(start, _LETTERS_A_BATCH).to_pylist(), repaired)
        except CommitFailedError as error:
            raise LakehouseError(
                f"another process keeps committing to the lake: {error}",
                "let it finish, then replay again: nothing is lost or doubled",
            ) from None
    return report


def _one_line(repaired: bytes, letters: int) -> bytes:
    if letters != 1:
        raise UsageError(
            f"a repaired line takes the place of one letter; {letters} open ones are chosen",
            "name one open letter by its id",
        )
    line = repaired.removesuffix(b"\n")
    try:
        line.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"the repaired line is no UTF-8: {error}", "repair that as well") from None
    if b"\n" in line or not line.strip():
        raise UsageError(
            f"a repaired message is one line; here are {line.count(10) + bool(line.strip())}",
            "write it as `lakehouse dead-letters show ID --raw` prints it",
        )
    return line


def drop(
    settings: Settings, contracts: Contracts, choice: Choice, because: str, run_id: str
) -> int:
    """Mark the chosen open letters as dropped; returns how many. They stay counted as `dead`.

    A dropped message that is delivered again is passed over, as any known one.

    Raises:
        Busy: a run, or a replay, holds this lake.
        LakehouseError: a replay of a chosen letter was cut off after it had written the row.
    """
    with lock.exclusive(settings.state, "lakehouse dead-letters drop"):
        letters = dead_letters.find(settings.raw, choice).to_pylist()
        if not letters:
            return 0
        _refuse_half_replayed(settings, contracts, letters)
        marks = [
            Mark(
                letter["letter_id"], letter["topic"], resolutions.DROPPED, because,
                partition=letter["partition"], offset=letter["offset"],
            )
            for letter in letters
        ]  # fmt: skip
        Resolutions(settings.raw).add(marks, batch_id=new_id(), run_id=run_id, resolved_at=now())
        return len(marks)


def _refuse_half_replayed(
    settings: Settings, contracts: Contracts, letters: Sequence[Letter]
) -> None:
    with connect(settings) as connection:
        for topic in sorted({letter["topic"] for letter in letters}):
            letters_places = [_place(x) for x in letters if x["topic"] == topic]
            places = [place for place in letters_places if place]
            tables = [table.topic for table in contracts.sharing(topic)] or [topic]
            folders = [settings.raw / table for table in tables]
            if any(
                DeltaTable.is_deltatable(str(folder)) and _rows_at(connection, folder, places)
                for folder in folders
            ):
                raise LakehouseError(
                    f"a replay of dead letters of {topic} was cut off after it had written rows",
                    f"complete it first: lakehouse dead-letters replay --topic {topic}",
                )


def _place(letter: Letter) -> Place | None:
    """Where the message stands; None where it did not tell."""
    if letter["partition"] is None or letter["offset"] is None:
        return None
    return letter["partition"], letter["offset"]


def _rows_at(
    connection: duckdb.DuckDBPyConnection, path: Path, places: Sequence[Place]
) -> dict[Place, tuple[str, str]]:
    """Place → batch and disposition of the row that a raw table has there."""
    partitions, offsets = zip(*places, strict=True) if places else ((), ())
    columns = {"p": pa.array(partitions, pa.int32()), "o": pa.array(offsets, pa.int64())}
    connection.register("places", pa.table(columns))
    found = connection.execute(
        f"""select _partition, _offset, min(_batch_id),
                case when min(_op) = 't' then '{TRUNCATE}' else '{LANDED}' end
            from delta_scan(?) where _offset between ? and ?
                and exists (select 1 from places where p = _partition and o = _offset)
            group by all""",
        [str(path), min(offsets, default=0), max(offsets, default=0)],
    ).fetchall()
    connection.unregister("places")
    return {(partition, offset): (batch, what) for partition, offset, batch, what in found}


@dataclass(frozen=True)
class _Decoded:
    """A letter's message as it is decoded today."""

    number: int
    letter: Letter
    place: Place | None
    disposition: str
    reason: str | None


class _TopicReplay:
    def __init__(
        self,
        topic: str,
        contracts: Contracts,
        settings: Settings,
        connection: duckdb.DuckDBPyConnection,
        masker: Masker,
        ledger: Ledger,
        run_id: str,
        report: ReplayReport,
        shared_topic: str | None = None,
    ) -> None:
        self._topic = topic
        self._letters_topic = shared_topic or topic
        self._routed_to = topic if shared_topic else None
        self._raw_folder = settings.raw
        self._contract: Table | None = contracts.by_topic.get(topic)
        self._connection = connection
        self._masker = masker
        self._ledger = ledger
        self._run_id = run_id
        self._report = report
        self._resolutions = Resolutions(settings.raw)
        self._erasures = Erasures(settings.raw, masker)
        control, sharing = control_kind(topic, contracts.servers), contracts.sharing(topic)
        self._decoder = Decoder(connection, masker, topic, self._contract, control, sharing)

    def replay(self, letters: Sequence[Letter], repaired: bytes | None) -> None:
        """Replay up to a batch of letters."""
        letters = self._replayable(letters, repaired is not None)
        self._replay_decoded(self._decode(letters, repaired), repaired)

    def _replay_decoded(self, decoded: Sequence[_Decoded], repaired: bytes | None) -> None:
        if repaired is not None and decoded:
            self._check_repaired(decoded[0])
        marks = self._commit(decoded, "repaired line" if repaired is not None else None)
        resolutions.complete(self._raw_folder, self._ledger, self._run_id)
        self._report.counts.update(str(mark.disposition) for mark in marks)

    def _replayable(self, letters: Sequence[Letter], is_repaired: bool) -> list[Letter]:
        counted = self._ledger.progress(self._letters_topic).batches
        chosen = []
        for letter in letters:
            if letter["batch_id"] not in counted:
                self._report.uncounted.append(letter["letter_id"])
            elif _place(letter) is None and not is_repaired:
                self._report.placeless.append(letter["letter_id"])
            else:
                chosen.append(letter)
        return chosen

    def _decode(self, letters: Sequence[Letter], repaired: bytes | None) -> list[_Decoded]:
        lines = [repaired or self._masker.unseal(letter["sealed_line"]) for letter in letters]
        # What is no UTF-8 told no coordinates, so only its repair comes here.
        texts = [line.decode() for line in lines]
        numbers = pa.array(range(len(texts)), pa.int64())
        self._decoder.decode(pa.array(texts, pa.large_string()), numbers)
        if self._contract:
            # A letter belongs to the epoch in which it came, else it would overtake newer rows.
            epochs = [letter["epoch"] or 0 for letter in letters]
            told = {"number": numbers, "epoch": pa.array(epochs, pa.int32())}
            self._connection.register("told", pa.table(told))
            self._connection.execute(
                "update decoded set _epoch = told.epoch from told where line_number = told.number"
            )
            self._connection.unregister("told")
            self._erasures.keep_out(self._connection, self._contract)
        rows = self._connection.execute(
            """select line_number, partition_no, offset_no, disposition, reason
               from decoded order by line_number"""
        ).fetchall()
        return [
            _Decoded(
                number, letters[number], None if offset is None else (partition, offset), what, why
            )
            for number, partition, offset, what, why in rows
        ]

    def _check_repaired(self, message: _Decoded) -> None:
        """Refuse a repaired line that is bad, or stands elsewhere than its letter."""
        place = _place(message.letter)
        if message.disposition == DEAD or message.place is None:
            raise UsageError(
                f"the repaired line cannot land either: {message.reason}",
                "repair that as well; the letter stays open",
            )
        if place is not None and message.place != place:
            raise UsageError(
                "the repaired line has another partition or offset than its letter: "
                f"{message.place} instead of {place}",
                "keep topic, partition and offset: they are the message's identity",
            )

    @again_if_overtaken
    def _commit(self, decoded: Sequence[_Decoded], because: str | None) -> list[Mark]:
        """Rows, then marks; begun again if somebody else was first."""
        resolved = self._resolutions.resolved()
        path = raw_path(self._raw_folder, self._contract) if self._contract else None
        raw = DeltaTable(str(path)) if path else None
        if raw:
            refuse_other_writer(raw, LAKEHOUSE)
        places = [message.place for message in decoded if message.place is not None]
        in_raw = _rows_at(self._connection, path, places) if path else {}
        marks: dict[int, Mark] = {}
        for message in decoded:
            letter_id = message.letter["letter_id"]
            if letter_id in resolved:
                continue
            earlier, what = in_raw.get(message.place or (-1, -1), (None, message.disposition))
            if what == DEAD or message.place is None:
                self._report.still_dead[letter_id] = str(message.reason)
                continue
            takes_place = _place(message.letter) is None
            if takes_place:
                self._refuse_taken(message.place, earlier)
            marks[message.number] = Mark(
                letter_id, self._letters_topic, resolutions.REPLAYED, because, what, *message.place,
                takes_place, earlier, self._routed_to,
            )  # fmt: skip
        if marks:
            batch_id, at = new_id(), now()
            self._append(raw, marks, batch_id)
            ends = list(marks.values())
            self._resolutions.add(ends, batch_id=batch_id, run_id=self._run_id, resolved_at=at)
        return list(marks.values())

    def _refuse_taken(self, place: Place, earlier: str | None) -> None:
        """A letter without coordinates must not take the place of a message that is known."""
        progress = self._ledger.progress(self._letters_topic)
        partition, offset = place
        is_counted = earlier in self._ledger.progress(self._topic).batches or any(
            first <= offset <= last for first, last in progress.dense.get(partition, ())
        )
        letters = dead_letters.find(
            self._raw_folder, Choice(topic=self._letters_topic, resolved_too=True)
        ).filter((pc.field("partition") == partition) & (pc.field("offset") == offset))
        if is_counted or len(letters):
            raise UsageError(
                f"partition {partition}, offset {offset} of {self._letters_topic} is consumed "
                "already",
                "drop this letter, or replay the one that has these coordinates",
            )

    def _append(self, raw: DeltaTable | None, marks: Mapping[int, Mark], batch_id: str) -> None:
        fresh = [
            number
            for number, mark in marks.items()
            if mark.landed_in is None and mark.disposition in (LANDED, TRUNCATE)
        ]
        if raw is None or self._contract is None or not fresh:
            return
        self._connection.register("fresh", pa.table({"number": pa.array(fresh, pa.int64())}))
        self._connection.execute("drop view if exists judged; drop table if exists judged_rows")
        self._connection.execute(
            f"""create temp table judged_rows as
            select *, '{novelty.NEW}' as novelty from decoded
            where line_number in (select number from fresh)"""
        )
        self._connection.execute("create temp view judged as select * from judged_rows")
        self._connection.unregister("fresh")
        # A message that is new to the table must not look unread to a landing that meets it there.
        transactions = {resolutions.APP: resolutions.next_serial(raw)}
        new = [m for m in map(marks.__getitem__, fresh) if m.takes_place or m.routed_to]
        for mark in new:
            app = f"{self._topic}:{mark.partition}"
            reached = transactions.get(app, raw.transaction_version(app))
            transactions[app] = max(int(mark.offset or 0), -1 if reached is None else reached)
        append(
            raw,
            new_rows(self._connection, self._contract, self._masker, batch_id, now()),
            metadata={
                "run_id": self._run_id,
                "batch_id": batch_id,
                "schema_version": self._contract.version,
            },
            transactions=transactions,
        )


class _SharedTopicReplay(_TopicReplay):
    """Hands the letters whose message is of a table by now to the replay of that table."""

    def __init__(
        self,
        topic: str,
        contracts: Contracts,
        settings: Settings,
        connection: duckdb.DuckDBPyConnection,
        masker: Masker,
        ledger: Ledger,
        run_id: str,
        report: ReplayReport,
    ) -> None:
        common = (contracts, settings, connection, masker, ledger, run_id, report)
        super().__init__(topic, *common)
        self._tables = {
            table.topic: _TopicReplay(table.topic, *common, topic)
            for table in contracts.sharing(topic)
        }

    def _replay_decoded(self, decoded: Sequence[_Decoded], repaired: bytes | None) -> None:
        routes = self._connection.execute(
            f"select line_number, route from decoded where disposition = '{ROUTED}'"
        ).fetchall()
        routed = dict(routes)
        for topic in sorted(set(routed.values())):
            letters = [m.letter for m in decoded if routed.get(m.number) == topic]
            self._tables[topic].replay(letters, repaired)
        rest = [message for message in decoded if message.number not in routed]
        super()._replay_decoded(rest, repaired)
