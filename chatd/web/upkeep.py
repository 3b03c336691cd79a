"""What a running chatd does by itself, without being asked: telling who came and went, checking how far everybody was
served, dropping what was kept for a time only, and knowing whether its parts are well."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from functools import partial

from sqlalchemy import text

from chatd.dispatch.door import as_publication
from chatd.domain.commands import RecordPresence, RecordSession
from chatd.errors import ChatError, NotFound
from chatd.live.presence import Presence
from chatd.store import log
from chatd.store.contract import Statement, Transaction
from chatd.store.people import NOT_HERE_MAX, find_here, find_not_here, forget_tokens
from chatd.store.staff import find_session
from chatd.web.parts import Chat
from chatd.web.welcome import is_at_shop

POSITION_CHECK_SECONDS = 30.0
POSITION_POLL_SECONDS = 1.0
"""Between two checks while the bus is in trouble: how late other nodes are then."""

POSITIONS_BY_SHOP_MAX = 20
"""Of more shops than this, all are read by one statement instead of each by its own."""

UNKNOWN_AGAIN_SECONDS = 0.5
UNKNOWN_SECONDS_MAX = 120.0
"""How long a node that does not know what a commit of its own has brought asks for it. The check of positions stays."""

PRESENCE_SECONDS = 0.5
SETTLE_PRESENCE_SECONDS = 60.0
DEPARTURES_AT_ONCE = 200
SESSION_CHECK_SECONDS = 60.0
HOUSEKEEPING_SECONDS = 3_600.0
RESULTS_KEPT_MS = 30 * 24 * 3_600_000
"""How long a repeated command finds its first answer: longer than any page keeps an unsent message."""

FORGOTTEN_AT_ONCE = 500

logger = logging.getLogger("chatd")

_one = Statement(text("SELECT 1"))


async def let_leases_end(presence: Presence) -> None:
    """For ever. Of a crowd that has left at once, some in each turn of the loop."""
    loop = asyncio.get_running_loop()
    has_more = False
    while True:
        await asyncio.sleep(0 if has_more else PRESENCE_SECONDS)
        try:
            has_more = presence.expire(loop.time())
        except Exception:
            has_more = False
            logger.exception("leases that were over could not be ended; it is tried again")


async def settle_presence(chat: Chat) -> None:
    """Put right, for ever, what is written down of who is here: a node that died told of nobody's leaving, one that was
    cut off may have told of a leaving that was none, and a store that was away took neither. Begins after everybody who
    is still there has had time to come back."""
    while True:
        await asyncio.sleep(SETTLE_PRESENCE_SECONDS)
        try:
            await settle_presence_now(chat)
        except Exception as error:  # noqa: BLE001 - work that ended would be missed by nobody, and for good
            logger.warning("who is here was not settled: %s", error)


async def settle_presence_now(chat: Chat) -> None:
    """Whoever is here on this node is written down so; whoever is nowhere, if this node knows of everybody, is not."""
    by_shop: dict[str, list[str]] = {}
    for shop, person in chat.presence.here():
        if is_at_shop(person):
            by_shop.setdefault(shop, []).append(person)
    for shop, people in by_shop.items():
        for start in range(0, len(people), NOT_HERE_MAX):
            some = people[start : start + NOT_HERE_MAX]
            for customer in await chat.store.read(partial(find_not_here, shop=shop, some=some)):
                if chat.presence.is_online(shop, customer):
                    await chat.dispatch.record(shop, RecordPresence(customer=customer, online=True))
    if not chat.presence.knows_all():
        return
    for shop, customer in await chat.store.read(lambda tx: find_here(tx, most=DEPARTURES_AT_ONCE)):
        if not chat.presence.is_online(shop, customer):
            await chat.dispatch.record(shop, RecordPresence(customer=customer, online=False))


async def check_positions(chat: Chat) -> None:
    """Compare how far each shop was delivered with its log, for ever. It alone finds a bus that has gone silent. While
    the bus is known to be in trouble, or a node may be at work that is not heard or does not know of this one, the log
    stands in for it. A check that failed, whoever wanted it, is made up for as soon as the store answers."""
    checked_at = chat.loop.time()
    while True:
        await asyncio.sleep(POSITION_POLL_SECONDS)
        is_deaf = chat.bus.trouble() is not None or chat.presence.is_split() or chat.dispatch.is_overlooked
        if is_deaf or chat.are_positions_unchecked or chat.loop.time() - checked_at >= POSITION_CHECK_SECONDS:
            chat.are_positions_unchecked = False
            await check_positions_now(chat, chat.hub.shops())
            checked_at = chat.loop.time()


async def check_positions_now(chat: Chat, shops: Sequence[str]) -> None:
    """Compare how far these shops were delivered with their log, and have what is missing read."""

    async def job(tx: Transaction) -> dict[str, int]:
        if len(shops) > POSITIONS_BY_SHOP_MAX:
            return await log.heads(tx)
        found = {}
        for shop in shops:
            with contextlib.suppress(NotFound):  # removed meanwhile
                found[shop] = (await log.head(tx, shop))[1]
        return found

    if not shops:
        return
    try:
        heads = await chat.store.read(job)
    except ChatError as error:
        logger.warning("positions were not checked: %s", error)
        chat.are_positions_unchecked = True
        return
    for shop in shops:
        chat.hub.check_position(shop, heads.get(shop, 0))


class UnknownCommits:
    """Commits of whose outcome this node has not heard, by shop. What one has brought, if it was carried out, nobody
    has published: followers would learn of it by the shop's next number, or by the check every half minute. So as soon
    as the store answers again the shop's last event is published in its place; who lacks what stands before that reads
    it from the log."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._new: dict[str, bool] = {}  # the shops that are seen to; whether there was another since the last look

    def see_to(self, shop: str) -> None:
        """Never blocks, never raises."""
        is_seen_to = shop in self._new
        self._new[shop] = True
        if not is_seen_to:
            self._chat.spawn(self._see_to(shop))

    async def _see_to(self, shop: str) -> None:
        chat, until = self._chat, self._chat.loop.time() + UNKNOWN_SECONDS_MAX
        try:
            while self._new[shop] and chat.loop.time() < until:
                self._new[shop] = False
                try:
                    # As a write, which stands behind the lost one: that is over when this one's turn has come.
                    last = await chat.store.write(partial(_read_last, shop=shop), shop=shop)
                except NotFound:
                    return
                except ChatError:
                    self._new[shop] = True
                    await asyncio.sleep(UNKNOWN_AGAIN_SECONDS)
                else:
                    chat.bus.publish(shop, [as_publication(one) for one in last])
        finally:
            del self._new[shop]


