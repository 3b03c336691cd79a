"""What stands around every HTTP request: who may be asked for, how much may be sent, and what every answer carries.

`Guard` is the outermost ASGI application. In this order it

1. names the request (`X-Request-Id`, for the log and for people who report what they saw);
2. refuses a `Host` that is not ours (RFC 9110 section 15.5.20): links and origins are built from settings, so a
foreign host
   could not poison them, but a page of ours under a foreign name (DNS rebinding) must not exist either;
3. refuses bodies that are too large, by their announced size or while they arrive, and compressed ones, which could
grow; 4. bounds the requests at work for one address, where the front cannot count connections because a proxy holds
them; 5. puts the security headers on every answer that does not set its own; 6. turns whatever escapes into an answer
without internals, and the log line of it carries the request's name.

`require_own_page` is half of the CSRF defence; the other half is the token of `web.tokens`.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import lru_cache
from http import HTTPStatus
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatd.config import Settings
from chatd.errors import ChatError, NotPermitted, TooLarge
from chatd.web.addresses import AddressCounts, client_address

HSTS_SECONDS = 31_536_000
FACTS = "chatd.facts"

# Load balancers ask for health by the address of the machine; the answer names no host and opens nothing.
ANY_HOST_PATHS = frozenset(("/health",))

logger = logging.getLogger("chatd.web")


class Facts(msgspec.Struct, frozen=True):
    """What is known of a request before anybody looks at its content. `nonce` is for this answer's scripts."""

    request: str
    client: str
    nonce: str


class Answer(msgspec.Struct, frozen=True):
    """A refusal as it leaves: the fields of the protocol's error frame, with a status."""

    status: int
    code: str
    message: str
    temporary: bool = False
    facts: dict[str, Any] = msgspec.field(default_factory=dict)
    headers: dict[str, str] = msgspec.field(default_factory=dict)


ErrorPage = Callable[[HTTPConnection, Answer, Facts], str]


def facts_of(connection: HTTPConnection) -> Facts:
    """The facts that `Guard` has found."""
    facts: Facts = connection.scope[FACTS]
    return facts


# ---------------------------------------------------------------- hosts and origins


HOST_CHARACTERS_MAX = 300  # a name has at most 253 (RFC 1035 section 2.3.4)


def host_of(header: str) -> str | None:
    """The host name of a `Host` header, without its port; None when it is no such thing."""
    return _host_of(header) if len(header) <= HOST_CHARACTERS_MAX else None


@lru_cache(maxsize=256)
def _host_of(header: str) -> str | None:
    if any(character in header for character in "/\\@?# \t,"):
        return None
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname


def host_refusal(headers: Iterable[tuple[bytes, bytes]], hosts: frozenset[str]) -> Answer | None:
    """Why a request with these headers is not for us; None when it is. RFC 9112 section 3.2: exactly one `Host`."""
    given = [value for name, value in headers if name == b"host"]
    if len(given) != 1:
        return Answer(400, "malformed_request", f"expected one Host header, got {len(given)}")
    host = host_of(given[0].decode("latin-1"))
    if host is None:
        return Answer(400, "malformed_request", "the Host header is no host name")
    if host.rstrip(".") not in hosts:
        return Answer(421, "misdirected_request", "chatd does not answer to this host name; see CHATD_ALLOWED_HOSTS")
    return None


def require_own_page(connection: HTTPConnection, own_origin: str) -> None:
    """Let only requests pass that a page of our own has made, whatever cookies they carry. Raises `NotPermitted`.

    Browsers send `Origin` with every POST and do not let pages choose it; where a policy or an old browser withholds
    it, `Referer` says the same. `null` is what sandboxed frames and data: pages send, and is nobody. Compared as it
    came.
    """
    origin = connection.headers.get("origin")
    if origin is None:
        parts = urlsplit(connection.headers.get("referer", ""))
        origin = f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""
    if origin != own_origin:
        raise NotPermitted(
            f"this request came from a page of another address; open {own_origin}",
            reason="foreign_origin",
            base_url=own_origin,
        )


# ---------------------------------------------------------------- headers


