"""What is signed is believed, and nothing else: visitor tokens, members' identities, tickets, CSRF tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import string
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.errors import NotAuthenticated
from chatd.web import tokens
from tests.door import NOW

SECRET = "s" * 32


# ---------------------------------------------------------------- visitor tokens


def test_a_visitor_token_is_good_for_its_shop_alone() -> None:
    token = tokens.make_visitor_token(SECRET, "shop", b"r" * 24)
    assert re.fullmatch(r"[A-Za-z0-9_-]{54}", token)
    assert tokens.check_visitor_token(SECRET, "shop", token)
    assert not tokens.check_visitor_token(SECRET, "other", token)
    assert not tokens.check_visitor_token("o" * 32, "shop", token)
    assert tokens.make_visitor_token(SECRET, "shop", b"q" * 24) != token
    assert re.fullmatch(r"[0-9a-f]{32}", tokens.customer_id_of(token))
    with pytest.raises(ValueError):
        tokens.make_visitor_token(SECRET, "shop", b"")


@given(st.text(max_size=80) | st.none() | st.integers() | st.binary(max_size=60))
def test_what_chatd_did_not_make_is_no_visitor_token(token: Any) -> None:
    assert not tokens.check_visitor_token(SECRET, "shop", token)


@given(st.binary(min_size=24, max_size=24), st.integers(0, 53), st.sampled_from("ABCxyz019-_=+/ é"))
def test_no_change_of_a_visitor_token_leaves_it_good(random_bytes: bytes, at: int, character: str) -> None:
    token = tokens.make_visitor_token(SECRET, "shop", random_bytes)
    changed = token[:at] + character + token[at + 1 :]
    assert tokens.check_visitor_token(SECRET, "shop", changed) is (changed == token)
    for other in (token[:-1], token + "A", token + "=", token + "\n", token[::-1]):
        assert tokens.check_visitor_token(SECRET, "shop", other) is (other == token)


def test_a_visitor_token_can_be_written_in_one_way_only() -> None:
    """Four bits of the last character say nothing, so fifteen other characters would decode to the same bytes."""
    token = tokens.make_visitor_token(SECRET, "shop", b"r" * 24)
    alphabet = string.ascii_letters + string.digits + "-_"
    good = [one for one in alphabet if tokens.check_visitor_token(SECRET, "shop", token[:-1] + one)]
    assert good == [token[-1]]


def test_a_shops_id_and_the_random_part_do_not_run_into_each_other() -> None:
    one = tokens.make_visitor_token(SECRET, "shop", b"12" + b"r" * 22)
    raw = base64.urlsafe_b64decode(one + "==")
    other = base64.urlsafe_b64encode(b"2" + b"r" * 22 + b"x" + raw[24:]).decode().rstrip("=")
    assert not tokens.check_visitor_token(SECRET, "shop1", other)


def test_a_reply_token_is_the_same_for_the_same_link_and_tells_nothing_of_it() -> None:
    first, second = tokens.make_reply_token(SECRET, "link"), tokens.make_reply_token(SECRET, "link")
    assert first == second != tokens.make_reply_token(SECRET, "link2") != tokens.make_reply_token("o" * 32, "link2")
    assert tokens.is_reply_token(first)
    for no in ("", None, "reply.", first + "x", tokens.make_visitor_token(SECRET, "shop", b"r" * 24)):
        assert not tokens.is_reply_token(no)
    assert not tokens.check_visitor_token(SECRET, "shop", first)


# ---------------------------------------------------------------- members

NOW_SECONDS = 1_763_790_000
SHOP_SECRET = "a" * 64


def identity(**claims: Any) -> str:
    values: dict[str, Any] = {"sub": "42", "exp": NOW_SECONDS + 600}
    kept = {name: value for name, value in (values | claims).items() if value is not ...}
    return jwt.encode(kept, SHOP_SECRET, algorithm="HS256")


def read(token: Any) -> tokens.MemberIdentity:
    return tokens.read_identity(SHOP_SECRET, token, NOW_SECONDS)


@pytest.mark.parametrize(
    ("claims", "member"),
    [
        ({}, ("42", "", "")),
        ({"sub": 42}, ("42", "", "")),
        ({"sub": ..., "user_id": "u-7"}, ("u-7", "", "")),
        ({"sub": "7", "user_id": 7}, ("7", "", "")),
        ({"name": " Mia ", "email": "mia@example.com"}, ("42", "Mia", "mia@example.com")),
        ({"name": None, "email": None}, ("42", "", "")),
        ({"exp": NOW_SECONDS + 24 * 3_600}, ("42", "", "")),
        ({"exp": NOW_SECONDS - 59}, ("42", "", "")),
        ({"exp": NOW_SECONDS + 600.5, "nbf": NOW_SECONDS, "iat": NOW_SECONDS, "aud": "x", "iss": "y"}, ("42", "", "")),
    ],
)
def test_a_member_is_who_the_shop_says(claims: dict[str, Any], member: tuple[str, str, str]) -> None:
    found = read(identity(**claims))
    assert (found.external_id, found.name, found.email) == member


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": ...},
        {"exp": None},
        {"exp": NOW_SECONDS - 61},
        {"exp": NOW_SECONDS + 25 * 3_600},
        {"exp": 10**30},
        {"exp": True},
        {"exp": str(NOW_SECONDS + 600)},
        {"exp": [NOW_SECONDS + 600]},
        {"nbf": NOW_SECONDS + 3_600},
        {"nbf": "soon"},
        {"sub": ...},
        {"sub": ""},
        {"sub": " "},
        {"sub": None},
        {"sub": True},
        {"sub": ["42"]},
        {"sub": {"a": 1}},
        {"sub": "x" * 201},
        {"sub": "a\0b"},
        {"sub": "1", "user_id": "2"},
        {"name": ["Mia"]},
        {"name": "x" * 121},
        {"email": "a@b.example\r\nBcc: c@d.example"},
    ],
)
def test_an_identity_with_anything_off_is_refused(claims: dict[str, Any]) -> None:
    with pytest.raises(NotAuthenticated):
        read(identity(**claims))


def _part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


CLAIMS = _part({"sub": "42", "exp": NOW_SECONDS + 600})


@pytest.mark.parametrize(
    "token",
    [
        None,
        "",
        "null",
        "a.b.c",
        "..",
        42,
        f"{_part({'alg': 'none', 'typ': 'JWT'})}.{CLAIMS}.",
        f"{_part({'alg': 'None'})}.{CLAIMS}.",
        f"{_part({'alg': ''})}.{CLAIMS}.",
        f"{_part({})}.{CLAIMS}.",
        f"{_part({'alg': 'HS256'})}.{CLAIMS}.",
        f"{_part({'alg': 'HS256'})}.{CLAIMS}",
        f"{_part({'alg': 'RS256'})}.{CLAIMS}.AAAA",
        f"{_part('x')}.{CLAIMS}.AAAA",
        jwt.encode({"sub": "42", "exp": NOW_SECONDS + 600}, "b" * 64, algorithm="HS256"),
        jwt.encode({"sub": "42", "exp": NOW_SECONDS + 600}, SHOP_SECRET, algorithm="HS384"),
        jwt.encode({"sub": "42", "exp": NOW_SECONDS + 600}, SHOP_SECRET, algorithm="HS512"),
        jwt.encode({"sub": "42", "exp": NOW_SECONDS + 600, "x": "y" * 5_000}, SHOP_SECRET, algorithm="HS256"),
        identity()[:-1],
        identity() + "A",
        "é" * 10,
        "\ud800",
    ],
)
def test_what_the_shop_did_not_sign_is_nobody(token: Any) -> None:
    with pytest.raises(NotAuthenticated) as refused:
        read(token)
    assert SHOP_SECRET not in refused.value.message


def test_without_a_secret_nobody_is_anybody() -> None:
    unsigned = jwt.encode({"sub": "42", "exp": NOW_SECONDS + 600}, "k" * 32, algorithm="HS256")
    with pytest.raises(NotAuthenticated):
        tokens.read_identity("", unsigned, NOW_SECONDS)


def test_the_older_hash_of_an_identity() -> None:
    right = hmac.new(SHOP_SECRET.encode(), b"42", hashlib.sha256).hexdigest()
    assert tokens.check_identity_hash(SHOP_SECRET, "42", right)
    assert tokens.check_identity_hash(SHOP_SECRET, "42", right.upper())
    for external_id, shown in (("43", right), ("42", right[:-1]), ("42", ""), ("", right), ("42", None), (None, right)):
        assert not tokens.check_identity_hash(SHOP_SECRET, external_id, shown)
    assert not tokens.check_identity_hash("", "42", hmac.new(b"", b"42", hashlib.sha256).hexdigest())
    assert not tokens.check_identity_hash(SHOP_SECRET, "42", "ſ" * 64)


# ---------------------------------------------------------------- tickets and CSRF tokens


@given(st.text(max_size=300) | st.none() | st.integers())
def test_what_chatd_did_not_make_is_no_ticket(ticket: Any) -> None:
    with pytest.raises(NotAuthenticated):
        tokens.open_ticket(SECRET, ticket, NOW)


@given(st.integers(0, 200), st.sampled_from("ABCxyz019-_=.é"))
def test_no_change_of_a_ticket_leaves_it_good(at: int, character: str) -> None:
    ticket = tokens.make_ticket(SECRET, "h" * 64, NOW)
    at %= len(ticket)
    changed = ticket[:at] + character + ticket[at + 1 :]
    if changed != ticket:
        with pytest.raises(NotAuthenticated):
            tokens.open_ticket(SECRET, changed, NOW)


def test_what_was_signed_for_one_purpose_is_worth_nothing_for_another() -> None:
    csrf = tokens.make_csrf_token(SECRET, "x")
    payload = base64.urlsafe_b64encode(b"x").decode().rstrip("=")
    with pytest.raises(NotAuthenticated):
        tokens.open_ticket(SECRET, f"{payload}.{csrf}", NOW)
    assert not tokens.check_csrf_token(SECRET, "login x", tokens.make_csrf_token(SECRET, "session x"))


@pytest.mark.parametrize("shown", [None, "", "x", 5, b"x", "é", "\ud800"])
@pytest.mark.parametrize("bound_to", [None, "", "session"])
def test_no_csrf_token_matches_by_accident(bound_to: str | None, shown: Any) -> None:
    assert not tokens.check_csrf_token(SECRET, bound_to, shown)
