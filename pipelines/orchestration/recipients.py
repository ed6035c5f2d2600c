"""Who is told of alarms: a block of Prefect for each setting that names somebody."""

from __future__ import annotations

from typing import cast
from urllib.parse import quote, urlencode, urlsplit
from uuid import UUID

from httpx import HTTPError
from prefect.blocks.abstract import NotificationError
from prefect.blocks.notifications import CustomWebhookNotificationBlock, SlackWebhook
from pydantic import SecretStr

from pipelines.errors import LakehouseError, UsageError
from pipelines.settings import Settings

_TLS_PORT = 587
_PLAIN_PORT = 25

Block = CustomWebhookNotificationBlock | SlackWebhook


def blocks(settings: Settings) -> dict[str, Block]:
    """Name → block, for each recipient that the settings name.

    Raises:
        UsageError: a server for e-mail is told without sender or recipient.
    """
    found: dict[str, Block] = {}
    if settings.notify_webhook:
        content = {"subject": "{{subject}}", "body": "{{body}}"}
        found["lakehouse-webhook"] = _webhook("lakehouse", settings.notify_webhook, content)
    if settings.notify_slack:
        # What Slack's own block would send, which knows no other server of the same format.
        content = {"text": "*{{subject}}*\n{{body}}"}
        found["lakehouse-slack"] = _webhook("slack", settings.notify_slack, content)
    if settings.notify_smtp:
        # Prefect's block for e-mail knows one company only; this one hands over any address that
        # Apprise knows.
        found["lakehouse-email"] = SlackWebhook(url=SecretStr(_mail_address(settings)))
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
    failed = {}
    for name, block in wanted.items():
        try:
            with block.raise_on_failure():
                block.notify(text, subject="lakehouse")
        except (HTTPError, NotificationError) as error:
            failed[name] = str(getattr(error, "log", None) or error).strip()
    if failed:
        told = "; ".join(f"{name}: {why}" for name, why in failed.items())
        raise LakehouseError(
            f"not reached: {told}", "correct the address, or start who listens there"
        )
    return list(wanted)


def _webhook(name: str, url: str, content: dict[str, str]) -> CustomWebhookNotificationBlock:
    # An address of a webhook is a secret.
    return CustomWebhookNotificationBlock(
        name=name, url="{{address}}", json_data=content, secrets={"address": url}
    )


def _mail_address(settings: Settings) -> str:
    """The server, sender and recipients, as Apprise writes them."""
    if not settings.notify_email_from or not settings.notify_email_to:
        raise UsageError(
            "LAKEHOUSE_NOTIFY_SMTP names a server for e-mail, but not who writes to whom",
            "tell LAKEHOUSE_NOTIFY_EMAIL_FROM and LAKEHOUSE_NOTIFY_EMAIL_TO",
        )
    server = urlsplit(settings.notify_smtp or "")
    is_secure = server.scheme == "smtps"
    port = server.port or (_TLS_PORT if is_secure else _PLAIN_PORT)
    user = ""
    if server.username:
        user = f"{server.username}:{server.password or ''}@"
    query = {
        "smtp": server.hostname,
        "from": settings.notify_email_from,
        "to": settings.notify_email_to,
        "format": "text",
    }
    scheme = "mailtos" if is_secure else "mailto"
    return f"{scheme}://{user}{server.hostname}:{port}/?{urlencode(query, quote_via=quote)}"
