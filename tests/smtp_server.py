"""A real mail server whose moods are set by the test: it takes, refuses, greylists, stalls, hangs up, loses answers."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import AsyncIterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult

from chatd.config import Settings

TLS = Path(__file__).parent / "tls"  # a certificate for localhost that nobody else trusts


def server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "localhost.crt", TLS / "localhost.key")
    return context


def trusting_tls() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(TLS / "localhost.crt"))


class Sink:
    """`on_mail`, `on_rcpt` and `on_data` hold the next answers; when they are empty the answer is 250. Three answers
    are none: `hang up`, `lose` (the mail is kept and the answer lost) and `stall` (until `released` is set)."""

    def __init__(self) -> None:
        self.on_mail: deque[str] = deque()
        self.on_rcpt: deque[str] = deque()
        self.on_data: deque[str] = deque()
        self.received: list[EmailMessage] = []
        self.envelopes: list[tuple[str, list[str]]] = []
        self.asked = 0  # envelopes that got as far as a recipient
        self.stalled = 0
        self.stalled_most = 0
        self.released = asyncio.Event()
        self.arrived = asyncio.Condition()
        self.stalling = asyncio.Condition()
        self.logins: list[tuple[str, str]] = []
        self.password = "right"
        self.port = 0

    def ids(self) -> list[str]:
        """A method: aiosmtpd reads every attribute of its handler at each connection."""
        return [mail["Message-ID"] for mail in self.received]

    async def wait_for(self, count: int) -> None:
        """Until so many mails have arrived."""
        async with self.arrived:
            await asyncio.wait_for(self.arrived.wait_for(lambda: len(self.received) >= count), 30)

    async def wait_for_stalled(self, count: int) -> None:
        """Until exactly so many clients are being kept waiting."""
        async with self.stalling:
            await asyncio.wait_for(self.stalling.wait_for(lambda: self.stalled == count), 30)

    async def _stalls(self, change: int) -> None:
        async with self.stalling:
            self.stalled += change
            self.stalled_most = max(self.stalled_most, self.stalled)
            self.stalling.notify_all()

    async def _answer(self, server: Any, answers: deque[str]) -> str:
        answer = answers.popleft() if answers else "250 OK"
        if answer == "stall":
            await self._stalls(+1)
            try:
                await self.released.wait()
            finally:
                await self._stalls(-1)
            return "250 OK"
        if answer == "hang up":
            server.transport.abort()
        return answer

    async def handle_MAIL(  # noqa: N802 - aiosmtpd names its hooks so
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        answer = await self._answer(server, self.on_mail)
        if answer.startswith("250"):
            envelope.mail_from = address
        return answer

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        self.asked += 1
        answer = await self._answer(server, self.on_rcpt)
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        answer = await self._answer(server, self.on_data)
        if answer.startswith("250") or answer == "lose":
            mail = message_from_bytes(envelope.content, policy=default)
            assert isinstance(mail, EmailMessage)
            async with self.arrived:
                self.received.append(mail)
                self.envelopes.append((envelope.mail_from, list(envelope.rcpt_tos)))
                self.arrived.notify_all()
        if answer == "lose":
            server.transport.abort()
        return answer

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        self.logins.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=data.password.decode() == self.password, handled=False)


@contextlib.asynccontextmanager
async def listening(
    sink: Sink, *, tls: bool = False, starttls: bool = False, login: bool = False
) -> AsyncIterator[Sink]:
    """The server, on a port of its own."""
    loop = asyncio.get_running_loop()

    def protocol() -> SMTP:
        return SMTP(
            sink,
            hostname="mail.example",
            loop=loop,
            tls_context=server_tls() if starttls else None,
            authenticator=sink.authenticate if login else None,
            auth_require_tls=False,
        )

    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=server_tls() if tls else None)
    sink.port = server.sockets[0].getsockname()[1]
    try:
        yield sink
    finally:
        sink.released.set()
        server.close()
        await server.wait_closed()


@contextlib.asynccontextmanager
async def saying(*lines: str) -> AsyncIterator[int]:
    """Something on a port that says these lines, one to each thing it hears, and hangs up. Yields the port."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            for number, line in enumerate(lines):
                if number:
                    await reader.readuntil(b"\r\n.\r\n" if lines[number - 1].startswith("354") else b"\r\n")
                writer.write(f"{line}\r\n".encode())
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


def settings_for(port: int, **fields: Any) -> Settings:
    """Settings whose mail server is on this port of this machine."""
    given: dict[str, Any] = {
        "base_url": "https://chat.nordlys.example",
        "secret": "s" * 32,
        "smtp_host": "127.0.0.1",
        "smtp_port": port,
        "smtp_security": "none",
        "smtp_timeout_seconds": 5.0,
    }
    return Settings(**given | fields)