async def _read_last(tx: Transaction, *, shop: str) -> list[log.Recorded]:
    _, number = await log.head(tx, shop)
    return await log.read_after(tx, shop, after=number - 1, most=1)


async def check_sessions(chat: Chat) -> None:
    """Look again at the login behind each open socket of staff, for ever: another process (`chatd staff remove`) may
    have
    ended it or changed what it permits."""
    while True:
        await asyncio.sleep(SESSION_CHECK_SECONDS)
        try:
            await check_sessions_now(chat)
        except Exception as error:  # noqa: BLE001 - work that ended would be missed by nobody, and for good
            logger.warning("the sessions were not checked: %s", error)


async def check_sessions_now(chat: Chat) -> None:
    """Close the sockets whose session has ended; send those away to come back whose permissions have changed."""
    idle_ms = int(chat.settings.session_idle_hours * 3_600_000)
    for socket in [socket for socket in chat.sockets if socket.session is not None]:
        token_hash = socket.session or ""
        now = chat.clock()
        session = await chat.store.read(partial(find_session, token_hash=token_hash, now=now, idle_ms=idle_ms))
        if session is None:
            chat.end_session(token_hash)
        else:
            # An open inbox is in use.
            await chat.dispatch.record(session.staff.shop, RecordSession(session=token_hash, at=now))
            if socket.actor is not None and socket.actor.permissions != frozenset(session.staff.permissions):
                socket.send_elsewhere(0)


async def keep_house(chat: Chat) -> None:
    """What is kept for a time only is dropped when the time is over."""
    while True:
        await asyncio.sleep(HOUSEKEEPING_SECONDS)
        try:
            await chat.dispatch.forget_results(before=chat.clock() - RESULTS_KEPT_MS)
            await chat.store.write(lambda tx: forget_tokens(tx, chat.clock()))
            await forget_events(chat)
        except Exception as error:  # noqa: BLE001 - work that ended would be missed by nobody, and for good
            logger.warning("housekeeping was put off: %s", error)


async def forget_events(chat: Chat) -> int:
    """Drop events that are too old to resume from, a few at a time: messages that arrive meanwhile do not wait for all
    of it. Returns how many went."""
    before = chat.clock() - int(chat.settings.event_retention_days * 86_400_000)
    forgotten = 0
    while True:
        gone = await chat.store.write(lambda tx: log.forget(tx, before=before, most=FORGOTTEN_AT_ONCE))
        forgotten += gone
        if gone < FORGOTTEN_AT_ONCE:
            return forgotten


async def check_store(chat: Chat) -> str | None:
    """What is wrong with the store, if anything: it must answer a read and a write."""

    async def job(tx: Transaction) -> None:
        await tx.one(_one)

    try:
        await chat.store.read(job)
        await chat.dispatch.check()
    except ChatError as error:
        return error.message
    return None
