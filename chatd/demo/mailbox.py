"""A mail server that keeps what it is given, and the page that shows it: where the demo's outgoing mail goes.

`Mailbox` is a real SMTP server on a port of the loopback interface. It takes everything, delivers nothing and keeps the
newest mails in memory. `create_mailbox_app` shows them, newest first, as they come.

The HTML of a mail is shown as a mail program would, and is as little trusted: a document of its own, in a sandbox
without scripts, forms and an origin, that loads nothing. Links open in new tabs, outside of the sandbox.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from types import TracebackType
from typing import Any, Self

import msgspec
from aiosmtpd.smtp import SMTP
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatd.resources import static_directory, templates_directory

KEPT_MAX = 200
MAIL_BYTES_MAX = 1_048_576
BYTES_MAX = 32 * MAIL_BYTES_MAX  # of all that is kept together
SESSIONS_MAX = 64
SESSION_SECONDS = 60.0
PREVIEW_CHARACTERS = 160
HEADER_CHARACTERS = 1_000

# A page of another site could have its name point here (DNS rebinding) and read the mails; it would send its own name.
HOSTS = ("localhost", "127.0.0.1", "[::1]")

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
MAIL_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; "
    "img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)


class KeptMail(msgspec.Struct, frozen=True, kw_only=True):
    """One mail as it came: the envelope, what a reader sees, and all of it."""

    number: int
    at: int
    envelope_from: str
    envelope_to: list[str]
    sender: str
    recipient: str
    subject: str
    text: str
    html: str
    source: bytes


class Mailbox:
    """The server and what it keeps. Use it as a context: it listens inside. `port` 0 is any free port."""

    def __init__(
        self, *, host: str = "127.0.0.1", port: int = 0, clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    ) -> None:
        self.id = secrets.token_hex(8)  # numbers begin anew with each mailbox, and a page must notice
        self.host = host
        self.port = port
        self._clock = clock
        self._mails: deque[KeptMail] = deque()
        self._bytes = 0
        self._count = 0
        self._server: asyncio.Server | None = None
        self._sessions: set[_Session] = set()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Session(self, self._sessions, loop), self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None, "it was entered"
        self._server.close()
        for session in tuple(self._sessions):
            session.abort()
        await self._server.wait_closed()

    @property
    def mails(self) -> list[KeptMail]:
        """Newest first."""
        return list(reversed(self._mails))

    def find(self, number: int) -> KeptMail | None:
        return next((mail for mail in self._mails if mail.number == number), None)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd names its hooks so
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self._keep(envelope.mail_from or "", list(envelope.rcpt_tos), envelope.content)
        return f"250 Kept as number {self._count}"

    def _keep(self, envelope_from: str, envelope_to: list[str], source: bytes) -> None:
        self._count += 1
        mail = message_from_bytes(source, policy=default)
        assert isinstance(mail, EmailMessage)
        kept = KeptMail(
            number=self._count,
            at=self._clock(),
            envelope_from=envelope_from,
            envelope_to=envelope_to,
            sender=_header(mail, "From"),
            recipient=_header(mail, "To"),
            subject=_header(mail, "Subject"),
            text=_body(mail, "plain"),
            html=_body(mail, "html"),
            source=source,
        )
        self._mails.append(kept)
        self._bytes += len(source)
        while len(self._mails) > KEPT_MAX or self._bytes > BYTES_MAX:
            self._bytes -= len(self._mails.popleft().source)


class _Session(SMTP):
    """One connection to the mailbox, known to it so that it can be ended."""

    def __init__(self, mailbox: Mailbox, sessions: set[_Session], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            mailbox,
            hostname="mailbox.localhost",
            data_size_limit=MAIL_BYTES_MAX,
            enable_SMTPUTF8=True,
            timeout=SESSION_SECONDS,
            loop=loop,
        )
        self._sessions = sessions

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._sessions.add(self)
        if len(self._sessions) > SESSIONS_MAX:
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._sessions.discard(self)
        super().connection_lost(error)

    def abort(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.abort()


def _header(mail: EmailMessage, name: str) -> str:
    """A header as text. What cannot be read is shown as nothing: the source shows it."""
    try:
        return str(mail.get(name, ""))[:HEADER_CHARACTERS]
    except (ValueError, LookupError, IndexError, AttributeError):  # what the parser makes of broken headers
        return ""


def _body(mail: EmailMessage, kind: str) -> str:
    try:
        part = mail.get_body((kind,))
        return "" if part is None else str(part.get_content())
    except (ValueError, LookupError, AttributeError):
        return ""


# ---------------------------------------------------------------- the page


def create_mailbox_app(mailbox: Mailbox) -> Starlette:
    """The page over this mailbox, for a port of its own on this machine."""
    pages = Jinja2Templates(directory=templates_directory() / "demo")

    def find(request: Request) -> KeptMail:
        mail = mailbox.find(request.path_params["number"])
        if mail is None:
            raise HTTPException(404, "This mail is not kept any more.")
        return mail

    async def page(request: Request) -> Response:
        return pages.TemplateResponse(request, "mailbox.html")

    async def summaries(request: Request) -> Response:
        """What came after a number; everything when the page knows another mailbox than this one."""
        after = request.query_params.get("after", "0")
        known = request.query_params.get("mailbox") == mailbox.id and after.isascii() and after.isdigit()
        newer = [mail for mail in mailbox.mails if not known or mail.number > int(after[:18])]
        return JSONResponse({"mailbox": mailbox.id, "kept_max": KEPT_MAX, "mails": [_summary(mail) for mail in newer]})

    async def one(request: Request) -> Response:
        mail = find(request)
        return JSONResponse({**_summary(mail), "text": mail.text, "html": bool(mail.html)})

    async def html(request: Request) -> Response:
        return Response(find(request).html, media_type="text/html", headers={"Content-Security-Policy": MAIL_POLICY})

    async def source(request: Request) -> Response:
        return PlainTextResponse(find(request).source.decode("utf-8", "replace"))

    return Starlette(
        routes=[
            Route("/", page),
            Route("/mails", summaries),
            Route("/mails/{number:int}", one),
            Route("/mails/{number:int}/html", html),
            Route("/mails/{number:int}/source", source),
            Mount("/static", StaticFiles(directory=static_directory())),
        ],
        middleware=[Middleware(_Headers), Middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS))],
    )


def _summary(mail: KeptMail) -> dict[str, Any]:
    return {
        "number": mail.number,
        "at": mail.at,
        "from": mail.sender,
        "to": mail.recipient,
        "subject": mail.subject,
        "preview": " ".join(mail.text.split())[:PREVIEW_CHARACTERS],
        "envelope_from": mail.envelope_from,
        "envelope_to": mail.envelope_to,
    }


class _Headers:
    """The page's policy and good manners, on every answer that has no policy of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", PAGE_POLICY)
                headers.setdefault("Cache-Control", "no-store")
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
                headers["Cross-Origin-Opener-Policy"] = "same-origin"
                headers["Cross-Origin-Resource-Policy"] = "same-origin"
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)
