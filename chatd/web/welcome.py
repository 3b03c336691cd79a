"""The welcome: from a hello to a connection that misses nothing.

    1. begin to follow; what happens from now on is kept aside by the connection
    2. read, in one transaction, the events after the client's number, or else the whole state as of a number
    3. send that, then what was kept aside and is newer, then live

Whatever is committed before the read is in it; whatever is committed after it is kept aside, because following began
earlier; what is in both is told apart by its number (G4).
"""

from __future__ import annotations

from typing import Any

import msgspec

from chatd.domain.events import CustomerCard
from chatd.domain.people import Actor
from chatd.live.hub import Chunk
from chatd.live.presence import Presence
from chatd.store import log
from chatd.store.contract import Transaction
from chatd.store.log import Recorded
from chatd.store.shops import Shop
from chatd.store.snapshots import customer_snapshot, customer_state, staff_snapshot
from chatd.web.parts import Chat
from chatd.wire.frames import Codec, Resume, event_frame, in_codec

MISSED_READ_AT_ONCE = 100
BACKLOG_FRAMES_MAX = 5_000

ELSEWHERE = b'{"type":"elsewhere"}'

STAFF_PERSON = "staff:"
READER_PERSON = "reader:"
"""Before an id in presence: of staff, and of a customer who has their thread open by the link of a mail. They see a
reply at once, and yet are not at the shop. Customers' ids never hold a colon."""


def stream_of(actor: Actor) -> str | None:
    """Whose stream an actor follows: a customer's own, or (None) the shop's."""
    return actor.id if actor.is_customer else None


def person_of(actor: Actor) -> str:
    """Who an actor is in presence."""
    if not actor.is_customer:
        return STAFF_PERSON + actor.id
    return actor.id if actor.conversation is None else READER_PERSON + actor.id


def is_at_shop(person: str) -> bool:
    """Whether somebody in presence is a customer on the shop's pages."""
    return ":" not in person


def sees_replies(presence: Presence, shop: str, customer: str, here: bool) -> bool:
    """Whether a reply would be before the customer's eyes now. `here`: that they came is what was written down last of
    them, by whichever node saw it; it is believed while this one cannot hear of everybody. Safe to call from any
    thread, as presence is."""
    return (
        presence.is_online(shop, customer)
        or presence.is_online(shop, READER_PERSON + customer)
        or (here and not presence.knows_all())
    )


class Backlog:
    """What happens between hello and welcome: `frames` with their numbers and conversations, bounded."""

    __slots__ = ("_bytes_left", "frames")

    def __init__(self, bytes_max: int) -> None:
        self.frames: list[tuple[int, str | None, bytes]] = []
        self._bytes_left = bytes_max

    def keep(self, chunk: Chunk) -> bool:
        """False when it is too much: then nothing is kept any more."""
        self._bytes_left -= len(chunk.data)
        if self._bytes_left < 0 or len(self.frames) + len(chunk.frames) > BACKLOG_FRAMES_MAX:
            self.frames.clear()
            return False
        self.frames.extend(chunk.frames)
        return True


class Beginning(msgspec.Struct, frozen=True, kw_only=True):
    """Where a connection starts: after `number` of its own stream; `shop_number` is the shop's at the same moment.
    Either `missed` events bring an old state there, or `snapshot` is a new one. `epoch` is that of the stream."""

    epoch: str
    number: int
    shop_number: int
    missed: list[Recorded] | None
    snapshot: dict[str, Any] | None


async def read_beginning(chat: Chat, actor: Actor, resume: Resume | None) -> Beginning:
    """One read, of one moment. Raises `NotFound` when shop or staff are gone, `StoreUnavailable`."""
    customer = stream_of(actor)
    most, bytes_max = chat.limits.resume_events_max, chat.settings.connection_queue_bytes_max // 2

    shop = chat.directory.by_id(actor.shop)

    async def job(tx: Transaction) -> Beginning:
        own_number: int | None
        if customer is None:
            history, shop_number = await log.head(tx, actor.shop)
            own_number = shop_number
        else:
            history, shop_number, own_number = await log.both_heads(tx, actor.shop, customer)
        epoch, number = _stream_epoch(history, actor), own_number or 0
        missed: list[Recorded] | None = None
        if resume is not None and resume.epoch == epoch:
            missing = number - resume.number
            if 0 <= missing <= most:
                missed = await _read_missed(
                    tx, actor.shop, customer, after=resume.number, missing=missing, bytes_max=bytes_max
                )
        snapshot: dict[str, Any] | None = None
        if missed is None and own_number is None and shop is not None and actor.kind == "visitor":
            snapshot = _strangers_state(shop, actor)
        elif missed is None:
            read = (
                await staff_snapshot(tx, actor.shop, actor.id, permissions=actor.permissions, state="open")
                if customer is None
                else await customer_snapshot(tx, actor.shop, customer, conversation=actor.conversation)
            )
            snapshot = read.state
        return Beginning(
            epoch=epoch,
            number=number,
            shop_number=shop_number,
            missed=missed,
            snapshot=snapshot,
        )

    return await chat.store.read(job)


