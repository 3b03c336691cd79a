"""One process's line to Redis: two connections, of which one speaks and one listens, kept alive for ever.

* Nothing here waits for Redis but its own two tasks. Whoever has something to say is a `Source`: it keeps what it has,
  in bounds of its own, and is asked for it when the line is free. What was taken and did not arrive is told to it
  (`failed`), so that it can say so later in fewer words.
* All that arrives within one turn of the loop, or while the answer to the last pipeline is under way, goes out as one
  pipeline: the busier the node, the larger the batches.
* A heartbeat goes out on the speaking connection and comes back on the listening one, each second. It alone proves that
  both still work: a listener whose server has forgotten it hears nothing and would wait for ever. Without it, both are
  thrown away and made anew, with back-off.
* A connection belongs to one task. After any error, a time limit or a cancellation it is thrown away, because an answer
  that is still under way would be taken for that of the next command (CVE-2023-28858).

Redis's pub/sub keeps nothing for those who are away. Whoever subscribes through here is told when a subscription has
begun (`confirmed`), also after every return, and looks up elsewhere what it has missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from redis.asyncio import Connection, ConnectionPool
from redis.exceptions import RedisError

BEAT_SECONDS = 1.0
SILENT_SECONDS = 3.0
"""Without a heartbeat for this long the line counts as broken."""

PATIENCE_SECONDS = 5.0
"""For one answer, or for the next heartbeat. Longer than `SILENT_SECONDS`: an answer that a slow Redis gives after two
seconds is worth more than a new connection to the same slow Redis."""

RETRY_SECONDS_MIN = 0.1
RETRY_SECONDS_MAX = 0.5
"""The nodes of one installation are few, so there is no herd to fear, and a Redis that is back is found at once."""

NOTES_MAX = 1_000
CHANNELS_PER_COMMAND = 500
SLICE_SECONDS = 0.005
"""What is in the listener's buffer is worked off in slices, for reading what is there already never yields."""

FLUSH_SECONDS = 0.5

logger = logging.getLogger("chatd.redis")

Receiver = Callable[[bytes], None]
Note = tuple[str, bytes]
"""A channel, and what is to be said there."""


class Source(Protocol):
    """Has something to say now and then; calls `RedisLink.wake` when it has."""

    def take(self) -> list[Note]:
        """Hand over what is to be said now."""

    def failed(self) -> None:
        """What was taken last may not have arrived."""


class _Deaf(Exception):
    """The listener hears others, perhaps, but not the heartbeat."""


