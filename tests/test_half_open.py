"""Lines of which one half is dead: what one side says never arrives, and nobody is told (F18, F19; Rocket.Chat #36023).

Through a real proxy. What a page does about it is in `test_client_over_the_wire` and `client_connection.test.js`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatd.wire.codes import CloseCode
from tests.clients import SHOP_ORIGIN, Client, opened_house
from tests.door import until


class Tunnel:
    """A proxy; `up_is_dead`: nothing from the client arrives, `down_is_dead`: nothing from the server does. What is
    swallowed is read all the same, so that neither side's buffers tell it anything."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self.up_is_dead = self.down_is_dead = False
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._port)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(
                self._carry(reader, there_writer, up=True), self._carry(there_reader, writer, up=False)
            )
        for one in (writer, there_writer):
            one.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool) -> None:
        while data := await reader.read(65_536):
            if not (self.up_is_dead if up else self.down_is_dead):
                writer.write(data)
        if not (self.up_is_dead if up else self.down_is_dead):
            writer.close()


@contextlib.asynccontextmanager
async def tunnel_to(port: int) -> AsyncIterator[Tunnel]:
    tunnel = Tunnel(port)
    await tunnel.start()
    try:
        yield tunnel
    finally:
        tunnel.stop()


@pytest.mark.parametrize("half", ["up_is_dead", "down_is_dead"])
async def test_a_line_with_one_dead_half_is_given_up_and_its_customer_goes_on_elsewhere(
    tmp_path: Path, half: str
) -> None:
    """chatd hears nothing, or its pings are not answered: within `silent_after_seconds` it lets go of the connection,
    and of the customer's being online; and a message that was under way on the dead line is there once."""
    async with (
        opened_house(
            tmp_path,
            hello_timeout_seconds=2,
            heartbeat_seconds=1,
            silent_after_seconds=2,
            presence_leave_grace_seconds=0.1,
        ) as house,
        tunnel_to(house.port) as tunnel,
    ):
        agent = await house.agent()
        customer = await Client.open(f"ws://127.0.0.1:{tunnel.port}/v1/socket/{house.shop.key}", SHOP_ORIGIN)
        welcome = await customer.hello()
        me = welcome["you"]["id"]
        await agent.signal("presence", customer=me, online=True)
        setattr(tunnel, half, True)
        words = {"type": "send_message", "id": "under-way-1", "parts": [{"type": "text", "text": "do you hear me?"}]}
        await customer.send(words)
        if half == "up_is_dead":
            await until(lambda: len(house.chat.sockets) == 1, seconds=20)
        else:
            # The pong cannot come, for the ping did not arrive; the words did.
            assert (await agent.event("message_sent"))["message"]["client_id"] == "under-way-1"
            await until(lambda: len(house.chat.sockets) == 1, seconds=20)
        await agent.signal("presence", customer=me, online=False)
        again = await house.customer(token=welcome["token"], resume={"epoch": welcome["epoch"], "number": 0})
        assert again.welcome["resumed"] is True
        answer = await again.say("do you hear me?", id="under-way-1")
        assert answer["result"]["position"] == 1
        history = await again.ask("load_history", conversation=answer["result"]["conversation"])
        texts = [entry["event"] for entry in history["data"]["thread"] if entry["event"]["type"] == "message_sent"]
        assert len(texts) == 1
        await again.close()


async def test_what_is_closed_for_silence_is_told_so_if_it_can_still_hear(tmp_path: Path) -> None:
    async with (
        opened_house(tmp_path, hello_timeout_seconds=2, heartbeat_seconds=1, silent_after_seconds=2) as house,
        tunnel_to(house.port) as tunnel,
    ):
        customer = await Client.open(f"ws://127.0.0.1:{tunnel.port}/v1/socket/{house.shop.key}", SHOP_ORIGIN)
        await customer.hello()
        tunnel.up_is_dead = True
        code, _ = await customer.closed()
        assert code == CloseCode.SILENT