def newcomers_beginning(chat: Chat, actor: Actor) -> Beginning | None:
    """The same for a visitor whose token has just been made: about an id that nobody had before, nothing can be
    stored, so nothing is read. None when this node does not know yet how far the shop's stream is."""
    shop, position = chat.directory.by_id(actor.shop), chat.hub.position(actor.shop)
    if shop is None or position is None:
        return None
    return Beginning(
        epoch=_stream_epoch(shop.epoch, actor),
        number=0,
        shop_number=position,
        missed=None,
        snapshot=_strangers_state(shop, actor),
    )


def _strangers_state(shop: Shop, actor: Actor) -> dict[str, Any]:
    """The snapshot of a visitor about whom nothing is stored, as most are who only look around."""
    return customer_state(shop.face, CustomerCard(id=actor.id, kind="visitor"), [])


def _stream_epoch(history: str, actor: Actor) -> str:
    """The epoch as a client is told it: it names the stream as well as the history that the stream is of. A page that
    has become somebody else since (another tab logged in, a token was lost) must not go on with a strange stream at a
    number that happens to fit."""
    return ".".join([history, *([actor.id] if actor.is_customer else ()), *filter(None, [actor.conversation])])


async def _read_missed(
    tx: Transaction, shop: str, customer: str | None, *, after: int, missing: int, bytes_max: int
) -> list[Recorded] | None:
    """The events after this number; None when the log no longer goes back that far, or when they are more than may
    wait for one client (G7): all of them are handed to the transport at once."""
    missed: list[Recorded] = []
    size = 0
    while len(missed) < missing:
        most = min(missing - len(missed), MISSED_READ_AT_ONCE)
        page = await log.read_after(tx, shop, after=after, most=most, customer=customer)
        size += sum(len(one.record) for one in page)
        if not page or size > bytes_max:
            return None
        missed += page
        last = page[-1].number if customer is None else page[-1].customer_number
        assert last is not None, "a stream holds only what has a number in it"
        after = last
    return missed


def welcome_message(
    chat: Chat, actor: Actor, beginning: Beginning, resume: Resume | None, *, connection: str, token: str | None
) -> dict[str, Any]:
    """The welcome frame of docs/protocol.md section 2, as an object."""
    resumed = beginning.missed is not None and resume is not None
    message: dict[str, Any] = {
        "type": "welcome",
        "version": 1,
        "connection": connection,
        "epoch": beginning.epoch,
        "number": resume.number if resumed and resume is not None else beginning.number,
        "resumed": resumed,
        "you": {"kind": actor.kind, "id": actor.id},
        "limits": chat.limits,
        "heartbeat_seconds": chat.limits.heartbeat_seconds,
    }
    if token is not None:
        message["token"] = token
    if actor.is_customer:
        message["shop_online"] = actor.shop in chat.staff_online
    else:
        online = chat.presence.online(actor.shop)
        message["online"] = [person for person in online if is_at_shop(person)]
        message["reading"] = [
            person.removeprefix(READER_PERSON) for person in online if person.startswith(READER_PERSON)
        ]
    if not resumed:
        message["snapshot"] = beginning.snapshot
    return message


def missed_frames(codec: Codec, actor: Actor, beginning: Beginning) -> list[bytes]:
    """What follows a welcome that resumed."""
    frames: list[bytes] = []
    for missed in beginning.missed or ():
        number = missed.customer_number if actor.is_customer else missed.number
        assert number is not None, "a stream holds only what has a number in it"
        event = event_frame(codec, number, in_codec(codec, missed.record))
        frames.append(own_frame(codec, actor, number, missed.conversation, event))
    return frames


def own_frame(codec: Codec, actor: Actor, number: int, conversation: str | None, event: bytes) -> bytes:
    """The frame, unless this actor sees one conversation only and the event is of another."""
    if actor.conversation is None or actor.conversation == conversation:
        return event
    return event_frame(codec, number, in_codec(codec, ELSEWHERE))
