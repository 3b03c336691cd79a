"""The pages, the bubble's script, the exchange of reply links, and whether chatd says truly how it is."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from chatd.i18n import LOCALES
from chatd.notify.links import ReplyLink, make_link
from chatd.store.people import find_token, forget_tokens
from chatd.store.shops import Shop, change_shop
from chatd.web.pages import script_literal
from chatd.web.tokens import hash_token, is_reply_token
from tests.door import NOW, OWN, Door, a_login, a_shop, open_door

DAY_MS = 86_400_000


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with open_door(tmp_path) as opened:
        yield opened


# ---------------------------------------------------------------- pages


async def test_the_beginning_leads_to_the_inbox_and_that_to_the_login(door: Door) -> None:
    async with door.browser() as browser:
        assert (await browser.get("/")).headers["location"] == "/inbox"
        assert (await browser.get("/inbox")).headers["location"] == "/login?next=/inbox"
        assert (await browser.get("/inbox/c-1")).headers["location"] == "/login?next=/inbox/c-1"
        listed = await browser.get("/inbox/c-1?filter=unread&topic=store_info")
        assert listed.headers["location"] == "/login?next=/inbox/c-1%3Ffilter%3Dunread%26topic%3Dstore_info"
        odd = await browser.get("/inbox/c-1?next=//evil.example")
        assert odd.headers["location"] == "/login?next=/inbox/c-1"
        assert (await browser.get("/login")).status_code == 200
        assert (await browser.post("/inbox")).status_code == 405


@pytest.mark.parametrize("locale", LOCALES)
async def test_the_pages_speak_the_readers_language(door: Door, locale: str) -> None:
    async with door.browser(headers={"accept-language": locale}) as browser:
        for path in ("/login", "/messages"):
            assert f'<html lang="{locale}"' in (await browser.get(path)).text


async def test_the_page_of_a_reply_link_knows_where_sockets_are(door: Door) -> None:
    async with door.browser() as browser:
        page = await browser.get("/messages")
    assert 'content="ws://localhost/v1/socket/"' in page.text
    assert f'src="{door.assets.base}messages.js"' in page.text


# ---------------------------------------------------------------- the bubble


async def bubble(door: Door, shop: Shop, **headers: str) -> httpx2.Response:
    async with door.browser(headers={"accept": "*/*"} | headers) as browser:
        return await browser.get(f"/bubble/{shop.key}.js")


def settings_in(script: str) -> dict[str, Any]:
    found = re.search(r'\((\{"shop":.*?\}\})\)', script)
    assert found is not None
    settings: dict[str, Any] = json.loads(found[1])
    return settings


async def test_a_shops_page_gets_the_bubble_with_its_own_settings(door: Door) -> None:
    shop = await a_shop(door.store, colour="#123abc", greeting="Hej! Fråga oss.", locale="sv", ask_first=True)
    await door.directory.refresh()
    answer = await bubble(door, shop)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert answer.headers["cache-control"] == "public, max-age=300"
    assert answer.headers["content-encoding"] == "gzip"
    assert "/*CHATD_SETTINGS*/" not in answer.text
    assert settings_in(answer.text) == {
        "shop": shop.key,
        "socket": f"ws://localhost/v1/socket/{shop.key}",
        "assets": f"http://localhost{door.assets.base}",
        "name": "Nordlys Ceramics",
        "colour": "#123abc",
        "on_colour": "#ffffff",
        "greeting": "Hej! Fråga oss.",
        "locale": "sv",
        "position": "right",
        "ask_first": True,
        "labels": {
            "open": "Chatta med oss",
            "close": "Stäng chatten",
            "failed": "Chatten kunde inte laddas. Försök igen.",
        },
    }
    for secret in (shop.identity_secret, shop.email, shop.epoch, shop.id, door.settings.secret):
        assert secret not in answer.text


async def test_who_has_the_bubble_is_told_so_until_something_changes(door: Door) -> None:
    shop = await a_shop(door.store)
    await door.directory.refresh()
    first = await bubble(door, shop)
    etag = first.headers["etag"]
    assert (await bubble(door, shop, **{"if-none-match": etag})).status_code == 304
    await door.store.write(lambda tx: change_shop(tx, shop.id, NOW + 1, colour="#ff0000"))
    await door.directory.refresh()
    changed = await bubble(door, shop, **{"if-none-match": etag})
    assert changed.status_code == 200
    assert settings_in(changed.text)["colour"] == "#ff0000"


@pytest.mark.parametrize("key", ["nobody", "", "x/../y", "%00", "a" * 500])
async def test_a_shop_that_is_not_there_has_no_bubble(door: Door, key: str) -> None:
    await a_login(door)
    async with door.browser() as browser:
        answer = await browser.get(f"/bubble/{key}.js", headers={"accept": "*/*"})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "name",
    [
        "</script><script>alert(1)</script>",
        '"};alert(1);//',
        "\u2028alert(1)\u2029",
        "<!--<script>",
        "a\\u003c/script>",
        "*/null;alert(1)/*",
        "${alert(1)}`",
        "]]>&lt;",
    ],
)
async def test_what_a_shop_is_called_cannot_become_code(door: Door, name: str) -> None:
    shop = await a_shop(door.store, name=name, greeting=name)
    await door.directory.refresh()
    script = (await bubble(door, shop)).text
    assert settings_in(script)["greeting"] == shop.greeting
    literal = script_literal({"name": name}).decode()
    assert json.loads(literal) == {"name": name}
    assert not set(literal) & set("<>&\u2028\u2029")


# ---------------------------------------------------------------- reply links


def link_of(door: Door, of: Shop, **fields: Any) -> str:
    values: dict[str, Any] = {"shop": of.id, "customer": "cu1", "conversation": "co1", "expires_at": NOW + DAY_MS}
    return make_link(ReplyLink(**values | fields), door.settings.secret)


async def exchange(door: Door, body: Any, headers: dict[str, str] | None = None) -> httpx2.Response:
    async with door.browser(headers={"accept": "*/*"}) as browser:
        return await browser.post("/v1/reply-links", json=body, headers=OWN if headers is None else headers)


async def test_a_reply_link_is_exchanged_for_a_token_to_one_conversation(door: Door) -> None:
    shop, _ = await a_login(door)
    answer = await exchange(door, {"link": link_of(door, shop)})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert (body["shop"], body["conversation"]) == (shop.key, "co1")
    assert is_reply_token(body["token"])
    found = await door.store.read(lambda tx: find_token(tx, hash_token(body["token"])))
    assert found is not None
    assert (found.shop, found.customer, found.conversation, found.expires_at) == (shop.id, "cu1", "co1", NOW + DAY_MS)


async def test_opening_a_mail_a_hundred_times_leaves_one_row(door: Door, tmp_path: Path) -> None:
    shop, _ = await a_login(door)
    link = link_of(door, shop)
    answers = {(await exchange(door, {"link": link})).text for _ in range(5)}
    assert len(answers) == 1
    connection = sqlite3.connect(tmp_path / "chatd.db")
    assert connection.execute("SELECT count(*) FROM customer_tokens").fetchone() == (1,)
    assert json.loads(answers.pop())["token"] not in str(connection.execute("SELECT * FROM customer_tokens").fetchall())
    connection.close()
    assert await door.store.write(lambda tx: forget_tokens(tx, NOW)) == 0
    assert await door.store.write(lambda tx: forget_tokens(tx, NOW + DAY_MS)) == 1


async def test_a_link_that_is_not_good_opens_nothing(door: Door) -> None:
    shop, _ = await a_login(door)
    good = link_of(door, shop)
    other_secret = make_link(ReplyLink(shop.id, "cu1", "co1", NOW + DAY_MS), "o" * 32)
    for link in (
        other_secret,
        link_of(door, shop, expires_at=NOW),
        link_of(door, shop, shop="gone"),
        good[:-2],
        good + "A",
        "x",
    ):
        answer = await exchange(door, {"link": link})
        assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")


@pytest.mark.parametrize(
    "body",
    [{}, {"link": ""}, {"link": None}, {"link": 5}, {"link": "x" * 1_025}, {"link": "x", "shop": "y"}, [], "x"],
)
async def test_a_body_of_another_form_is_told_what_is_off(door: Door, body: Any) -> None:
    answer = await exchange(door, body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


async def test_only_our_own_page_may_exchange_links(door: Door) -> None:
    shop, _ = await a_login(door)
    body = {"link": link_of(door, shop)}
    for headers in ({}, {"origin": "null"}, {"origin": "https://evil.example"}):
        assert (await exchange(door, body, headers)).status_code == 403
    async with door.browser() as browser:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            answer = await browser.post(
                "/v1/reply-links", content=json.dumps(body).encode(), headers=OWN | {"content-type": kind}
            )
            assert answer.status_code == 415
        answer = await browser.post(
            "/v1/reply-links", content=b"{broken", headers=OWN | {"content-type": "application/json"}
        )
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed_frame")


async def test_links_cannot_be_tried_in_numbers(door: Door) -> None:
    answers = [(await exchange(door, {"link": "x"})) for _ in range(32)]
    assert [answer.status_code for answer in answers] == [401] * 30 + [429] * 2
    assert int(answers[-1].headers["retry-after"]) == 3


# ---------------------------------------------------------------- health


async def test_health_tells_which_part_is_ill_and_nothing_inside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatd.web.pages.HEALTH_SECONDS", 0.2)
    state: dict[str, Any] = {"courier": None}

    async def courier() -> str | None:
        if isinstance(state["courier"], Exception):
            raise state["courier"]
        result: str | None = state["courier"]
        return result

    async def hanging() -> str | None:
        if state.get("hang"):
            await asyncio.sleep(3_600)
        return None

    async with open_door(tmp_path, checks={"courier": courier, "store": hanging}) as door, door.browser() as browser:
        answer = await browser.get("/health")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        state["courier"] = "no mail went out for 20 minutes"
        answer = await browser.get("/health")
        assert answer.status_code == 503
        assert answer.json() == {
            "status": "failing",
            "reasons": [{"part": "courier", "reason": "no mail went out for 20 minutes"}],
        }
        state["courier"] = RuntimeError("password hunter2")
        answer = await browser.get("/health")
        assert answer.status_code == 503
        assert "hunter2" not in answer.text
        state.update(courier=None, hang=True)
        answer = await browser.get("/health")
        assert answer.status_code == 503
        assert answer.json()["reasons"] == [{"part": "store", "reason": "no answer within 0.2 s"}]
        assert answer.headers["cache-control"] == "no-store"
