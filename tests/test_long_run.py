"""Hours of use in a row: memory, files and tasks stay as they are (F36). `CHATD_TEST_SOAK_MINUTES` says how long; in
`make test` it is long enough to find what is left behind for each message."""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path

import pytest

from chatd.config import Settings
from chatd.store.sqlite_reader import READERS
from tests.clients import House, opened_house
from tests.door import until

SOAK_MINUTES = float(os.environ.get("CHATD_TEST_SOAK_MINUTES", "20"))
CUSTOMERS = 10
KIB_PER_MESSAGE_MAX = 2.0
"""Far below what keeping a message or a connection would cost, before the caches are full."""

LATE_KIB_MAX = 8_192
"""In the second half of a long run they are: SQLite's 16 MB for each connection, and the rows that the writer
remembers. What is left is what the allocator does not give back of memory that was free in between."""


def rss_kib() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def an_hour(house: House) -> int:
    """People come, talk and go; returns how many messages."""
    count = 0
    for _ in range(3):
        customers = [await house.customer() for _ in range(CUSTOMERS)]
        agent = await house.agent()
        for customer in customers:
            for number in range(5):
                answer = await customer.say(f"hello {number}")
                await agent.say("hello yourself", answer["result"]["conversation"])
                count += 2
        for one in (*customers, agent):
            await one.close()
        await until(lambda: not house.chat.sockets, seconds=20)
    return count


async def run_for(directory: Path, *, rounds: int, seconds: float) -> None:
    async with opened_house(directory, presence_leave_grace_seconds=0.1) as house:
        for _ in range(3):
            await an_hour(house)  # caches fill, once
        gc.collect()
        before = (rss_kib(), files(), len(asyncio.all_tasks()))
        loop = asyncio.get_running_loop()
        began, messages, done = loop.time(), 0, 0
        sizes: list[tuple[float, int]] = []
        while done < rounds or loop.time() < began + seconds:
            messages += await an_hour(house)
            done += 1
            sizes.append((loop.time() - began, rss_kib()))
        await until(lambda: len(asyncio.all_tasks()) <= before[2] + 2, seconds=20)
        gc.collect()
        grown = rss_kib() - before[0]
        wal = _wal_bytes(house.chat.settings)
        late = grown + before[0] - next(size for at, size in sizes if at >= seconds / 2)
        told = f"{grown:+} KiB ({late:+} KiB in the second half), {files() - before[1]:+} files, WAL {wal / 1e6:.1f} MB"
        print(f"{messages} messages: {told}")
        assert files() <= before[1] + 2 * READERS, "SQLite opens two for a reader, with its first read"
        assert wal <= 128 * 2**20
        assert grown <= messages * KIB_PER_MESSAGE_MAX + 4_096
        assert not seconds or late <= LATE_KIB_MAX


def _wal_bytes(settings: Settings) -> int:
    path = Path(f"{settings.database_path}-wal")
    return path.stat().st_size if path.exists() else 0


async def test_talking_and_going_leaves_nothing_behind(tmp_path: Path) -> None:
    await run_for(tmp_path, rounds=2, seconds=0)


@pytest.mark.soak
async def test_nothing_grows_in_a_long_run(tmp_path: Path) -> None:
    await run_for(tmp_path, rounds=2, seconds=SOAK_MINUTES * 60)
