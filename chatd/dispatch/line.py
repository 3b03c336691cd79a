"""The forwarder's side of its line to the leader: passes on what was submitted in one turn of the loop with one write,
gives the answers, and notices when the leader is gone or has gone silent.

The line is lost when it closes, when nothing was heard for `SILENT_SECONDS_MAX`, when a call has waited for
`ANSWER_SECONDS_MAX`, and when the leader says that it was too late for one. What is under way then is handed back, in
its order, to whoever opened the line: it may have been carried out, and it may be carried out again, for the stored
results and the rules make a repeat harmless.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Protocol, cast

from chatd.dispatch import line_frames as frames
from chatd.dispatch.line_frames import Answers, BrokenLine, FrameReader, Leaving, Refused, SettleJournal, Told, Wish
from chatd.domain.people import Actor, system_actor
from chatd.errors import ChatError, Temporary
from chatd.live.bus import Publication
from chatd.metrics import Counter

BEAT_SECONDS = 0.5
SILENT_SECONDS_MAX = 3.0
ANSWER_SECONDS_MAX = 15.0
"""Above what the leader's writer waits for the database by itself."""

UNDER_WAY_MAX = 20_000
UNREAD_BYTES_MAX = 32 * 2**20

logger = logging.getLogger("chatd.forwarding")

Answer = Callable[[bytes | None, ChatError | None], None]
UnderWay = tuple[Actor, Wish, Answer]


class Ends(Protocol):
    """Whoever has opened a line. Called on the loop."""

    def welcomed(self, line: Line) -> None:
        """Everything that is committed is told from here on, and calls may be passed on."""

    def told(self, shop: str, publications: Sequence[Publication]) -> None:
        """These events were committed."""

    def unfit(self, call: UnderWay) -> None:
        """This one cannot be said in a frame."""

    def leaving(self, line: Line) -> None:
        """Pass nothing on any more: the line closes when all is answered."""

    def lost(self, line: Line, under_way: list[UnderWay], why: str) -> None:
        """It is closed; these were not answered."""


