"""Mistakes to make on purpose. Each must be found: a simulation that cannot fail proves nothing.

`BREAKS` has, by its name for the command line (`--break`), what each replaces; `tests/test_simulation.py` makes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from chatd.dispatch import door
from chatd.domain.commands import SendMessage, SettleMail
from chatd.domain.notices import MailRow, decide_delivery
from chatd.live import hub
from chatd.live.redis_presence import RedisPresence
from chatd.notify import courier
from chatd.notify.compose import ComposedMail, Composer
from chatd.web import app, welcome
from tests.simulation import disk


def _replace(owner: object, name: str, other: object) -> None:
    assert hasattr(owner, name), f"there is no {name} any more: make this mistake in another place"
    setattr(owner, name, other)


def acknowledge_what_was_not_committed() -> None:
    """A commit that failed is taken for one that did not (G1)."""
    commit = disk.Disk.commit

    def believe(self: disk.Disk, writer: Any, batch: list[Any]) -> list[Any]:
        told: list[Any] = []

        def note(job: Any, done: Any) -> Any:
            async def noted(tx: Any) -> Any:
                result = await job(tx)
                told.append((done, result, None))
                return result

            return noted, done

        outcomes = commit(self, writer, [note(job, done) for job, done in batch])
        return told if self.is_full and len(told) == len(batch) else outcomes

    disk.Disk.commit = believe  # type: ignore[method-assign]


def forget_what_was_answered() -> None:
    """A message that is sent again is another message (G2)."""
    door.MONOTONIC = frozenset((*door.MONOTONIC, SendMessage))


def number_by_chance() -> None:
    """Two events of one commit change places (G3)."""
    append = door.Dispatch._publish_committed

    def shuffled(self: door.Dispatch) -> None:
        for shop, recorded in self._committed.items():
            numbers = [one.number for one in recorded]
            self._committed[shop] = [
                msgspec.structs.replace(one, number=number)
                for one, number in zip(recorded, reversed(numbers), strict=True)
            ]
        append(self)

    door.Dispatch._publish_committed = shuffled  # type: ignore[method-assign]


def skip_holes() -> None:
    """What the bus has lost is not read from the log (G4)."""

    async def skip(self: hub.Hub, shop: str, feed: hub.Feed) -> None:
        feed.position = feed.head
        feed.filling = None

    hub.Hub._fill_hole = skip  # type: ignore[method-assign]


def drop_what_happens_between_hello_and_welcome() -> None:
    """Following begins only when the state has been read (G4)."""
    welcome.Backlog.keep = lambda self, chunk: True  # type: ignore[method-assign]


def believe_the_bus() -> None:
    """Positions are never compared with the log (G4)."""

    async def never(chat: Any) -> None:
        await asyncio.Event().wait()

    _replace(app, "check_positions", never)


def keep_the_dead_online() -> None:
    """The people of a node that is gone stay (G5)."""
    RedisPresence._end_leases = lambda self, now: None  # type: ignore[method-assign]


def mail_what_was_seen() -> None:
    """Nobody asks again before sending (G6)."""
    _replace(courier, "decide_delivery", lambda mail, **_: "send")


def mail_who_is_here() -> None:
    """A mail that is due goes out, whoever has come back (G6)."""
    _replace(courier, "decide_delivery", lambda mail, **facts: decide_delivery(mail, **facts | {"online": False}))


def mail_under_a_new_name() -> None:
    """Each attempt has a Message-ID of its own (G6)."""
    compose = Composer.compose
    serial = iter(range(10**9))

    def renamed(self: Composer, digest: Any, *, now: int) -> ComposedMail:
        mail = compose(self, digest, now=now)
        content = mail.content.replace(b"Message-ID: <", b"Message-ID: <%d." % next(serial))
        return msgspec.structs.replace(mail, content=content)

    Composer.compose = renamed  # type: ignore[method-assign]


def believe_every_mail_arrived() -> None:
    """What the mail server says is not listened to (G6)."""

    def sent(mail: MailRow, *_: Any, **__: Any) -> SettleMail:
        return SettleMail(mail=mail.id, owner=mail.lease_owner, outcome="sent")

    _replace(courier, "plan_settlement", sent)


def tell_every_customer() -> None:
    """An event goes to all customers of the shop (G8)."""

    def all_of_them(feed: hub.Feed, publications: list[Any]) -> dict[str, list[Any]]:
        numbered = [(one.customer_number, one) for one in publications if one.customer_number is not None]
        return dict.fromkeys(feed.customers, numbered) if numbered else {}

    _replace(hub, "_by_customer", all_of_them)


def leave_a_reader_behind() -> None:
    """A task that nobody ends."""
    follow = hub.Hub.follow

    def following(self: hub.Hub, *arguments: Any) -> None:
        self.left = asyncio.get_running_loop().create_task(asyncio.Event().wait())  # type: ignore[attr-defined]
        follow(self, *arguments)

    _replace(hub.Hub, "follow", following)


BREAKS: dict[str, Callable[[], None]] = {
    one.__name__.replace("_", "-"): one
    for one in (
        acknowledge_what_was_not_committed,
        forget_what_was_answered,
        number_by_chance,
        skip_holes,
        drop_what_happens_between_hello_and_welcome,
        believe_the_bus,
        keep_the_dead_online,
        mail_what_was_seen,
        mail_who_is_here,
        mail_under_a_new_name,
        believe_every_mail_arrived,
        tell_every_customer,
        leave_a_reader_behind,
    )
}
