"""Contracts are compared with what arrived, and corrected: by names and types, never by values."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from pipelines import cli
from pipelines.contract import load_contracts
from tests.unit.events import BRIEF, KEY, NARROW, TOPIC, Lake, envelope, message, thing, things

Command = Callable[..., Result]
SECRET = "ada@example.org"
MARKER = "__debezium_unavailable_value"


def project(folder: Path, *, columns: dict[str, Any] | None = None, **meta: Any) -> Lake:
    """A lake whose contract of `thing` stands in a YAML file."""
    told = {c.name: {"data_type": c.type} for c in NARROW.columns} | (columns or {})
    table = {
        "name": "thing",
        "config": {"meta": {"key": ["id"]} | meta},
        "columns": [{"name": n} | c for n, c in told.items()],
    }
    source = {
        "name": "shop",
        "config": {"meta": {"server": "shop", "namespace": "public", "connector": "postgres"}},
        "tables": [table],
    }
    models = folder / "dbt" / "models"
    models.mkdir(parents=True, exist_ok=True)
    (models / "sources.yml").write_text(yaml.safe_dump({"version": 2, "sources": [source]}))
    return corrected(folder)


def corrected(folder: Path) -> Lake:
    """The lake under the contract as it stands now."""
    return Lake(folder, load_contracts(folder / "dbt"))


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `lakehouse contract check …`."""
    monkeypatch.setenv("LAKEHOUSE_PII_KEY", KEY)
    monkeypatch.setenv("LAKEHOUSE_PROJECT_DIR", str(tmp_path / "dbt"))

    def run(*arguments: str) -> Result:
        command = ["--home", str(tmp_path / "lake"), "contract", "check", *arguments]
        return CliRunner().invoke(cli.app, command, catch_exceptions=False)

    return run


def findings(result: Result) -> list[tuple[str, str, int, str]]:
    assert {f["table"] for f in json.loads(result.stdout)} <= {TOPIC}
    return [
        (f["column"], f["finding"], f["count"], f["proposal"]) for f in json.loads(result.stdout)
    ]


def test_nothing_is_found_where_contract_and_arrivals_agree(tmp_path: Path, check: Command) -> None:
    project(tmp_path)
    assert check("--json").stdout == "[]\n"
    project(tmp_path).deliver(*things(0, 2))
    result = check("--json")
    assert (result.exit_code, result.stdout) == (0, "[]\n")


INFERRED = {
    "boolean": [True, False, None],
    "bigint": [1, -20, "300"],
    "decimal(18,2)": ["1.5", "-10.25", "7"],
    "decimal(38,0)": ["12345678901234567890"],
    "double": [0.5, 1e-10, 3],
    "date": ["2024-05-06", "2024-05-07Z"],
    "timestamp": ["2024-05-06T10:00:00Z", "2024-05-06 10:00:00+02:00"],
    "varchar": ["12", "007"],
}


@pytest.mark.parametrize("data_type", INFERRED)
def test_the_type_of_an_unknown_field_is_one_that_holds_all_its_values(
    tmp_path: Path, check: Command, data_type: str
) -> None:
    values = INFERRED[data_type]
    project(tmp_path).deliver(*(thing(n, found=value) for n, value in enumerate(values)))
    result = check("--json")
    assert result.exit_code == 1
    assert findings(result) == [("found", "unknown field", len(values), f"add it as {data_type}")]
    check("--write")
    later = corrected(tmp_path)
    later.land()
    assert [row["_extra"] for row in later.rows()] == [None] * len(values)
    assert check().exit_code == 0


def test_objects_mixtures_and_nulls_are_text(tmp_path: Path, check: Command) -> None:
    project(tmp_path).deliver(
        thing(0, a={"b": 1}, b=1, c=None, d=True), thing(1, a={}, b="x", c=None, d=0)
    )
    found = {column: proposal for column, _, _, proposal in findings(check("--json"))}
    assert found == dict.fromkeys("abcd", "add it as varchar")


def test_a_field_that_cannot_be_a_column_is_left_to_a_person(
    tmp_path: Path, check: Command
) -> None:
    project(tmp_path).deliver(thing(0, **{"Label": 1, "a b": 1, 'q"': 1, "year": 1}))
    result = check("--json", "--write")
    assert all("only a person" in proposal for _, _, _, proposal in findings(result))
    assert len(findings(result)) == 4
    assert corrected(tmp_path).contracts.by_topic[TOPIC].columns == NARROW.columns


def test_numbers_that_do_not_fit_propose_the_narrowest_wider_type(
    tmp_path: Path, check: Command
) -> None:
    columns = {"price": {"data_type": "decimal(6,2)"}}
    project(tmp_path, columns=columns).deliver(
        thing(0, count=3_000_000_000, price="1.00"),
        thing(1, price="12345.678"),
        thing(2, count="many", price=None),
    )
    assert findings(check("--json")) == [
        ("count", "wrong type", 1, "widen it to bigint"),
        ("count", "wrong type", 1, "only a person can decide"),
        ("price", "wrong type", 1, "widen it to decimal(8,3)"),
    ]


