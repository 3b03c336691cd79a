"""The demo as a whole: chatd, a shop that uses it and a mail server that keeps what is sent, in one process.

It is the real chatd with real settings; only the shop and the mail server are toys. What it stores is kept in one
folder until that is forgotten. With `CHATD_SMTP_HOST` set in the environment mails go out for real instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import msgspec

from chatd.config import Settings, read_settings
from chatd.demo.mailbox import Mailbox, create_mailbox_app
from chatd.demo.shop import create_shop_app
from chatd.errors import Conflict
from chatd.store import migrations
from chatd.store.contract import Transaction
from chatd.store.opening import make_store
from chatd.store.shops import add_shop, change_shop, find_shop_by_key, new_shop
from chatd.store.staff import add_staff, find_by_email
from chatd.store.time_zones import machine_time_zone
from chatd.web.passwords import hash_password
from chatd.web.server import listening, plain_config, running, until_stopped

HOST = "127.0.0.1"
PORTS_TRIED = 50
SHOP_KEY = "nordlys"
SHOP_EMAIL = "hello@nordlys.example"
STAFF = (("leo@nordlys.example", "Leo", "owner"), ("ana@nordlys.example", "Ana", "agent"))
# Known to everybody who reads this: the demo listens on the loopback interface only.
PASSWORD = "northern-lights"

# Where the demo differs from the defaults: nobody wants to wait a minute to see the mail. The environment goes before.
DEMO_DEFAULTS = (
    ("CHATD_LOG_LEVEL", "warning"),
    ("CHATD_DIGEST_QUIET_SECONDS", "15"),
    ("CHATD_MAIL_FROM_FALLBACK", SHOP_EMAIL),
)
KEPT = ("chatd.db", "chatd.db-wal", "chatd.db-shm", "chatd-before-migration-*.db", "secret.key")


class DemoPorts(msgspec.Struct, frozen=True, kw_only=True):
    """Where to listen; a port that is taken is replaced by the next free one, and 0 is any free one."""

    inbox: int = 8000
    shop: int = 8001
    mail: int = 8002


class DemoAddresses(msgspec.Struct, frozen=True, kw_only=True):
    """What a person opens in a browser. `mail` is empty when mails go out for real."""

    shop: str
    inbox: str
    mail: str


async def run_demo(settings: Settings, ports: DemoPorts) -> None:
    """Run until stopped by a signal; print what to open."""
    async with open_demo(settings, ports) as addresses:
        stopped = asyncio.create_task(until_stopped())
        await asyncio.sleep(0)  # the task listens for Ctrl+C before the line that invites to press it
        print(greeting(settings, addresses), flush=True)
        await stopped
    print("Stopped. Everything is kept for next time.", flush=True)


def greeting(settings: Settings, addresses: DemoAddresses) -> str:
    people = " or ".join(email for email, _, _ in STAFF)
    mail = f"{addresses.mail}   replies to customers who left, {settings.digest_quiet_seconds:g} s after the last one"
    if not addresses.mail:
        mail = f"goes out for real, through {settings.smtp_host}"
    return "\n".join(
        (
            "",
            f"  Demo shop       {addresses.shop}   walk around, fill the cart, write in the bubble",
            f"  Staff inbox     {addresses.inbox}   log in as {people}, password {PASSWORD}",
            f"  Outgoing mail   {mail}",
            "",
            "  Ctrl+C ends it.",
            "",
        )
    )


def demo_settings(directory: Path, ports: DemoPorts, environ: Mapping[str, str]) -> tuple[Settings, DemoPorts]:
    """The settings of a demo in this folder, and the ports that are free for it now."""
    taken: set[int] = set()
    free = DemoPorts(
        inbox=_free_port(ports.inbox, taken), shop=_free_port(ports.shop, taken), mail=_free_port(ports.mail, taken)
    )
    chosen = {
        "CHATD_DATA_DIRECTORY": str(directory),
        "CHATD_DATABASE_URL": "",
        "CHATD_HOST": HOST,
        "CHATD_PORT": str(free.inbox),
        "CHATD_BASE_URL": "",
    }
    return read_settings({**dict(DEMO_DEFAULTS), **environ, **chosen}), free


def forget(directory: Path) -> None:
    """Remove what a demo keeps in this folder, and nothing else that may be there."""
    for pattern in KEPT:
        for path in directory.glob(pattern):
            path.unlink()


@contextlib.asynccontextmanager
async def open_demo(settings: Settings, ports: DemoPorts) -> AsyncIterator[DemoAddresses]:
    """A running demo inside the block, on exactly these ports. Raises `ChatError`, `OSError`."""
    shop_url = f"http://localhost:{ports.shop}"
    async with contextlib.AsyncExitStack() as stack:
        mail_url = ""
        if not settings.smtp_host:
            mailbox = Mailbox()
            await stack.enter_async_context(mailbox)
            settings = msgspec.structs.replace(settings, smtp_host=HOST, smtp_port=mailbox.port, smtp_security="none")
            mail_url = f"http://localhost:{ports.mail}"
            await stack.enter_async_context(listening(plain_config(create_mailbox_app(mailbox), HOST, ports.mail)))
        await asyncio.to_thread(migrations.migrate, settings)
        await furnish(settings, shop_url)
        await stack.enter_async_context(running(settings))
        shop = create_shop_app(base_url=shop_url, chatd_url=settings.base_url, shop_key=SHOP_KEY)
        await stack.enter_async_context(listening(plain_config(shop, HOST, ports.shop)))
        yield DemoAddresses(shop=shop_url, inbox=settings.base_url, mail=mail_url)


async def furnish(settings: Settings, shop_url: str) -> None:
    """The shop and its two staff, unless they are there; the shop's address may have moved to another port."""
    now = int(time.time() * 1000)
    origins = (shop_url, shop_url.replace("localhost", HOST))
    password_hash = await asyncio.to_thread(hash_password, PASSWORD)

    async def job(tx: Transaction) -> None:
        shop = await find_shop_by_key(tx, SHOP_KEY)
        if shop is None:
            shop = await add_shop(
                tx,
                new_shop(
                    name="Nordlys pottery",
                    key=SHOP_KEY,
                    email=SHOP_EMAIL,
                    origins=origins,
                    colour="#0f5e5a",
                    time_zone=machine_time_zone(),
                    greeting="Hello! Leo and Ana here. Ask us anything about clay, glaze or shipping.",
                    now=now,
                ),
            )
        elif shop.origins != origins:
            await change_shop(tx, shop.id, now, origins=origins)
        for email, name, role in STAFF:
            if await find_by_email(tx, email) is None:
                await add_staff(
                    tx, shop=shop.id, email=email, name=name, role=role, password_hash=password_hash, now=now
                )

    store = make_store(settings)
    await store.open()
    try:
        await store.write(job)
    finally:
        await store.close()


@contextlib.contextmanager
def alone(directory: Path) -> Iterator[None]:
    """The only demo in this folder, which is made: a second one would not hear what is said in the first. Raises
    `Conflict` when there is one."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (directory / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"a demo runs in {directory} already; stop it, or name another folder with --directory"
            ) from None
        yield


def _free_port(wanted: int, taken: set[int]) -> int:
    """The wanted port or one of the next; `taken` are those given away a moment ago. Raises `OSError`."""
    for port in range(wanted, min(wanted + PORTS_TRIED, 65_536)) if wanted else (0,) * PORTS_TRIED:
        if port and port in taken:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: a port at rest is free
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
        if found not in taken:
            taken.add(found)
            return found
    raise OSError(
        f"no free port from {wanted} to {wanted + PORTS_TRIED - 1}; name others with --port, --shop-port, --mail-port"
    )
