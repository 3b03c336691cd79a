"""The leader's side of the lines: carries out what forwarders pass on, answers them, and tells them of all that is
committed, so that their followers hear of it whatever Redis does.

* Calls of one line are handed to the store in the order in which they came. What it commits together is answered
  together: the events and answers of one turn of the loop are one write to each line.
* Nothing of a forwarder is begun that it may have given up by then (`line_frames.Calls.until`), and nothing that came
  after such a thing. It carries them out by itself, and this process may have been asleep.
* Who does not read is cut at `UNREAD_BYTES_MAX`, who says nothing after `SILENT_SECONDS_MAX`, who says anything else
  than a frame at once, who connects and says nothing when `STRANGERS_MAX` others do, and who is of another account
  before anything is read. What is under way for them is carried out, and found as the first result by whoever repeats
  it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any, cast

from chatd.dispatch import line_frames as frames
from chatd.dispatch.line_frames import BrokenLine, Calls, FrameReader, Hello, Late, Wish
from chatd.domain.people import Actor
from chatd.errors import ChatError
from chatd.live.bus import Publication
from chatd.store.sqlite_election import is_of_this_account

LINES_MAX = 256
STRANGERS_MAX = 64
"""Lines that have not said hello. Who means to forward says it with the first write, so it is the oldest that goes."""

BEAT_SECONDS = 0.5
"""Between two signs of life, when there is nothing else to say."""

HELLO_SECONDS_MAX = 5.0
SILENT_SECONDS_MAX = 10.0
LEAVE_SECONDS_MAX = 5.0
CLOCKS_APART_SECONDS_MAX = 1.0
UNREAD_BYTES_MAX = 32 * 2**20
ACTORS_KNOWN_MAX = 10_000

logger = logging.getLogger("chatd.forwarding")

Answer = Callable[[bytes | None, ChatError | None], None]
Check = Callable[[], None]
CarryOut = Callable[[Actor, Wish, Check, Answer], None]
"""`carry_out(actor, wish, check, answer)`: `check` is called when it begins, on any thread, and may raise `Late`."""


class Leader:
    """See the module's text. Made on the event loop, and all of it belongs there."""

    def __init__(self, carry_out: CarryOut, rules: bytes) -> None:
        self.carry_out = carry_out
        self.rules = rules
        self._loop = asyncio.get_running_loop()
        self._server: asyncio.AbstractServer | None = None
        self._open: set[ServedLine] = set()
        self._strangers: dict[ServedLine, None] = {}  # in the order in which they came
        self._welcomed: set[ServedLine] = set()
        self._events: list[tuple[str, list[Publication]]] = []
        self._will_flush = False
        self._beating: asyncio.TimerHandle | None = None
        self._emptied = asyncio.Event()
        self._actors: dict[bytes, Actor] = {}

    @property
    def lines(self) -> int:
        """How many forwarders have been welcomed."""
        return len(self._welcomed)

    async def listen(self, listening: socket.socket) -> None:
        self._server = await self._loop.create_unix_server(partial(ServedLine, self), sock=listening)
        self._beat()

    def tell(self, shop: str, publications: Sequence[Publication]) -> None:
        """Events that were committed just now go to every line, at the end of this turn."""
        if self._welcomed:
            self._events.append((shop, list(publications)))
            self.flush_soon()

    async def close(self) -> None:
        """Answer what is under way and let the forwarders go, within `LEAVE_SECONDS_MAX`."""
        if self._server is not None:
            self._server.close()
        for line in tuple(self._open):
            line.leave()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS_MAX):
                while self._open:
                    self._emptied.clear()
                    await self._emptied.wait()
        if self._beating is not None:
            self._beating.cancel()
        for line in tuple(self._open):
            line.cut("")

    def flush_soon(self) -> None:
        if not self._will_flush:
            self._will_flush = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._will_flush = False
        events, self._events = self._events, []
        told = frames.told_frames(events) if events else b""
        for line in tuple(self._welcomed):
            line.flush(told)

    def _beat(self) -> None:
        self._beating = self._loop.call_later(BEAT_SECONDS, self._beat)
        for line in tuple(self._open):
            line.beat()

    # ------------------------------------------------------------------ for the lines

    def opened(self, line: ServedLine) -> None:
        self._open.add(line)
        self._strangers[line] = None
        if len(self._strangers) > STRANGERS_MAX:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.cut("")

    def lost(self, line: ServedLine) -> None:
        self._open.discard(line)
        self._strangers.pop(line, None)
        self._welcomed.discard(line)
        if not self._open:
            self._emptied.set()

    def welcome(self, line: ServedLine, hello: Hello) -> str:
        """From now on it is told of everything; or why not."""
        if hello.rules != self.rules:
            return "the leader follows other rules: another version, or other settings"
        if abs(hello.clock - monotonic()) > CLOCKS_APART_SECONDS_MAX:
            return "the leader goes by another clock"
        if len(self._welcomed) >= LINES_MAX:
            return f"the leader has {LINES_MAX} lines already"
        self._strangers.pop(line, None)
        self._welcomed.add(line)
        return ""

    def actor(self, encoded: bytes) -> Actor:
        """Raises `BrokenLine`."""
        known = self._actors.get(encoded)
        if known is None:
            if len(self._actors) >= ACTORS_KNOWN_MAX:
                self._actors.clear()
            known = self._actors[encoded] = frames.read_actor(encoded)
        return known