def content_policy(settings: Settings, nonce: str) -> str:
    """The Content-Security-Policy of a page of ours. Nothing runs inline, nothing comes from elsewhere, text never
    becomes a script (Trusted Types), nobody frames it."""
    scheme, _, rest = settings.base_url.partition("://")
    socket = f"{'wss' if scheme == 'https' else 'ws'}://{rest}"
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' 'nonce-{nonce}'",
            "style-src 'self'",
            "img-src 'self' data: blob:",
            f"connect-src 'self' {socket}",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def page_headers(settings: Settings, nonce: str) -> dict[str, str]:
    """The headers of a page. They hold somebody's session or token, so no cache keeps them.

    `same-origin` instead of `no-referrer`: under the latter, browsers send `Origin: null` with a form (Fetch standard,
    "append a request Origin header"), and the form could not be told from a stranger's. Other hosts learn nothing
    either way.
    """
    return {
        "Content-Security-Policy": content_policy(settings, nonce),
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
    }


def base_headers(settings: Settings) -> dict[bytes, bytes]:
    """What every answer carries that does not say otherwise."""
    headers = {
        b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
        b"x-content-type-options": b"nosniff",
        b"referrer-policy": b"no-referrer",
        b"cross-origin-opener-policy": b"same-origin",
        b"cross-origin-resource-policy": b"same-origin",
        b"x-frame-options": b"DENY",
        b"permissions-policy": b"camera=(), geolocation=(), microphone=()",
    }
    if settings.base_url.startswith("https://"):
        # RFC 6797. Without includeSubDomains: the hosts beside chatd's are the operator's to decide about.
        headers[b"strict-transport-security"] = f"max-age={HSTS_SECONDS}".encode()
    return headers


# ---------------------------------------------------------------- refusals


_CODES = MappingProxyType(
    {
        400: "malformed_request",
        404: "not_found",
        405: "method_not_allowed",
        413: "too_large",
        415: "unsupported_media_type",
    }
)
_SENTENCES = MappingProxyType({404: "there is nothing here", 405: "this address does not take that method"})


