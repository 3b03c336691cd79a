"""A line to one Redis server: two connections, of which one speaks and one listens, kept alive for ever.

* Nothing here waits for Redis but its own tasks. Whoever has something to say is a `Source`: it keeps what it has,
  in bounds of its own, and is asked for it when the line is free. What was taken and did not arrive is handed back to
  it (`failed`), so that it can say so later in fewer words.
* All that arrives within one turn of the loop, or while the answer to the last pipeline is under way, goes out as one
  pipeline: the busier the node, the larger the batches.
* A heartbeat goes out on the speaking connection and comes back on the listening one, each second. It alone proves that
  both still work: a listener whose server has forgotten it hears nothing and would wait for ever. Without it, both are
  thrown away and made anew, with back-off.
* A connection belongs to one task. After any error, a time limit or a cancellation it is thrown away, because an answer
  that is still under way would be taken for that of the next command (CVE-2023-28858). Only where a cluster says that
  another of its servers has the slot (`MOVED`, `CLUSTERDOWN`), an answer to one command, it goes on.

`redis_listener` is the half that listens. `redis_link` has one line, `redis_cluster` one to each shard.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Protocol

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import ClusterDownError, MovedError, RedisError

from chatd.live.redis_answers import Answers, packed_publish, publish_head
from chatd.live.redis_listener import Confirmed, Listener, Receiver, Verbs

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
HEADS_KEPT = 5_000
"""Of the channels that were last spoken on, how a command begins is kept: 150 bytes each."""

FLUSH_SECONDS = 0.5

logger = logging.getLogger("chatd.redis")

Owns = Callable[[str], bool]
Note = tuple[str, bytes]
"""A channel, and what is to be said there."""


class Source(Protocol):
    """Has something to say now and then; wakes the line when it has."""

    def take(self, owns: Owns | None = None) -> Sequence[Note]:
        """Hand over what is to be said now: on all channels, or on those that `owns` is true of. It may hand over
        others as well, if there are few of them; they are passed on."""

    def failed(self, notes: Sequence[Note]) -> None:
        """These were taken, and may not have arrived."""


class Owner(Protocol):
    """Whose lines these are: `redis_link.RedisLink`, `redis_cluster.ClusterLink`."""

    @property
    def sources(self) -> Sequence[Source]: ...

    @property
    def own(self) -> bytes:
        """How what this node has said itself begins; empty: not known."""

    def full(self, channel: str) -> bytes:
        """A channel's name as Redis has it."""

    def pass_on(self, note: Note) -> None:
        """A source handed this to a line that is not the one for it."""

    def beaten(self, line: Line) -> None:
        """A heartbeat has come back."""

    def moved(self, line: Line) -> None:
        """The line broke, or its server says that something has moved to another one."""


_Entry = tuple[Source | None, Note]
"""What is said, and whose it is."""


class _Deaf(Exception):
    """The listener hears others, perhaps, but not the heartbeat."""


