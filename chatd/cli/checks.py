"""What `chatd doctor` looks at. Each check gives findings: what is, how bad that is, and what to do about it.

Checks change nothing but a file that they make and remove in the data directory, send no mail, and wait for nobody
longer than a few seconds. A check that cannot be made says so instead of failing.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import resource
import shutil
import stat
import tempfile
from collections.abc import Iterator
from importlib import metadata
from typing import Any, Literal
from urllib.parse import urlsplit

import aiosmtplib
import msgspec

from chatd.config import SECRET_FILE, Settings, variable_of
from chatd.errors import ChatError
from chatd.store import migrations
from chatd.store.contract import Transaction
from chatd.store.opening import make_store
from chatd.store.shops import Shop, list_shops
from chatd.store.staff import list_staff
from chatd.topics.files import model_in_force

SPACE_BYTES_MIN = 200 * 2**20
SPACE_BYTES_GOOD = 2 * 2**30
FILES_GOOD = 4_096
PATIENCE_SECONDS = 5.0


class Finding(msgspec.Struct, frozen=True):
    """One line of the report. `todo` says what to do, for everything that is not good."""

    level: Literal["good", "note", "bad"]
    what: str
    todo: str = ""


def check_data_directory(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_directory
    variable = variable_of("data_directory")
    if not folder.exists():
        yield Finding("note", f"{folder} is not there yet", "chatd serve, or chatd shop add, makes it")
        folder = next(parent for parent in folder.parents if parent.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-"):
            pass
    except OSError as error:
        yield Finding(
            "bad",
            f"{folder} cannot be written to ({error.strerror})",
            f"give it to whoever runs chatd (chown), or set {variable} to another folder",
        )
        return
    if folder == settings.data_directory and folder.stat().st_mode & stat.S_IROTH:
        yield Finding("note", f"{folder} can be read by everybody on this machine", f"chmod 700 {folder}")
    yield Finding("good", f"{folder} can be written to")
    free = shutil.disk_usage(folder).free
    shown = f"{free / 2**30:.1f} GiB free on its disk"
    if free < SPACE_BYTES_MIN:
        yield Finding("bad", shown, "make room: when the disk is full, messages are refused")
    elif free < SPACE_BYTES_GOOD:
        yield Finding("note", shown, "make room soon; a migration needs as much again as the database has")
    else:
        yield Finding("good", shown)


def check_secret(settings: Settings) -> Iterator[Finding]:
    if os.environ.get(variable_of("secret")):
        yield Finding("good", f"the secret comes from {variable_of('secret')}")
        return
    path = settings.data_directory / SECRET_FILE
    if not path.exists():
        yield Finding("note", "there is no secret yet", "the first start makes one")
    elif path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield Finding("bad", f"{path} can be read by others", f"chmod 600 {path}")
    else:
        yield Finding("good", f"the secret in {path.name} is its owner's alone")


def check_base_url(settings: Settings) -> Iterator[Finding]:
    parts = urlsplit(settings.base_url)
    host = parts.hostname or ""
    if is_local(host):
        yield Finding(
            "note",
            f"the base URL is {settings.base_url}, which only this machine can open",
            f"for the world, set {variable_of('base_url')} to the address of your proxy, as https://chat.example.com",
        )
    elif parts.scheme != "https":
        yield Finding(
            "bad",
            f"the base URL is {settings.base_url}, without TLS: passwords and messages can be read on the way",
            f"put a proxy with a certificate in front, and https:// into {variable_of('base_url')}",
        )
    else:
        yield Finding("good", f"the base URL is {settings.base_url}")
        if settings.trusted_proxies == 0:
            yield Finding(
                "note",
                "no proxy is trusted, so behind one all customers seem to come from one address and share its limits",
                f"set {variable_of('trusted_proxies')} to the number of proxies of yours, mostly 1",
            )


async def check_reachable(settings: Settings) -> list[Finding]:
    """Whether something answers under the base URL's host and port. No request is sent."""
    parts = urlsplit(settings.base_url)
    host, port = parts.hostname or "", parts.port or {"http": 80, "https": 443}[parts.scheme]
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except OSError as error:  # TimeoutError and failed look-ups are among them
        reason = os.strerror(error.errno).lower() if error.errno and error.errno > 0 else "no answer"
        return [
            Finding(
                "note",
                f"nothing answers at {host}, port {port} ({reason})",
                "start chatd serve, and check name and proxy",
            )
        ]
    writer.close()
    return [Finding("good", f"something answers at {host}, port {port}")]