def answer_of(error: Exception) -> Answer:
    """The refusal that this exception stands for. Of an unexpected one nothing is told but that it happened."""
    if isinstance(error, ChatError):
        retry_ms = error.facts.get("retry_after_ms")
        headers = {} if retry_ms is None else {"Retry-After": str(max(1, -(-int(retry_ms) // 1000)))}
        return Answer(error.status, error.code, error.message, error.temporary, dict(error.facts), headers)
    if isinstance(error, HTTPException):
        phrase = _SENTENCES.get(error.status_code) or HTTPStatus(error.status_code).phrase.lower()
        code = _CODES.get(error.status_code, "refused")
        return Answer(error.status_code, code, phrase, headers=dict(error.headers or {}))
    return Answer(500, "internal", "chatd failed at this; it has been written down", temporary=True)


class Refusals:
    """Makes answers out of refusals: a page for somebody who navigates, JSON for everybody else."""

    def __init__(self, settings: Settings, page: ErrorPage | None = None) -> None:
        self._settings = settings
        self._page = page

    def response(self, connection: HTTPConnection, answer: Answer) -> Response:
        facts = facts_of(connection)
        headers = {"Cache-Control": "no-store", **answer.headers}
        if self._page is not None and wants_page(connection):
            try:
                text = self._page(connection, answer, facts)
            except Exception:
                # The last resort must not fail: JSON is said without a template.
                logger.exception("request %s: the error page failed", facts.request)
            else:
                headers = page_headers(self._settings, facts.nonce) | headers
                return Response(text, answer.status, headers, media_type="text/html")
        body = {
            "code": answer.code,
            "message": answer.message,
            "temporary": answer.temporary,
            "facts": answer.facts,
            "request": facts.request,
        }
        return Response(msgspec.json.encode(body), answer.status, headers, media_type="application/json")

    def exception_handlers(self) -> Mapping[Any, Callable[[Request, Exception], Awaitable[Response]]]:
        """For `Starlette(exception_handlers=…)`."""

        async def handle(request: Request, error: Exception) -> Response:
            return self.response(request, answer_of(error))

        return {ChatError: handle, HTTPException: handle, Exception: handle}


def wants_page(connection: HTTPConnection) -> bool:
    """Whether a person is looking: a browser that navigates asks for HTML, a script does not."""
    return not connection.url.path.startswith("/v1/") and "text/html" in connection.headers.get("accept", "")


# ---------------------------------------------------------------- the guard


def within(content_length: bytes, bytes_max: int) -> bool:
    """Whether a `Content-Length` announces at most this much."""
    # Digits beyond any sane size are not even read as a number: that takes time that grows with their square.
    return content_length.isdigit() and len(content_length) <= 15 and int(content_length) <= bytes_max


class Guard:
    """See the module's text. `app` is the whole of Starlette."""

    def __init__(
        self, app: ASGIApp, settings: Settings, refusals: Refusals, *, counts: AddressCounts | None = None
    ) -> None:
        self.app = app
        self.settings = settings
        self.refusals = refusals
        self.counts = AddressCounts(settings.connections_per_address_max) if counts is None else counts
        self.headers = tuple(base_headers(settings).items())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            # Sockets are taken over by the front before ASGI; any other server's way to them would pass its checks by.
            await send({"type": "websocket.close", "code": 1008})
            return
        peer = scope["client"][0] if scope.get("client") else None
        client = client_address(peer, scope["headers"], self.settings.trusted_proxies)
        facts = Facts(secrets.token_hex(8), client, secrets.token_urlsafe(16))
        scope[FACTS] = facts
        await _Exchange(self, scope, receive, send, facts).run()

    def refusal_at_the_door(self, scope: Scope) -> Answer | None:
        headers = scope["headers"]
        if scope["path"] not in ANY_HOST_PATHS:
            refusal = host_refusal(headers, self.settings.hosts)
            if refusal is not None:
                return refusal
        for name, value in headers:
            if name == b"content-length" and not within(value, self.settings.request_body_bytes_max):
                return answer_of(self.too_large())
            if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
                return Answer(415, "unsupported_media_type", "compressed bodies are not taken")
        return None

    def too_large(self) -> TooLarge:
        most = self.settings.request_body_bytes_max
        return TooLarge(f"the body is larger than {most:,} bytes", bytes_max=most)


class _Exchange:
    """One request and its answer, on their way through the guard."""

    def __init__(self, guard: Guard, scope: Scope, receive: Receive, send: Send, facts: Facts) -> None:
        self._guard = guard
        self._scope = scope
        self._receive = receive
        self._send = send
        self._facts = facts
        self._body_bytes = 0
        self._status = 0
        self._complete = False
        self._began_at = time.monotonic()

    async def run(self) -> None:
        guard, scope = self._guard, self._scope
        counted = guard.settings.trusted_proxies > 0
        if counted and not guard.counts.enter(self._facts.client):
            await self._refuse(Answer(429, "too_fast", "too many requests at once from this address", True))
            return
        try:
            refusal = guard.refusal_at_the_door(scope)
            if refusal is not None:
                await self._refuse(refusal)
                return
            await guard.app(scope, self.receive, self.send)
        except ClientDisconnect:
            self._status = 0  # whoever asked is gone, and was told nothing
        except Exception as error:
            answer = answer_of(error)
            if answer.status == 500:
                logger.exception("request %s failed", self._facts.request)
            if not self._status:
                await self._refuse(answer)
            elif not self._complete:
                raise  # half an answer is out: only closing the connection tells the client that it is not whole
        finally:
            if counted:
                guard.counts.leave(self._facts.client)
            self._log()

    async def _refuse(self, answer: Answer) -> None:
        response = self._guard.refusals.response(HTTPConnection(self._scope), answer)
        if answer.status in (400, 413, 421):
            response.headers["Connection"] = "close"  # what is still coming is not worth reading
        await response(self._scope, self._receive, self.send)

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._body_bytes += len(message.get("body", b""))
            if self._body_bytes > self._guard.settings.request_body_bytes_max:
                raise self._guard.too_large()
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = list(message.get("headers", ()))
            present = {name.lower() for name, _ in headers}
            headers += [(name, value) for name, value in self._guard.headers if name not in present]
            headers.append((b"x-request-id", self._facts.request.encode()))
            if self._body_bytes > self._guard.settings.request_body_bytes_max and b"connection" not in present:
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            self._complete = True
        await self._send(message)

    def _log(self) -> None:
        """One line, without the query: it may hold what must not be kept. `%r` leaves no line break in it."""
        level = logging.WARNING if self._status >= 500 else logging.DEBUG
        logger.log(
            level,
            "request %s: %s %r from %s: %d in %.1f ms",
            self._facts.request,
            self._scope["method"],
            self._scope["path"],
            self._facts.client or "a local socket",
            self._status,
            (time.monotonic() - self._began_at) * 1000,
        )