class Line:
    """See the module's text. `name` is for people; `owns` says which channels are this line's: None for all."""

    def __init__(
        self,
        owner: Owner,
        make_connection: Callable[[], AbstractConnection],
        *,
        name: str,
        verbs: Verbs,
        beat_channel: str,
    ) -> None:
        self.name = name
        self.owns: Owns | None = None
        self.publishing = False
        """Whether the last that was said was taken. While it is not, sources do better to forget than to keep."""
        self.reason = ""
        self.beat_channel = beat_channel
        self._owner = owner
        self._make_connection = make_connection
        self._verbs = verbs
        self._loop = asyncio.get_running_loop()
        self._notes: deque[Note] = deque(maxlen=NOTES_MAX)
        self._head = lru_cache(HEADS_KEPT)(lambda channel: publish_head(verbs.publish, owner.full(channel)))
        self._listener = Listener(verbs, moved=lambda: owner.moved(self))
        self._woken = asyncio.Event()
        self._flushed = asyncio.Event()
        self._beat_due = False
        self._beat_heard_at = self._loop.time()
        self._well_since: float | None = None
        self._beating: asyncio.TimerHandle | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._away_since: float | None = None

    # ------------------------------------------------------------------ for the link

    def wake(self) -> bool:
        """A source has something to say. Returns `publishing`."""
        self._woken.set()
        return self.publishing

    def say(self, note: Note) -> None:
        """Say one thing, if Redis is there: neither kept for later nor repeated."""
        if self.publishing:
            self._notes.append(note)
            self._woken.set()

    def want(self, channel: str, receiver: Receiver, confirmed: Confirmed = None) -> None:
        self._listener.want(self._owner.full(channel), receiver, confirmed)

    def unwant(self, channel: str) -> None:
        self._listener.unwant(self._owner.full(channel))

    def ask_again(self) -> None:
        """Subscribe once more to what the server has sent away."""
        self._listener.ask_again()

    def beat_on(self, channel: str) -> None:
        """Send the heartbeat through another channel, for the old one's slot is somebody else's now."""
        self.unwant(self.beat_channel)
        self.beat_channel = channel
        self.want(channel, self._hear_beat, self._send_beat)

    @property
    def well_since(self) -> float | None:
        """Since when heartbeats have come without a gap (the loop's time); None while they do not."""
        # Looked up and not noted by a timer: a process that was stopped and goes on must not believe that all is well.
        return self._well_since if self._loop.time() - self._beat_heard_at < SILENT_SECONDS else None

    def start(self) -> None:
        self.want(self.beat_channel, self._hear_beat, self._send_beat)
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
                async with asyncio.timeout(FLUSH_SECONDS):
                    await self._flushed.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ------------------------------------------------------------------ life

    async def _for_ever(self, work: Callable[[AbstractConnection], Awaitable[None]]) -> None:
        """Do the work on a connection of its own; after an error on another one."""
        wait = RETRY_SECONDS_MIN
        while True:
            connection = self._make_connection()
            began = self._loop.time()
            try:
                await connection.connect()  # type: ignore[no-untyped-call]
                await work(connection)
            except (RedisError, OSError, EOFError, _Deaf) as error:
                self._note_trouble(error)
            except Exception as error:
                logger.exception("the line to %s failed; it is made anew", self.name)
                self._note_trouble(error)
            finally:
                with contextlib.suppress(RedisError, OSError):
                    await connection.disconnect(nowait=True)
            wait = RETRY_SECONDS_MIN if self._loop.time() - began > PATIENCE_SECONDS else wait * 2
            await asyncio.sleep(random.uniform(0.5, 1.0) * min(wait, RETRY_SECONDS_MAX))

    def _note_trouble(self, error: Exception) -> None:
        """Tell it once, not once for each attempt."""
        self.reason = str(error).rstrip(".") or type(error).__name__
        self._owner.moved(self)
        if self._away_since is None:
            self._away_since = self._loop.time()
            logger.warning("%s is away: %s. This node goes on alone and reads the log.", self.name, self.reason)

    # ------------------------------------------------------------------ the heartbeat

    def _beat(self) -> None:
        self._beating = self._loop.call_later(BEAT_SECONDS, self._beat)
        if self._loop.time() - max(self._beat_heard_at, self._listener.since) > PATIENCE_SECONDS:
            self._listener.give_up(_Deaf("the heartbeat did not come back"))
        self._send_beat()

    def _send_beat(self) -> None:
        self._beat_due = True
        self._woken.set()

    def _hear_beat(self, _payload: bytes) -> None:
        now = self._loop.time()
        if self.well_since is None:
            returned, self._well_since = self._well_since is not None, now
            if returned:  # whatever else was said meanwhile was lost like the heartbeats
                self._listener.confirm_all()
            if self._away_since is not None:
                logger.info("%s is back after %.1f s", self.name, now - self._away_since)
                self._away_since = None
        self._beat_heard_at = now
        self._owner.beaten(self)

    # ------------------------------------------------------------------ speaking

    async def _speak(self, connection: AbstractConnection) -> None:
        answers = Answers(connection)
        self.publishing = True
        self._woken.set()  # there may be something left from the time before
        try:
            while True:
                await self._woken.wait()
                await asyncio.sleep(0)  # what else arrives in this turn of the loop goes out together
                self._woken.clear()
                await self._say_all(answers)
                if not self._woken.is_set():
                    self._flushed.set()
        finally:
            self.publishing = False
            self._notes.clear()

    async def _say_all(self, answers: Answers) -> None:
        """Say what there is to say, and wait until all of it was taken. What was not is handed back."""
        entries: list[_Entry] = []
        refused: list[_Entry] = []
        arrived = 0
        try:
            self._collect(entries)
            if not entries:
                return
            head = self._head
            answers.ask(b"".join([packed_publish(head(channel), payload) for _, (channel, payload) in entries]))
            while arrived < len(entries):
                for answer in await answers.read(PATIENCE_SECONDS):
                    if isinstance(answer, Exception):
                        if not isinstance(answer, MovedError | ClusterDownError):
                            raise answer
                        refused.append(entries[arrived])
                    arrived += 1
        except BaseException:
            self.publishing = False
            raise
        finally:
            self._hand_back(refused + entries[arrived:])
        if refused:
            self._owner.moved(self)

    def _collect(self, entries: list[_Entry]) -> None:
        entries += [(None, note) for note in self._notes]
        self._notes.clear()
        if self._beat_due:
            self._beat_due = False
            entries.append((None, (self.beat_channel, b"")))
        for source in self._owner.sources:
            notes = source.take(self.owns)
            if self.owns is not None:
                for note in notes:
                    if not self.owns(note[0]):
                        self._owner.pass_on(note)
                notes = [note for note in notes if self.owns(note[0])]
            entries += [(source, note) for note in notes]

    def _hand_back(self, lost: list[_Entry]) -> None:
        if lost or not self.publishing:
            for source in self._owner.sources:
                mine = [note for where, note in lost if where is source]
                if mine or not self.publishing:
                    source.failed(mine)

    # ------------------------------------------------------------------ listening

    async def _listen(self, connection: AbstractConnection) -> None:
        await self._listener.listen(connection, self._owner.own)


def connection_pool(url: str, node: str) -> ConnectionPool:
    """Reads the URL. Its connections speak RESP2 and have a limit to every wait; `node` is how Redis's `CLIENT LIST`
    names them. Nothing is pooled: whoever makes one (`make_connection`) owns it."""
    return ConnectionPool.from_url(
        url,
        protocol=2,
        socket_timeout=PATIENCE_SECONDS,
        socket_connect_timeout=PATIENCE_SECONDS,
        client_name=f"chatd-{node}",
    )
