"""Browser windows that are watched: what goes wrong in one of them, a test hears of, also when it looked elsewhere.

A window must not log an error, break a Content-Security-Policy, or ask another host than those of the demo for a thing.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, Request, WebSocket

ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")

DESKTOP = MappingProxyType({"width": 1280, "height": 860})
PHONE = MappingProxyType({"width": 390, "height": 780})

# The bubble's shadow root is closed to the shop's page, and so to a test that acts in the page. Opening it changes
# nothing else of what the bubble does.
OPEN_SHADOWS = """{
  const attach = Element.prototype.attachShadow;
  Element.prototype.attachShadow = function (options) { return attach.call(this, {...options, mode: "open"}); };
}"""

# The console tells a violation as an error, too; this tells which directive it was, also one that is only reported.
TELL_VIOLATIONS = """document.addEventListener("securitypolicyviolation", ({violatedDirective, blockedURI}) =>
  console.error(`Content-Security-Policy: ${violatedDirective} ${blockedURI}`));"""

# What a browser writes on the console by itself when the network is away; the page cannot prevent it.
OF_THE_NETWORK = re.compile(r"net::ERR_|WebSocket connection to|WebSocket is already in|Failed to fetch|ERR_INTERNET")
OF_A_REFUSAL = re.compile(r"the server responded with a status of 4\d\d")


class Watch:
    """What the windows of one person did that nobody may do. `sockets` are those that they opened, oldest first."""

    def __init__(self, hosts: Sequence[str], expected: Sequence[re.Pattern[str]]) -> None:
        self._hosts = set(hosts)
        self._expected = expected
        self.complaints: list[str] = []
        self.requests: list[Request] = []
        self.sockets: list[WebSocket] = []

    def follow(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        page.on("request", self._request)
        page.on("websocket", self._socket)

    def _console(self, line: ConsoleMessage) -> None:
        if line.type not in ("error", "warning"):
            return
        if any(pattern.search(line.text) for pattern in self._expected):
            return
        self.complaints.append(f"console {line.type}: {line.text}")

    def _request(self, request: Request) -> None:
        self.requests.append(request)
        self._expect_host(request.url)

    def _socket(self, socket: WebSocket) -> None:
        self.sockets.append(socket)
        self._expect_host(socket.url)

    def _expect_host(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc not in self._hosts:
            self.complaints.append(f"asked another host: {url}")


class Windows:
    """Opens windows of one browser, each person in a profile of their own."""

    def __init__(self, browser: Browser, addresses: Sequence[str]) -> None:
        self._browser = browser
        self._hosts = [urlsplit(address).netloc for address in addresses]
        self._open: list[tuple[BrowserContext, Watch]] = []

    async def profile(
        self, *, may_lose_the_network: bool = False, may_be_refused: bool = False, **options: Any
    ) -> tuple[BrowserContext, Watch]:
        """A person's browser: cookies and storage of its own. `options` are those of `Browser.new_context`."""
        context = await self._browser.new_context(
            **{"viewport": dict(DESKTOP), "locale": "en-GB", "reduced_motion": "reduce"} | options
        )
        await context.add_init_script(OPEN_SHADOWS + TELL_VIOLATIONS)
        expected = [OF_THE_NETWORK] * may_lose_the_network + [OF_A_REFUSAL] * may_be_refused
        watch = Watch(self._hosts, expected)
        context.on("page", watch.follow)
        self._open.append((context, watch))
        return context, watch

    async def close(self) -> None:
        """Closes every window, and fails when one of them has something to complain of."""
        for context, _ in self._open:
            await context.close()
        complaints = [complaint for _, watch in self._open for complaint in watch.complaints]
        self._open.clear()
        assert not complaints, "\n".join(complaints)


@contextlib.asynccontextmanager
async def chromium(playwright: Playwright, path: str, *arguments: str) -> AsyncIterator[Browser]:
    browser = await playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS, *arguments])
    try:
        yield browser
    finally:
        await browser.close()