def check_files() -> Iterator[Finding]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FILES_GOOD:
        yield Finding(
            "note",
            f"at most {soft:,} open files, and so fewer than that many customers at once",
            "raise it: ulimit -n 65536, or LimitNOFILE=65536 in the systemd unit",
        )
    else:
        yield Finding("good", "enough open files for many customers at once")


async def check_mail(settings: Settings) -> list[Finding]:
    """Connect, greet, encrypt and log in, as for a mail, and say goodbye."""
    if not settings.smtp_host:
        todo = (
            f"set {variable_of('smtp_host')} and, if it wants a login, {variable_of('smtp_username')} and its password"
        )
        return [Finding("note", "no mail server is set, so replies to customers who left stay queued", todo)]
    where = f"the mail server {settings.smtp_host}, port {settings.smtp_port}"
    findings = []
    if settings.smtp_security == "none" and not is_local(settings.smtp_host):
        findings.append(
            Finding(
                "note",
                f"{where}, is talked to without encryption",
                f"set {variable_of('smtp_security')} to starttls or tls",
            )
        )
    client = aiosmtplib.SMTP(
        hostname=settings.smtp_host,
        port=settings.smtp_port,
        use_tls=settings.smtp_security == "tls",
        start_tls=settings.smtp_security == "starttls",
        timeout=min(settings.smtp_timeout_seconds, PATIENCE_SECONDS),
    )
    try:
        await client.connect()
        if settings.smtp_username:
            await client.login(settings.smtp_username, settings.smtp_password)
        await client.quit()
    except (aiosmtplib.SMTPException, OSError) as error:
        findings.append(Finding("bad", f"{where}: {_reason(error)}", _mail_todo(error)))
    else:
        login = " and takes the login" if settings.smtp_username else ""
        findings.append(Finding("good", f"{where}, answers{login}"))
    finally:
        client.close()
    return findings


def _reason(error: Exception) -> str:
    """What the server or the network said, without what was sent to it."""
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"{error.code} {error.message}"
    return str(error) or type(error).__name__


def _mail_todo(error: Exception) -> str:
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return f"mend {variable_of('smtp_username')} and {variable_of('smtp_password')}"
    if isinstance(error, aiosmtplib.SMTPConnectError | aiosmtplib.SMTPTimeoutError | OSError):
        names = ", ".join(variable_of(name) for name in ("smtp_host", "smtp_port", "smtp_security"))
        return f"check {names}, and that the network lets this machine through to it"
    return f"check {variable_of('smtp_security')}: the server may want another kind of encryption"


async def check_redis(settings: Settings) -> list[Finding]:
    """Connect to each Redis, log in and publish as the nodes do, on a channel that nobody hears."""
    several = len(settings.redis_urls) > 1
    return [found for url in settings.redis_urls for found in await _check_one_redis(url, in_cluster=several)]


async def _check_one_redis(url: str, *, in_cluster: bool) -> list[Finding]:
    from redis.asyncio import Redis  # half a second of imports, which the other commands need not wait for
    from redis.exceptions import MovedError, RedisError

    variable = variable_of("redis_url")
    parts = urlsplit(url)
    where = f"Redis at {parts.hostname}, port {parts.port or 6379}" if parts.hostname else f"Redis at {parts.path}"
    findings = []
    if parts.scheme == "redis" and not is_local(parts.hostname or ""):
        findings.append(
            Finding(
                "note",
                f"{where}, is talked to without encryption, and messages pass through it",
                f"use a network of your own, or rediss:// in {variable}",
            )
        )
    client: Any = Redis.from_url(url, socket_timeout=PATIENCE_SECONDS, socket_connect_timeout=PATIENCE_SECONDS)
    try:
        version = (await client.info("server"))["redis_version"]
        has_slots = bool((await client.info("cluster")).get("cluster_enabled"))
        with contextlib.suppress(MovedError):  # a server that says so knows what it is asked
            await client.execute_command("SPUBLISH" if in_cluster else "PUBLISH", "chatd:doctor", b"")
    except (RedisError, OSError, ValueError) as error:
        reason = str(error) or type(error).__name__
        todo = f"start it, and check {variable}; until then nodes hear each other late"
        if in_cluster and "unknown command" in reason:
            todo = "a cluster needs Redis 7 or newer, for sharded pub/sub"
        findings.append(Finding("bad", f"{where}: {reason}", todo))
    else:
        findings.append(Finding("good", f"{where}, answers (version {version})"))
        if in_cluster and not has_slots:
            todo = f"several addresses in {variable} are servers of one Redis Cluster; name a single Redis alone"
            findings.append(Finding("bad", f"{where}, is not part of a cluster", todo))
        elif has_slots and not in_cluster:
            todo = f"name a second of its servers in {variable}, after a comma"
            findings.append(Finding("bad", f"{where}, is part of a cluster, and is used as if it were alone", todo))
    finally:
        await client.aclose()
    return findings


