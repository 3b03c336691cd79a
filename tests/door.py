"""Real parts for the tests of what stands in front of the chat: a store on disk, a shop, its staff."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import socket
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import httpx2
import uvicorn
from sqlalchemy import create_engine, text
from starlette.applications import Starlette

from chatd.config import Settings
from chatd.notify.links import open_link
from chatd.resources import static_directory, templates_directory
from chatd.store.contract import Statement, Store, Transaction
from chatd.store.opening import make_store
from chatd.store.schema import metadata
from chatd.store.shops import Shop, ShopDirectory, add_shop, new_shop
from chatd.store.staff import Staff, add_staff
from chatd.web.addresses import AddressCounts
from chatd.web.assets import Assets
from chatd.web.front import FrontProtocol
from chatd.web.login import Login
from chatd.web.pages import Check, Pages
from chatd.web.passwords import Passwords, hash_password
from chatd.web.rendering import Rendering
from chatd.web.security import Guard, Refusals
from chatd.web.sessions import Sessions
from tests.databases import url_in

NOW = 1_763_790_000_000


@functools.cache
def empty_database() -> bytes:
    """The file of a database with all tables. Making it takes longer than most tests."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "chatd.db"
        engine = create_engine(f"sqlite:///{path}")
        metadata.create_all(engine)
        engine.dispose()
        return path.read_bytes()


@contextlib.asynccontextmanager
async def opened_store(directory: Path) -> AsyncIterator[Store]:
    """A store on a database of its own: that of the directory (tests/databases.py)."""
    settings = Settings(data_directory=directory, database_url=url_in(directory))
    if not settings.uses_postgres and not settings.database_path.exists():
        settings.database_path.write_bytes(empty_database())
    store = make_store(settings)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def a_shop(store: Store, **fields: Any) -> Shop:
    values: dict[str, Any] = {"name": "Nordlys Ceramics", "email": "hello@nordlys.example", "now": NOW}
    shop = new_shop(**values | fields)
    return await store.write(lambda tx: add_shop(tx, shop))


async def somebody(store: Store, shop: Shop, **fields: Any) -> Staff:
    values: dict[str, Any] = {"email": "mia@nordlys.example", "name": "Mia", "role": "owner", "now": NOW}
    values |= {"password_hash": "hash"} | fields
    return await store.write(lambda tx: add_staff(tx, shop=shop.id, **values))


async def rows(store: Store, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """What a query finds, as tuples, on either database."""
    found: list[Any] = await store.read(lambda tx: tx.all(Statement(text(sql)), **parameters))
    return [tuple(row) for row in found]  # both drivers' rows are iterated by value


async def execute(store: Store, sql: str, **parameters: Any) -> int:
    """Run a statement that writes; how many rows it touched."""
    return await store.write(lambda tx: tx.run(Statement(text(sql)), **parameters))


async def until(condition: Callable[[], bool], *, seconds: float = 10.0) -> None:
    """Wait until the condition holds. Fails when it does not in that time."""
    for _ in range(int(seconds / 0.005)):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"not so within {seconds:g} s")


PASSWORD = "correct horse battery"
BASE_URL = "http://localhost"
OWN: MappingProxyType[str, str] = MappingProxyType({"origin": BASE_URL})


@functools.cache
def our_assets() -> Assets:
    """Reading and compressing all files once is enough for a run."""
    return Assets(static_directory())


@functools.cache
def hash_of(password: str) -> str:
    return hash_password(password)


class Door:
    """Everything of HTTP around a store on disk, asked without a network. Both clocks stand until they are moved."""

    def __init__(self, settings: Settings, store: Store, checks: Mapping[str, Check], assets: Assets) -> None:
        self.settings = settings
        self.store = store
        self.clock_ms = NOW
        self.ended: list[str] = []
        self.directory = ShopDirectory(store)
        self.passwords = Passwords()
        self.assets = assets
        self.rendering = Rendering(settings, assets, templates_directory())
        self.sessions = Sessions(settings, store, lambda: self.clock_ms, self.ended.append)
        self.refusals = Refusals(settings, self.rendering.error_page)
        self.login = Login(
            settings,
            store,
            self.sessions,
            self.passwords,
            self.rendering,
            clock=lambda: self.clock_ms,
            now=lambda: self.clock_ms / 1000,
        )
        self.pages = Pages(
            settings,
            store,
            self.directory,
            self.sessions,
            self.rendering,
            assets,
            open_link=lambda link: open_link(link, settings.secret, self.clock_ms),
            checks=checks,
            clock=lambda: self.clock_ms,
            now=lambda: self.clock_ms / 1000,
        )
        self.counts = AddressCounts(settings.connections_per_address_max)
        starlette = Starlette(
            routes=[*self.login.routes(), *self.pages.routes(), *assets.routes()],
            exception_handlers=self.refusals.exception_handlers(),
        )
        self.app = Guard(starlette, settings, self.refusals, counts=self.counts)

    def browser(self, **options: Any) -> httpx2.AsyncClient:
        """A client with cookies of its own. It follows no redirect and believes its own headers only."""
        address = options.pop("address", "192.0.2.1")
        transport = httpx2.ASGITransport(app=self.app, client=(address, 5000))
        headers = {"accept": "text/html", **options.pop("headers", {})}
        return httpx2.AsyncClient(transport=transport, base_url=self.settings.base_url, headers=headers, **options)

    async def written(self) -> None:
        """Wait until everything that was handed to the store is in it."""

        async def job(tx: Transaction) -> None:
            pass

        await self.store.write(job)

    def pass_time(self, seconds: float) -> None:
        self.clock_ms += int(seconds * 1_000)


