"""Who gets a report, and in which form: by servers that are really there."""

from __future__ import annotations

import json
from email import message_from_string, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from prefect.exceptions import ParameterTypeError

from pipelines.caller import COMMAND_LINE
from pipelines.errors import LakehouseError
from pipelines.flows import report as module
from pipelines.orchestration import recipients
from pipelines.reports.period import Span
from pipelines.reports.report import Subject
from pipelines.settings import Settings
from tests.stack.receivers import mail, webhook
from tests.unit.published_lake import publish_shop

TEXT = "Revenue: 1,234.50 USD (−3.0 %)\n\nfish & <chips>"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    file = tmp_path / "sales-week-2017-03-05.html"
    file.write_text("<!DOCTYPE html><p>3,5 € – “all”</p>" + "x" * 5_000, encoding="utf-8")
    return file


def settings_with(home: Path, **told: Any) -> Settings:
    return Settings(home=home, _env_file=None, **told)


def by_mail(address: str) -> dict[str, str]:
    return {
        "notify_smtp": address,
        "notify_email_from": "lake@example.com",
        "notify_email_to": "one@example.com,two@example.com",
    }


def test_an_e_mail_carries_the_file_and_the_headline(page: Path) -> None:
    with mail() as (address, taken):
        settings = settings_with(page.parent, **by_mail(address))
        assert recipients.deliver(settings, "Sales", TEXT, [page]) == ["lakehouse-email"]
    message = message_from_string(taken[0], policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert message["Subject"] == "Sales"
    assert message["To"] == "one@example.com, two@example.com"
    body = message.get_body(("plain",))
    assert body is not None
    assert body.get_content().splitlines() == TEXT.splitlines()
    (attached,) = message.iter_attachments()
    assert attached.get_filename() == page.name
    assert attached.get_content_type() == "text/html"
    content = attached.get_payload(decode=True)
    assert content == page.read_bytes()


def test_slack_and_webhook_get_the_headline(page: Path) -> None:
    with webhook() as (slack, said), webhook() as (hook, posted):
        settings = settings_with(page.parent, notify_slack=slack, notify_webhook=hook)
        told = recipients.deliver(settings, "Sales", TEXT, [page])
    assert told == ["lakehouse-webhook", "lakehouse-slack"]
    assert json.loads(said[0]) == {"text": f"*Sales*\n{TEXT}"}
    assert json.loads(posted[0]) == {"subject": "Sales", "body": TEXT}


def test_who_is_away_does_not_keep_the_others_from_it(page: Path) -> None:
    with mail() as (address, _):
        pass
    with webhook() as (slack, said):
        settings = settings_with(page.parent, notify_slack=slack, **by_mail(address))
        with pytest.raises(LakehouseError, match="not reached: lakehouse-email"):
            recipients.deliver(settings, "Sales", TEXT, [page])
    assert len(said) == 1


# The flow


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the flow shows on Prefect's page, which needs a server."""
    found: list[tuple[Any, ...]] = []
    monkeypatch.setattr(module, "show_reports", lambda *what: found.append(what))
    monkeypatch.setattr(module, "prefect_for", lambda _: COMMAND_LINE)
    return found


def test_the_flow_writes_both_reports_and_sends_them_in_one_e_mail(
    tmp_path: Path, shown: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "lake"
    publish_shop(home)
    with mail() as (address, taken):
        settings = settings_with(home, **by_mail(address))
        monkeypatch.setattr(module, "settings_of_worker", lambda: settings)
        assert module.report.fn() is None
    message = message_from_string(taken[0], policy=policy.default)
    assert isinstance(message, EmailMessage)
    assert message["Subject"].startswith("Sales, week 9 of 2017")
    files = [attached.get_filename() for attached in message.iter_attachments()]
    assert files == ["sales-week-2017-03-05.html", "inventory-week-2017-03-05.html"]
    assert {file.name for file in (home / "reports").iterdir()} == set(files)
    body = message.get_body(("plain",))
    assert body is not None
    assert "Revenue, net: 5,955.00 USD (−15.1 %)" in body.get_content()
    assert str(home / "reports" / "sales-week-2017-03-05.html") in body.get_content()
    assert shown[0][1] == ["lakehouse-email"]


def test_without_recipients_the_file_is_made_and_the_run_says_that_nobody_is_told(
    tmp_path: Path, shown: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = publish_shop(tmp_path / "lake")
    monkeypatch.setattr(module, "settings_of_worker", lambda: settings)
    state = module.report.fn([Subject.inventory], Span.month)
    assert state is not None
    assert state.is_completed()
    assert state.message is not None
    assert "nobody is told" in state.message
    assert (settings.home / "reports" / "inventory-month-2017-02-28.html").is_file()
    assert shown[0][1] == []


def test_parameters_are_typed() -> None:
    given = {"subjects": ["sales"], "period": "month", "until": "2017-02-28"}
    taken = module.report.validate_parameters(given)
    assert taken["period"] is Span.month
    assert str(taken["until"]) == "2017-02-28"
    with pytest.raises(ParameterTypeError):
        module.report.validate_parameters({"period": "year"})