def check_topics(settings: Settings) -> Iterator[Finding]:
    if settings.topics == "off":
        yield Finding("good", f"messages are not read for topics ({variable_of('topics')} is off)")
        return
    # Both bring numpy, which no other command needs.
    from chatd.topics.encoder import DISTRIBUTION, VERSION
    from chatd.topics.model import read_model

    own = settings.topics_model_path
    path = own or model_in_force(settings.data_directory)
    try:
        read_model(path)
    except (ChatError, OSError) as error:
        said = error.message if isinstance(error, ChatError) else error.strerror
        todo = f"mend {variable_of('topics_model')}" if own else f"remove {path}, or train it anew: chatd topics train"
        yield Finding("bad", f"no topics are found, the model {path} cannot be read: {said}", todo)
        return
    try:
        found = metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        found = "not installed"
    if found == VERSION:
        yield Finding("good", f"topics are found by {path}, in two stages")
    else:
        yield Finding(
            "note",
            f"topics are found by {path} in one stage, which finds fewer: {DISTRIBUTION} is {found}",
            f"pip install {DISTRIBUTION}=={VERSION}",
        )


async def check_shops(settings: Settings) -> list[Finding]:
    """Each shop has pages to be on, an address to mail from, and somebody to answer."""

    async def job(tx: Transaction) -> list[tuple[Shop, int]]:
        return [(shop, len(await list_staff(tx, shop.id))) for shop in await list_shops(tx)]

    try:
        if migrations.check(settings).changed:
            return []  # told by `check_database`
        store = make_store(settings)
        await store.open()
        try:
            shops = await store.read(job)
        finally:
            await store.close()
    except ChatError:
        return []  # told by `check_database`
    if not shops:
        return [Finding("note", "there is no shop yet", "chatd shop add 'My shop' --origin https://shop.example")]
    return [finding for shop, people in shops for finding in _check_shop(settings, shop, people)]


def _check_shop(settings: Settings, shop: Shop, people: int) -> Iterator[Finding]:
    name, change = f"shop {shop.key}", f"chatd shop set {shop.key}"
    if not shop.origins:
        yield Finding(
            "bad", f"{name} has no origin, so no page may open its chat", f"{change} --add-origin https://shop.example"
        )
    for origin in shop.origins:
        if origin.startswith("http:") and not is_local(urlsplit(origin).hostname or ""):
            yield Finding(
                "note",
                f"{name} is allowed from {origin}, without TLS",
                f"use https there; then {change} --remove-origin {origin}",
            )
        if settings.base_url.startswith("http:") and origin.startswith("https:"):
            yield Finding(
                "bad",
                f"{name} is on {origin}, whose pages may load nothing from {settings.base_url} (mixed content)",
                f"set {variable_of('base_url')} to an https address",
            )
    if not shop.email and not settings.mail_from_fallback:
        yield Finding("bad", f"{name} has no address to mail from", f"{change} --email hello@shop.example")
    if not people:
        yield Finding(
            "bad", f"{name} has no staff", f"chatd staff add you@shop.example --name You --role owner --shop {shop.key}"
        )
    if shop.origins and people:
        yield Finding("good", f"{name} has pages to be on, an address and staff ({people})")


def is_local(host: str) -> bool:
    """Whether this host is the machine itself."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
