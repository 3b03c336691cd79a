"""Customers who came, said something and went leave nothing in the memory (F36): not an entry in a limiter, a cache or
a wheel. What is kept on purpose is bounded; the bounds are made small here, so that a few customers meet them.

Nothing is weighed, for a process is never twice of the same size: every container that there was before is counted
again afterwards, whoever holds it, and every kind of object. The size of the process after hours is for
`test_long_run`.
"""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections import Counter, deque
from collections.abc import Sized
from pathlib import Path

import pytest

from chatd.store import memory
from chatd.web import rates
from chatd.web.socket import SocketProtocol
from tests.clients import House, opened_house
from tests.door import until

WARMING_UP = 60
CUSTOMERS = 120
AT_ONCE = 20
CONTAINERS = (dict, set, list, deque)


async def visit(house: House) -> None:
    customer = await house.customer()
    assert (await customer.say("hello"))["type"] == "ack"
    await customer.close()


async def visits(house: House, count: int) -> None:
    """They come, talk, and go; returns when all of it is over."""
    for _ in range(count // AT_ONCE):
        await asyncio.gather(*(visit(house) for _ in range(AT_ONCE)))
    await until(lambda: not house.chat.sockets, seconds=20)
    await until(lambda: not any(isinstance(one, SocketProtocol) for one in watched(house)), seconds=20)


def watched(house: House) -> list[object]:
    """What the wheel will look at: also a connection that is gone, once more."""
    return [one for slot in house.chat.wheel._slots for _, one in slot]


def entries(one: Sized) -> int:
    """Without what is dead: sqlite3 clears away references to cursors that are gone when they are 200."""
    if isinstance(one, list):
        return sum(not isinstance(entry, weakref.ref) or entry() is not None for entry in one)
    return len(one)


def containers() -> dict[int, Sized]:
    """All that there are, by their place in memory. One that holds numbers and texts only is known to those who hold it
    and not to the collector."""
    gc.collect()
    found: dict[int, Sized] = {}
    for one in gc.get_objects():
        for part in (one, *gc.get_referents(one)):
            if issubclass(type(part), CONTAINERS):  # of a proxy, `isinstance` asks what it stands for
                found[id(part)] = part
    return found


def what_has_grown(before: dict[int, tuple[Sized, int]]) -> list[str]:
    found = []
    for counted in before.values():
        one, size = counted
        # Held by somebody else than this test, too.
        if entries(one) - size >= CUSTOMERS // 2 and any(held is not counted for held in gc.get_referrers(one)):
            found.append(f"from {size} to {entries(one)} entries: {str(one)[-1_000:]}")
    return found


def kinds() -> Counter[str]:
    """How many there are of what chatd makes and of what the loop keeps."""
    names = (f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.get_objects())
    return Counter(name for name in names if name.startswith(("chatd.", "_asyncio.", "asyncio.")))


async def test_customers_who_came_and_went_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "REMEMBERED_MAX", 0)
    monkeypatch.setattr(rates, "SWEPT_KEYS_MIN", 20)
    seconds = {"presence_leave_grace_seconds": 0.1, "hello_timeout_seconds": 0.5, "heartbeat_seconds": 1.0}
    async with opened_house(tmp_path, command_window_seconds=0.2, **seconds) as house:
        await visits(house, WARMING_UP)
        before, kinds_before = {key: (one, entries(one)) for key, one in containers().items()}, kinds()
        await visits(house, CUSTOMERS)
        gc.collect()
        grown = what_has_grown(before)
        assert not grown
        before.clear()  # it kept some that others have thrown away since
        gc.collect()
        more = kinds() - kinds_before
        assert not {kind: count for kind, count in more.items() if count >= CUSTOMERS // 2}
