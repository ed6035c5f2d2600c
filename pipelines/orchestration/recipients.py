"""Who is told of alarms and reports: a block of Prefect for each setting that names somebody."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from smtplib import SMTPException
from typing import cast
from urllib.parse import quote, urlencode
from uuid import UUID

from httpx import HTTPError
from prefect.blocks.abstract import NotificationError
from prefect.blocks.notifications import CustomWebhookNotificationBlock, SlackWebhook
from pydantic import SecretStr

from pipelines.errors import LakehouseError
from pipelines.orchestration import mail
from pipelines.settings import Settings

_EMAIL = "lakehouse-email"

Block = CustomWebhookNotificationBlock | SlackWebhook


def blocks(settings: Settings) -> dict[str, Block]:
    """Name → block, for each recipient that the settings name.

    Raises:
        UsageError: a server for e-mail is told without sender or recipient.
    """
    found: dict[str, Block] = {**_webhooks(settings)}
    if settings.notify_smtp:
        # Prefect's block for e-mail knows one company only; this one hands over any address that
        # Apprise knows.
        found[_EMAIL] = SlackWebhook(url=SecretStr(_mail_address(settings)))
    return found


def save(settings: Settings) -> dict[str, UUID]:
    """Bring the blocks to the server; returns name → id of each."""
    return {
        name: cast(UUID, block.save(name, overwrite=True))
        for name, block in blocks(settings).items()
    }


def tell(settings: Settings, text: str) -> list[str]:
    """Tell all recipients something, from here; returns their names.

    Raises:
        LakehouseError: there is none, or somebody was not reached; the others have been told.
        UsageError: as `blocks`.
    """
    wanted = blocks(settings)
    if not wanted:
        raise LakehouseError(
            "nobody is told anything",
            "name somebody by LAKEHOUSE_NOTIFY_WEBHOOK, LAKEHOUSE_NOTIFY_SLACK or "
            "LAKEHOUSE_NOTIFY_SMTP",
        )
    return _each({name: partial(_notify, block, text) for name, block in wanted.items()})


def deliver(settings: Settings, subject: str, text: str, attached: Sequence[Path]) -> list[str]:
    """Send reports to all recipients, from here; returns their names, none where nobody is named.

    Args:
        text: what those read who get no file.
        attached: the HTML files that e-mails carry.

    Raises:
        LakehouseError: somebody was not reached; the others have been told.
        UsageError: as `blocks`.
    """
    sends: dict[str, Callable[[], None]] = {
        name: partial(_notify, block, text, subject) for name, block in _webhooks(settings).items()
    }
    if settings.notify_smtp:
        # Prefect's blocks attach nothing.
        sends[_EMAIL] = partial(mail.send, mail.mail_server(settings), subject, text, attached)
    return _each(sends)


def _webhooks(settings: Settings) -> dict[str, CustomWebhookNotificationBlock]:
    found = {}
    if settings.notify_webhook:
        content = {"subject": "{{subject}}", "body": "{{body}}"}
        found["lakehouse-webhook"] = _webhook("lakehouse", settings.notify_webhook, content)
    if settings.notify_slack:
        # What Slack's own block would send, which knows no other server of the same format.
        content = {"text": "*{{subject}}*\n{{body}}"}
        found["lakehouse-slack"] = _webhook("slack", settings.notify_slack, content)
    return found


def _each(sends: Mapping[str, Callable[[], None]]) -> list[str]:
    """Send all, whichever fails; returns the names."""
    failed = {}
    for name, send in sends.items():
        try:
            send()
        except (HTTPError, NotificationError, OSError, SMTPException) as error:
            failed[name] = str(getattr(error, "log", None) or error).strip()
    if failed:
        told = "; ".join(f"{name}: {why}" for name, why in failed.items())
        raise LakehouseError(
            f"not reached: {told}", "correct the address, or start who listens there"
        )
    return list(sends)


def _notify(block: Block, text: str, subject: str = "lakehouse") -> None:
    with block.raise_on_failure():
        block.notify(text, subject=subject)


def _webhook(name: str, url: str, content: dict[str, str]) -> CustomWebhookNotificationBlock:
    # An address of a webhook is a secret.
    return CustomWebhookNotificationBlock(
        name=name, url="{{address}}", json_data=content, secrets={"address": url}
    )


def _mail_address(settings: Settings) -> str:
    """The server, sender and recipients, as Apprise writes them."""
    server = mail.mail_server(settings)
    user = f"{server.user}:{server.password or ''}@" if server.user else ""
    query = {
        "smtp": server.host,
        "from": server.sender,
        "to": server.recipients,
        "format": "text",
    }
    scheme = "mailtos" if server.is_secure else "mailto"
    return f"{scheme}://{user}{server.host}:{server.port}/?{urlencode(query, quote_via=quote)}"