class ServedLine(asyncio.Protocol):
    """One forwarder, as the leader has it."""

    def __init__(self, leader: Leader) -> None:
        self._leader = leader
        self._reader = FrameReader(frames.HELLO_BYTES_MAX)
        self._transport: asyncio.Transport | None = None
        self._answers: list[frames.Answer] = []
        self._is_welcomed = False
        self._heard_at = 0.0
        self._said_at = 0.0
        self._until = 0.0
        self._was_late = False

    # ------------------------------------------------------------------ in

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._heard_at = self._said_at = monotonic()
        self._leader.opened(self)
        try:
            with socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno())) as peer:
                is_known = is_of_this_account(peer)
        except OSError:  # no file is left to ask with
            is_known = False
        if not is_known:
            self.cut("somebody of another account")

    def connection_lost(self, exc: Exception | None) -> None:
        self._until = 0.0
        self._transport = None
        self._leader.lost(self)

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        self._heard_at = monotonic()
        try:
            for payload in self._reader.feed(data):
                message = frames.read_of_forwarder(payload)
                if isinstance(message, Calls) and self._is_welcomed:
                    self._carry_out(message)
                elif isinstance(message, Hello) and not self._is_welcomed:
                    self._greet(message)
                else:
                    raise BrokenLine("a frame out of its turn")
        except BrokenLine as broken:
            self.cut(str(broken))

    def _greet(self, hello: Hello) -> None:
        refusal = self._leader.welcome(self, hello)
        if refusal:
            self._write(frames.framed(frames.Refused(refusal)))
            self.cut("")
            return
        self._is_welcomed = True
        self._reader.bytes_max = frames.FRAME_BYTES_MAX
        self._write(frames.framed(frames.Welcome()))

    def _carry_out(self, message: Calls) -> None:
        self._until = message.until
        carry_out, actor_of, check = self._leader.carry_out, self._leader.actor, self._check
        for call in message.calls:
            answer = partial(self._answer, call.serial)
            try:
                wish = frames.read_wish(call.wish)
            except ChatError as refusal:
                answer(None, refusal)
            else:
                carry_out(actor_of(bytes(call.actor)), wish, check, answer)

    def _check(self) -> None:
        # Once late is late for good: what came after it is carried out over there, too, and not before it.
        if self._was_late or monotonic() >= self._until:
            self._was_late = True
            raise Late("given up by whoever passed it on; nothing was changed")

    # ------------------------------------------------------------------ out

    def _answer(self, serial: int, result: bytes | None, error: ChatError | None) -> None:
        if self._transport is not None:
            self._answers.append((serial, result, None if error is None else frames.refusal_of(error)))
            self._leader.flush_soon()

    def flush(self, told: bytes) -> None:
        """Write the answers that have come together, then the events: where one process is all, they come so, too."""
        answers, self._answers = self._answers, []
        if answers:
            told = frames.answer_frames(answers) + told
        if told:
            self._write(told)

    def beat(self) -> None:
        """Say something, if nothing was said for a while, and look whether the other end still does."""
        now = monotonic()
        if now - self._heard_at > (SILENT_SECONDS_MAX if self._is_welcomed else HELLO_SECONDS_MAX):
            self.cut("it has gone silent")
        elif self._is_welcomed and now - self._said_at > BEAT_SECONDS / 2:
            self._write(frames.framed(frames.Answers([])))

    def leave(self) -> None:
        """Have it send no more; it closes when all it has sent is answered."""
        if self._is_welcomed:
            self._write(frames.framed(frames.Leaving()))
        else:
            self.cut("")

    def cut(self, why: str) -> None:
        """End it; `why` is for the log."""
        transport, self._transport = self._transport, None
        self._until = 0.0
        if transport is not None:
            if why:
                logger.warning("a line from another process was cut: %s", why)
            transport.close() if not why else transport.abort()

    def _write(self, data: bytes) -> None:
        transport: Any = self._transport
        if transport is None:
            return
        self._said_at = monotonic()
        transport.write(data)
        if transport.get_write_buffer_size() > UNREAD_BYTES_MAX:
            self.cut("it does not read")
