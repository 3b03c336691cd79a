"""One client of a system under load: it connects, says hello, resumes, and checks everything that it is told.

`Seat` says where and as whom; `Client` keeps its place in the stream over reconnects; `Sender` is a voice of a client,
with messages that it numbers. What is measured of all this is kept by `traffic.Traffic`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Protocol

from chatd.wire.websocket import BINARY, TEXT
from load.check import Sequence as Numbers
from load.dialects import (
    ACK,
    ANSWER,
    COUNTER_MAX,
    EVENT,
    EVENTS,
    REFUSED,
    SEVERAL,
    STEP,
    TYPING,
    WELCOME,
    ChatdDialect,
    Dialect,
    Frame,
    Greeting,
    Unexpected,
)
from load.websocket import Framed, Memo, WebSocket, masked, open_websocket

if TYPE_CHECKING:
    from load.traffic import Traffic

OPEN_SECONDS = 20.0
IN_FLIGHT_MAX = 16_384


@dataclass(frozen=True)
class Seat:
    """Where a client connects, and as whom. `hello` makes the credentials anew for each try, for a ticket is short of
    life."""

    url: str
    address: str | None
    origin: str | None
    dialect: Dialect
    hello: Callable[[], Mapping[str, Any]]


class Cut(Exception):
    """The server ended the connection before it was of use; it may have said when to come back."""

    def __init__(self, code: int, delay_ms: int = 0) -> None:
        super().__init__(f"the server closed with {code}")
        self.code = code
        self.delay_ms = delay_ms


class Overrun(Exception):
    """More messages are under way than the harness keeps: the server is far behind the pace."""


class Client:
    """See the module's text. Clients that follow the same stream may share a `memo`."""

    __slots__ = (
        "_early",
        "_epoch",
        "_greeting",
        "_leaving",
        "_ponged",
        "_seat",
        "_socket",
        "_token",
        "_traffic",
        "_welcomed",
        "conversation",
        "heard",
        "memo",
        "resumes",
        "stream",
    )

    def __init__(self, seat: Seat, traffic: Traffic, memo: Memo | None = None) -> None:
        self._seat = seat
        self._traffic = traffic
        self._socket: WebSocket | None = None
        self._token: str | None = None
        self._epoch: str | None = None
        self._greeting: Greeting | None = None
        self._early: list[bytes] = []
        self._welcomed: asyncio.Future[None] | None = None
        self._ponged: asyncio.Future[None] | None = None
        self._leaving = False
        self.memo = memo
        self.conversation: str | None = None
        self.stream = Numbers()
        self.heard: dict[str, Numbers] = {}
        self.resumes = 0

    @property
    def is_open(self) -> bool:
        return self._socket is not None

    @property
    def dialect(self) -> Dialect:
        return self._seat.dialect

    # ------------------------------------------------------------------ coming and going

    async def open(self) -> None:
        """Connect, say hello, wait for the welcome. Raises `OSError`, `HandshakeRefused`, `Cut`, `Unexpected`."""
        seat = self._seat
        self._leaving = False
        self._early.clear()
        async with asyncio.timeout(OPEN_SECONDS):
            dialect = seat.dialect
            self._socket = await open_websocket(
                seat.url,
                self,
                dialect.reader(),
                origin=seat.origin,
                subprotocol=dialect.subprotocol,
                binary=dialect.binary,
                memo=self.memo,
                address=seat.address,
            )
            fields = dict(seat.hello())
            if self._token is not None:
                fields["token"] = self._token
            if self._epoch is not None:
                fields["resume"] = {"epoch": self._epoch, "number": self.stream.last}
            self._greeting = dialect.greeting(fields)
            if self._greeting is None:
                return
            self._welcomed = asyncio.get_running_loop().create_future()
            try:
                if opening := next(self._greeting):
                    self._socket.send(opening)
                early, self._early = self._early, []
                for payload in early:
                    self._step(payload)
                await self._welcomed
            finally:
                self._welcomed = self._greeting = None

    def _step(self, payload: bytes) -> None:
        """The server has said the next thing in a longer greeting. What came in one read with its answer to the
        handshake comes before anybody asked."""
        if self._greeting is None or self._welcomed is None:
            self._early.append(payload)
            return
        if self._welcomed.done():
            return
        try:
            if answer := self._greeting.send(payload):
                self.send(answer)
        except StopIteration:
            self._welcomed.set_result(None)
        except Unexpected as unexpected:
            self._welcomed.set_exception(unexpected)

    def forget(self) -> None:
        """Come as on a new page next time: known, but with no place in the stream."""
        self._epoch = None

    def leave(self) -> None:
        """A goodbye in good order; nobody waits for the answer."""
        self._leaving = True
        if self._socket is not None:
            self._socket.close()

    def cut(self) -> None:
        """Gone at once, without a goodbye."""
        self._leaving = True
        if self._socket is not None:
            self._socket.abort()
            self._socket = None

    async def answers(self, seconds: float) -> bool:
        """Whether the server still answers a ping."""
        if self._socket is None:
            return False
        self._ponged = asyncio.get_running_loop().create_future()
        self._socket.ping()
        try:
            await asyncio.wait_for(self._ponged, seconds)
        except TimeoutError:
            return False
        finally:
            self._ponged = None
        return True

    def send(self, payload: bytes) -> None:
        if self._socket is not None:
            self._socket.send(payload)

    def send_frames(self, frames: bytes) -> None:
        """Whole frames, as `Framed` makes them."""
        if self._socket is not None:
            self._socket.send_frames(frames)

    # ------------------------------------------------------------------ the connection's side

    def take(self, frames: Sequence[Any]) -> None:
        now = perf_counter_ns()
        traffic, stream = self._traffic, self.stream
        for frame in frames:
            kind = frame[0]
            if kind == EVENT:
                _, number, name, counter, conversation = frame
                fresh = stream.take(number)
                if name is not None and fresh and (sender := traffic.senders.get(name)) is not None:
                    self.conversation = conversation
                    heard = self.heard.get(name)
                    if heard is None:
                        heard = self.heard[name] = Numbers()
                    if heard.take(counter) and sender.client is not self:
                        traffic.arrived(sender, counter, now)
            elif kind == ACK:
                traffic.acknowledged(frame, now)
            elif kind == TYPING:
                self._take_typing(frame, now)
            else:
                self._take_other(kind, frame, now)

    def _take_typing(self, frame: Frame, now: int) -> None:
        """Signals of one typist come in the order in which they were sent, on and off in turn: so the next one that
        fits is the one that has come. Only a double that arrives before its successor has been sent is told from a
        loss; both are faults."""
        _, conversation, staff, on = frame
        traffic = self._traffic
        sender = traffic.typists.get((conversation, staff))
        if sender is None:
            return
        if sender.client is self:
            traffic.faults.duplicated += 1  # nobody is told what they do themselves
            return
        heard = self.heard.get(sender.name)
        if heard is None:
            heard = self.heard[sender.name] = Numbers()
        counter = heard.last + 1
        if Typing.is_on(counter) != on:
            counter += 1
        if counter > sender.counter:
            traffic.faults.duplicated += 1
        elif heard.take(counter):
            traffic.arrived(sender, counter, now)

    def _take_other(self, kind: int, frame: Frame, now: int) -> None:
        if kind == EVENTS:
            self._take_run(frame, now)
        elif kind == WELCOME:
            self._begin(frame)
        elif kind == REFUSED:
            self._traffic.refused(frame)
        elif kind == SEVERAL:
            self.take(frame[1])
        elif kind == STEP:
            self._step(frame[1])
        elif kind == ANSWER:
            self.send(frame[1])

    def _take_run(self, frame: tuple[Any, ...], now: int) -> None:
        """In order: one step for all of them. Not in order: one by one."""
        _, number, name, counter, conversation, count = frame
        stream, heard, sender = self.stream, self.heard.get(name), self._traffic.senders.get(name)
        in_order = heard is not None and stream.last == number - 1 and heard.last == counter - 1
        if in_order and sender is not None and sender.client is not self:
            assert heard is not None
            stream.last += count
            heard.last += count
            self._traffic.arrived_run(sender, counter, count, now)
        else:
            self.take([(EVENT, number + step, name, counter + step, conversation) for step in range(count)])

    def _begin(self, frame: tuple[Any, ...]) -> None:
        _, epoch, number, resumed, token = frame
        if resumed:
            self.resumes += 1
        else:
            if self._epoch is not None:
                self._traffic.faults.afresh += 1
            self.stream.begin_at(number)
        self._epoch = epoch
        self._token = token or self._token
        if self._welcomed is not None and not self._welcomed.done():
            self._welcomed.set_result(None)

    def pong(self) -> None:
        if self._ponged is not None and not self._ponged.done():
            self._ponged.set_result(None)

    def lost(self, code: int, delay_ms: int) -> None:
        if self._welcomed is not None and not self._welcomed.done():
            self._welcomed.set_exception(Cut(code, delay_ms))
        elif not self._leaving:
            self._traffic.faults.cut += 1
            self._traffic.faults.note(f"the server ended a connection with {code}")
        self._socket = None


