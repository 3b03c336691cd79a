"""What every answer carries and what none carries: policies of the browser, refusals without internals, bounds."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from chatd.config import Settings
from chatd.errors import ChatError, Conflict, NotFound, TooFast, every_error
from chatd.i18n import LOCALES, TEXTS, known_locale, pick_locale
from chatd.web.addresses import AddressCounts
from chatd.web.security import Guard, Refusals, host_of
from tests.door import BASE_URL, Door, a_login, open_door, until

SECRET_PATH = "/srv/chatd/secret.key"


class Rooms:
    """An application that fails in every way, behind the guard."""

    def __init__(self, **settings: Any) -> None:
        values: dict[str, Any] = {"base_url": BASE_URL, "request_body_bytes_max": 2_000}
        self.settings = Settings(**values | settings)
        refusals = Refusals(self.settings)
        routes = [
            Route("/broken", self.broken),
            Route("/half", self.half),
            Route("/refused", self.refused),
            Route("/slow", self.too_fast),
            Route("/body", self.body, methods=["POST"]),
            Route("/own", self.own),
        ]
        self.counts = AddressCounts(1)
        app = Starlette(routes=routes, exception_handlers=refusals.exception_handlers())
        self.guard = Guard(app, self.settings, refusals, counts=self.counts)

    async def broken(self, request: Request) -> PlainTextResponse:
        raise RuntimeError(f"could not open {SECRET_PATH} with password hunter2")

    async def half(self, request: Request) -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first half"
            raise RuntimeError("hunter2")

        return StreamingResponse(parts())

    async def refused(self, request: Request) -> PlainTextResponse:
        raise Conflict("it is closed already", conversation="c1")

    async def too_fast(self, request: Request) -> PlainTextResponse:
        raise TooFast("slower", retry_after_ms=1_001)

    async def body(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(len(await request.body())))

    async def own(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse("", headers={"Referrer-Policy": "same-origin", "Cache-Control": "no-cache"})

    def client(self, address: str = "192.0.2.1") -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(app=self.guard, client=(address, 5000), raise_app_exceptions=False)
        return httpx2.AsyncClient(transport=transport, base_url=self.settings.base_url)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with open_door(tmp_path) as opened:
        yield opened


def policy_of(answer: httpx2.Response) -> dict[str, list[str]]:
    directives = (part.split() for part in answer.headers["content-security-policy"].split(";"))
    return {words[0]: words[1:] for words in directives}


class Answered(NamedTuple):
    status: int
    body: bytes


async def ask(
    app: Any,
    path: str = "/own",
    *,
    hosts: Sequence[str] = ("localhost",),
    headers: dict[str, str] | None = None,
    wait: Any = None,
) -> Answered:
    """Ask the application without a client that tidies the request. The body comes after `wait`."""
    sent: list[Any] = []

    async def receive() -> Any:
        if wait is not None:
            await wait.wait()
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    fields = [(b"host", host.encode()) for host in hosts]
    fields += [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {
        "type": "http",
        "method": "GET" if wait is None else "POST",
        "path": path,
        "headers": fields,
        "client": ("10.0.0.1", 5000),
        "query_string": b"",
        "server": ("localhost", 80),
        "scheme": "http",
    }
    await app(scope, receive, send)
    return Answered(sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]))


# ---------------------------------------------------------------- headers

EVERY_ADDRESS = [
    "/",
    "/login",
    "/inbox",
    "/messages",
    "/health",
    "/nothing",
    "/bubble/x.js",
    "/static/x",
    "/v1/nothing",
]


@pytest.mark.parametrize("path", EVERY_ADDRESS)
async def test_every_answer_is_guarded(door: Door, path: str) -> None:
    async with door.browser() as browser:
        answer = await browser.get(path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["referrer-policy"] in ("no-referrer", "same-origin")
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert policy_of(answer)["default-src"] == ["'none'"]
    assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["x-request-id"])
    assert "server" not in answer.headers
    assert "strict-transport-security" not in answer.headers, "plain http"


@pytest.mark.parametrize("path", ["/login", "/messages", "/nothing"])
async def test_a_page_runs_only_its_own_scripts(door: Door, path: str) -> None:
    async with door.browser() as browser:
        first, second = await browser.get(path), await browser.get(path)
    policy = policy_of(first)
    nonce = re.fullmatch(r"'nonce-([A-Za-z0-9_-]{22})'", policy["script-src"][1])
    assert nonce is not None
    assert policy["script-src"][0] == "'self'"
    assert policy["style-src"] == ["'self'"]
    assert policy["connect-src"] == ["'self'", "ws://localhost"]
    assert policy["form-action"] == ["'self'"]
    assert policy["base-uri"] == ["'none'"]
    assert policy["require-trusted-types-for"] == ["'script'"]
    assert "unsafe" not in first.headers["content-security-policy"]
    assert nonce[1] not in second.text, "a nonce is used once"
    for script in re.findall(r"<script[^>]*>", first.text):
        assert f'nonce="{nonce[1]}"' in script
        assert "src=" in script, "nothing inline"
    assert not re.search(r"\son\w+=|\sstyle=|javascript:", first.text)
    assert not re.search(r"""(?:src|href|action)=["'](?:https?:)?//""", first.text), "nothing from other hosts"
    assert first.headers["cache-control"] == "no-store"