@contextlib.asynccontextmanager
async def open_door(
    directory: Path, *, checks: Mapping[str, Check] | None = None, assets: Assets | None = None, **settings: Any
) -> AsyncIterator[Door]:
    values: dict[str, Any] = {"base_url": BASE_URL, "data_directory": directory}
    async with opened_store(directory) as store:
        door = Door(Settings(**values | settings), store, checks or {}, our_assets() if assets is None else assets)
        try:
            yield door
        finally:
            door.passwords.close()


async def a_login(door: Door, **fields: Any) -> tuple[Shop, Staff]:
    """A shop with somebody whose password is `PASSWORD`."""
    shop = await a_shop(door.store)
    person = await somebody(door.store, shop, password_hash=hash_of(PASSWORD), **fields)
    await door.directory.refresh()
    return shop, person


def csrf_in(page: httpx2.Response) -> str:
    found = re.search(r'name="(?:chatd-)?csrf" (?:value|content)="([^"]+)"', page.text)
    assert found is not None, page.text
    return found[1]


async def try_login(
    browser: httpx2.AsyncClient, email: str = "mia@nordlys.example", password: str = PASSWORD, **fields: str
) -> httpx2.Response:
    page = await browser.get("/login")
    form = {"email": email, "password": password, "csrf": csrf_in(page)} | fields
    return await browser.post("/login", data=form, headers=dict(OWN))


# What `web.server` sets, for a server in a test.
UVICORN: MappingProxyType[str, Any] = MappingProxyType(
    {
        "http": FrontProtocol,
        "loop": "uvloop",
        "lifespan": "on",
        "log_level": "critical",
        "proxy_headers": False,
        "server_header": False,
        "access_log": False,
        "timeout_keep_alive": 15,
        "timeout_graceful_shutdown": 2,
    }
)


@contextlib.contextmanager
def serving(app: Any, *, loop: str = "asyncio", **options: Any) -> Iterator[Server]:
    """A real uvicorn in a thread of its own, so that tests can talk to it with plain sockets."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, **{**UVICORN, "loop": loop, **options})
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started and thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.005)
        assert server.started, "the server did not start"
        yield Server(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the server did not stop"


class Server:
    def __init__(self, port: int) -> None:
        self.port = port

    def connect(self, *, receive_bytes: int | None = None) -> Client:
        return Client(self.port, receive_bytes)


class Client:
    """A plain TCP connection that says what it is told to, well-formed or not."""

    def __init__(self, port: int, receive_bytes: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(20)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        self.began_at = time.monotonic()
        self._received = b""

    def say(self, text: bytes | str) -> Client:
        self.socket.sendall(text.encode("latin-1") if isinstance(text, str) else text)
        return self

    def get(self, path: str = "/", *fields: str, host: str = "localhost") -> Client:
        lines = "".join(f"{field}\r\n" for field in fields)
        return self.say(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n")

    def answer(self) -> Answered:
        """The next whole answer."""
        while b"\r\n\r\n" not in self._received:
            self._more()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        return Answered(int(lines[0].split()[1]), fields, self.receive(int(fields.get("content-length", "0"))))

    def receive(self, count: int) -> bytes:
        """The next so many bytes."""
        while len(self._received) < count:
            self._more()
        data, self._received = self._received[:count], self._received[count:]
        return data

    def _more(self) -> None:
        data = self.socket.recv(65_536)
        if not data:
            raise EOFError("the server closed the connection")
        self._received += data

    def everything(self) -> bytes:
        """What comes until the server closes the connection, by either way of closing."""
        data, self._received = self._received, b""
        with contextlib.suppress(ConnectionError):
            while more := self.socket.recv(65_536):
                data += more
        return data

    def seconds(self) -> float:
        return time.monotonic() - self.began_at

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Answered(NamedTuple):
    status: int
    fields: dict[str, str]
    body: bytes
