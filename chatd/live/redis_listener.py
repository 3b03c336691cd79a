"""The listening half of a line to Redis: what one connection at a time is subscribed to, and who hears it.

* What arrives is worked off in the turn of the loop in which it arrives, without a task and a buffer in between. Only
  when that takes too long the rest waits for the next turn, and no more is read meanwhile.
* One task subscribes and unsubscribes, in the order in which it was wanted.
* Whether the other side still thinks of us, nothing here can tell: `redis_line` has a heartbeat come back through it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
from redis.asyncio.connection import AbstractConnection
from redis.crc import key_slot
from redis.exceptions import MovedError, ResponseError

from chatd.live.redis_answers import ANSWER_BYTES_MAX, parse_answers

CHANNELS_PER_COMMAND = 500
SLICE_SECONDS = 0.005
"""What has arrived is worked off in slices: others are served in between."""

logger = logging.getLogger("chatd.redis")

Receiver = Callable[[bytes], None]
Confirmed = Callable[[], None] | None


class Verbs(msgspec.Struct, frozen=True):
    """The words of one kind of pub/sub. `together`: a command may name several channels, of whatever slots."""

    publish: bytes
    subscribe: bytes
    unsubscribe: bytes
    subscribed: bytes
    unsubscribed: bytes
    together: bool


CLASSIC = Verbs(b"PUBLISH", b"SUBSCRIBE", b"UNSUBSCRIBE", b"subscribe", b"unsubscribe", True)
SHARDED = Verbs(b"SPUBLISH", b"SSUBSCRIBE", b"SUNSUBSCRIBE", b"ssubscribe", b"sunsubscribe", False)


class Listener:
    """See the module's text. Channels are named as Redis has them. `moved` is called when the server says that one of
    them is another server's now."""

    def __init__(self, verbs: Verbs, moved: Callable[[], None]) -> None:
        self._verbs = verbs
        self._moved = moved
        self._loop = asyncio.get_running_loop()
        self._receivers: dict[bytes, tuple[Receiver, Confirmed]] = {}
        self._asked: set[bytes] = set()  # what this connection has subscribed to
        self._leaving: Counter[bytes] = Counter()  # what it has unsubscribed from, without an answer so far
        self._changed_names: set[bytes] = set()
        self._changed = asyncio.Event()
        self._ear: _Ear | None = None
        self.since = math.inf
        """Since when this connection has been listened to (the loop's time)."""

    # ------------------------------------------------------------------ for the line

    def want(self, name: bytes, receiver: Receiver, confirmed: Confirmed) -> None:
        """Have `receiver(payload)` called for what is said there; `confirmed()` each time that listening has begun."""
        self._receivers[name] = (receiver, confirmed)
        self._change(name)

    def unwant(self, name: bytes) -> None:
        if self._receivers.pop(name, None) is not None:
            self._change(name)

    def ask_again(self) -> None:
        """Subscribe once more to what the server has sent away."""
        for name in self._receivers.keys() - self._asked:
            self._change(name)

    def confirm_all(self) -> None:
        """Nothing was heard for a while: listening begins anew, on all channels."""
        for _, confirmed in tuple(self._receivers.values()):
            if confirmed is not None:
                confirmed()

    async def listen(self, connection: AbstractConnection, own: bytes) -> None:
        """Until this connection, which nobody else reads or writes, ends. Raises why: `OSError`, `ResponseError` for
        what the server refuses and for what is no answer of Redis, or what was said to `give_up`. Messages that begin
        with `own` are passed over."""
        self._asked.clear()
        self._leaving.clear()
        self._changed_names = set(self._receivers)
        self._ear = _Ear(connection, self._hear, own)
        self.since = self._loop.time()
        subscribing = self._loop.create_task(self._keep_subscribed(connection))
        try:
            raise await self._ear.ended
        finally:
            self.since = math.inf
            subscribing.cancel()
            await asyncio.gather(subscribing, return_exceptions=True)

    def give_up(self, error: Exception) -> None:
        """Nothing will come over this connection any more."""
        if self._ear is not None:
            self._ear.end(error)

    # ------------------------------------------------------------------ what is heard

    def _hear(self, answer: Any) -> None:
        """One answer, as `parse_answers` has it. Raises what the server refuses."""
        try:
            if type(answer) is tuple:
                name, payload = answer
                known = self._receivers.get(name)
                if known is not None:  # else of a channel that was left just now
                    known[0](payload)
                return
            if not isinstance(answer, Exception):
                self._hear_of(*answer)
                return
        except Exception:
            logger.exception("what Redis brought could not be worked off; the line goes on")
            return
        if not isinstance(answer, MovedError):
            raise answer
        self._lose(answer.slot_id)

    def _hear_of(self, kind: bytes, name: bytes, _count: int) -> None:
        """That listening to a channel has begun or ended."""
        if kind == self._verbs.unsubscribed:
            self._hear_end(name)
        elif kind == self._verbs.subscribed and name in self._receivers:
            _, confirmed = self._receivers[name]
            if confirmed is not None:
                confirmed()

    def _hear_end(self, name: bytes) -> None:
        if self._leaving[name] > 1:
            self._leaving[name] -= 1
        elif name in self._leaving:
            del self._leaving[name]
        elif name in self._asked:
            # Of the server's own accord: the slot has moved to another one (Redis 7, sharded pub/sub).
            self._asked.discard(name)
            self._moved()

    def _lose(self, slot: int) -> None:
        """The server does not have this slot, so whatever was asked of it there was refused."""
        for name in [name for name in (*self._asked, *self._leaving) if slot_of(name) == slot]:
            self._asked.discard(name)
            self._leaving.pop(name, None)
        self._moved()

    # ------------------------------------------------------------------ subscribing

    def _change(self, name: bytes) -> None:
        self._changed_names.add(name)
        self._changed.set()

    async def _keep_subscribed(self, connection: AbstractConnection) -> None:
        """Subscribe to what is wanted, and no longer to what is not. The one task that does so: several that subscribe
        at once have lost subscriptions in this library."""
        self._changed.set()
        while connection.is_connected:
            await self._changed.wait()
            self._changed.clear()
            names, self._changed_names = self._changed_names, set()
            wanted = [name for name in names if name in self._receivers and name not in self._asked]
            unwanted = [name for name in names if name not in self._receivers and name in self._asked]
            self._asked.update(wanted)
            self._asked.difference_update(unwanted)
            self._leaving.update(unwanted)
            for verb, some in ((self._verbs.subscribe, wanted), (self._verbs.unsubscribe, unwanted)):
                for start in range(0, len(some), CHANNELS_PER_COMMAND):
                    if not connection.is_connected:
                        return  # its end was seen; sending would quietly connect again
                    part = some[start : start + CHANNELS_PER_COMMAND]
                    commands = [[verb, *part]] if self._verbs.together else [[verb, name] for name in part]
                    await connection.send_packed_command(connection.pack_commands(commands))


