"""Staff log in and out, and nobody else does: what is signed and counted, what a stolen or planted token is worth."""

from __future__ import annotations

import base64
import re
import secrets
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.requests import Request

from chatd.errors import NotAuthenticated
from chatd.store import staff
from chatd.web import tokens
from chatd.web.login import ACCOUNT_RATE, ADDRESS_RATE, PAIR_RATE, own_path
from chatd.web.rates import Rate
from tests.door import NOW, OWN, PASSWORD, Door, a_login, csrf_in, hash_of, open_door, somebody, try_login


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with open_door(tmp_path) as opened:
        yield opened


# ---------------------------------------------------------------- in


async def test_staff_log_in_and_see_their_inbox(door: Door) -> None:
    await a_login(door)
    async with door.browser() as browser:
        answer = await browser.get("/inbox")
        assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/inbox")
        answer = await try_login(browser, "MIA@nordlys.example ")
        assert (answer.status_code, answer.headers["location"]) == (303, "/inbox")
        inbox = await browser.get("/inbox")
        assert inbox.status_code == 200
        assert "Nordlys Ceramics" in inbox.text
        assert 'content="ws://localhost/v1/socket"' in inbox.text
        assert inbox.headers["cache-control"] == "no-store"
        again = await browser.get("/login")
        assert (again.status_code, again.headers["location"]) == (303, "/inbox")


async def test_the_login_leads_where_one_wanted_to_go(door: Door) -> None:
    await a_login(door)
    async with door.browser() as browser:
        page = await browser.get("/login?next=/inbox/abc_1-2")
        assert 'name="next" value="/inbox/abc_1-2"' in page.text
        assert (await try_login(browser, next="/inbox/abc_1-2")).headers["location"] == "/inbox/abc_1-2"
    async with door.browser() as browser:
        listed = "/inbox/abc_1-2?filter=unread&topic=store_info"
        await browser.get("/login")
        assert (await try_login(browser, next=listed)).headers["location"] == listed


@pytest.mark.parametrize(
    "following",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/inbox//evil.example",
        "/inbox/../x",
        "/inbox/a?b",
        "/inbox/a?b=//evil.example",
        "/inbox/a\r\nSet-Cookie: a=b",
        "/inbox\n",
        "javascript:alert(1)",
        "/logout",
        "",
        None,
    ],
)
def test_the_login_leads_nowhere_else(following: str | None) -> None:
    assert own_path(following) == "/inbox"


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("mia@nordlys.example", "wrong horse battery"),
        ("mia@nordlys.example", ""),
        ("mia@nordlys.example", PASSWORD + "\0"),
        ("mia@nordlys.example", PASSWORD.upper()),
        ("mia@nordlys.example", "x" * 100_000),
        ("nobody@nordlys.example", PASSWORD),
        ("nobody@nordlys.example", ""),
        ("", ""),
        ("' OR 1=1 --", "' OR 1=1 --"),
        ("removed:%", PASSWORD),
    ],
)
async def test_every_wrong_login_gets_the_same_answer(door: Door, email: str, password: str) -> None:
    await a_login(door)
    async with door.browser() as browser:
        answer = await try_login(browser, email, password)
        plain = await try_login(browser, "somebody@else.example", "something else entirely")
        assert answer.status_code == plain.status_code == 401
        assert "set-cookie" not in answer.headers
        shown = re.sub(r'(value|nonce|content)="[^"]*"|autofocus', "", answer.text)
        assert shown == re.sub(r'(value|nonce|content)="[^"]*"|autofocus', "", plain.text)
        assert (await browser.get("/inbox")).status_code == 303


async def test_whoever_was_removed_is_as_unknown_as_anybody(door: Door) -> None:
    shop, _ = await a_login(door)
    leo = await somebody(door.store, shop, email="leo@nordlys.example", password_hash=hash_of(PASSWORD))
    async with door.browser() as browser:
        assert (await try_login(browser, leo.email)).status_code == 303
        await door.store.write(lambda tx: staff.remove_staff(tx, shop.id, leo.id, NOW))
        assert (await browser.get("/inbox")).headers["location"] == "/login?ended&next=/inbox"
        assert (await try_login(browser, leo.email)).status_code == 401
        assert (await try_login(browser, f"removed:{leo.id}", "")).status_code == 401


async def test_a_login_that_fails_for_lack_of_a_store_says_so_and_keeps_the_address(door: Door, tmp_path: Path) -> None:
    await a_login(door)
    async with door.browser() as browser:
        page = await browser.get("/login")
        form = {"email": "mia@nordlys.example", "password": PASSWORD, "csrf": csrf_in(page)}
        with sqlite3.connect(tmp_path / "chatd.db") as connection:
            connection.execute("ALTER TABLE staff RENAME TO gone")
        connection.close()
        answer = await browser.post("/login", data=form, headers=OWN)
        assert answer.status_code == 503
        assert 'value="mia@nordlys.example"' in answer.text
        assert PASSWORD not in answer.text


# ---------------------------------------------------------------- guessing


