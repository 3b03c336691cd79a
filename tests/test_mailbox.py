"""The demo's mailbox: takes any mail, keeps a bounded number, shows it without trusting it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiosmtplib
import httpx2 as httpx
import pytest
import uvicorn
from playwright.async_api import async_playwright

from chatd.demo import mailbox as mailbox_module
from chatd.demo.mailbox import HOSTS, MAIL_POLICY, PAGE_POLICY, Mailbox, create_mailbox_app
from chatd.notify.compose import ComposedMail, Composer
from tests.smtp_server import settings_for
from tests.test_compose import a_digest, said
from tests.test_notices import NOW

ORIGIN = "http://localhost"


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    async with Mailbox(clock=lambda: NOW) as opened:
        yield opened


@pytest.fixture
async def browser(mailbox: Mailbox) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=create_mailbox_app(mailbox))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as client:
        yield client


async def send(mailbox: Mailbox, content: bytes) -> None:
    await aiosmtplib.send(
        content,
        sender="hello@nordlys.example",
        recipients=["mia@example.com"],
        hostname=mailbox.host,
        port=mailbox.port,
        start_tls=False,
    )


def a_mail_of(*texts: str) -> ComposedMail:
    return Composer(settings_for(25)).compose(a_digest(messages=said(*texts)), now=NOW)


async def test_a_mail_is_shown_as_it_came(mailbox: Mailbox, browser: httpx.AsyncClient) -> None:
    await send(mailbox, a_mail_of("Yes, three of them.").content)
    listed = (await browser.get("/mails")).json()
    assert listed["mailbox"] == mailbox.id
    [mail] = listed["mails"]
    assert (mail["number"], mail["at"]) == (1, NOW)
    assert mail["from"] == "Nordlys Ceramics <hello@nordlys.example>"
    assert (mail["to"], mail["envelope_to"]) == ("mia@example.com", ["mia@example.com"])
    assert mail["subject"] == "Your chat with Nordlys Ceramics"
    whole = (await browser.get("/mails/1")).json()
    assert "Yes, three of them." in whole["text"]
    assert whole["html"] is True
    assert "Yes, three of them." in (await browser.get("/mails/1/html")).text
    assert (await browser.get("/mails/1/source")).text.startswith("From: Nordlys Ceramics")


async def test_the_list_is_newest_first_and_tells_only_what_is_new(
    mailbox: Mailbox, browser: httpx.AsyncClient
) -> None:
    for number in range(3):
        await send(mailbox, f"Subject: {number}\r\n\r\nx\r\n".encode())

    async def listed(query: str) -> list[int]:
        return [mail["number"] for mail in (await browser.get(f"/mails{query}")).json()["mails"]]

    assert await listed("") == [3, 2, 1]
    assert await listed(f"?mailbox={mailbox.id}&after=2") == [3]
    assert await listed(f"?mailbox={mailbox.id}&after=3") == []
    assert await listed("?mailbox=another&after=3") == [3, 2, 1]  # the demo was started again
    for nonsense in ("-1", "x", "²", "9" * 5_000):
        assert (await browser.get(f"/mails?mailbox={mailbox.id}&after={nonsense}")).status_code == 200


async def test_it_keeps_the_newest_in_number_and_in_bytes(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox_module, "KEPT_MAX", 3)
    for number in range(5):
        await send(mailbox, f"Subject: {number}\r\n\r\nx\r\n".encode())
    assert [mail.subject for mail in mailbox.mails] == ["4", "3", "2"]
    big = b"Subject: big\r\n\r\n" + (b"x" * 70 + b"\r\n") * 130
    monkeypatch.setattr(mailbox_module, "BYTES_MAX", len(big))
    await send(mailbox, big)
    assert [mail.subject for mail in mailbox.mails] == ["big"]


async def test_a_mail_beyond_the_limit_is_refused_and_the_next_one_taken(mailbox: Mailbox) -> None:
    with pytest.raises(aiosmtplib.SMTPResponseException) as refused:
        await send(mailbox, b"Subject: huge\r\n\r\n" + (b"x" * 70 + b"\r\n") * 20_000)
    assert refused.value.code == 552
    await send(mailbox, b"Subject: small\r\n\r\nx\r\n")
    assert [mail.subject for mail in mailbox.mails] == ["small"]


@pytest.mark.parametrize(
    "content",
    [
        b"\r\n",
        b"no header at all",
        b"From: @@@<<>>,,;\r\nTo: =?x?q?=FF?=\r\nSubject: =?utf-8?b?%%%?=\r\n\r\nx\r\n",
        b"Content-Type: text/html; charset=klingon\r\n\r\n<b>x</b>\r\n",
        b"Content-Type: multipart/alternative\r\n\r\nno boundary\r\n",
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n%%%\r\n",
        b"Subject: \xff\xfe\r\n\r\n\xff\xfe\r\n",
    ],
)
async def test_a_broken_mail_is_kept_and_shown_as_far_as_it_can_be(
    mailbox: Mailbox, browser: httpx.AsyncClient, content: bytes
) -> None:
    await send(mailbox, content)
    assert len((await browser.get("/mails")).json()["mails"]) == 1
    assert (await browser.get("/mails/1")).status_code == 200
    assert (await browser.get("/mails/1/source")).status_code == 200


async def test_what_looks_like_the_end_of_a_mail_is_not(mailbox: Mailbox) -> None:
    for smuggled in (b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\r\n"):
        await send(mailbox, b"Subject: one\r\n\r\nx" + smuggled + b"MAIL FROM:<eve@example.org>\r\n")
    assert [mail.subject for mail in mailbox.mails] == ["one"] * 4


async def test_the_html_of_a_mail_is_sandboxed_and_everything_else_is_strict(
    mailbox: Mailbox, browser: httpx.AsyncClient
) -> None:
    await send(mailbox, a_mail_of("Hi").content)
    assert (await browser.get("/mails/1/html")).headers["content-security-policy"] == MAIL_POLICY
    assert "allow-scripts" not in MAIL_POLICY
    assert "allow-same-origin" not in MAIL_POLICY
    for path in ("/", "/mails", "/mails/1", "/mails/1/source", "/mails/9", "/static/demo/mailbox.js", "/nowhere"):
        answer = await browser.get(path)
        assert answer.headers["content-security-policy"] == PAGE_POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
    assert "unsafe" not in PAGE_POLICY
    page = (await browser.get("/")).text
    assert "<script>" not in page
    assert "style=" not in page
    assert (await browser.get("/mails/1/source")).headers["content-type"].startswith("text/plain")


async def test_only_this_machine_is_answered(browser: httpx.AsyncClient) -> None:
    for host in HOSTS:
        assert (await browser.get("/mails", headers={"host": f"{host}:8002"})).status_code == 200
    for host in ("evil.example", "localhost.evil.example", ""):
        assert (await browser.get("/mails", headers={"host": host})).status_code == 400


async def test_ending_ends_open_connections() -> None:
    async with Mailbox() as mailbox:
        reader, writer = await asyncio.open_connection(mailbox.host, mailbox.port)
        assert (await reader.readline()).startswith(b"220")
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()


# ---------------------------------------------------------------- in a browser


@contextlib.asynccontextmanager
async def served(mailbox: Mailbox) -> AsyncIterator[str]:
    server = uvicorn.Server(
        uvicorn.Config(create_mailbox_app(mailbox), host="127.0.0.1", port=0, log_level="error", lifespan="off")
    )
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(30):
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
    try:
        yield f"http://localhost:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


@pytest.mark.browser
async def test_mails_appear_as_they_come_and_the_button_opens_a_tab_outside_the_sandbox(
    mailbox: Mailbox, chromium_path: str
) -> None:
    async with served(mailbox) as url, async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium_path, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = await browser.new_page(viewport={"width": 390, "height": 780}, locale="sv")
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
        asked: list[str] = []
        await page.context.route("https://chat.nordlys.example/**", lambda route: route.fulfill(body="the chat"))
        await page.context.route("https://canary.example/**", lambda route: asked.append(route.request.url))
        await page.goto(url)
        await page.get_by_role("heading", name="Ingen e-post än").wait_for()

        await send(mailbox, a_mail_of("Yes, three of them.").content)
        await page.get_by_role("link", name="mia@example.com").click()
        frame = page.frame_locator("#frame")
        await frame.get_by_text("Yes, three of them.", exact=True).wait_for()
        async with page.context.expect_page() as opened:
            await frame.get_by_role("link", name="Reply").click()
        chat = await opened.value
        await chat.get_by_text("the chat").wait_for()
        assert chat.url.startswith("https://chat.nordlys.example/messages#link=v1.")
        assert await chat.evaluate("window.opener === null")

        # A hostile mail: nothing of it runs, nothing is fetched, and the page around it is unharmed.
        await page.goto(url)
        hostile = (
            b"Subject: <img src=x onerror=alert(1)>\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
            b"<p>hostile</p><script>top.location='https://canary.example/script'</script>"
            b"<img src='https://canary.example/img' onerror='top.document.title=1'>"
            b"<link rel=stylesheet href='https://canary.example/css'>"
            b"<meta http-equiv=refresh content='0;url=https://canary.example/refresh'>"
            b"<form action='https://canary.example/form'><button>Send</button></form>\r\n"
        )
        await send(mailbox, hostile)
        await page.get_by_role("link", name="onerror").click()
        await frame.get_by_text("hostile").wait_for()
        await frame.get_by_role("button", name="Send").click()
        await page.get_by_role("tab", name="Källkod").click()
        await page.get_by_text("top.location=").wait_for()
        assert asked == []
        assert await page.title() == "Utgående e-post · chatd"
        assert [error for error in errors if "sandboxed" not in error and "Content Security Policy" not in error] == []
        await browser.close()


@pytest.mark.browser
async def test_a_mail_fits_its_window_and_can_be_read(chromium_path: str) -> None:
    mail = Composer(settings_for(25)).compose(
        a_digest(
            shop_name="W" * 60 + ", Inc.",
            messages=[*said("x" * 500, "a word " * 300), *said("مرحبا!", author="مريم")],
        ),
        now=NOW,
    )
    async with Mailbox() as mailbox, served(mailbox) as url, async_playwright() as playwright:
        await send(mailbox, mail.content)
        browser = await playwright.chromium.launch(
            executable_path=chromium_path, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = await browser.new_page()
        for width in (600, 390):
            for scheme, card in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(24, 25, 28)")):
                await page.set_viewport_size({"width": width, "height": 700})
                await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
                await page.goto(f"{url}/mails/1/html")
                assert await page.evaluate("document.documentElement.scrollWidth") <= width, (width, scheme)
                ground = await page.locator(".card").evaluate("node => getComputedStyle(node).backgroundColor")
                assert ground == card, (width, scheme)
        await browser.close()