class _Ear(asyncio.Protocol):
    """Takes the place of the reader that redis-py reads from. `ended` has as its result why nothing more is heard. That
    the transport is full or gone is passed on to redis-py, which writes to it."""

    def __init__(self, connection: AbstractConnection, hear: Callable[[Any], None], own: bytes) -> None:
        writer: asyncio.StreamWriter | None = connection._writer
        assert writer is not None, "it is connected"
        self._loop = asyncio.get_running_loop()
        self._hear = hear
        self._own = own
        self._rest = b""  # the beginning of an answer that is still to come
        self._late: list[Any] = []
        self.ended: asyncio.Future[Exception] = self._loop.create_future()
        self._transport: asyncio.Transport = writer.transport  # type: ignore[assignment]
        self._writing = self._transport.get_protocol()
        self._transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        if self.ended.done():
            return
        try:
            answers, self._rest = parse_answers(self._rest + data if self._rest else data, self._own)
            if len(self._rest) > ANSWER_BYTES_MAX:
                raise ResponseError("Redis answers with more than chatd has asked for")
        except ResponseError as error:
            self.end(error)
            return
        if self._late:
            self._late += answers
        elif not self._work_off(answers):
            self._transport.pause_reading()

    def _work_off(self, answers: list[Any]) -> bool:
        """As many as can be in a slice. Whether that was all."""
        hear, time = self._hear, self._loop.time
        until = time() + SLICE_SECONDS
        done = 0
        try:
            for answer in answers:
                hear(answer)
                done += 1
                if time() > until:
                    break
        except Exception as error:  # noqa: BLE001  # whoever waits for the end gets it
            self.end(error)
            return True
        self._late = answers[done:]
        if self._late:
            self._loop.call_soon(self._go_on)
        return not self._late

    def _go_on(self) -> None:
        if self._late and self._work_off(self._late) and not self.ended.done():
            self._transport.resume_reading()

    def eof_received(self) -> bool:
        self.end(ConnectionError("Redis has hung up"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.end(exc or ConnectionError("Redis has hung up"))
        self._writing.connection_lost(exc)

    def pause_writing(self) -> None:
        self._writing.pause_writing()

    def resume_writing(self) -> None:
        self._writing.resume_writing()

    def end(self, error: Exception) -> None:
        self._late.clear()
        if not self.ended.done():
            self.ended.set_result(error)


def slot_of(name: bytes) -> int:
    """The slot of a cluster in which a channel lives: the CRC16 of its name, or of what stands in its braces."""
    return key_slot(name)