def test_a_fraction_makes_an_integer_a_decimal(tmp_path: Path, check: Command) -> None:
    project(tmp_path).deliver(thing(0, count="1.5"))
    assert findings(check("--json")) == [("count", "wrong type", 1, "widen it to decimal(11,1)")]


def test_a_letter_lands_after_its_contract_was_written(tmp_path: Path, check: Command) -> None:
    lake = project(tmp_path)
    lake.deliver(thing(0), thing(1, count=3_000_000_000))
    assert lake.reasons() == ["wrong_type"]
    assert check("--write").exit_code == 1
    wider = corrected(tmp_path)
    assert wider.replay().counts == {"landed": 1}
    assert [(row["_offset"], row["count"]) for row in wider.rows()] == [(0, 3), (1, 3_000_000_000)]
    assert str(wider.table().schema().fields[2].type.type) == "long"
    wider.assert_reconciled()
    assert check().exit_code == 0


def test_values_that_were_left_out_propose_toast(tmp_path: Path, check: Command) -> None:
    project(tmp_path).deliver(thing(0), thing(1, label=MARKER), thing(2, label=MARKER))
    assert findings(check("--json", "--write")) == [
        ("label", "unavailable value", 2, "mark it `toast: true`")
    ]
    assert corrected(tmp_path).contracts.by_topic[TOPIC].columns == NARROW.columns


def test_a_column_that_the_newest_batches_lack_proposes_dropped(
    tmp_path: Path, check: Command
) -> None:
    lake = project(tmp_path)
    lake.deliver(thing(0))
    for n in (1, 2):
        lake.deliver(message(n, envelope(n, {"id": n, "label": "x"})), name=f"{n}.jsonl")
    assert check().exit_code == 0
    lake.deliver(message(3, envelope(3, {"id": 3, "label": "x"})), name="3.jsonl")
    assert findings(check("--json")) == [
        ("count", "not sent any more", 3, "mark it `dropped: true`")
    ]
    dropped = {"count": {"data_type": "integer", "config": {"meta": {"dropped": True}}}}
    project(tmp_path, columns=dropped).land()
    assert check().exit_code == 0


def test_updates_without_a_large_value_do_not_make_its_column_dropped(
    tmp_path: Path, check: Command
) -> None:
    toast = {"label": {"data_type": "varchar", "config": {"meta": {"toast": True}}}}
    lake = project(tmp_path, columns=toast)
    for n in range(4):
        after = BRIEF | {"label": MARKER}
        lake.deliver(message(n, envelope(n, after, op="u")), name=f"{n}.jsonl")
    assert lake.rows()[0]["_unavailable"] == ["label"]
    assert check().exit_code == 0


def test_frozen_rows_tell_what_they_lack_and_bring(tmp_path: Path, check: Command) -> None:
    project(tmp_path, on_drift="freeze").deliver(
        thing(0, hat=1), message(1, envelope(1, {"id": 1, "label": "x", "hat": "2"}))
    )
    result = check("--json", "--write")
    assert sorted(findings(result)) == [
        ("count", "drift: not sent", 1, "mark it `dropped: true`"),
        ("hat", "drift: unknown field", 2, "add it as bigint"),
    ]
    later = corrected(tmp_path)
    assert later.replay().counts == {"landed": 1}
    assert later.row()["hat"] == 1


def test_letters_that_were_dropped_do_not_count(tmp_path: Path, check: Command) -> None:
    lake = project(tmp_path)
    lake.deliver(thing(0, count="x"))
    assert check().exit_code == 1
    lake.drop()
    assert check().exit_code == 0


def test_personal_data_is_not_shown_and_a_new_column_beside_it_is_hashed(
    tmp_path: Path, check: Command
) -> None:
    columns = {"label": {"data_type": "varchar", "config": {"meta": {"pii": "hash"}}}}
    lake = project(tmp_path, columns=columns)
    lake.deliver(thing(0, mail=SECRET), thing(1, count=SECRET), thing(2, count=4_111_111_111))
    result = check("--write")
    assert result.exit_code == 1
    assert "4_111" not in result.output.replace(",", "_")
    assert SECRET not in result.output
    assert "a person must decide whether it is personal data" in " ".join(result.output.split())
    later = corrected(tmp_path)
    added = {c.name: c for c in later.contracts.by_topic[TOPIC].columns}
    assert (added["mail"].pii, added["count"].type) == ("hash", "bigint")
    later.land()
    assert later.rows()[0]["mail"] == lake.masker.hash(SECRET)


def test_only_the_tables_named_are_compared(tmp_path: Path, check: Command) -> None:
    project(tmp_path).deliver(thing(0, hat=1))
    assert check("thing").exit_code == check(TOPIC).exit_code == 1
    with pytest.raises(Exception, match="no contract for hat"):
        check("hat")
