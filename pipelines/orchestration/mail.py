"""E-mail by the server that the settings name: what alarms and reports share of it."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipelines.errors import UsageError
from pipelines.settings import Settings

_TLS_PORT = 587
_PLAIN_PORT = 25
_SECONDS = 30


@dataclass(frozen=True)
class MailServer:
    """Who writes to whom, by which server.

    Attributes:
        is_secure: by STARTTLS.
        user, password: as they stand in the address, None where it names nobody.
        recipients: addresses, separated by commas.
    """

    host: str
    port: int
    is_secure: bool
    user: str | None
    password: str | None
    sender: str
    recipients: str


def mail_server(settings: Settings) -> MailServer:
    """The server for e-mail of the settings, which must name one.

    Raises:
        UsageError: it is told without sender or recipient.
    """
    if not settings.notify_email_from or not settings.notify_email_to:
        raise UsageError(
            "LAKEHOUSE_NOTIFY_SMTP names a server for e-mail, but not who writes to whom",
            "tell LAKEHOUSE_NOTIFY_EMAIL_FROM and LAKEHOUSE_NOTIFY_EMAIL_TO",
        )
    address = urlsplit(settings.notify_smtp or "")
    is_secure = address.scheme == "smtps"
    return MailServer(
        host=address.hostname or "",
        port=address.port or (_TLS_PORT if is_secure else _PLAIN_PORT),
        is_secure=is_secure,
        user=address.username,
        password=address.password,
        sender=settings.notify_email_from,
        recipients=settings.notify_email_to,
    )


def send(server: MailServer, subject: str, text: str, attached: Sequence[Path]) -> None:
    """Send a text with HTML files.

    Raises:
        OSError, smtplib.SMTPException: the server is not reached, or refuses.
    """
    message = EmailMessage()
    message["Subject"] = subject
    message["From"] = server.sender
    message["To"] = server.recipients
    # Not every server passes on what has eight bits.
    message.set_content(text, cte="quoted-printable")
    for file in attached:
        message.add_attachment(
            file.read_bytes(), maintype="text", subtype="html", filename=file.name
        )
    with smtplib.SMTP(server.host, server.port, timeout=_SECONDS) as connection:
        if server.is_secure:
            connection.starttls(context=ssl.create_default_context())
        if server.user:
            connection.login(unquote(server.user), unquote(server.password or ""))
        connection.send_message(message)
