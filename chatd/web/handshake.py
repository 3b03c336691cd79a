"""The opening handshake of RFC 6455 section 4.2: a request in, an answer and whom it is for out. Pure.

Everything that can be refused is refused here, in HTTP, before a socket exists: a foreign origin (section 10.2:
browsers send any page's socket request, so the origin is what keeps other sites out), an unknown shop, an unknown
subprotocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from chatd.wire.frames import SUBPROTOCOLS, Codec
from chatd.wire.protocol import Side
from chatd.wire.websocket import accept_key

CUSTOMER_PATH = "/v1/socket/"
STAFF_PATH = "/v1/socket"

_REASONS = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    426: "Upgrade Required",
    429: "Too Many Requests",
    503: "Service Unavailable",
}


class KnownShop(Protocol):
    """What the handshake needs to know of a shop."""

    @property
    def id(self) -> str: ...

    @property
    def origins(self) -> Sequence[str]: ...


class Shops(Protocol):
    def by_key(self, key: str) -> KnownShop | None: ...


class Accepted(msgspec.Struct, frozen=True):
    """The answer to send, and who is there: `shop` is None for staff, whose ticket will say."""

    response: bytes
    side: Side
    shop: str | None
    codec: Codec


class Refused(msgspec.Struct, frozen=True):
    status: int
    response: bytes


def refuse(status: int, sentence: str, *, retry_after_seconds: int | None = None) -> Refused:
    """An HTTP answer that ends the connection, with a sentence on what was expected."""
    body = sentence.encode()
    extra = b"" if retry_after_seconds is None else b"Retry-After: %d\r\n" % retry_after_seconds
    if status == 426:
        extra += b"Sec-WebSocket-Version: 13\r\n"
    head = b"HTTP/1.1 %d %b\r\nContent-Type: text/plain; charset=utf-8\r\n" % (status, _REASONS[status].encode())
    return Refused(status, head + b"Content-Length: %d\r\n%bConnection: close\r\n\r\n%b" % (len(body), extra, body))


def answer_handshake(
    path: str, headers: Sequence[tuple[bytes, bytes]], *, shops: Shops, own_origin: str
) -> Accepted | Refused:
    """Judge a request whose `Upgrade` is websocket. `headers` have lower-case names."""
    found: dict[bytes, bytes] = {}
    offered: list[str] = []
    for name, value in headers:
        if name == b"sec-websocket-protocol":
            offered += [token.strip() for token in value.decode("latin-1").split(",")]
        elif name in found and name in (b"origin", b"sec-websocket-key", b"sec-websocket-version", b"host"):
            return refuse(400, f"{name.decode()} was given twice")
        else:
            found[name] = value

    if found.get(b"sec-websocket-version") != b"13":
        return refuse(426, "Sec-WebSocket-Version must be 13")
    try:
        key = accept_key(found.get(b"sec-websocket-key", b""))
    except ValueError as error:
        return refuse(400, str(error))

    side: Side
    shop: KnownShop | None = None
    if path == STAFF_PATH:
        side = "staff"
        allowed: Sequence[str] = (own_origin,)
    elif path.startswith(CUSTOMER_PATH):
        side = "customer"
        shop = shops.by_key(path[len(CUSTOMER_PATH) :])
        if shop is None:
            return refuse(404, "no such shop")
        allowed = (own_origin, *shop.origins)
    else:
        return refuse(404, "no socket here")

    # Compared whole and as it came: a prefix, a suffix, another case or port is another origin.
    origin = found.get(b"origin", b"").decode("latin-1")
    if not origin or origin == "null" or origin not in allowed:
        return refuse(403, "this origin is not in the shop's list")

    subprotocol = next((known for known in SUBPROTOCOLS if known in offered), None)
    if subprotocol is None:
        return refuse(400, f"offer one of these subprotocols: {', '.join(SUBPROTOCOLS)}")
    return Accepted(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\nSec-WebSocket-Protocol: %b\r\n\r\n" % (key, subprotocol.encode()),
        side,
        None if shop is None else shop.id,
        SUBPROTOCOLS[subprotocol],
    )
