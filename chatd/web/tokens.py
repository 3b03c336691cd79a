"""Everything that is believed because it is signed, and nothing else: visitor tokens, members' identities, tickets,
CSRF.

Functions are pure but for `new_session_token`; secrets, time and randomness are arguments. Every comparison of a
secret is in constant time, an empty or missing credential matches nothing, and each purpose signs under a label of
its own, so that what was signed for one can never be shown for another.

| token | holder | made of | good for |
|---|---|---|---|
| visitor token | the shop's page | 24 random bytes, 16 bytes of HMAC over the shop and them | as long as it is kept |
| reply token | the page of a mail's Reply link | HMAC over the link | as long as the link |
| identity | the shop's page, from its backend | HS256 JWT with the shop's own secret | `exp`, at most 24 h ahead |
| session token | a cookie of staff | 32 random bytes; the table keeps its SHA-256 | see `store.staff` |
| ticket | the inbox, for its next hello | session, time of expiry, HMAC | 60 s |
| CSRF token | a form or header of the inbox | HMAC over the session | as long as the session |
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
import secrets
import warnings
from typing import Any

import jwt
import msgspec

from chatd.errors import NotAuthenticated

VISITOR_RANDOM_BYTES = 24
VISITOR_MAC_BYTES = 16
VISITOR_TOKEN_CHARACTERS = 54  # 40 bytes in base64url without padding
REPLY_PREFIX = "reply."
TICKET_SECONDS = 60
TICKET_CHARACTERS_MAX = 400
IDENTITY_SECONDS_MAX = 24 * 3_600
IDENTITY_CHARACTERS_MAX = 4_096
IDENTITY_SKEW_SECONDS = 60  # how far the shop's clock may be off
MEMBER_ID_CHARACTERS_MAX = 200


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes | None:
    """The bytes of canonical base64url, else None. The last character has spare bits, so without the comparison one
    token could be written in several ways, and each way would be another customer."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
    return raw if _encode(raw) == text else None


def _mac(secret: str, purpose: str, *parts: bytes) -> bytes:
    """HMAC-SHA256 under a label; each part is preceded by its length, so that no two lists of parts look the same."""
    message = f"chatd {purpose}\0".encode() + b"".join([len(part).to_bytes(4, "big") + part for part in parts])
    return hmac.digest(secret.encode(), message, "sha256")