async def test_guessing_is_stopped_and_the_wait_is_exact(door: Door) -> None:
    await a_login(door)
    async with door.browser() as browser:
        for _ in range(10):
            assert (await try_login(browser, password="wrong horse battery")).status_code == 401
        stopped = await try_login(browser)
        assert stopped.status_code == 429, "even the right password, for now"
        wait = int(stopped.headers["retry-after"])
        assert 80 <= wait <= 91
        door.pass_time(wait - 2)
        assert (await try_login(browser)).status_code == 429
        door.pass_time(2)
        assert (await try_login(browser)).status_code == 303


async def test_nobody_can_lock_somebody_else_out(door: Door) -> None:
    await a_login(door)
    async with door.browser(address="203.0.113.66") as attacker, door.browser() as mia:
        statuses = [(await try_login(attacker, password="wrong horse battery")).status_code for _ in range(12)]
        assert statuses == [401] * 10 + [429] * 2
        assert (await try_login(mia)).status_code == 303


async def test_one_address_cannot_try_account_after_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatd.web.login.ADDRESS_RATE", Rate(burst=12, seconds=900))
    async with open_door(tmp_path) as door, door.browser() as browser:
        await a_login(door)
        csrf = csrf_in(await browser.get("/login"))
        statuses = []
        for number in range(14):
            form = {"email": f"staff{number}@nordlys.example", "password": "x", "csrf": csrf}
            # What the client says of its address changes nothing: no proxy is trusted.
            headers = OWN | {"x-forwarded-for": f"198.51.100.{number}"}
            statuses.append((await browser.post("/login", data=form, headers=headers)).status_code)
        assert statuses == [401] * 12 + [429] * 2


async def test_one_account_cannot_be_tried_from_address_after_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatd.web.login.ACCOUNT_RATE", Rate(burst=12, seconds=3_600))
    async with open_door(tmp_path) as door:
        await a_login(door)
        statuses = []
        for number in range(14):
            async with door.browser(address=f"198.51.100.{number}") as browser:
                statuses.append((await try_login(browser, password="wrong horse battery")).status_code)
        assert statuses == [401] * 12 + [429] * 2


def test_the_limits_of_guessing_are_those_that_are_documented() -> None:
    assert (Rate(10, 900), Rate(100, 3_600), Rate(50, 900)) == (PAIR_RATE, ACCOUNT_RATE, ADDRESS_RATE)


async def test_many_addresses_of_one_network_are_one(door: Door) -> None:
    await a_login(door)
    statuses = []
    for number in range(11):
        async with door.browser(address=f"2001:db8:1:1::{number:x}") as browser:
            statuses.append((await try_login(browser, password="wrong horse battery")).status_code)
    assert statuses == [401] * 10 + [429]


async def test_a_right_password_makes_up_for_wrong_ones(door: Door) -> None:
    await a_login(door)
    async with door.browser() as browser:
        for _ in range(3):
            for _ in range(9):
                assert (await try_login(browser, password="wrong horse battery")).status_code == 401
            assert (await try_login(browser)).status_code == 303
            browser.cookies.clear()


# ---------------------------------------------------------------- cookies


async def test_the_cookie_is_kept_from_scripts_and_other_sites(door: Door) -> None:
    await a_login(door)
    async with door.browser() as browser:
        cookies = (await try_login(browser)).headers.get_list("set-cookie")
        session = next(cookie for cookie in cookies if cookie.startswith("chatd_session="))
        attributes = {part.strip().lower() for part in session.split(";")[1:]}
        assert {"httponly", "samesite=lax", "path=/", f"max-age={14 * 86_400}"} <= attributes
        assert "secure" not in attributes, "plain http on one's own machine"
        assert any(cookie.startswith('chatd_login="";') for cookie in cookies), "the login's own cookie goes"


async def test_under_https_the_cookie_is_bound_to_this_host(tmp_path: Path) -> None:
    async with open_door(tmp_path, base_url="https://chat.example.com") as door:
        await a_login(door)
        async with door.browser() as browser:
            page = await browser.get("/login")
            form = {"email": "mia@nordlys.example", "password": PASSWORD, "csrf": csrf_in(page)}
            answer = await browser.post("/login", data=form, headers={"origin": "https://chat.example.com"})
            session = next(
                cookie for cookie in answer.headers.get_list("set-cookie") if cookie.startswith("__Host-chatd_session=")
            )
            attributes = {part.strip().lower() for part in session.split(";")[1:]}
            assert {"secure", "httponly", "path=/"} <= attributes
            assert not any(attribute.startswith("domain") for attribute in attributes)
            assert (await browser.get("/inbox")).status_code == 200


