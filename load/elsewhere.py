"""A chatd that runs already, by its address; and the rule that it stands on this machine unless somebody insists.

Customers need the shop's key and an origin that the shop allows. Staff log in as people do: with address and password
at `/login`, then by the tickets that the inbox's page would ask for.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.cookiejar
import ipaddress
import re
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator

from load.client import Seat
from load.dialects import ChatdDialect, Codec
from load.systems import Chatd, Running

TIMEOUT_SECONDS = 10.0
RENEW_SECONDS = 20.0  # a ticket is good for 60 s
ANSWER_BYTES_MAX = 1_000_000

_LOGIN_CSRF = re.compile(r'name="csrf" value="([^"]+)"')
_PAGE_CSRF = re.compile(r'name="chatd-csrf" content="([^"]+)"')
_TICKET = re.compile(r'"ticket"\s*:\s*"([^"]+)"')


class Refused(Exception):
    """This address is none to load, or it did not let us in. The sentence says what to do."""


def resolve(url: str, *, anywhere: bool) -> str:
    """The IP address that answers behind a URL of chatd. Raises `Refused` for what is no such URL, where nobody
    answers, and for what is not on this machine: a load test of somebody else's server is an attack."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise Refused(f"{url!r} is no address of a chatd; expected one like http://localhost:8000, without a path.")
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as error:
        raise Refused(f"{parts.netloc} has no address ({error}).") from None
    addresses = [str(entry[4][0]) for entry in found]
    # Every one of its addresses: a name may point here today and elsewhere in a moment.
    if not anywhere and not all(ipaddress.ip_address(address.split("%")[0]).is_loopback for address in addresses):
        raise Refused(
            f"{parts.hostname} is not on this machine ({', '.join(sorted(set(addresses)))}). If the server is yours"
            " and may be loaded, say so with --anywhere."
        )
    for address in addresses:
        with contextlib.suppress(OSError):
            socket.create_connection((address, port), TIMEOUT_SECONDS).close()
            return address
    raise Refused(f"nothing listens at {parts.netloc}.")


class StaffLogin:
    """A login of staff at a chatd, and its newest ticket. Its methods wait for answers: call them in a thread."""

    def __init__(self, url: str, email: str, password: str) -> None:
        self._url = url.rstrip("/")
        self._email = email
        self._password = password
        self._csrf = ""
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        )
        self.ticket = ""

    def log_in(self) -> None:
        """Raises `Refused`."""
        csrf = _find(_LOGIN_CSRF, self._ask("/login"))
        form = {"email": self._email, "password": self._password, "csrf": csrf, "next": "/inbox"}
        page = self._ask("/login", urllib.parse.urlencode(form).encode(), "application/x-www-form-urlencoded")
        self._csrf = _find(_PAGE_CSRF, page)
        self.renew()

    def renew(self) -> None:
        """A new ticket. Raises `Refused`."""
        self.ticket = _find(_TICKET, self._ask("/v1/tickets", b"{}", "application/json"))

    def _ask(self, path: str, body: bytes | None = None, kind: str = "") -> str:
        request = urllib.request.Request(self._url + path, body)  # noqa: S310 - `resolve` lets in http and https only
        if body is not None:
            request.add_header("Origin", self._url)
            request.add_header("Content-Type", kind)
            request.add_header("X-CSRF-Token", self._csrf)
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                text: str = answer.read(ANSWER_BYTES_MAX).decode(errors="replace")
                return text
        except (OSError, ValueError) as error:
            raise Refused(f"{self._email} could not log in at {self._url}{path}: {error}.") from None


def _find(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    if found is None:
        raise Refused("the login was not let in; are the address and the password right?")
    return found.group(1)


class ChatdElsewhere:
    """`address` is what `resolve` has found for the URL. Without a login only customers can connect. `pids` are its
    processes, if they are on this machine and their CPU and memory are to be measured."""

    name = "chatd"
    persisted = True

    def __init__(
        self,
        codec: Codec,
        url: str,
        *,
        address: str,
        shop_key: str,
        origin: str,
        login: StaffLogin | None,
        pids: tuple[int, ...] = (),
    ) -> None:
        self.scenarios = Chatd.scenarios if login is not None else frozenset({"idle"})
        self._dialect = ChatdDialect(codec)
        self._url = url.rstrip("/")
        self._address = address
        self._shop_key = shop_key
        self._origin = origin
        self._login = login
        self._pids = pids

    def prepare(self) -> str:
        return f"chatd at {self._url}; {self._dialect.subprotocol}"

    @contextlib.asynccontextmanager
    async def running(self, *, rooms: int, core: int | None) -> AsyncIterator[Running]:
        """One room, the shop's, whatever is asked for; and it stays on the cores on which it is."""
        login = self._login
        base = f"ws{self._url.removeprefix('http')}/v1/socket"

        def customer(_room: int) -> Seat:
            return Seat(f"{base}/{self._shop_key}", self._address, self._origin, self._dialect, dict)

        def staff(_room: int) -> Seat:
            assert login is not None, "this scenario needs a login of staff"
            return Seat(base, self._address, self._url, self._dialect, lambda: {"ticket": login.ticket})

        renewing: asyncio.Task[None] | None = None
        if login is not None:
            await asyncio.to_thread(login.log_in)
            renewing = asyncio.create_task(_renew(login))
        try:
            yield Running(self._pids, 1, customer, staff)
        finally:
            if renewing is not None:
                renewing.cancel()
                await asyncio.gather(renewing, return_exceptions=True)


async def _renew(login: StaffLogin) -> None:
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        await asyncio.to_thread(login.renew)
