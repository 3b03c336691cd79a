"""Sockets that misbehave by doing nothing: readers that stop reading, peers that vanish, and a node that goes away."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from chatd.web.server import drain
from chatd.wire.codes import CloseCode
from tests.clients import SHOP_ORIGIN, Client, House, house_settings, opened_house
from tests.door import until


@pytest.fixture
async def house(tmp_path: Path) -> Any:
    async with opened_house(tmp_path) as opened:
        yield opened


async def test_a_reader_that_stopped_reading_is_cut_and_slows_nobody(tmp_path: Path) -> None:
    async with opened_house(tmp_path) as house:
        agent = await house.agent()
        slow = await _raw_agent(house)
        by_name: dict[str, Any] = {one.name: one for one in house.chat.sockets}  # type: ignore[attr-defined]
        del by_name[agent.welcome["connection"]]
        [its_socket] = by_name.values()
        customer = await house.customer()
        count = 2_000  # 9 MB: more than the kernel holds for it and chatd keeps
        most = 0
        for _ in range(count):
            await customer.say("x" * 4_000)
            most = max(most, _kept_for(its_socket))
        await until(lambda: len(house.chat.sockets) == 2, seconds=30)
        # The last write into a transport that is nearly full goes over the mark.
        bound = house.chat.settings.connection_queue_bytes_max + 65_536
        assert 65_536 < most <= bound, "what chatd keeps for one is bounded"
        for number in range(count):
            assert (await agent.event("message_sent"))["message"]["position"] == number + 1
        slow.close()
        # Whoever comes back in time goes on where they were; nobody else's connection has noticed.
        head = house.chat.hub.position(house.shop.id)
        assert head is not None
        again = await house.agent(resume={"epoch": agent.welcome["epoch"], "number": head - 100})
        assert again.welcome["resumed"] is True
        for _ in range(100):
            assert (await again.receive())["type"] == "event"


def _kept_for(socket: Any) -> int:
    """What waits in chatd for this connection, in bytes."""
    transport = socket._transport
    waiting = sum(map(len, socket._out))
    return waiting + (0 if transport is None else int(transport.get_write_buffer_size()))


async def _raw_agent(house: House) -> Any:
    """A connection that says hello and then never reads again."""
    import socket

    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, ("127.0.0.1", house.port))
    head = (
        f"GET /v1/socket HTTP/1.1\r\nHost: 127.0.0.1:{house.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"Sec-WebSocket-Protocol: chatd.v1.json\r\nOrigin: {house.chat.settings.origin}\r\n\r\n"
    )
    await loop.sock_sendall(raw, head.encode())
    await loop.sock_recv(raw, 1_000)
    payload = json.dumps({"type": "hello", "version": 1, "ticket": house.ticket()}).encode()
    await loop.sock_sendall(raw, b"\x81\xfe" + len(payload).to_bytes(2, "big") + b"\0\0\0\0" + payload)
    await until(lambda: len(house.chat.sockets) == 2)
    return raw


async def test_a_peer_that_vanished_is_noticed(tmp_path: Path) -> None:
    """It neither closes nor answers a ping: what a cable that was pulled looks like."""
    assert house_settings(tmp_path).silent_after_seconds <= 30, "the promise, by default"
    async with opened_house(
        tmp_path, hello_timeout_seconds=1, heartbeat_seconds=1, silent_after_seconds=2, presence_leave_grace_seconds=0.1
    ) as house:
        agent = await house.agent()
        raw = await _raw_agent(house)
        await until(lambda: len(house.chat.sockets) == 1, seconds=15)
        # The other one answers its pings by itself, and stays.
        assert (await agent.ask("list_conversations"))["type"] == "result"
        raw.close()


async def test_a_drain_sends_everybody_elsewhere_with_a_delay(house: House) -> None:
    peers = [await house.agent(), await house.customer()]
    closing = [asyncio.create_task(peer.closed()) for peer in peers]
    await drain(house.chat)
    for code, reason in await asyncio.gather(*closing):
        assert code == CloseCode.DRAINING
        assert json.loads(reason)["delay_ms"] >= 200
    with pytest.raises(InvalidStatus) as refused:
        await Client.open(house.customer_url(), SHOP_ORIGIN)
    assert refused.value.response.status_code == 503
