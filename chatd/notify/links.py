"""The *Reply* link of a mail: made here, opened here.

    {base_url}/messages#link=v1.<payload>.<signature>

It stands in the fragment, which no browser sends to any server, so it is in no log and no `Referer`; the page hands it
over in the body of a POST. Whoever holds it reads and writes in one conversation of one customer until it expires, and
nothing else: that is what holding the mail means. It is signed under a label and version of its own, so nothing else
that chatd signs can pass for it, and changing the server's secret ends all of them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

import msgspec

from chatd.errors import NotAuthenticated

PAGE = "/messages"
VERSION = "v1"
LINK_CHARACTERS_MAX = 1_024
DAY_MS = 86_400_000

_LABEL = b"chatd reply link v1\0"


class ReplyLink(msgspec.Struct, frozen=True, array_like=True):
    """What a link opens, until `expires_at` (milliseconds)."""

    shop: str
    customer: str
    conversation: str
    expires_at: int


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(ReplyLink)


def make_link(link: ReplyLink, secret: str) -> str:
    """The token of a link. `secret` is the server's."""
    payload = _encode(_encoder.encode(link))
    return f"{VERSION}.{payload}.{_encode(_sign(payload, secret))}"


def open_link(token: str, secret: str, now: int) -> ReplyLink:
    """What the token opens. Raises `NotAuthenticated`: forged, damaged, of another server, or expired."""
    if len(token) > LINK_CHARACTERS_MAX or not token.isascii():
        raise _refused()
    version, _, rest = token.partition(".")
    payload, _, signature = rest.partition(".")
    if version != VERSION or not hmac.compare_digest(_encode(_sign(payload, secret)), signature):
        raise _refused()
    try:
        link = _decoder.decode(_decode(payload))
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError):
        raise _refused() from None
    if now >= link.expires_at:
        raise NotAuthenticated("this link has expired; write to the shop and a newer mail will have a new one")
    return link


def reply_url(base_url: str, token: str) -> str:
    """The address behind the button. Only the fragment carries the token."""
    return f"{base_url}{PAGE}#link={token}"


def _sign(payload: str, secret: str) -> bytes:
    return hmac.new(secret.encode(), _LABEL + payload.encode(), hashlib.sha256).digest()


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _refused() -> NotAuthenticated:
    return NotAuthenticated("this link is not one of ours; open it from the mail again, whole")
