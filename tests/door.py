"""Real parts for the tests of what stands in front of the chat: a store on disk, a shop, its staff."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn
from sqlalchemy import create_engine

from chatd.store.schema import metadata
from chatd.store.shops import Shop, add_shop, new_shop
from chatd.store.sqlite import SQLiteStore
from chatd.store.staff import Staff, add_staff
from chatd.web.front import uvicorn_options

NOW = 1_763_790_000_000


def make_tables(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    metadata.create_all(engine)
    engine.dispose()


@contextlib.asynccontextmanager
async def opened_store(directory: Path) -> AsyncIterator[SQLiteStore]:
    """A store on a database of its own."""
    path = directory / "chatd.db"
    if not path.exists():
        make_tables(path)
    store = SQLiteStore(path)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def a_shop(store: SQLiteStore, **fields: Any) -> Shop:
    values: dict[str, Any] = {"name": "Nordlys Ceramics", "email": "hello@nordlys.example", "now": NOW}
    shop = new_shop(**values | fields)
    return await store.write(lambda tx: add_shop(tx, shop))


async def somebody(store: SQLiteStore, shop: Shop, **fields: Any) -> Staff:
    values: dict[str, Any] = {"email": "mia@nordlys.example", "name": "Mia", "role": "owner", "now": NOW}
    values |= {"password_hash": "hash"} | fields
    return await store.write(lambda tx: add_staff(tx, shop=shop.id, **values))


async def until(condition: Callable[[], bool], *, seconds: float = 10.0) -> None:
    """Wait until the condition holds. Fails when it does not in that time."""
    for _ in range(int(seconds / 0.005)):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"not so within {seconds:g} s")


@contextlib.contextmanager
def serving(app: Any, *, loop: str = "asyncio", **options: Any) -> Iterator[Server]:
    """A real uvicorn in a thread of its own, so that tests can talk to it with plain sockets."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    options = uvicorn_options() | {"loop": loop, "timeout_graceful_shutdown": 2} | options
    config = uvicorn.Config(app, log_level="critical", lifespan="on", **options)
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
