"""Staff of the shops, what their roles permit, and their logins.

A session is a random token in a cookie; the table keeps its SHA-256, so that a stolen database logs nobody in. It
ends by the first of: logging out, removal of the person, a new password, not being used for `idle_ms`, or its
`expires_at`. All of these are decided in the query that finds it: a session that is found is good.

An address logs in to one shop. It belongs to one person at a time in the whole deployment, and it is let go of when
they are removed: it is personal data, and may be needed again.
"""

from __future__ import annotations

import secrets
from types import MappingProxyType
from typing import cast

import msgspec
from sqlalchemy import bindparam, delete, func, insert, select, update

from chatd.domain.addresses import check_email
from chatd.domain.limits import Limits
from chatd.domain.people import Permission, Role, check_name
from chatd.errors import Conflict, InvalidInput, NotFound
from chatd.store.contract import Row, Statement, Transaction
from chatd.store.schema import conversations, reads, shops, staff, staff_sessions

STAFF_MAX = 1_000  # of one shop
SESSIONS_MAX = 1_000  # of one person that are ended in one go
TOUCH_MS = 60_000  # a session's use is written down at most this often

ROLES: MappingProxyType[Role, frozenset[Permission]] = MappingProxyType(
    {
        "owner": frozenset[Permission](("chat", "orders", "balance", "settings", "staff")),
        "admin": frozenset[Permission](("chat", "orders", "balance", "settings", "staff")),
        "agent": frozenset[Permission](("chat", "orders")),
        "read_only": frozenset[Permission](),
    }
)
"""What each role permits. An admin may do all that an owner may, but a shop always keeps an owner."""

_LIMITS = Limits()


def permissions_of(role: str) -> frozenset[Permission]:
    """What the role permits; nothing when this version does not know the role."""
    return ROLES.get(cast(Role, role), frozenset())