class Line(asyncio.Protocol):
    """See the module's text. `rules`: see `forwarding.rules_of`. `counter` counts what is passed on."""

    def __init__(self, ends: Ends, rules: bytes, counter: Counter) -> None:
        self._ends = ends
        self._rules = rules
        self._counter = counter
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = FrameReader(frames.FRAME_BYTES_MAX)
        self._under_way: dict[int, UnderWay] = {}
        self._unsent: list[tuple[int, Actor, Wish]] = []
        self._readers: list[asyncio.Future[None]] = []  # who ask for the journal in this turn
        self._serial = 0
        self._sent: deque[tuple[float, int]] = deque()  # at each beat: the time, and the last serial by then
        self._heard_at = monotonic()
        self._said_at = 0.0
        self.is_leaving = False
        self._why = "it was closed"
        self._beating: asyncio.TimerHandle | None = None
        self.ended = asyncio.Event()

    # ------------------------------------------------------------------ out

    def pass_on(self, actor: Actor, wish: Wish, answer: Answer) -> None:
        """`answer(result, error)` is called once, on the loop, unless the line is lost before. Never raises."""
        assert self._transport is not None, "whoever was told that it is lost passes nothing on"
        if len(self._under_way) >= UNDER_WAY_MAX or self._transport.get_write_buffer_size() > UNREAD_BYTES_MAX:
            answer(None, Temporary(f"{len(self._under_way)} writes are waiting already; try again"))
            return
        self._serial += 1
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append((self._serial, actor, wish))
        self._under_way[self._serial] = (actor, wish, answer)

    async def settle(self) -> None:
        """Return when all that was committed before stands in its tables. Raises `ChatError`."""
        if self._transport is None or self.is_leaving:  # readers who come and come would keep it open
            raise Temporary("the line was lost")
        settled: asyncio.Future[None] = self._loop.create_future()
        if not self._readers:
            self._loop.call_soon(self._pass_on_settling)
        self._readers.append(settled)
        await settled

    def _pass_on_settling(self) -> None:
        readers, self._readers = self._readers, []

        def answer(_result: bytes | None, error: ChatError | None) -> None:
            for settled in readers:
                if not settled.done():
                    settled.set_result(None) if error is None else settled.set_exception(error)

        if self._transport is None or self.is_leaving:
            answer(None, Temporary("the line was lost"))
        else:
            self.pass_on(system_actor(""), SettleJournal(), answer)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        self._counter.add(len(unsent))
        for start in range(0, len(unsent), frames.CALLS_PER_FRAME_MAX):
            self._send(unsent[start : start + frames.CALLS_PER_FRAME_MAX])

    def _send(self, calls: list[tuple[int, Actor, Wish]]) -> None:
        if self._transport is None:
            return
        data = frames.calls_frame(self._heard_at + SILENT_SECONDS_MAX, calls)
        if data is not None:
            self._said_at = monotonic()
            self._transport.write(data)
        elif len(calls) > 1:
            self._send(calls[: len(calls) // 2])
            self._send(calls[len(calls) // 2 :])
        else:
            self._ends.unfit(self._under_way.pop(calls[0][0]))

    def leave(self) -> None:
        """Close when all that is under way is answered. Nothing more may be passed on."""
        self.is_leaving = True
        self._why = ""
        self._close_when_quiet()

    def cut(self, why: str) -> None:
        """The line is lost, now."""
        self._why = why
        if self._transport is not None:
            self._transport.abort()
            self._end()

    def _close_when_quiet(self) -> None:
        if self.is_leaving and not self._under_way and self._transport is not None:
            self._transport.close()
            self._end()

    # ------------------------------------------------------------------ in

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._heard_at = self._said_at = monotonic()
        self._transport.write(frames.framed(frames.Hello(self._rules, monotonic())))
        self._beating = self._loop.call_later(BEAT_SECONDS, self._beat)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        if self._transport is None:
            return
        self._transport = None
        if self._beating is not None:
            self._beating.cancel()
        under_way, self._under_way = list(self._under_way.values()), {}
        self._unsent = []
        self.ended.set()
        self._ends.lost(self, under_way, self._why)

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        self._heard_at = monotonic()
        try:
            for payload in self._reader.feed(data):
                if self._transport is not None:
                    self._read(payload)
        except BrokenLine as broken:
            self.cut(str(broken))

    def _read(self, payload: memoryview) -> None:
        message = frames.read_of_leader(payload)
        if isinstance(message, Answers):
            self._give(message.answers)
        elif isinstance(message, Told):
            for shop, publications in message.events:
                self._ends.told(shop, publications)
        elif isinstance(message, Leaving):
            self._ends.leaving(self)
            self.leave()
        elif isinstance(message, Refused):
            self.cut(message.reason)
        else:
            self._ends.welcomed(self)

    def _give(self, answers: list[frames.Answer]) -> None:
        for serial, result, refusal in answers:
            if refusal is not None and refusal[0] == frames.LATE:
                self.cut("the leader was too slow")
                return
            under_way = self._under_way.pop(serial, None)
            if under_way is None:
                continue
            try:
                under_way[2](result, None if refusal is None else frames.error_of(refusal))
            except Exception:
                logger.exception("a write was committed, but telling so failed")
        self._close_when_quiet()

    def _beat(self) -> None:
        """Look whether the leader still answers, and say that this process is still there."""
        self._beating = self._loop.call_later(BEAT_SECONDS, self._beat)
        now = monotonic()
        oldest = next(iter(self._under_way), None)
        if now - self._heard_at > SILENT_SECONDS_MAX:
            self.cut("the leader has gone silent")
            return
        while self._sent and (oldest is None or self._sent[0][1] < oldest):
            self._sent.popleft()
        if self._sent and now - self._sent[0][0] > ANSWER_SECONDS_MAX:
            self.cut("the leader does not answer")
            return
        if oldest is not None:
            self._sent.append((now, self._serial))
        if now - self._said_at > BEAT_SECONDS / 2 or self._under_way:
            self._send([])
