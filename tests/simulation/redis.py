"""Redis as far as chatd uses it (PUBLISH and SUBSCRIBE), and connections to it that break in every way.

`Connection` stands where that of `redis.asyncio` stands in `live.redis_line.Line`; all above it is real. Chances
`lose`, `double` and `hold` are those of one message to one listener; `is_away`: connections are refused and broken,
`is_hung`: nothing is answered; `cut`: the nodes that do not reach it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from chatd.live.redis_line import PATIENCE_SECONDS

HOLD_SECONDS_MAX = 2.0
WAY_SECONDS_MAX = 0.01

Command = tuple[Any, ...]


class Redis:
    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.loop = asyncio.get_running_loop()
        self.lose = self.double = self.hold = 0.0
        self.is_away = False
        self.is_hung = False
        self.cut: set[str] = set()
        self.connections: dict[Connection, None] = {}
        self.published = 0

    def reach(self, node: str) -> bool:
        return not self.is_away and node not in self.cut

    def break_connections(self, node: str | None = None) -> None:
        for connection in list(self.connections):
            if node in (None, connection.node):
                connection.lose()

    def heal(self) -> None:
        self.lose = self.double = self.hold = 0.0
        self.is_away = self.is_hung = False
        self.cut.clear()
        for connection in list(self.connections):
            connection.go_on()

    def carry_out(self, asker: Connection, command: Command) -> None:
        kind, *arguments = command
        if kind in ("PUBLISH", "SPUBLISH"):
            channel, payload = arguments
            self.published += 1
            name = channel.encode()
            message = b"message" if kind == "PUBLISH" else b"smessage"
            for listener in list(self.connections):
                if name in listener.channels:
                    self._bring(listener, [message, name, payload])
            asker.bring(1)
        elif kind in ("SUBSCRIBE", "SSUBSCRIBE"):
            for channel in arguments:
                asker.channels[channel.encode()] = None
                asker.bring([kind.lower().encode(), channel.encode(), len(asker.channels)])
        elif kind in ("UNSUBSCRIBE", "SUNSUBSCRIBE"):
            for channel in arguments:
                asker.channels.pop(channel.encode(), None)
                asker.bring([kind.lower().encode(), channel.encode(), len(asker.channels)])
        else:
            raise AssertionError(f"the simulated Redis does not know {kind}")

    def _bring(self, listener: Connection, message: list[bytes]) -> None:
        chance = self.chance
        if chance.random() < self.lose:
            return
        for _ in range(2 if chance.random() < self.double else 1):
            if chance.random() < self.hold:
                self.loop.call_later(chance.uniform(0, HOLD_SECONDS_MAX), listener.bring, message)
            else:
                listener.bring(message)


class Connection:
    """One connection (`redis.asyncio.Connection`, as far as the link uses it)."""

    def __init__(self, redis: Redis, node: str) -> None:
        self.node = node
        self.channels: dict[bytes, None] = {}
        self.is_connected = False
        self._redis = redis
        self._asked: list[Command] = []
        self._answers: list[Any] = []
        self._arrived = asyncio.Event()
        self._ready_at = 0.0

    async def connect(self) -> None:
        if self._redis.is_hung and self._redis.reach(self.node):
            await asyncio.sleep(PATIENCE_SECONDS)
            raise RedisTimeoutError("no answer")
        await asyncio.sleep(self._redis.chance.uniform(0, WAY_SECONDS_MAX))
        if not self._redis.reach(self.node):
            raise RedisConnectionError("refused")
        self.is_connected = True
        self._redis.connections[self] = None

    async def disconnect(self, *, nowait: bool = False) -> None:
        self.lose()

    def lose(self) -> None:
        self.is_connected = False
        self._redis.connections.pop(self, None)
        self._arrived.set()

    def pack_commands(self, commands: Sequence[Command]) -> Sequence[Command]:
        return commands

    async def send_packed_command(self, commands: Sequence[Command]) -> None:
        self._need()
        self._asked += commands
        self._redis.loop.call_later(self._redis.chance.uniform(0, WAY_SECONDS_MAX), self.go_on)

    async def send_command(self, *command: Any) -> None:
        await self.send_packed_command([command])

    def go_on(self) -> None:
        """What was asked reaches Redis, if it works."""
        if self.is_connected and not self._redis.is_hung:
            asked, self._asked = self._asked, []
            for command in asked:
                self._redis.carry_out(self, command)

    def bring(self, answer: Any) -> None:
        if self.is_connected:
            self._answers.append(answer)
            self._arrived.set()

    async def read_response(self, *, disable_decoding: bool) -> Any:
        while not self._answers:
            self._need()
            self._arrived.clear()
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await self._arrived.wait()
            except TimeoutError:
                raise RedisTimeoutError("no answer") from None
        return self._answers.pop(0)

    def _need(self) -> None:
        if not self.is_connected:
            raise RedisConnectionError("the connection is lost")