class RedisLink:
    """See the module's text. Made on the event loop; `start` it once everything is attached, `close` it at the end.
    `prefix` keeps several installations on one Redis apart, `node` is unique to this start of this process."""

    def __init__(self, url: str, *, prefix: str, node: str) -> None:
        self.node = node
        self.publishing = False
        """Whether the last that was said was taken. While it is not, sources do better to forget than to keep."""
        self._prefix = prefix
        self._loop = asyncio.get_running_loop()
        self._pool = ConnectionPool.from_url(
            url,
            protocol=2,
            socket_timeout=PATIENCE_SECONDS,
            socket_connect_timeout=PATIENCE_SECONDS,
            client_name=f"chatd-{node}",
        )
        self._sources: list[Source] = []
        self._notes: deque[Note] = deque(maxlen=NOTES_MAX)
        self._receivers: dict[str, tuple[Receiver, Callable[[], None] | None]] = {}
        self._woken = asyncio.Event()
        self._flushed = asyncio.Event()
        self._changed = asyncio.Event()
        self._beat_due = False
        self._beat_heard_at = self._loop.time()
        self._well_since: float | None = None
        self._beating: asyncio.TimerHandle | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._away_since: float | None = None
        self._reason = ""
        self._own = f"node:{node}:beat"

    # ------------------------------------------------------------------ for the parts that use it

    def attach(self, source: Source) -> None:
        self._sources.append(source)

    def wake(self) -> None:
        """A source has something to say."""
        self._woken.set()

    def say(self, channel: str, payload: bytes) -> None:
        """Say one thing, if Redis is there: neither kept for later nor repeated."""
        if self.publishing:
            self._notes.append((channel, payload))
            self._woken.set()

    def subscribe(self, channel: str, receiver: Receiver, confirmed: Callable[[], None] | None = None) -> None:
        """Have `receiver(payload)` called for what is said there; `confirmed()` each time that listening has begun, and
        what was said before may have been missed."""
        self._receivers[channel] = (receiver, confirmed)
        self._changed.set()

    def unsubscribe(self, channel: str) -> None:
        if self._receivers.pop(channel, None) is not None:
            self._changed.set()

    @property
    def well_since(self) -> float | None:
        """Since when heartbeats have come without a gap (the loop's time); None while they do not."""
        # Looked up and not noted by a timer: a process that was stopped and goes on must not believe that all is well.
        return self._well_since if self._loop.time() - self._beat_heard_at < SILENT_SECONDS else None

    def trouble(self) -> str | None:
        """What is wrong with the line, if anything."""
        if self.well_since is not None:
            return None
        return f"Redis is away ({self._reason or 'no answer'}); events reach other nodes later, by way of the log"

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        self.subscribe(self._own, self._hear_beat, self._send_beat)
        self._tasks = [
            self._loop.create_task(self._for_ever(self._speak)),
            self._loop.create_task(self._for_ever(self._listen)),
        ]
        self._beat()

    async def close(self) -> None:
        """Say what is still to be said, if Redis takes it at once, and hang up."""
        if self._beating is not None:
            self._beating.cancel()
        if self.publishing:
            self._flushed.clear()
            self._woken.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._flushed.wait(), FLUSH_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._pool.disconnect()

    async def _for_ever(self, work: Callable[[Connection], Awaitable[None]]) -> None:
        """Do the work on a connection of its own; after an error on another one."""
        wait = RETRY_SECONDS_MIN
        while True:
            connection: Connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
            began = self._loop.time()
            try:
                await connection.connect()  # type: ignore[no-untyped-call]
                await work(connection)
            except (RedisError, OSError, EOFError, _Deaf) as error:
                self._note_trouble(error)
            except Exception:
                logger.exception("the line to Redis failed; it is made anew")
            finally:
                with contextlib.suppress(RedisError, OSError):
                    await connection.disconnect(nowait=True)
            wait = RETRY_SECONDS_MIN if self._loop.time() - began > PATIENCE_SECONDS else wait * 2
            await asyncio.sleep(random.uniform(0.5, 1.0) * min(wait, RETRY_SECONDS_MAX))

    def _note_trouble(self, error: Exception) -> None:
        """Tell it once, not once for each attempt."""
        self._reason = str(error).rstrip(".") or type(error).__name__
        if self._away_since is None:
            self._away_since = self._loop.time()
            logger.warning("Redis is away: %s. This node goes on alone and reads the log.", self._reason)

    # ------------------------------------------------------------------ the heartbeat

    def _beat(self) -> None:
        self._beating = self._loop.call_later(BEAT_SECONDS, self._beat)
        self._send_beat()

    def _send_beat(self) -> None:
        self._beat_due = True
        self._woken.set()

    def _hear_beat(self, _payload: bytes) -> None:
        now = self._loop.time()
        if self.well_since is None:
            returned, self._well_since = self._well_since is not None, now
            if returned:  # whatever else was said meanwhile was lost like the heartbeats
                for _, confirmed in tuple(self._receivers.values()):
                    if confirmed is not None:
                        confirmed()
            if self._away_since is not None:
                logger.info("Redis is back after %.1f s", now - self._away_since)
                self._away_since = None
        self._beat_heard_at = now

    # ------------------------------------------------------------------ speaking

    async def _speak(self, connection: Connection) -> None:
        self.publishing = True
        try:
            while True:
                await self._woken.wait()
                await asyncio.sleep(0)  # what else arrives in this turn of the loop goes out together
                self._woken.clear()
                await self._say_all(connection)
                if not self._woken.is_set():
                    self._flushed.set()
        finally:
            self.publishing = False
            self._notes.clear()

    async def _say_all(self, connection: Connection) -> None:
        notes = [*self._notes]
        self._notes.clear()
        if self._beat_due:
            self._beat_due = False
            notes.append((self._own, b""))
        try:
            for source in self._sources:
                notes += source.take()
            if notes:
                commands = [("PUBLISH", self._full(channel), payload) for channel, payload in notes]
                await connection.send_packed_command(connection.pack_commands(commands))
                for _ in commands:
                    await connection.read_response(disable_decoding=True)
        except BaseException:
            self.publishing = False
            for source in self._sources:
                source.failed()
            raise

    def _full(self, channel: str) -> str:
        return f"{self._prefix}:{channel}"

    # ------------------------------------------------------------------ listening

    async def _listen(self, connection: Connection) -> None:
        began = slice_began = self._loop.time()
        subscribing = self._loop.create_task(self._keep_subscribed(connection))
        try:
            while True:
                answer: Any = await connection.read_response(disable_decoding=True)
                now = self._loop.time()
                self._hear(answer)
                if now - max(self._beat_heard_at, began) > PATIENCE_SECONDS:
                    raise _Deaf("the heartbeat did not come back")
                if now - slice_began > SLICE_SECONDS:
                    await asyncio.sleep(0)
                    slice_began = self._loop.time()
        finally:
            subscribing.cancel()
            await asyncio.gather(subscribing, return_exceptions=True)

    def _hear(self, answer: Any) -> None:
        kind, name, payload = answer
        known = self._receivers.get(name.decode()[len(self._prefix) + 1 :])
        if known is None:
            return  # of a channel that was left just now
        receiver, confirmed = known
        try:
            if kind == b"message":
                receiver(payload)
            elif kind == b"subscribe" and confirmed is not None:
                confirmed()
        except Exception:
            logger.exception("what Redis brought could not be worked off; the line goes on")

    async def _keep_subscribed(self, connection: Connection) -> None:
        """Subscribe to what is wanted, and no longer to what is not. The one task that does so: several that subscribe
        at once have lost subscriptions in this library."""
        asked: set[str] = set()
        self._changed.set()
        while connection.is_connected:
            await self._changed.wait()
            self._changed.clear()
            wanted = set(self._receivers)
            for command, channels in (("SUBSCRIBE", wanted - asked), ("UNSUBSCRIBE", asked - wanted)):
                names = [self._full(channel) for channel in channels]
                for start in range(0, len(names), CHANNELS_PER_COMMAND):
                    if not connection.is_connected:
                        return  # the reader has seen the error; sending would quietly connect again
                    await connection.send_command(command, *names[start : start + CHANNELS_PER_COMMAND])
            asked = wanted
