"""The `Link` over a Redis Cluster: a line to each shard, and every channel on the shard of its slot.

Sharded pub/sub (`SPUBLISH`, `SSUBSCRIBE`; Redis 7) carries what is said in one shard only, where classic pub/sub would
carry it to every server of the cluster. A shop's channel lives on the shard of its slot, so shops spread over shards.

* Which server has which slots is asked of all servers that are known, every 10 s, and at once after `MOVED`, after a
  subscription that a server has ended by itself, and while a line is broken. Of different answers the one of the
  highest epoch is believed: a server that is cut off does not know of the latest promotion.
* A slot that moves takes its channels along: they are subscribed to on the new shard, and count there as listening
  that has begun (`confirmed`), so what was said in between is looked up in the log.
* A shard that is away costs its own channels only. What must be heard whichever shard is away (who is online) is said
  on three channels in three thirds of the slots: `everywhere`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from chatd.live.redis_line import SILENT_SECONDS, Line, Note, Source, connection_pool
from chatd.live.redis_link import Link, RedisLink
from chatd.live.redis_listener import SHARDED, Confirmed, Receiver, slot_of

SLOTS = 16_384
MAP_SECONDS = 10.0
MAP_SECONDS_IN_TROUBLE = 0.5
MAP_SECONDS_MIN = 0.1
ANSWER_SECONDS = 1.0
ASKED_MAX = 12
"""Servers that are asked for the map at a time."""

THIRDS = ("58", "12", "26")
"""Hash tags whose slots (3387, 8373, 13666) lie far apart: on three shards, as slots are usually dealt out."""

TAGS_TRIED_MAX = 400_000
"""In search of a channel in a shard's slots: enough to find one of a single slot, all but surely."""

Address = tuple[str, int]

logger = logging.getLogger("chatd.redis")


class Range(msgspec.Struct, frozen=True):
    """Slots `first` to `last`, and the server that has them now."""

    first: int
    last: int
    master: Address


class SlotMap(msgspec.Struct, frozen=True):
    """Who has what, as one server told it. `servers` are all of the cluster, replicas too."""

    epoch: int
    ranges: tuple[Range, ...]
    servers: frozenset[Address]


