"""Shops: the tenants, and the copy of them that a process keeps in memory.

`new_shop` and `change_shop` are where a shop's fields are checked, whoever they come from; `add_shop` and
`change_shop` write what has been checked. `ShopDirectory` answers without waiting, for the handshake of a socket must
not read the database: it is at most a few seconds behind, which is what a changed setting takes to be felt.

The identity secret signs members; it is part of `Shop` and never of what travels to a browser.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import bindparam, func, insert, select, update

from chatd.domain.addresses import check_email
from chatd.domain.limits import Limits
from chatd.domain.people import check_name, check_text
from chatd.errors import ChatError, Conflict, InvalidInput, NotFound, TooLarge
from chatd.i18n import DEFAULT_LOCALE, LOCALES
from chatd.store.contract import Row, Statement, Store, Transaction
from chatd.store.schema import shops
from chatd.store.time_zones import UTC_NAME, check_time_zone

SHOPS_MAX = 20_000  # in one process's memory, at about 1 KiB each; beyond it, shops are divided among deployments
ORIGINS_MAX = 50
GREETING_CHARACTERS_MAX = 500
REFRESH_SECONDS = 3.0
DEFAULT_COLOUR = "#0f766e"

logger = logging.getLogger("chatd.store.shops")


class Shop(msgspec.Struct, frozen=True, kw_only=True):
    """A shop as it is stored. `key` is public and stands in the script tag."""

    id: str
    key: str
    name: str
    email: str
    colour: str
    greeting: str
    locale: str
    ask_first: bool
    origins: tuple[str, ...]
    identity_secret: str
    epoch: str
    created_at: int
    changed_at: int
    time_zone: str = UTC_NAME  # in which its mails tell times

    @property
    def face(self) -> dict[str, Any]:
        """What it shows of itself to everybody."""
        return {
            "key": self.key,
            "name": self.name,
            "colour": self.colour,
            "greeting": self.greeting,
            "locale": self.locale,
            "ask_first": self.ask_first,
        }

    def __repr__(self) -> str:
        return f"Shop(id={self.id!r}, key={self.key!r}, name={self.name!r})"  # log lines must not carry the secret


# ---------------------------------------------------------------- fields


_KEY = re.compile(r"[a-z0-9][a-z0-9-]{2,63}")
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_HOST = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\]")
_LIMITS = Limits()


def check_origin(given: str) -> str:
    """The origin as browsers send it (RFC 6454 section 6.2): lower case, no default port, nothing behind. Raises
    `InvalidInput`."""
    refusal = InvalidInput(
        f"{given[:200]!r} is no origin; expected scheme, host and port only, like https://shop.example"
        " or http://localhost:8080",
        what="origins",
    )
    try:
        parts = urlsplit(given.strip())
        port = parts.port
    except ValueError:
        raise refusal from None
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    if ":" in host:
        host = f"[{host}]"
    try:
        host = host if host.isascii() else host.encode("idna").decode()  # browsers send the ASCII form
    except UnicodeError:
        raise refusal from None
    if (
        scheme not in ("http", "https")
        or not _HOST.fullmatch(host)
        or "@" in parts.netloc
        or parts.path not in ("", "/")
        or any(character in given.strip() for character in "?#\\*` \t\r\n")
        or port == 0
    ):
        raise refusal
    default = {"http": 80, "https": 443}[scheme]
    return f"{scheme}://{host}" + ("" if port in (None, default) else f":{port}")


def _check_name(given: str) -> str:
    name = check_name(given, _LIMITS)
    if not name:
        raise InvalidInput("a shop needs a name", what="name")
    return name


def _check_colour(given: str) -> str:
    colour = given.strip().lower()
    if not _COLOUR.fullmatch(colour):
        raise InvalidInput(f"{given[:40]!r} is no colour; expected one like {DEFAULT_COLOUR}", what="colour")
    return colour


def _check_greeting(given: str) -> str:
    check_text(given, what="greeting", characters_max=GREETING_CHARACTERS_MAX)
    return given.strip()


def _check_locale(given: str) -> str:
    if given not in LOCALES:
        raise InvalidInput(f"{given[:40]!r} is no language; expected one of {', '.join(LOCALES)}", what="locale")
    return given


def _check_ask_first(given: bool) -> bool:
    if not isinstance(given, bool):
        raise InvalidInput("ask_first is true or false", what="ask_first")
    return given


def _check_origins(given: Iterable[str]) -> tuple[str, ...]:
    origins = tuple(dict.fromkeys(check_origin(origin) for origin in given))
    if len(origins) > ORIGINS_MAX:
        raise TooLarge(
            f"{len(origins)} origins, the limit is {ORIGINS_MAX}",
            what="origins",
            count=len(origins),
            count_max=ORIGINS_MAX,
        )
    return origins


_CHECKS: MappingProxyType[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "name": _check_name,
        "email": lambda given: check_email(given) if given.strip() else "",
        "colour": _check_colour,
        "greeting": _check_greeting,
        "locale": _check_locale,
        "ask_first": _check_ask_first,
        "time_zone": check_time_zone,
        "origins": _check_origins,
    }
)


def _check(fields: dict[str, Any]) -> dict[str, Any]:
    """The given fields in their normal form. Unknown fields are refused (mass assignment)."""
    for name in fields:
        if name not in _CHECKS:
            raise InvalidInput(f"a shop has no field {name[:40]!r} that can be set", what=name[:40])
    return {name: _CHECKS[name](value) for name, value in fields.items()}


def new_shop(
    *,
    name: str,
    now: int,
    email: str = "",
    origins: Iterable[str] = (),
    colour: str = DEFAULT_COLOUR,
    greeting: str = "",
    locale: str = DEFAULT_LOCALE,
    ask_first: bool = False,
    time_zone: str = UTC_NAME,
    key: str | None = None,
) -> Shop:
    """A shop with fresh id, epoch, secret and, unless one is asked for, key. Nothing is stored yet. Raises
    `InvalidInput`."""
    if key is not None and not _KEY.fullmatch(key):
        raise InvalidInput(f"{key[:80]!r} is no key; expected 3 to 64 of a-z, 0-9 and -", what="key")
    fields = _check(
        {
            "name": name,
            "email": email,
            "origins": origins,
            "colour": colour,
            "greeting": greeting,
            "locale": locale,
            "ask_first": ask_first,
            "time_zone": time_zone,
        }
    )
    return Shop(
        id=secrets.token_hex(8),
        key=key or secrets.token_hex(10),
        epoch=secrets.token_hex(8),
        identity_secret=secrets.token_hex(32),
        created_at=now,
        changed_at=now,
        **fields,
    )


# ---------------------------------------------------------------- statements


_insert = Statement(insert(shops))
_by_key = Statement(select(shops).where(shops.c.key == bindparam("key_")))
_by_id = Statement(select(shops).where(shops.c.id == bindparam("shop")))
_by_id_held = Statement(select(shops).where(shops.c.id == bindparam("shop")).with_for_update(key_share=True))
_all = Statement(select(shops).order_by(shops.c.created_at, shops.c.id).limit(SHOPS_MAX + 1))
_change = Statement(
    update(shops)
    .where(shops.c.id == bindparam("shop"))
    .values({name: bindparam(f"new_{name}") for name in (*_CHECKS, "changed_at")})
)
# Cheap and changes with every change: whoever asks every few seconds reads the whole table only when it differs.
_fingerprint = Statement(
    select(
        func.count().label("count"),
        func.max(shops.c.changed_at).label("latest"),
        func.sum(shops.c.changed_at).label("sum"),
    )
)


def as_shop(row: Row) -> Shop:
    return Shop(
        id=row["id"],
        key=row["key"],
        name=row["name"],
        email=row["email"],
        colour=row["colour"],
        greeting=row["greeting"],
        locale=row["locale"],
        ask_first=bool(row["ask_first"]),
        time_zone=row["time_zone"],
        origins=msgspec.json.decode(row["origins"], type=tuple[str, ...]),
        identity_secret=row["identity_secret"],
        epoch=row["epoch"],
        created_at=row["created_at"],
        changed_at=row["changed_at"],
    )


async def add_shop(tx: Transaction, shop: Shop) -> Shop:
    """Write a shop that `new_shop` has made. Raises `Conflict` when there is one with its key."""
    if await tx.one(_by_key, key_=shop.key) is not None:
        raise Conflict(f"there is a shop with the key {shop.key!r} already")
    values = msgspec.structs.asdict(shop) | {"origins": msgspec.json.encode(shop.origins).decode(), "head": 0}
    await tx.run(_insert, **values)
    return shop


async def find_shop_by_key(tx: Transaction, key: str) -> Shop | None:
    row = await tx.one(_by_key, key_=key)
    return None if row is None else as_shop(row)


async def find_shop(tx: Transaction, shop: str) -> Shop | None:
    row = await tx.one(_by_id, shop=shop)
    return None if row is None else as_shop(row)


async def list_shops(tx: Transaction) -> list[Shop]:
    """All shops, oldest first, up to `SHOPS_MAX`."""
    return [as_shop(row) for row in (await tx.all(_all))[:SHOPS_MAX]]


async def change_shop(tx: Transaction, shop: str, now: int, **fields: Any) -> Shop:
    """Set these fields of a shop (those of `new_shop`) and leave the others. Raises `NotFound`, `InvalidInput`."""
    checked = _check(fields)
    row = await tx.one(
        _by_id_held, shop=shop
    )  # nobody else changes it until the commit, or a field of theirs were lost
    if row is None:
        raise NotFound("no such shop")
    found = as_shop(row)
    # Always later than before, whatever the clock says: the directory tells a change by it.
    changed = msgspec.structs.replace(found, changed_at=max(now, found.changed_at + 1), **checked)
    await tx.run(
        _change,
        shop=shop,
        new_name=changed.name,
        new_email=changed.email,
        new_colour=changed.colour,
        new_greeting=changed.greeting,
        new_locale=changed.locale,
        new_ask_first=changed.ask_first,
        new_time_zone=changed.time_zone,
        new_origins=msgspec.json.encode(changed.origins).decode(),
        new_changed_at=changed.changed_at,
    )
    return changed


# ---------------------------------------------------------------- the copy in memory


class ShopDirectory:
    """All shops, answered at once. `refresh` once before the first question; then `keep_fresh` as a task."""

    def __init__(self, store: Store, *, refresh_seconds: float = REFRESH_SECONDS) -> None:
        self._store = store
        self._refresh_seconds = refresh_seconds
        self._by_key: dict[str, Shop] = {}
        self._by_id: dict[str, Shop] = {}
        self._seen: tuple[Any, ...] | None = None

    def by_key(self, key: str) -> Shop | None:
        return self._by_key.get(key)

    def by_id(self, shop: str) -> Shop | None:
        return self._by_id.get(shop)

    def all(self) -> list[Shop]:
        return list(self._by_id.values())

    async def refresh(self) -> bool:
        """Read what has changed. Returns whether anything had. Raises what the store raises, and keeps what it knew."""
        seen = self._seen

        async def job(tx: Transaction) -> tuple[tuple[Any, ...], list[Shop] | None]:
            row = await tx.one(_fingerprint)
            assert row is not None
            now = (row["count"], row["latest"], row["sum"])
            return now, None if now == seen else [as_shop(found) for found in await tx.all(_all)]

        now, found = await self._store.read(job)
        if found is None:
            return False
        if len(found) > SHOPS_MAX:
            logger.error("there are more than %d shops; the newest are not served", SHOPS_MAX)
            found = found[:SHOPS_MAX]
        self._by_key = {shop.key: shop for shop in found}
        self._by_id = {shop.id: shop for shop in found}
        self._seen = now
        return True

    async def keep_fresh(self) -> None:
        """Refresh for ever, as a task. While the store is down the last copy goes on answering."""
        failing = False
        while True:
            await asyncio.sleep(self._refresh_seconds)
            try:
                await self.refresh()
                failing = False
            except ChatError as error:
                if not failing:  # once, not every few seconds
                    logger.warning("shops were not refreshed: %s", error.message)
                failing = True