async def test_under_https_the_browser_is_told_to_stay_there(tmp_path: Path) -> None:
    async with open_door(tmp_path, base_url="https://chat.example.com") as door, door.browser() as browser:
        answer = await browser.get("/login")
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert policy_of(answer)["connect-src"] == ["'self'", "wss://chat.example.com"]


async def test_what_an_answer_says_itself_is_not_overruled() -> None:
    async with Rooms().client() as client:
        answer = await client.get("/own")
    assert answer.headers.get_list("referrer-policy") == ["same-origin"]
    assert answer.headers["x-content-type-options"] == "nosniff"


# ---------------------------------------------------------------- refusals


async def test_a_failure_tells_nothing_but_its_name(caplog: pytest.LogCaptureFixture) -> None:
    async with Rooms().client() as client:
        with caplog.at_level(logging.ERROR, "chatd.web"):
            answer = await client.get("/broken")
    assert answer.status_code == 500
    body = answer.json()
    assert body["code"] == "internal"
    for word in ("hunter2", SECRET_PATH, "RuntimeError", "Traceback", ".py"):
        assert word not in answer.text
    assert body["request"] == answer.headers["x-request-id"]
    assert body["request"] in caplog.text, "the log can be searched for it"
    assert "hunter2" in caplog.text


async def test_half_an_answer_is_not_passed_off_as_a_whole_one() -> None:
    """What has begun cannot be taken back; uvicorn closes the connection when the application fails, and only that
    tells the client."""
    transport = httpx2.ASGITransport(app=Rooms().guard)
    async with httpx2.AsyncClient(transport=transport, base_url=BASE_URL) as client:
        with pytest.raises(RuntimeError):
            await client.get("/half")


async def test_a_refusal_has_the_fields_of_the_protocols_error() -> None:
    async with Rooms().client() as client:
        answer = await client.get("/refused")
        assert answer.status_code == 409
        assert answer.json() == {
            "code": "conflict",
            "message": "it is closed already",
            "temporary": False,
            "facts": {"conversation": "c1"},
            "request": answer.headers["x-request-id"],
        }
        answer = await client.get("/slow")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
        answer = await client.get("/nothing")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        answer = await client.delete("/refused")
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert "GET" in answer.headers["allow"]


async def test_who_looks_gets_a_page_and_who_asks_gets_json(door: Door) -> None:
    async with door.browser() as browser:
        page = await browser.get("/nothing", headers={"accept-language": "sv"})
        assert page.headers["content-type"].startswith("text/html")
        assert 'lang="sv"' in page.text
        assert "Här finns ingenting." in page.text
        assert page.headers["x-request-id"] in page.text
        for path, accept in (("/nothing", "application/json"), ("/nothing", "*/*"), ("/v1/nothing", "text/html")):
            answer = await browser.get(path, headers={"accept": accept})
            assert answer.headers["content-type"] == "application/json"


async def test_what_is_asked_for_is_not_repeated_as_markup(door: Door) -> None:
    async with door.browser() as browser:
        for path in ("/<script>alert(1)</script>", '/login?next="><script>alert(1)</script>', "/bubble/<b>.js"):
            answer = await browser.get(path)
            assert "<script>alert" not in answer.text
            assert "<b>" not in answer.text


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("error", every_error(), ids=lambda error: error.code)
async def test_every_error_has_a_page_in_every_language(door: Door, error: type[ChatError], locale: str) -> None:
    made = error("a sentence", **({"retry_after_ms": 5} if issubclass(error, TooFast) else {}))

    async def fail(scope: Any, receive: Any, send: Any) -> None:
        raise made

    headers = {"accept-language": locale, "accept": "text/html"}
    answer = await ask(Guard(fail, door.settings, door.refusals), headers=headers)
    assert answer.status == error.status
    assert f'lang="{locale}"'.encode() in answer.body


# ---------------------------------------------------------------- hosts


@pytest.mark.parametrize(
    ("hosts", "status"),
    [
        (["localhost"], 200),
        (["localhost:8000"], 200),
        (["LocalHost"], 200),
        (["127.0.0.1:8000"], 200),
        (["[::1]:8000"], 200),
        (["chat.shop.example"], 200),
        (["localhost."], 200),
        (["evil.example"], 421),
        (["localhost.evil.example"], 421),
        (["evil-localhost"], 421),
        (["shop.example"], 421),
        (["localhost@evil.example"], 400),
        (["localhost/evil"], 400),
        (["localhost,evil.example"], 400),
        (["localhost evil.example"], 400),
        (["localhost:port"], 400),
        (["[::1"], 400),
        ([""], 400),
        (["localhost", "evil.example"], 400),
        ([], 400),
    ],
)
async def test_only_our_own_hosts_are_answered_for(hosts: list[str], status: int) -> None:
    guard = Rooms(allowed_hosts=("chat.shop.example",)).guard
    assert (await ask(guard, hosts=hosts, headers={"x-forwarded-host": "evil.example"})).status == status


