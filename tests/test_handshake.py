"""The opening handshake (RFC 6455 section 4.2): whom it lets in, and what it tells whom it does not. Pure: a request
in, an answer out."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.http11 import Response
from websockets.streams import StreamReader

from chatd.web.handshake import Accepted, Refused, answer_handshake, refuse
from chatd.wire.frames import SUBPROTOCOLS

BASE = "https://chat.example"
SHOP = "https://shop.example"


class KnownShop(msgspec.Struct, frozen=True):
    id: str
    origins: Sequence[str]


KNOWN = {
    "KEY": KnownShop("shop-1", (SHOP, "https://www.shop.example:8443")),
    "NONE": KnownShop("shop-2", ()),
    "NULL": KnownShop("shop-3", ("null", "", "https://shop.example/")),
}


class Shops:
    """As the directory of shops."""

    def by_key(self, key: str) -> KnownShop | None:
        return KNOWN.get(key)


HEADERS = {
    "host": "chat.example",
    "upgrade": "websocket",
    "connection": "Upgrade",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-protocol": "chatd.v1.json",
    "origin": SHOP,
}


def ask(
    path: str = "/v1/socket/KEY", *, more: Sequence[tuple[str, str]] = (), **changed: str | None
) -> Accepted | Refused:
    """A good request, with some fields changed (`_` for `-`), left out (None) or added."""
    fields: dict[str, str | None] = {**HEADERS, **{name.replace("_", "-"): value for name, value in changed.items()}}
    headers = [(name, value) for name, value in fields.items() if value is not None]
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in [*headers, *more]]
    return answer_handshake(path, raw, shops=Shops(), own_origin=BASE)


def status(outcome: Accepted | Refused) -> int:
    """101, or why not. Either way it is a response that another implementation can read to its end."""
    reader = StreamReader()
    reader.feed_data(outcome.response)
    reader.feed_eof()
    with pytest.raises(StopIteration) as end:  # what a generator returns: here, without waiting for more
        next(Response.parse(reader.read_line, reader.read_exact, reader.read_to_eof))
    response: Response = end.value.value
    if isinstance(outcome, Refused):
        assert response.status_code == outcome.status
        assert response.headers["Connection"] == "close"
        assert response.body and len(response.body) == int(response.headers["Content-Length"])
        assert response.headers["Content-Type"].startswith("text/plain")
    return response.status_code


def sentence(outcome: Accepted | Refused) -> str:
    return outcome.response.partition(b"\r\n\r\n")[2].decode()


# ---------------------------------------------------------------- who is let in


def test_a_page_of_the_shop_is_let_in_and_known_by_its_shop() -> None:
    outcome = ask()
    assert isinstance(outcome, Accepted) and status(outcome) == 101
    assert (outcome.side, outcome.shop, outcome.codec) == ("customer", "shop-1", "json")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in outcome.response
    assert b"Sec-WebSocket-Extensions" not in outcome.response
    assert outcome.response.endswith(b"\r\n\r\n")


def test_staff_are_let_in_from_chatds_own_pages_and_nothing_is_known_of_them_yet() -> None:
    outcome = ask("/v1/socket", origin=BASE)
    assert isinstance(outcome, Accepted) and status(outcome) == 101
    assert (outcome.side, outcome.shop) == ("staff", None)


# ---------------------------------------------------------------- origins


@pytest.mark.parametrize(
    ("path", "origin", "expected"),
    [
        ("/v1/socket/KEY", SHOP, 101),
        ("/v1/socket/KEY", "https://www.shop.example:8443", 101),
        ("/v1/socket/KEY", BASE, 101),  # the page that a reply link opens
        ("/v1/socket/NONE", BASE, 101),
        ("/v1/socket", BASE, 101),
        ("/v1/socket", SHOP, 403),  # a shop's page is no inbox
        ("/v1/socket/NONE", SHOP, 403),  # of another shop
        ("/v1/socket/KEY", None, 403),
        ("/v1/socket/KEY", "", 403),
        ("/v1/socket/KEY", "null", 403),
        ("/v1/socket/NULL", "null", 403),  # not even where somebody has put it into the list
        ("/v1/socket/NULL", "", 403),
        ("/v1/socket/KEY", "https://evil.example", 403),
        ("/v1/socket/KEY", "https://shop.example.evil.example", 403),
        ("/v1/socket/KEY", "https://evil-shop.example", 403),
        ("/v1/socket/KEY", "https://evilshop.example", 403),
        ("/v1/socket/KEY", "https://sub.shop.example", 403),
        ("/v1/socket/KEY", "https://shop.exampl", 403),
        ("/v1/socket/KEY", "https://shop.example.", 403),
        ("/v1/socket/KEY", "https://shop.examplex", 403),
        ("/v1/socket/KEY", "https://shop.example/", 403),
        ("/v1/socket/KEY", "https://shop.example/path", 403),
        ("/v1/socket/KEY", "https://shop.example ", 403),
        ("/v1/socket/KEY", " https://shop.example", 403),
        ("/v1/socket/KEY", "https://shop.example\t", 403),
        ("/v1/socket/KEY", "https://SHOP.example", 403),  # browsers write it in lower case
        ("/v1/socket/KEY", "HTTPS://shop.example", 403),
        ("/v1/socket/KEY", "http://shop.example", 403),
        ("/v1/socket/KEY", "https://shop.example:443", 403),  # nor do they write the port that goes without saying
        ("/v1/socket/KEY", "https://shop.example:8443", 403),
        ("/v1/socket/KEY", "https://www.shop.example", 403),
        ("/v1/socket/KEY", "https://www.shop.example:84433", 403),
        ("/v1/socket/KEY", "https://user@shop.example", 403),
        ("/v1/socket/KEY", "https://evil.example https://shop.example", 403),
        ("/v1/socket/KEY", "https://shop.example, https://evil.example", 403),
        ("/v1/socket/KEY", "https://sh\xf6p.example", 403),
        ("/v1/socket/KEY", "file://", 403),
        ("/v1/socket/KEY", "*", 403),
        ("/v1/socket/KEY", "shop.example", 403),
    ],
)
def test_an_origin_is_in_the_list_exactly_as_it_stands_or_it_is_not(
    path: str, origin: str | None, expected: int
) -> None:
    assert status(ask(path, origin=origin)) == expected


@given(st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=40))
def test_no_other_origin_is_let_in(origin: str) -> None:
    allowed = (SHOP, "https://www.shop.example:8443", BASE)
    for given_origin in (origin, SHOP + origin, origin + SHOP):
        assert (status(ask(origin=given_origin)) == 101) == (given_origin in allowed)


def test_a_foreign_page_learns_nothing_but_that_it_is_foreign() -> None:
    outcome = ask(origin="https://evil.example")
    assert sentence(outcome) == "this origin is not in the shop's list"
    assert b"shop.example" not in outcome.response and b"Access-Control" not in outcome.response


@pytest.mark.parametrize("name", ["origin", "host", "sec-websocket-key", "sec-websocket-version"])
@pytest.mark.parametrize("second", [None, "https://evil.example"])
def test_a_field_that_must_stand_once_and_stands_twice_is_refused(name: str, second: str | None) -> None:
    """Or one who looks at the first and one who looks at the last would not mean the same."""
    outcome = ask(more=[(name, second or HEADERS[name])])
    assert status(outcome) == 400 and sentence(outcome) == f"{name} was given twice"


# ---------------------------------------------------------------- paths


@pytest.mark.parametrize(
    "path",
    [
        "/", "", "/v1", "/v1/sockets", "/v1/socket/", "/v1/socket/key", "/v1/socket/KEYS", "/v1/socket/KEY/",
        "/v1/socket/KEY?x=1", "/v1/socket//KEY", "/v1/socket/../socket/KEY", "/v2/socket/KEY", "/V1/socket/KEY",
        "/v1/socket/KEY\0", "/v1/socket/%4BEY", "v1/socket/KEY", "/v1/socket?x", "/inbox",
    ],
)  # fmt: skip
def test_no_other_path_has_a_socket(path: str) -> None:
    outcome = ask(path, origin=BASE)
    assert status(outcome) == 404
    assert sentence(outcome) in ("no such shop", "no socket here")


# ---------------------------------------------------------------- version, key, subprotocol


@pytest.mark.parametrize("version", [None, "", "8", "12", "14", "013", "13, 8", "13.0", "thirteen"])
def test_another_version_is_told_which_one_is_spoken(version: str | None) -> None:
    outcome = ask(sec_websocket_version=version)
    assert status(outcome) == 426
    assert b"\r\nSec-WebSocket-Version: 13\r\n" in outcome.response


@pytest.mark.parametrize(
    "key", [None, "", "x", "AAAA", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZS4=", "\xff" * 24, "=" * 24]
)
def test_a_key_that_is_none_is_refused_with_what_was_expected(key: str | None) -> None:
    outcome = ask(sec_websocket_key=key)
    assert status(outcome) == 400 and "16 bytes in base64" in sentence(outcome)


@pytest.mark.parametrize(
    ("offered", "codec"),
    [
        ("chatd.v1.json", "json"),
        ("chatd.v1.msgpack", "msgpack"),
        ("chatd.v1.msgpack, chatd.v1.json", "json"),
        (" chatd.v9.json ,chatd.v1.msgpack", "msgpack"),
        ("chatd.v1.json,", "json"),
    ],
)
def test_the_preferred_subprotocol_of_those_offered_is_taken(offered: str, codec: str) -> None:
    outcome = ask(sec_websocket_protocol=offered)
    assert isinstance(outcome, Accepted) and outcome.codec == codec
    assert f"\r\nSec-WebSocket-Protocol: chatd.v1.{codec}\r\n".encode() in outcome.response


def test_subprotocols_may_be_offered_in_several_fields() -> None:
    outcome = ask(sec_websocket_protocol="mqtt", more=[("sec-websocket-protocol", "chatd.v1.msgpack")])
    assert isinstance(outcome, Accepted) and outcome.codec == "msgpack"


@pytest.mark.parametrize(
    "offered", [None, "", "mqtt", "chatd.v2.json", "CHATD.V1.JSON", "chatd.v1.json;q=1", "chatd.v1"]
)
def test_without_a_known_subprotocol_the_known_ones_are_told(offered: str | None) -> None:
    outcome = ask(sec_websocket_protocol=offered)
    assert status(outcome) == 400
    assert all(name in sentence(outcome) for name in SUBPROTOCOLS)


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("code", [400, 403, 404, 426, 429, 503])
def test_every_refusal_is_a_whole_answer(code: int) -> None:
    outcome = refuse(code, "höchstens 20", retry_after_seconds=5)
    assert status(outcome) == code and sentence(outcome) == "höchstens 20"
    assert b"\r\nRetry-After: 5\r\n" in outcome.response
    assert b"Retry-After" not in refuse(code, "x").response


fields = st.lists(
    st.tuples(
        st.sampled_from([*HEADERS, "cookie", "x-more"]).map(str.encode),
        st.one_of(st.binary(max_size=20), st.sampled_from([value.encode() for value in HEADERS.values()])),
    ),
    max_size=12,
)


@given(st.text(max_size=20), fields)
def test_whatever_is_asked_there_is_an_answer(path: str, headers: list[tuple[bytes, bytes]]) -> None:
    for where in (path, "/v1/socket", "/v1/socket/KEY", "/v1/socket/" + path):
        outcome = answer_handshake(where, headers, shops=Shops(), own_origin=BASE)
        if status(outcome) == 101:
            assert dict(headers)[b"origin"].decode() in (SHOP, "https://www.shop.example:8443", BASE)