class ClusterLink:
    """See the module's text. `urls` are some servers of the cluster; login and encryption are those of the first, for
    all of them. `prefix` keeps several installations on it apart."""

    def __init__(self, urls: Sequence[str], *, prefix: str, node: str) -> None:
        self.node = node
        self.sources: list[Source] = []
        self.own = b""
        self._prefix = f"{prefix}:"
        self._loop = asyncio.get_running_loop()
        pools = [connection_pool(url, node) for url in urls]
        self._pool = pools[0]
        self._seeds = frozenset(
            (str(pool.connection_kwargs.get("host", "localhost")), int(pool.connection_kwargs.get("port", 6379)))
            for pool in pools
        )
        self._map: SlotMap | None = None
        self._lines: dict[Address, Line] = {}
        self._line_of_slot: list[Line | None] = [None] * SLOTS
        self._wanted: dict[str, tuple[Receiver, Confirmed]] = {}
        self._placed: dict[str, Line] = {}
        self._stale = asyncio.Event()
        self._heard_since: float | None = None
        self._heard_at = self._loop.time() - SILENT_SECONDS
        self._reason = ""
        self._task: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------------ the contract

    def attach(self, source: Source, own: bytes = b"") -> None:
        self.sources.append(source)
        self.own = own or self.own

    def wake(self, channel: str | None = None) -> bool:
        some = [*self._lines.values()] if channel is None else [self._line_of(channel)]
        woken = [line is not None and line.wake() for line in some]
        return all(woken)

    def say(self, channel: str, payload: bytes) -> None:
        self.pass_on((channel, payload))

    def everywhere(self, channel: str) -> Sequence[str]:
        return [f"{channel}:{{{third}}}" for third in THIRDS]

    def subscribe(self, channel: str, receiver: Receiver, confirmed: Confirmed = None) -> None:
        self._wanted[channel] = (receiver, confirmed)
        self._place(channel)

    def unsubscribe(self, channel: str) -> None:
        self._wanted.pop(channel, None)
        line = self._placed.pop(channel, None)
        if line is not None:
            line.unwant(channel)

    def is_publishing(self, channel: str) -> bool:
        line = self._line_of(channel)
        return line is not None and line.publishing

    @property
    def well_since(self) -> float | None:
        return self._heard_since if self._loop.time() - self._heard_at < SILENT_SECONDS else None

    def trouble(self) -> str | None:
        away = [line.name for line in self._lines.values() if line.well_since is None]
        if self._map is None:
            away = [f"Redis ({self._reason or 'no answer'})"]
        elif not away and None in self._line_of_slot:
            away = ["a part of Redis's slots"]
        return f"{', '.join(away)} away; events reach other nodes later, by way of the log" if away else None

    def start(self) -> None:
        self._task = self._loop.create_task(self._keep_map())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.gather(*(line.close() for line in self._lines.values()), *self._closing)

    # ------------------------------------------------------------------ for the lines (`redis_line.Owner`)

    def full(self, channel: str) -> bytes:
        return (self._prefix + channel).encode()

    def pass_on(self, note: Note) -> None:
        line = self._line_of(note[0])
        if line is not None:
            line.say(note)

    def beaten(self, line: Line) -> None:
        """What is said everywhere is heard as long as one of its shards is."""
        if any(self._line_of_slot[slot_of(f"{{{third}}}".encode())] is line for third in THIRDS):
            if self.well_since is None:
                self._heard_since = self._loop.time()
            self._heard_at = self._loop.time()

    def moved(self, line: Line) -> None:
        self._stale.set()

    # ------------------------------------------------------------------ channels on lines

    def _line_of(self, channel: str) -> Line | None:
        return self._line_of_slot[slot_of(self.full(channel))]

    def _place(self, channel: str) -> None:
        """Listen to the channel where it lives now."""
        line, before = self._line_of(channel), self._placed.get(channel)
        if before is not None and before is not line:
            before.unwant(channel)
            del self._placed[channel]
        if line is not None:
            self._placed[channel] = line
            line.want(channel, *self._wanted[channel])

    # ------------------------------------------------------------------ the map

    async def _keep_map(self) -> None:
        while True:
            found = await self._read_map()
            if found is not None:
                try:
                    self._apply(found)
                except Exception:
                    logger.exception("Redis's map of slots could not be followed; it is read again")
            for line in self._lines.values():
                line.ask_again()
            await asyncio.sleep(MAP_SECONDS_MIN)
            seconds = MAP_SECONDS if self.trouble() is None else MAP_SECONDS_IN_TROUBLE
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._stale.wait()
            self._stale.clear()

    async def _read_map(self) -> SlotMap | None:
        """The best of what the servers say; None when none of them says anything."""
        known = self._seeds | (self._map.servers if self._map is not None else frozenset())
        some = random.sample(sorted(known), min(ASKED_MAX, len(known)))
        answers = await asyncio.gather(*(self._ask(address) for address in some), return_exceptions=True)
        maps = [answer for answer in answers if isinstance(answer, SlotMap) and answer.ranges]
        if maps:
            return max(maps, key=lambda one: (one.epoch, maps.count(one)))
        errors = [answer for answer in answers if isinstance(answer, Exception)]
        reason = str(errors[0] if errors else "no server of the cluster has slots").rstrip(".")
        if self._map is None and reason != self._reason:
            logger.warning("Redis is away: %s. This node goes on alone and reads the log.", reason)
        self._reason = reason
        return None

    async def _ask(self, address: Address) -> SlotMap:
        """What one server knows. Raises `RedisError`, `OSError`, `TimeoutError`."""
        connection = self._connection_maker(address)()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await connection.connect()  # type: ignore[no-untyped-call]
                await connection.send_command("CLUSTER", "INFO")
                about = await connection.read_response(disable_decoding=True)
                await connection.send_command("CLUSTER", "SLOTS")
                return read_map(address, about, await connection.read_response(disable_decoding=True))
        except TimeoutError:
            raise TimeoutError(f"no answer from {address[0]}:{address[1]}") from None
        finally:
            with contextlib.suppress(RedisError, OSError):
                await connection.disconnect(nowait=True)

    def _connection_maker(self, address: Address) -> Callable[[], AbstractConnection]:
        arguments = {**self._pool.connection_kwargs, "host": address[0], "port": address[1]}
        return lambda: self._pool.connection_class(**arguments)

    def _apply(self, found: SlotMap) -> None:
        """Have a line to each master, and every channel on its own."""
        before, self._map = self._map, found
        if before is not None and before.ranges == found.ranges:
            return
        masters = {one.master for one in found.ranges}
        retired = [self._lines.pop(address) for address in [*self._lines] if address not in masters]
        fresh = {address: self._make_line(address, found) for address in masters if address not in self._lines}
        self._lines |= fresh
        self._line_of_slot = [None] * SLOTS
        for one in found.ranges:
            self._line_of_slot[one.first : one.last + 1] = [self._lines[one.master]] * (one.last + 1 - one.first)
        for line in self._lines.values():
            if self._line_of(line.beat_channel) is not line:
                address = next(address for address, other in self._lines.items() if other is line)
                line.beat_on(self._beat_channel(address, found))
        for channel in self._wanted:
            if self._placed.get(channel) is not self._line_of(channel) or channel not in self._placed:
                self._place(channel)
        for line in fresh.values():
            line.start()
        self.wake()  # what is owed to a slot that has moved
        for line in retired:
            task = self._loop.create_task(line.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    def _make_line(self, address: Address, found: SlotMap) -> Line:
        line = Line(
            self,
            self._connection_maker(address),
            name=f"Redis at {address[0]}:{address[1]}",
            verbs=SHARDED,
            beat_channel=self._beat_channel(address, found),
        )
        line.owns = partial(self._is_on, line)
        return line

    def _is_on(self, line: Line, channel: str) -> bool:
        return self._line_of(channel) is line

    def _beat_channel(self, address: Address, found: SlotMap) -> str:
        """A channel of this node's own that lives on this shard."""
        slots = {slot for one in found.ranges if one.master == address for slot in range(one.first, one.last + 1)}
        for tag in range(TAGS_TRIED_MAX):
            channel = f"node:{self.node}:beat:{{{tag}}}"
            if slot_of(self.full(channel)) in slots:
                return channel
        raise AssertionError(f"no channel found in the slots of {address}")


def make_link(urls: Sequence[str], *, prefix: str, node: str) -> Link:
    """The link to the Redis at this address; several are of a cluster."""
    if len(urls) > 1:
        return ClusterLink(urls, prefix=prefix, node=node)
    return RedisLink(urls[0], prefix=prefix, node=node)


def read_map(asked: Address, about: bytes, slots: Any) -> SlotMap:
    """The answers to `CLUSTER INFO` and `CLUSTER SLOTS` (redis.io/commands/cluster-slots). A server that does not know
    its own name leaves it out: then it is the one that was asked."""
    facts = dict(line.split(":", 1) for line in about.decode().split() if ":" in line)

    def address(server: Any) -> Address:
        host = (server[0] or b"").decode()
        return (asked[0] if host in ("", "?") else host, int(server[1]))

    ranges = tuple(sorted((Range(int(one[0]), int(one[1]), address(one[2])) for one in slots), key=lambda r: r.first))
    servers = frozenset(address(server) for one in slots for server in one[2:])
    return SlotMap(int(facts["cluster_current_epoch"]), ranges, servers)