def hash_token(token: str) -> str:
    """What is stored of a token: reading the database lets nobody in."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


# ---------------------------------------------------------------- visitors


def make_visitor_token(secret: str, shop_id: str, random_bytes: bytes) -> str:
    """A visitor's token for this shop. It says by itself that chatd made it, so nothing needs to be stored about
    somebody who has not written yet. `random_bytes`: 24 from a cryptographic source."""
    if len(random_bytes) != VISITOR_RANDOM_BYTES:
        raise ValueError(f"a visitor token takes {VISITOR_RANDOM_BYTES} random bytes, got {len(random_bytes)}")
    return _encode(random_bytes + _mac(secret, "visitor", shop_id.encode(), random_bytes)[:VISITOR_MAC_BYTES])


def check_visitor_token(secret: str, shop_id: str, token: str | None) -> bool:
    """Whether chatd made this token for this shop."""
    if not isinstance(token, str) or len(token) != VISITOR_TOKEN_CHARACTERS:
        return False
    raw = _decode(token)
    if raw is None:
        return False
    random_bytes, shown = raw[:VISITOR_RANDOM_BYTES], raw[VISITOR_RANDOM_BYTES:]
    expected = _mac(secret, "visitor", shop_id.encode(), random_bytes)[:VISITOR_MAC_BYTES]
    return hmac.compare_digest(shown, expected)


def customer_id_of(token: str) -> str:
    """The id of the customer who holds this visitor token. Nobody can get from the id back to the token."""
    return hashlib.sha256(b"chatd customer" + token.encode()).digest()[:16].hex()


def make_reply_token(secret: str, link: str) -> str:
    """The token that a mail's Reply link is exchanged for. The same link always gives the same one: however often it is
    opened, chatd keeps one row about it."""
    return REPLY_PREFIX + _encode(_mac(secret, "reply", link.encode("utf-8", "surrogatepass")))


def is_reply_token(token: str | None) -> bool:
    """Whether this has the form of one; whether it opens anything, `store.people.find_token` knows."""
    return isinstance(token, str) and token.startswith(REPLY_PREFIX) and len(token) == len(REPLY_PREFIX) + 43


# ---------------------------------------------------------------- members


class MemberIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """What a shop's backend vouches for. `external_id` is the shop's own id of the person."""

    external_id: str
    name: str
    email: str
    expires_at_seconds: float


def read_identity(identity_secret: str, token: str | None, now_seconds: float) -> MemberIdentity:
    """The member whom this JWT speaks of. Raises `NotAuthenticated` with a sentence for the shop's developer; it
    never says more than a holder of the token can read in it.

    HS256 only (RFC 8725 section 3.1: the verifier, not the token, chooses the algorithm), `exp` required.
    """
    if not isinstance(token, str) or not token or not identity_secret:
        raise NotAuthenticated("the identity is empty; expected a JWT signed with the shop's identity secret")
    if len(token) > IDENTITY_CHARACTERS_MAX:
        raise NotAuthenticated(f"the identity is longer than {IDENTITY_CHARACTERS_MAX:,} characters")
    try:
        with warnings.catch_warnings():
            # A short secret is the shop's affair here; `store.shops` only makes long ones.
            warnings.simplefilter("ignore")
            claims: dict[str, Any] = jwt.decode(
                token,
                identity_secret,
                algorithms=["HS256"],
                # The times are checked below, against the clock that was handed in. An audience or issuer means
                # nothing here.
                options={
                    "require": ["exp"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_aud": False,
                    "verify_iss": False,
                    "verify_sub": False,
                    "verify_jti": False,
                },
            )
    except jwt.MissingRequiredClaimError:
        raise NotAuthenticated("the identity has no exp; expected a time at most 24 hours ahead") from None
    except jwt.InvalidAlgorithmError:
        raise NotAuthenticated("the identity is not signed with HS256") from None
    except jwt.InvalidSignatureError:
        raise NotAuthenticated("the identity's signature does not fit the shop's identity secret") from None
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise NotAuthenticated("the identity is not a JWT") from None
    expires = _seconds(claims, "exp")
    if expires is None or expires <= now_seconds - IDENTITY_SKEW_SECONDS:
        raise NotAuthenticated("the identity has expired; the shop's backend signs a new one for each page")
    if expires > now_seconds + IDENTITY_SECONDS_MAX + IDENTITY_SKEW_SECONDS:
        raise NotAuthenticated("the identity's exp is more than 24 hours ahead; expected a shorter time")
    if "nbf" in claims:
        begins = _seconds(claims, "nbf")
        if begins is None or begins > now_seconds + IDENTITY_SKEW_SECONDS:
            raise NotAuthenticated("the identity is not valid yet (nbf)")
    return MemberIdentity(
        external_id=_external_id(claims),
        name=_optional_text(claims, "name", 120),
        email=_optional_text(claims, "email", 254),
        expires_at_seconds=expires,
    )


def _seconds(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) else None


def _external_id(claims: dict[str, Any]) -> str:
    """`sub` (RFC 7519 section 4.1.2) or `user_id`, which chats before us have taught shops to send; numbers are
    common."""
    found = set()
    for name in ("sub", "user_id"):
        value = claims.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if value is None:
            continue
        if (
            not isinstance(value, str)
            or not value.strip()
            or len(value) > MEMBER_ID_CHARACTERS_MAX
            or not _is_text(value)
        ):
            raise NotAuthenticated(
                f"the identity's {name} must be a text of 1 to {MEMBER_ID_CHARACTERS_MAX} characters"
            )
        found.add(value)
    if len(found) != 1:
        raise NotAuthenticated("the identity names nobody, or two; expected one of sub and user_id")
    return found.pop()


def _is_text(value: str) -> bool:
    """Whether it can be stored and compared: JSON can hold half a character, UTF-8 cannot."""
    return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)


def _optional_text(claims: dict[str, Any], name: str, characters_max: int) -> str:
    value = claims.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > characters_max or any(character in value for character in "\0\r\n"):
        raise NotAuthenticated(f"the identity's {name} must be one line of at most {characters_max} characters")
    return value.strip()


def check_identity_hash(identity_secret: str, external_id: str | None, shown: str | None) -> bool:
    """The older way of chats: hex HMAC-SHA256 of the user's id. It never expires, so shops are better off with a
    JWT."""
    if not (isinstance(external_id, str) and isinstance(shown, str) and external_id and shown and identity_secret):
        return False
    expected = hmac.new(
        identity_secret.encode(), external_id.encode("utf-8", "surrogatepass"), hashlib.sha256
    ).hexdigest()
    return hmac.compare_digest(shown.lower().encode("utf-8", "surrogatepass"), expected.encode())


# ---------------------------------------------------------------- staff


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """Whose session a hello speaks for. Whether that session still lives is for `store.staff.find_session` to say."""

    token_hash: str
    expires_at_ms: int


def new_session_token() -> str:
    """256 bits for a cookie."""
    return secrets.token_urlsafe(32)


def make_ticket(secret: str, token_hash: str, now_ms: int) -> str:
    """A ticket for the session with this hash, good for 60 s."""
    payload = json.dumps([token_hash, now_ms + TICKET_SECONDS * 1_000]).encode()
    return f"{_encode(payload)}.{_encode(_mac(secret, 'ticket', payload))}"


def open_ticket(secret: str, ticket: str | None, now_ms: int) -> Ticket:
    """The session that this ticket speaks for. Raises `NotAuthenticated`."""
    refusal = NotAuthenticated("the ticket is not valid or has expired; ask for a new one")
    if not isinstance(ticket, str) or not 0 < len(ticket) <= TICKET_CHARACTERS_MAX:
        raise refusal
    first, _, second = ticket.partition(".")
    payload, shown = _decode(first), _decode(second)
    if payload is None or shown is None or not hmac.compare_digest(shown, _mac(secret, "ticket", payload)):
        raise refusal
    token_hash, expires_at_ms = json.loads(payload)  # signed, so it has the form that `make_ticket` gave it
    # A ticket from the future means that the clock went back: its 60 s cannot be told any more.
    if not now_ms < expires_at_ms <= now_ms + TICKET_SECONDS * 1_000 + IDENTITY_SKEW_SECONDS * 1_000:
        raise refusal
    return Ticket(token_hash=token_hash, expires_at_ms=expires_at_ms)


def make_csrf_token(secret: str, bound_to: str) -> str:
    """The token that a form or an `X-CSRF-Token` header must carry; `bound_to` is the session's hash, or the cookie
    of the login page."""
    return _encode(_mac(secret, "csrf", bound_to.encode("utf-8", "surrogatepass")))


def check_csrf_token(secret: str, bound_to: str | None, shown: str | None) -> bool:
    """Whether the token was made for this session or cookie."""
    if not (isinstance(bound_to, str) and isinstance(shown, str) and bound_to and shown):
        return False
    return hmac.compare_digest(shown.encode("utf-8", "surrogatepass"), make_csrf_token(secret, bound_to).encode())