async def test_a_load_balancer_may_ask_for_health_by_address(door: Door) -> None:
    async with door.browser(headers={"host": "10.0.0.5:8000"}) as browser:
        assert (await browser.get("/health")).status_code == 200
        assert (await browser.get("/login")).status_code == 421


async def test_links_and_sockets_never_come_from_the_request(door: Door) -> None:
    shop, _ = await a_login(door)
    evil = {
        "host": "127.0.0.1",
        "x-forwarded-host": "evil.example",
        "x-forwarded-proto": "https",
        "forwarded": "host=evil",
    }
    async with door.browser(headers=evil) as browser:
        for path in ("/login", "/messages", f"/bubble/{shop.key}.js", "/"):
            answer = await browser.get(path)
            assert "evil" not in answer.text + str(answer.headers)
            assert answer.headers.get("location", "/").startswith("/")


@pytest.mark.parametrize("header", ["localhost:99999", "a b", "a?b", "a#b", "a\\b", ":80"])
def test_what_is_no_host_has_no_name(header: str) -> None:
    assert not host_of(header)


# ---------------------------------------------------------------- bodies and numbers


async def test_bodies_are_bounded_announced_or_not() -> None:
    async def parts(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b"x" * 500

    async with Rooms().client() as client:
        assert (await client.post("/body", content=b"x" * 2_000)).text == "2000"
        assert (await client.post("/body", content=parts(4))).text == "2000"
        for content in (b"x" * 2_001, parts(5)):
            answer = await client.post("/body", content=content)
            assert answer.status_code == 413
            assert answer.json()["facts"] == {"bytes_max": 2_000}
            assert answer.headers["connection"] == "close"
        answer = await client.post("/body", content=b"x", headers={"content-encoding": "gzip"})
        assert answer.status_code == 415


async def test_behind_a_proxy_the_requests_of_one_person_are_counted() -> None:
    rooms = Rooms(trusted_proxies=1)
    gate = asyncio.Event()
    mine = {"x-forwarded-for": "spoofed, 192.0.2.7"}
    held = asyncio.create_task(ask(rooms.guard, "/body", headers=mine, wait=gate))
    await until(lambda: len(rooms.counts) == 1)
    for spoofed in ("a, 192.0.2.7", "10.0.0.1, 192.0.2.7"):
        assert (await ask(rooms.guard, headers={"x-forwarded-for": spoofed})).status == 429
    assert (await ask(rooms.guard, headers={"x-forwarded-for": "192.0.2.8"})).status == 200
    gate.set()
    assert (await held).status == 200
    assert (await ask(rooms.guard, headers=mine)).status == 200
    assert len(rooms.counts) == 0


async def test_a_socket_that_comes_past_the_front_is_closed() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await Rooms().guard({"type": "websocket", "path": "/v1/socket", "headers": []}, None, send)  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close", "code": 1008}]


# ---------------------------------------------------------------- languages


@pytest.mark.parametrize(
    ("header", "locale"),
    [
        (None, "en"),
        ("", "en"),
        ("sv", "sv"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("ja, fr;q=0.3, es;q=0.7", "es"),
        ("zh-Hant-TW", "zh"),
        ("ru;q=0, en;q=0.1", "en"),
        ("en;q=0.5, *;q=0.9", "en"),
        ("sv;q=abc, de;q=0.1", "de"),
        ("sv;q=2, de;q=0.1", "de"),
        ("sv;q=nan", "en"),
        (";;;,,,=", "en"),
        ("sv\0", "en"),
        ("x" * 5_000 + ",sv", "en"),
    ],
)
def test_the_language_is_the_readers(header: str | None, locale: str) -> None:
    assert pick_locale(header) == locale


def test_a_tag_is_known_by_its_language() -> None:
    assert [known_locale(tag) for tag in ("sv-SE", "ZH_cn", "xx", "")] == ["sv", "zh", "en", "en"]


def test_the_languages_say_the_same_things() -> None:
    for locale, catalogue in TEXTS.items():
        assert catalogue.keys() == TEXTS["en"].keys()
        for key, sentence in catalogue.items():
            places = re.findall(r"\{\w+\}", sentence)
            assert places == re.findall(r"\{\w+\}", TEXTS["en"][key]), f"{locale} {key}"
            assert sentence.strip() == sentence != ""
    assert set(TEXTS) == set(LOCALES)
    assert NotFound("x").code == "not_found"