async def test_a_login_always_has_a_new_token_and_ends_the_one_before(door: Door) -> None:
    """Session fixation: a token that somebody planted is worth nothing after the login, nor is the old one."""
    await a_login(door)
    async with door.browser() as browser:
        planted = "planted-by-an-attacker"
        browser.cookies.set("chatd_session", planted, domain="localhost.local")
        await try_login(browser)
        first = browser.cookies["chatd_session"]
        assert first != planted
        assert len(base64.urlsafe_b64decode(first + "=")) == 32
        # Logged in once more in the same browser, by somebody who opened the form before.
        cookie = secrets.token_hex(16)
        browser.cookies.set("chatd_login", cookie, domain="localhost.local")
        form = {
            "email": "mia@nordlys.example",
            "password": PASSWORD,
            "csrf": tokens.make_csrf_token(door.settings.secret, f"login {cookie}"),
        }
        await browser.post("/login", data=form, headers=OWN)
        assert browser.cookies["chatd_session"] != first
        assert door.ended == [tokens.hash_token(first)]
    async with door.browser(cookies={"chatd_session": first}) as thief:
        assert (await thief.get("/inbox")).status_code == 303


async def test_a_password_that_changes_while_it_is_checked_lets_nobody_in(door: Door) -> None:
    shop, mia = await a_login(door)
    old = hash_of(PASSWORD)
    request = Request({"type": "http", "headers": []})
    await door.store.write(lambda tx: staff.set_password(tx, shop.id, mia.id, "another"))
    assert await door.sessions.begin(mia, old, request) is None
    assert await door.sessions.begin(mia, "another", request) is not None


async def test_the_store_does_not_hold_what_the_cookie_holds(door: Door, tmp_path: Path) -> None:
    await a_login(door)
    async with door.browser() as browser:
        await try_login(browser)
        token = browser.cookies["chatd_session"].encode()
    await door.store.close()
    for content in [path.read_bytes() for path in _database_files(tmp_path)]:
        assert token not in content
        assert PASSWORD.encode() not in content


def _database_files(directory: Path) -> list[Path]:
    return list(directory.glob("chatd.db*"))


@pytest.mark.parametrize("token", ["", "null", "undefined", "x", "a" * 43, "a" * 10_000, "%00", "' OR 1=1"])
async def test_a_cookie_that_is_no_session_opens_nothing(door: Door, token: str) -> None:
    await a_login(door)
    async with door.browser(headers={"cookie": f"chatd_session={token}"}) as browser:
        assert (await browser.get("/inbox")).status_code == 303
        answer = await browser.post("/v1/tickets", headers=OWN)
        assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")


async def test_a_login_ends_when_it_was_not_used_and_when_its_time_is_over(door: Door) -> None:
    await a_login(door)
    async with door.browser() as browser:
        await try_login(browser)
        for _ in range(4):
            door.pass_time(71 * 3_600)
            assert (await browser.get("/inbox")).status_code == 200
            await door.written()
        door.pass_time(72 * 3_600)
        assert (await browser.get("/inbox")).headers["location"] == "/login?ended&next=/inbox"
        page = await browser.get("/login?ended&next=/inbox")
        assert "You have been logged out" in page.text
        await try_login(browser)
        for _ in range(13):
            door.pass_time(86_400)
            assert (await browser.get("/inbox")).status_code == 200
            await door.written()
        door.pass_time(86_400)
        assert (await browser.get("/inbox")).status_code == 303


# ---------------------------------------------------------------- out, and tickets


async def test_logging_out_ends_the_session_and_its_sockets(door: Door) -> None:
    await a_login(door)
    async with door.browser() as browser:
        await try_login(browser)
        token = browser.cookies["chatd_session"]
        csrf = csrf_in(await browser.get("/inbox"))
        assert (await browser.get("/logout")).status_code == 405, "a link must not log anybody out"
        answer = await browser.post("/logout", data={"csrf": csrf}, headers=OWN)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        assert door.ended == [tokens.hash_token(token)]
        assert "chatd_session" not in browser.cookies
        assert (await browser.post("/logout", headers=OWN)).status_code == 303, "twice is harmless"
    async with door.browser(headers={"cookie": f"chatd_session={token}"}) as thief:
        assert (await thief.get("/inbox")).status_code == 303


async def test_a_ticket_speaks_for_the_session_for_a_minute(door: Door) -> None:
    await a_login(door)
    async with door.browser() as browser:
        await try_login(browser)
        csrf = csrf_in(await browser.get("/inbox"))
        answer = await browser.post("/v1/tickets", headers=OWN | {"x-csrf-token": csrf})
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json()["expires_in_seconds"] == 60
        ticket = answer.json()["ticket"]
        token_hash = tokens.hash_token(browser.cookies["chatd_session"])
    secret = door.settings.secret
    assert tokens.open_ticket(secret, ticket, NOW + 59_999).token_hash == token_hash
    for at in (NOW + 60_000, NOW - 120_000):
        with pytest.raises(NotAuthenticated):
            tokens.open_ticket(secret, ticket, at)
    with pytest.raises(NotAuthenticated):
        tokens.open_ticket("o" * 32, ticket, NOW)


async def test_an_old_hash_is_renewed_at_the_next_login(door: Door) -> None:
    from argon2 import PasswordHasher

    shop, _ = await a_login(door)
    weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    leo = await somebody(door.store, shop, email="leo@nordlys.example", password_hash=weak)
    async with door.browser() as browser:
        assert (await try_login(browser, leo.email)).status_code == 303
    found = await door.store.read(lambda tx: staff.find_by_email(tx, leo.email))
    assert found is not None and "m=19456,t=2,p=1" in found[1]