class Staff(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who works for a shop. The password's hash is not part of it: see `find_password_hash`."""

    id: str
    shop: str
    email: str
    name: str
    role: Role
    created_at: int

    @property
    def permissions(self) -> frozenset[Permission]:
        return permissions_of(self.role)


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A login that is good now, and whose it is."""

    token_hash: str
    staff: Staff
    created_at: int
    used_at: int
    expires_at: int


_columns = (staff.c.id, staff.c.shop_id, staff.c.email, staff.c.name, staff.c.role, staff.c.created_at)
_this = (staff.c.shop_id == bindparam("shop"), staff.c.id == bindparam("member"), staff.c.removed_at.is_(None))

_insert = Statement(insert(staff))
_by_email = Statement(
    select(*_columns, staff.c.password_hash).where(staff.c.email == bindparam("address"), staff.c.removed_at.is_(None))
)
_by_id = Statement(select(*_columns).where(*_this))
_list = Statement(
    select(*_columns)
    .where(staff.c.shop_id == bindparam("shop"), staff.c.removed_at.is_(None))
    .order_by(staff.c.created_at, staff.c.id)
    .limit(STAFF_MAX)
)
# Held until the commit, so that of two who remove the last two owners one finds the other gone. It says nothing on
# SQLite, where one job writes at a time.
_hold_shop = Statement(select(shops.c.id).where(shops.c.id == bindparam("shop")).with_for_update(key_share=True))
# Who is new has read everything: they are told what comes from now on, not that 12,000 messages wait for them.
_read_everything = Statement(
    insert(reads).from_select(
        ["shop_id", "staff_id", "conversation_id", "incoming_seen"],
        select(
            conversations.c.shop_id,
            bindparam("member").label("staff_id"),
            conversations.c.id,
            conversations.c.incoming,
        ).where(conversations.c.shop_id == bindparam("shop")),
    )
)
_set_password = Statement(update(staff).where(*_this).values(password_hash=bindparam("new_hash")))
_remove = Statement(
    update(staff).where(*_this).values(removed_at=bindparam("now"), email=bindparam("gone"), password_hash="")
)
_owners = Statement(
    select(func.count().label("count")).where(
        staff.c.shop_id == bindparam("shop"), staff.c.role == "owner", staff.c.removed_at.is_(None)
    )
)

_add_session = Statement(insert(staff_sessions))
_find_session = Statement(
    select(
        *_columns,
        staff_sessions.c.token_hash,
        staff_sessions.c.created_at.label("began_at"),
        staff_sessions.c.used_at,
        staff_sessions.c.expires_at,
    )
    .select_from(
        staff_sessions.join(
            staff, (staff.c.id == staff_sessions.c.staff_id) & (staff.c.shop_id == staff_sessions.c.shop_id)
        )
    )
    .where(
        staff_sessions.c.token_hash == bindparam("session"),
        staff_sessions.c.expires_at > bindparam("now"),
        staff_sessions.c.used_at > bindparam("idle_since"),
        staff.c.removed_at.is_(None),
    )
)
_touch = Statement(
    update(staff_sessions)
    .where(staff_sessions.c.token_hash == bindparam("session"), staff_sessions.c.used_at < bindparam("before"))
    .values(used_at=bindparam("now"))
)
_end = Statement(delete(staff_sessions).where(staff_sessions.c.token_hash == bindparam("session")))
_sessions_of = Statement(
    select(staff_sessions.c.token_hash)
    .where(staff_sessions.c.shop_id == bindparam("shop"), staff_sessions.c.staff_id == bindparam("member"))
    .limit(SESSIONS_MAX)
)
_forget_expired = Statement(
    delete(staff_sessions).where(
        staff_sessions.c.token_hash.in_(
            select(staff_sessions.c.token_hash).where(staff_sessions.c.expires_at <= bindparam("now")).limit(100)
        )
    )
)


def _staff(row: Row) -> Staff:
    return Staff(
        id=row["id"],
        shop=row["shop_id"],
        email=row["email"],
        name=row["name"],
        role=row["role"],
        created_at=row["created_at"],
    )


def login_address(given: str) -> str:
    """The form in which an address is stored and looked up. People write it in any case; mail servers do not care."""
    return given.strip().lower()


# ---------------------------------------------------------------- people


async def add_staff(
    tx: Transaction, *, shop: str, email: str, name: str, role: str, password_hash: str, now: int
) -> Staff:
    """A new person. Raises `NotFound` for the shop, `Conflict` for the address, `InvalidInput` for the rest."""
    address = login_address(check_email(email))
    shown_name = check_name(name, _LIMITS)
    if not shown_name:
        raise InvalidInput("staff need a name", what="name")
    if role not in ROLES:
        raise InvalidInput(f"{role[:40]!r} is no role; expected one of {', '.join(ROLES)}", what="role")
    if not password_hash:
        raise InvalidInput("staff need a password", what="password")
    if await tx.one(_hold_shop, shop=shop) is None:
        raise NotFound("no such shop")
    if await tx.one(_by_email, address=address) is not None:
        raise Conflict(f"somebody logs in with {address} already", what="email")
    if len(await tx.all(_list, shop=shop)) >= STAFF_MAX:
        raise Conflict(f"a shop has at most {STAFF_MAX:,} staff", count_max=STAFF_MAX)
    person = Staff(
        id=secrets.token_hex(8), shop=shop, email=address, name=shown_name, role=cast(Role, role), created_at=now
    )
    await tx.run(
        _insert,
        id=person.id,
        shop_id=shop,
        email=address,
        name=shown_name,
        role=role,
        password_hash=password_hash,
        created_at=now,
        removed_at=None,
    )
    await tx.run(_read_everything, shop=shop, member=person.id)
    return person


async def find_staff(tx: Transaction, shop: str, member: str) -> Staff | None:
    row = await tx.one(_by_id, shop=shop, member=member)
    return None if row is None else _staff(row)


async def find_by_email(tx: Transaction, email: str) -> tuple[Staff, str] | None:
    """Who logs in with this address, and their password's hash."""
    row = await tx.one(_by_email, address=login_address(email))
    return None if row is None else (_staff(row), row["password_hash"])


async def list_staff(tx: Transaction, shop: str) -> list[Staff]:
    """Everybody of the shop who was not removed, longest there first."""
    return [_staff(row) for row in await tx.all(_list, shop=shop)]


async def set_password(tx: Transaction, shop: str, member: str, password_hash: str) -> list[str]:
    """A new password ends every login made with the old one. Returns the hashes of the sessions that ended, whose
    sockets are to be closed. Raises `NotFound`."""
    if await tx.run(_set_password, shop=shop, member=member, new_hash=password_hash) == 0:
        raise NotFound("no such staff")
    return await end_sessions_of(tx, shop, member)


async def replace_password_hash(tx: Transaction, shop: str, member: str, password_hash: str) -> None:
    """The same password under newer parameters; logins stay."""
    await tx.run(_set_password, shop=shop, member=member, new_hash=password_hash)


async def remove_staff(tx: Transaction, shop: str, member: str, now: int) -> list[str]:
    """The person can do nothing from here on; what they said stays, with their name. Returns the hashes of the sessions
    that ended. Raises `NotFound`, and `Conflict` for a shop's last owner."""
    await tx.one(_hold_shop, shop=shop)
    found = await find_staff(tx, shop, member)
    if found is None:
        raise NotFound("no such staff")
    owners = await tx.one(_owners, shop=shop)
    if found.role == "owner" and owners is not None and owners["count"] <= 1:
        raise Conflict("a shop keeps at least one owner; make somebody else an owner first")
    ended = await end_sessions_of(tx, shop, member)
    await tx.run(_remove, shop=shop, member=member, now=now, gone=f"removed:{member}")
    return ended


# ---------------------------------------------------------------- sessions


async def add_session(tx: Transaction, person: Staff, token_hash: str, *, now: int, expires_at: int) -> Session:
    """A login. Sessions that have expired are swept out on the way."""
    await tx.run(_forget_expired, now=now)
    await tx.run(
        _add_session,
        token_hash=token_hash,
        shop_id=person.shop,
        staff_id=person.id,
        created_at=now,
        used_at=now,
        expires_at=expires_at,
    )
    return Session(token_hash=token_hash, staff=person, created_at=now, used_at=now, expires_at=expires_at)


async def find_session(tx: Transaction, token_hash: str, *, now: int, idle_ms: int) -> Session | None:
    """The session, if it is good now."""
    if not token_hash:
        return None
    row = await tx.one(_find_session, session=token_hash, now=now, idle_since=now - idle_ms)
    if row is None:
        return None
    return Session(
        token_hash=row["token_hash"],
        staff=_staff(row),
        created_at=row["began_at"],
        used_at=row["used_at"],
        expires_at=row["expires_at"],
    )


async def touch_session(tx: Transaction, token_hash: str, now: int) -> bool:
    """Note that the session is in use. Returns whether anything was written: once a minute is enough."""
    return await tx.run(_touch, session=token_hash, before=now - TOUCH_MS, now=now) > 0


async def end_session(tx: Transaction, token_hash: str) -> bool:
    """Log out. Returns whether there was anything to end."""
    return await tx.run(_end, session=token_hash) > 0


async def end_sessions_of(tx: Transaction, shop: str, member: str) -> list[str]:
    """End every login of this person; returns their hashes."""
    ended = [row["token_hash"] for row in await tx.all(_sessions_of, shop=shop, member=member)]
    for token_hash in ended:
        await tx.run(_end, session=token_hash)
    return ended
