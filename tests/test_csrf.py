"""A form or a ticket that no page of ours has asked for changes nothing, whatever cookies come with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.door import OWN, PASSWORD, Door, a_login, csrf_in, hash_of, open_door, somebody, try_login


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with open_door(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "null"},
        {"origin": "https://evil.example"},
        {"origin": "http://localhost.evil.example"},
        {"origin": "http://localhost:81"},
        {"origin": "https://localhost"},
        {"origin": "HTTP://LOCALHOST"},
        {"origin": ""},
        {"referer": "https://evil.example/http://localhost/"},
        {"referer": "http://localhost@evil.example/"},
        {"origin": "https://evil.example", "referer": "http://localhost/login"},
    ],
)
async def test_what_no_page_of_ours_sends_is_refused(door: Door, headers: dict[str, str]) -> None:
    await a_login(door)
    async with door.browser() as browser:
        await try_login(browser)
        inbox = await browser.get("/inbox")
        csrf = csrf_in(inbox)
        for path in ("/login", "/logout"):
            answer = await browser.post(path, data={"csrf": csrf}, headers=headers)
            assert answer.status_code == 403
            assert "Open http://localhost and try again there" in answer.text
        answer = await browser.post("/v1/tickets", headers=headers | {"x-csrf-token": csrf})
        assert (answer.status_code, answer.json()["facts"]["reason"]) == (403, "foreign_origin")
        assert (await browser.get("/inbox")).status_code == 200, "still logged in"


async def test_where_origin_is_withheld_the_referer_says_it(door: Door) -> None:
    await a_login(door)
    async with door.browser() as browser:
        page = await browser.get("/login")
        form = {"email": "mia@nordlys.example", "password": PASSWORD, "csrf": csrf_in(page)}
        answer = await browser.post("/login", data=form, headers={"referer": "http://localhost/login"})
        assert answer.status_code == 303


@pytest.mark.parametrize("csrf", [None, "", "null", "x" * 43, "another session's", "another browser's"])
async def test_a_form_without_its_token_changes_nothing(door: Door, csrf: str | None) -> None:
    shop, _ = await a_login(door)
    leo = await somebody(door.store, shop, email="leo@nordlys.example", password_hash=hash_of(PASSWORD))
    async with door.browser() as browser, door.browser() as other:
        if csrf == "another browser's":
            csrf = csrf_in(await other.get("/login"))
        await browser.get("/login")
        form = {"email": "mia@nordlys.example", "password": PASSWORD} | ({} if csrf is None else {"csrf": csrf})
        answer = await browser.post("/login", data=form, headers=OWN)
        assert answer.status_code == 403
        assert "open for too long" in answer.text
        assert (await browser.post("/login", data=form | {"csrf": csrf_in(answer)}, headers=OWN)).status_code == 303
        if csrf == "another session's":
            await try_login(other, leo.email)
            csrf = csrf_in(await other.get("/inbox"))
        refused = await browser.post("/v1/tickets", headers=OWN | ({} if csrf is None else {"x-csrf-token": csrf}))
        assert (refused.status_code, refused.json()["facts"]["reason"]) == (403, "csrf")
        refused = await browser.post(
            "/logout", data={"other": "field"} if csrf is None else {"csrf": csrf}, headers=OWN
        )
        assert refused.status_code == 403
        assert door.ended == []
        assert (await browser.get("/inbox")).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=a", "application/json", ""])
async def test_other_kinds_of_forms_are_refused(door: Door, kind: str) -> None:
    async with door.browser() as browser:
        answer = await browser.post("/login", content=b"email=a&password=b", headers=OWN | {"content-type": kind})
        assert answer.status_code == 415


async def test_a_field_given_twice_or_broken_is_refused(door: Door) -> None:
    headers = OWN | {"content-type": "application/x-www-form-urlencoded"}
    async with door.browser() as browser:
        for body in (b"csrf=a&csrf=b", b"email=%ff", b"&".join(b"f%d=1" % n for n in range(21)), b"\xff\xfe"):
            assert (await browser.post("/login", content=body, headers=headers)).status_code == 422


async def test_two_tabs_with_the_form_both_work(door: Door) -> None:
    await a_login(door)
    async with door.browser() as browser:
        first, second = await browser.get("/login"), await browser.get("/login")
        form = {"email": "mia@nordlys.example", "password": "wrong horse battery", "csrf": csrf_in(second)}
        assert (await browser.post("/login", data=form, headers=OWN)).status_code == 401
        form = {"email": "mia@nordlys.example", "password": PASSWORD, "csrf": csrf_in(first)}
        assert (await browser.post("/login", data=form, headers=OWN)).status_code == 303
