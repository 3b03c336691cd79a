"""Clients that are gone in the middle of anything: nothing is left behind, and nobody gets another's answer (F33).

Each connection is dropped at a moment of its own: within the handshake, before or after the hello, while a query or a
command is under way. What belongs to one asker carries a word that nobody else may ever see."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import random
from pathlib import Path

import pytest

from chatd.domain.commands import ListConversations
from tests.clients import SHOP_ORIGIN, House, opened_house
from tests.door import until
from tests.world import as_actor

DROPS = 300
SOAK_DROPS = 10_000
AT_ONCE = 25


def files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def frame(message: object) -> bytes:
    payload = json.dumps(message).encode()
    size = len(payload)
    head = bytes((0x81, 0x80 | size)) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
    return head + b"\0\0\0\0" + payload


async def drop_one(house: House, chance: random.Random, name: str) -> None:
    """A conversation that ends in the middle of it. What chatd said until then is told apart by its words."""
    word = f"canary-{name}-"
    text = {"type": "text", "text": word}
    asks: list[object] = [
        {"type": "hello", "version": 1},
        {"type": "introduce", "id": f"{name}-introduce", "name": word},
        *({"type": "send_message", "id": f"{name}-say-{index}", "parts": [text]} for index in range(3)),
        {"type": "list_conversations", "id": f"{name}-list"},
        {"type": "load_history", "id": f"{name}-history", "conversation": "0" * 24},
    ]
    head = (
        f"GET /v1/socket/{house.shop.key} HTTP/1.1\r\nHost: 127.0.0.1:{house.port}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"Sec-WebSocket-Protocol: chatd.v1.json\r\nOrigin: {SHOP_ORIGIN}\r\n\r\n"
    ).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
    heard = b""
    try:
        if chance.random() < 0.1:
            writer.write(head[: chance.randrange(len(head))])
            return
        writer.write(head)
        await reader.readuntil(b"\r\n\r\n")
        said = b"".join(frame(ask) for ask in asks[: chance.randint(0, len(asks))])
        if chance.random() < 0.3:
            said = said[: chance.randrange(len(said) + 1)]
        half = chance.randrange(len(said) + 1)
        writer.write(said[:half])
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        writer.write(said[half:])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(chance.choice((0, 0, 0.002, 0.02))):
                while data := await reader.read(65_536):
                    heard += data
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.transport.abort()
    for other in heard.split(b"canary-")[1:]:
        assert other.startswith(name.encode() + b"-"), f"{name} was told what belongs to {other[:20]!r}"


async def drop_many(directory: Path, count: int) -> None:
    async with opened_house(directory) as house:
        witness = await house.agent()
        await witness.ask("list_conversations")
        await asyncio.sleep(0.1)
        gc.collect()
        tasks, open_files = len(asyncio.all_tasks()), files()
        chance = random.Random(count)
        for start in range(0, count, AT_ONCE):
            await asyncio.gather(
                *(drop_one(house, chance, f"n{start + index:05}") for index in range(min(AT_ONCE, count - start)))
            )
        await until(lambda: len(house.chat.sockets) == 1, seconds=30)
        # The one who stayed is served as before, and has missed nothing of what was stored.
        answer = await witness.ask("list_conversations")
        assert answer["type"] == "result"
        await until(lambda: len(asyncio.all_tasks()) <= tasks + 2, seconds=30)
        await until(lambda: files() <= open_files + 2, seconds=30)
        assert not house.chat.hub._feeds[house.shop.id].customers, "nobody is followed who is gone"
        query, staff = ListConversations(id="after-all-1"), as_actor(house.staff[0])
        reads = await asyncio.gather(*(house.chat.dispatch.ask(staff, query) for _ in range(10)))
        assert len(reads) == 10, "every reader has come back"


async def test_hundreds_who_are_gone_in_the_middle_leave_nothing_behind(tmp_path: Path) -> None:
    await drop_many(tmp_path, DROPS)


@pytest.mark.soak
async def test_ten_thousand_who_are_gone_in_the_middle_leave_nothing_behind(tmp_path: Path) -> None:
    await drop_many(tmp_path, SOAK_DROPS)
