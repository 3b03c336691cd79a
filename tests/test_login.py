"""Staff log in and out, and nobody else does: what is signed and counted, what a stolen or planted token is worth."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
import secrets
import sqlite3
import statistics
import time
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.errors import InvalidInput, NotAuthenticated, Temporary, TooLarge
from chatd.store import staff
from chatd.web import tokens
from chatd.web.login import own_path
from chatd.web.passwords import COMMON, Passwords, check_password, hash_password
from tests.door import BASE_URL, NOW, PASSWORD, Door, a_login, open_door, somebody

SECRET = "s" * 32
OWN = {"origin": BASE_URL}


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with open_door(tmp_path) as opened:
        yield opened


def csrf_in(page: httpx2.Response) -> str:
    found = re.search(r'name="(?:chatd-)?csrf" (?:value|content)="([^"]+)"', page.text)
    assert found is not None, page.text
    return found[1]


async def try_login(
    browser: httpx2.AsyncClient, email: str = "mia@nordlys.example", password: str = PASSWORD, **fields: str
) -> httpx2.Response:
    page = await browser.get("/login")
    form = {"email": email, "password": password, "csrf": csrf_in(page)} | fields
    return await browser.post("/login", data=form, headers=OWN)


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


@pytest.mark.parametrize(
    "following",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/inbox//evil.example",
        "/inbox/../x",
        "/inbox/a?b",
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
    leo = await somebody(door.store, shop, email="leo@nordlys.example", password_hash=hash_password(PASSWORD))
    async with door.browser() as browser:
        assert (await try_login(browser, leo.email)).status_code == 303
        await door.store.write(lambda tx: staff.remove_staff(tx, shop.id, leo.id, NOW))
        assert (await browser.get("/inbox")).headers["location"] == "/login?ended&next=/inbox"
        assert (await try_login(browser, leo.email)).status_code == 401
        assert (await try_login(browser, f"removed:{leo.id}", "")).status_code == 401


async def test_an_unknown_address_takes_as_long_as_a_wrong_password() -> None:
    passwords = Passwords()
    known = hash_password(PASSWORD)

    async def seconds(password_hash: str | None) -> float:
        taken = []
        for _ in range(7):
            began = time.perf_counter()
            assert not await passwords.verify(password_hash, "wrong horse battery")
            taken.append(time.perf_counter() - began)
        return statistics.median(taken)

    wrong, unknown = await seconds(known), await seconds(None)
    passwords.close()
    # Without the work for nobody, it would be a hundredth.
    assert 0.4 < unknown / wrong < 2.5


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


async def test_a_storm_of_logins_stalls_nobody_and_is_bounded() -> None:
    passwords = Passwords()
    known = hash_password(PASSWORD)
    storm = [asyncio.create_task(passwords.verify(known, PASSWORD)) for _ in range(60)]
    longest = 0.0
    before = time.perf_counter()
    while not all(task.done() for task in storm):
        await asyncio.sleep(0.002)
        now = time.perf_counter()
        longest, before = max(longest, now - before), now
    results = [task.exception() for task in storm]
    passwords.close()
    assert sum(error is None for error in results) == 32
    assert all(error is None or isinstance(error, Temporary) for error in results)
    assert longest < 0.2, "the loop stood still"


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


async def test_one_address_cannot_try_account_after_account(door: Door) -> None:
    await a_login(door)
    async with door.browser() as browser:
        page = await browser.get("/login")
        statuses = []
        for number in range(52):
            form = {"email": f"staff{number}@nordlys.example", "password": "x", "csrf": csrf_in(page)}
            # What the client says of its address changes nothing: no proxy is trusted.
            headers = OWN | {"x-forwarded-for": f"198.51.100.{number}"}
            statuses.append((await browser.post("/login", data=form, headers=headers)).status_code)
        assert statuses == [401] * 50 + [429] * 2


async def test_one_account_cannot_be_tried_from_address_after_address(door: Door) -> None:
    await a_login(door)
    statuses = []
    for number in range(102):
        async with door.browser(address=f"198.51.100.{number}") as browser:
            statuses.append((await try_login(browser, password="wrong horse battery")).status_code)
    assert statuses == [401] * 100 + [429] * 2


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


# ---------------------------------------------------------------- CSRF


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
    leo = await somebody(door.store, shop, email="leo@nordlys.example", password_hash=hash_password(PASSWORD))
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


# ---------------------------------------------------------------- passwords


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery",
        "ÅÄÖåäöæøß€",
        "密码密码安全吗这很安全",
        "🔑🐴🔋📎🔑🐴🔋📎🏠🌲",
        "long " * 40,
        "spaces are fine ",
    ],
)
async def test_any_long_password_is_taken_and_kept_exactly(password: str) -> None:
    check_password(password)
    passwords = Passwords()
    kept = hash_password(password)
    assert kept.startswith("$argon2id$")
    assert await passwords.verify(kept, password)
    assert not await passwords.verify(kept, password + "x")
    assert not await passwords.verify(kept, password[:-1])
    passwords.close()


@pytest.mark.parametrize(
    "password",
    [
        "",
        "tiny",
        "a" * 30,
        "ababababab",
        "password123",
        "QWERTYUIOP",
        "nine char",
        "x" * 201,
        "with\nbreak here",
        "a\0" * 10,
    ],
)
def test_passwords_that_are_guessed_first_or_cannot_be_typed_are_refused(password: str) -> None:
    with pytest.raises((InvalidInput, TooLarge)) as refused:
        check_password(password)
    assert not password or password not in refused.value.message


def test_a_password_made_of_ones_own_address_is_refused() -> None:
    with pytest.raises(InvalidInput, match="name or an address"):
        check_password("Mia@nordlys.example1", about=["mia@nordlys.example", "Mia"])
    check_password("mia likes long walks", about=["mia@nordlys.example", "Mia"])


def test_every_common_password_on_the_list_would_be_long_enough() -> None:
    assert all(len(password) >= 10 for password in COMMON)


async def test_the_same_letters_typed_another_way_are_the_same_password() -> None:
    passwords = Passwords()
    composed = "Ångström är här"
    decomposed = unicodedata.normalize("NFD", composed)
    assert composed != decomposed
    assert await passwords.verify(hash_password(composed), decomposed)
    passwords.close()


@pytest.mark.parametrize("password_hash", ["", "x", "$argon2id$broken", "plain"])
async def test_a_damaged_hash_lets_nobody_in(password_hash: str) -> None:
    passwords = Passwords()
    for password in ("", password_hash, PASSWORD, "\ud800"):
        assert not await passwords.verify(password_hash, password)
    passwords.close()


async def test_an_old_hash_is_renewed_at_the_next_login(door: Door) -> None:
    from argon2 import PasswordHasher

    shop, _ = await a_login(door)
    weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    leo = await somebody(door.store, shop, email="leo@nordlys.example", password_hash=weak)
    async with door.browser() as browser:
        assert (await try_login(browser, leo.email)).status_code == 303
    found = await door.store.read(lambda tx: staff.find_by_email(tx, leo.email))
    assert found is not None and "m=19456,t=2,p=1" in found[1]


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
    """Also of the last character, whose lowest bits say nothing: each other way to write the token would be another
    customer."""
    token = tokens.make_visitor_token(SECRET, "shop", random_bytes)
    changed = token[:at] + character + token[at + 1 :]
    assert tokens.check_visitor_token(SECRET, "shop", changed) is (changed == token)
    for other in (token[:-1], token + "A", token + "=", token + "\n", token[::-1]):
        assert tokens.check_visitor_token(SECRET, "shop", other) is (other == token)


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
