"""Redis as far as chatd uses it (PUBLISH and SUBSCRIBE), and connections to it that break in every way.

`Connection` stands where that of `redis.asyncio` stands in `live.redis_line.Line`; all above it is real. Chances
`lose`, `double` and `hold` are those of one message to one listener; `is_away`: connections are refused and broken,
`is_hung`: nothing is answered; `cut`: the nodes that do not reach it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from chatd.live.redis_answers import packed, parse_answers
from chatd.live.redis_line import PATIENCE_SECONDS

HOLD_SECONDS_MAX = 2.0
WAY_SECONDS_MAX = 0.01


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

    def carry_out(self, asker: Connection, command: list[bytes]) -> None:
        kind, *arguments = command
        if kind in (b"PUBLISH", b"SPUBLISH"):
            channel, payload = arguments
            self.published += 1
            message = packed(b"message" if kind == b"PUBLISH" else b"smessage", channel, payload)
            for listener in list(self.connections):
                if channel in listener.channels:
                    self._bring(listener, message)
            asker.bring(b":1\r\n")
        elif kind in (b"SUBSCRIBE", b"SSUBSCRIBE", b"UNSUBSCRIBE", b"SUNSUBSCRIBE"):
            for channel in arguments:
                if b"UN" in kind:
                    asker.channels.pop(channel, None)
                else:
                    asker.channels[channel] = None
                confirmation = packed(kind.lower(), channel).replace(b"*2", b"*3", 1)
                asker.bring(confirmation + b":%d\r\n" % len(asker.channels))
        else:
            raise AssertionError(f"the simulated Redis does not know {kind!r}")

    def _bring(self, listener: Connection, message: bytes) -> None:
        chance = self.chance
        if chance.random() < self.lose:
            return
        for _ in range(2 if chance.random() < self.double else 1):
            if chance.random() < self.hold:
                self.loop.call_later(chance.uniform(0, HOLD_SECONDS_MAX), listener.bring, message)
            else:
                listener.bring(message)


class Connection:
    """One connection, as far as the line uses it: `redis.asyncio.Connection` and the stream that it reads from."""

    def __init__(self, redis: Redis, node: str) -> None:
        self.node = node
        self.channels: dict[bytes, None] = {}
        self.is_connected = False
        self._reader = self._writer = self.transport = self
        self._protocol: asyncio.Protocol | None = None  # which is told at once, instead of somebody who reads
        self._failed: Exception | None = None
        self._redis = redis
        self._asked = b""
        self._answered = b""
        self._arrived = asyncio.Event()

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
        if self._protocol is not None:
            self._protocol.connection_lost(None)
            self._protocol = None

    def pack_commands(self, commands: Sequence[Sequence[bytes]]) -> bytes:
        return b"".join([packed(*command) for command in commands])

    def get_protocol(self) -> asyncio.Protocol:
        """As of `asyncio.Transport`, like the next ones. It never is full."""
        return asyncio.Protocol()

    def set_protocol(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol

    def pause_reading(self) -> None:
        raise AssertionError("time stands still while something is worked off")

    async def send_packed_command(self, commands: bytes) -> None:
        if not self.is_connected:
            raise RedisConnectionError("the connection is lost")
        self.write(commands)

    def write(self, commands: bytes) -> None:
        """As of `asyncio.StreamWriter`: on a lost connection it is lost, too."""
        self._asked += commands
        self._redis.loop.call_later(self._redis.chance.uniform(0, WAY_SECONDS_MAX), self.go_on)

    def set_exception(self, error: Exception) -> None:
        """As of `asyncio.StreamReader`."""
        self._failed = error
        self._arrived.set()

    def go_on(self) -> None:
        """What was asked reaches Redis, if it works."""
        if self.is_connected and not self._redis.is_hung:
            commands, self._asked = parse_answers(self._asked)
            for command in commands:
                self._redis.carry_out(self, command)

    def bring(self, answer: bytes) -> None:
        if not self.is_connected:
            return
        self._answered += answer
        self._arrived.set()
        if self._protocol is not None:
            data, self._answered = self._answered, b""
            self._protocol.data_received(data)

    async def read(self, _count: int) -> bytes:
        """As of `asyncio.StreamReader`: what has arrived, at least something; nothing at the end."""
        while not self._answered:
            if self._failed is not None:
                raise self._failed
            if not self.is_connected:
                return b""
            self._arrived.clear()
            await self._arrived.wait()
        data, self._answered = self._answered, b""
        return data