class Frames(Protocol):
    """What a sender says."""

    def at(self, counter: int) -> bytes:
        """The frame of its message with this number, masked."""


def message_frames(dialect: Dialect, name: str, text: str, conversation: str | None) -> Frames:
    message = dialect.message(name, text, conversation)
    return Framed(BINARY if dialect.binary else TEXT, message.head, message.tail)


class Typing:
    """Signals that somebody types in a conversation, and no longer, in turn; the odd ones are on."""

    def __init__(self, dialect: ChatdDialect, conversation: str) -> None:
        opcode = BINARY if dialect.binary else TEXT
        self._frames = [masked(opcode, dialect.typing(conversation, on=on)) for on in (False, True)]

    def at(self, counter: int) -> bytes:
        return self._frames[self.is_on(counter)]

    @staticmethod
    def is_on(counter: int) -> bool:
        return counter % 2 == 1


class Sender:
    """A voice of a client. Its messages reach `expected` others; a message is under way until all of them have it and,
    where the system acknowledges, its acknowledgement is here."""

    __slots__ = (
        "_acknowledged",
        "_awaited",
        "_expected",
        "_frames",
        "_sent_ns",
        "client",
        "counter",
        "in_flight",
        "name",
        "receivers",
        "refused",
        "unacked",
    )

    def __init__(
        self, client: Client, name: str, frames: Frames, receivers: Sequence[Client], *, acknowledged: bool
    ) -> None:
        self.client = client
        self.name = name
        self.receivers = receivers
        self.counter = 0
        self.in_flight = 0
        self.unacked: set[int] = set()
        self.refused: set[int] = set()
        # Of what is under way only: a storm has ten thousand senders, and most of them say two messages.
        self._sent_ns: dict[int, int] = {}
        self._awaited: dict[int, int] = {}
        self._acknowledged = acknowledged
        self._expected = len(receivers) + acknowledged
        self._frames = frames

    def say(self, count: int = 1) -> None:
        """Send so many messages with one write. Raises `Overrun`."""
        if self.in_flight + count > IN_FLIGHT_MAX or self.counter + count > COUNTER_MAX:
            raise Overrun(f"{self.in_flight:,} messages of one sender are under way")
        frames = []
        now = perf_counter_ns()
        for counter in range(self.counter + 1, self.counter + count + 1):
            self._sent_ns[counter] = now
            self._awaited[counter] = self._expected
            frames.append(self._frames.at(counter))
            if self._acknowledged:
                self.unacked.add(counter)
        self.counter += count
        self.in_flight += count
        self.client.send_frames(frames[0] if count == 1 else b"".join(frames))

    def settle(self, counter: int) -> bool:
        """One of those that were awaited has come; whether it was the last."""
        left = self._awaited.get(counter, 0) - 1
        if left > 0:
            self._awaited[counter] = left
        return left == 0 and self._forget(counter)

    def settle_run(self, counter: int, count: int) -> bool:
        """`settle` for several that follow one another; whether it was the last for any."""
        before = self.in_flight
        awaited = self._awaited
        for one in range(counter, counter + count):
            left = awaited.get(one, 0) - 1
            if left > 0:
                awaited[one] = left
            elif left == 0:
                self._forget(one)
        return self.in_flight < before

    def give_up(self, counter: int) -> None:
        """Nobody is going to hear this one: it was refused."""
        self.unacked.discard(counter)
        self.refused.add(counter)
        if counter in self._awaited:
            self._forget(counter)

    def _forget(self, counter: int) -> bool:
        """It is no longer under way. Returns True."""
        del self._awaited[counter]
        self._sent_ns.pop(counter, None)
        self.in_flight -= 1
        return True

    def forget_times(self) -> None:
        """Whoever should hear what is under way is not there: how long it takes says nothing of the server."""
        self._sent_ns.clear()

    def sent_at(self, counter: int) -> int:
        """0 when it is not under way, or its time says nothing."""
        return self._sent_ns.get(counter, 0)
