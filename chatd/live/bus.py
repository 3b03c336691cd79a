"""Between processes: what one node has committed or noticed reaches the nodes that have somebody of that shop.

A bus is a doorbell, not a mailbox. It may lose, delay, repeat or reorder what it carries; the hub sees by the numbers
that something is missing and reads it from the log. So `publish` never waits, never fails, and keeps nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, final

import msgspec


@final
class Publication(msgspec.Struct, frozen=True, array_like=True):
    """A committed event. `customer_number` is None for what the customer may not see."""

    number: int
    customer_number: int | None
    customer: str
    conversation: str | None
    record: bytes


@final
class Signal(msgspec.Struct, frozen=True, array_like=True):
    """Something that is true only now: typing, presence. Neither numbered nor kept. `data` is a JSON object, encoded
    once by whoever makes it (`make_signal`), as records are. `customer` names whom it goes to, with `staff` the staff
    as well; None means the staff alone. `sender` is the connection that must not get its own signal back. Of a
    `conversation`, if it is of one, only those hear who follow it."""

    name: str
    data: bytes
    customer: str | None = None
    sender: str = ""
    conversation: str | None = None
    staff: bool = False


def make_signal(
    name: str, data: dict[str, Any], customer: str | None = None, sender: str = "", *, staff: bool = False
) -> Signal:
    return Signal(name, msgspec.json.encode(data), customer, sender, data.get("conversation"), staff)


Item = Publication | Signal
Receiver = Callable[[str, Sequence[Item]], None]


class Bus(Protocol):
    """See the module's text. `receiver` is called on the event loop, also for what this node itself has published."""

    def publish(self, shop: str, items: Sequence[Item]) -> None:
        """Ring. `items` of one call arrive together and in order, if they arrive."""

    def join(self, shop: str) -> None:
        """Somebody of this shop is here from now on."""

    def leave(self, shop: str) -> None:
        """Nobody of this shop is here any more."""

    def trouble(self) -> str | None:
        """Why other nodes hear this one late at present, if they do."""

    async def close(self) -> None: ...


class MemoryBus:
    """The bus of a single process: a function call."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def publish(self, shop: str, items: Sequence[Item]) -> None:
        self._receiver(shop, items)

    def join(self, shop: str) -> None:
        pass

    def leave(self, shop: str) -> None:
        pass

    def trouble(self) -> str | None:
        return None

    async def close(self) -> None:
        pass
