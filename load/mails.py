"""A mail server that takes every mail and keeps what the checks need: who it is for, what it is called, what it says.
It runs in the harness's own loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from email import message_from_bytes
from email.policy import default

from aiosmtpd.smtp import SMTP, Envelope, Session

from load.processes import LOCAL


class MailSink:
    """`ids` counts each Message-ID that came; `texts` has what each recipient was told, a text for each mail."""

    def __init__(self) -> None:
        self.ids: Counter[str] = Counter()
        self.texts: dict[str, list[str]] = {}

    @property
    def count(self) -> int:
        return self.ids.total()

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=default)
        name = str(mail["Message-ID"])
        self.ids[name] += 1
        if self.ids[name] == 1:
            body = mail.get_body(("plain",))
            text = "" if body is None else str(body.get_content())
            for address in envelope.rcpt_tos:
                self.texts.setdefault(address.lower(), []).append(text)
        return "250 OK"

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Mapping[str, str]]:
        """Takes mails inside the block; chatd's settings for sending them here."""
        server = await asyncio.get_running_loop().create_server(lambda: SMTP(self, hostname="localhost"), LOCAL, 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            yield {"smtp_host": LOCAL, "smtp_port": str(port), "smtp_security": "none"}
