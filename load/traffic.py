"""Senders and receivers of one run, and what is measured between them.

    Traffic      who said what, when it arrived, when it was acknowledged; the verdict at the end
    saturate     each sender keeps a window of messages under way
    pace         messages at a rate, whether or not the server keeps up (no coordinated omission)
    Span         one measured stretch: deliveries, CPU, latencies, rates for the plot

A latency begins right before the message is written to the socket, and ends when the read that brought it to the other
side, or its acknowledgement to the sender, is handled.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from load.check import Faults
from load.client import Client, Cut, Overrun, Seat, Sender, Typing, message_frames
from load.dialects import ChatdDialect
from load.measure import Latencies, Meter, core_busy_seconds
from load.websocket import Memo

SAMPLE_SECONDS = 0.25
PACE_SECONDS = 0.001
COMMANDS = "commands"
Progress = Callable[[str], None]


@dataclass
class Span:
    """One measured stretch of a run. CPU is None for a server elsewhere."""

    seconds: float = 0.0
    deliveries: int = 0
    sent: int = 0
    cpu_seconds: float | None = None
    client_cpu_share: float = 0.0
    others_on_server_core: float | None = None  # share of that core's time that was neither idle nor the server's
    others_on_client_core: float | None = None
    delivered: Latencies = field(default_factory=Latencies)
    acked: Latencies = field(default_factory=Latencies)
    rates: list[tuple[float, float]] = field(default_factory=list)  # seconds since the start, deliveries/s


class Traffic:
    """See the module's text. `tag` marks the messages of this run, so that others on the same server are none of it."""

    def __init__(self, settle_seconds: float) -> None:
        self._settle_seconds = settle_seconds
        self.tag = secrets.token_hex(3)
        self.faults = Faults()
        self.senders: dict[str, Sender] = {}
        self.typists: dict[tuple[str, bool], Sender] = {}  # by conversation, and whether staff types there
        self.clients: list[Client] = []
        self.span = Span()
        self.total = 0  # deliveries since the beginning
        self.commands: dict[int, Client] = {}  # not acknowledged yet
        self.commands_sent = 0
        self._again: Callable[[Sender], None] | None = None

    def client(self, seat: Seat, memo: Memo | None = None) -> Client:
        one = Client(seat, self, memo)
        self.clients.append(one)
        return one

    def sender(self, client: Client, text: str, receivers: Sequence[Client], conversation: str | None = None) -> Sender:
        """`receivers` are the others who must hear all that it says."""
        name, dialect = self.next_name(), client.dialect
        frames = message_frames(dialect, name, text, conversation)
        one = self.senders[name] = Sender(client, name, frames, receivers, acknowledged=dialect.acknowledges)
        return one

    def typist(self, client: Client, receiver: Client, conversation: str, *, staff: bool) -> Sender:
        """One whose messages are that it types there, or no longer. chatd only."""
        dialect = client.dialect
        assert isinstance(dialect, ChatdDialect)
        name = self.next_name()
        one = Sender(client, name, Typing(dialect, conversation), [receiver], acknowledged=False)
        self.senders[name] = self.typists[conversation, staff] = one
        return one

    def next_name(self) -> str:
        """What the next sender will be called."""
        return f"{self.tag}-{len(self.senders):05}"

    def command(self, client: Client, kind: str, fields: Mapping[str, Any]) -> None:
        """Something other than a message, of which only the acknowledgement is waited for. chatd only."""
        dialect = client.dialect
        assert isinstance(dialect, ChatdDialect)
        self.commands_sent += 1
        self.commands[self.commands_sent] = client
        client.send(dialect.command(f"{self.commands_sent:08}-{self.tag}-{COMMANDS}", kind, fields))

    def commands_of(self, client: Client) -> int:
        """How many of this client's are not acknowledged yet."""
        return sum(one is client for one in self.commands.values())

    # ------------------------------------------------------------------ what clients tell

    def arrived(self, sender: Sender, counter: int, now: int) -> None:
        self.total += 1
        self.span.deliveries += 1
        if sent := sender.sent_at(counter):  # 0: nobody was there to be told at once
            self.span.delivered.add((now - sent) // 1_000)
        if sender.settle(counter) and self._again is not None:
            self._again(sender)

    def arrived_run(self, sender: Sender, counter: int, count: int, now: int) -> None:
        """`arrived` for several that came in one read and follow one another."""
        self.total += count
        self.span.deliveries += count
        delivered, first = self.span.delivered, sender.sent_at(counter)
        if first and first == sender.sent_at(counter + count - 1):  # they were sent with one write
            delivered.add((now - first) // 1_000, count)
        else:
            for one in range(counter, counter + count):
                if sent := sender.sent_at(one):
                    delivered.add((now - sent) // 1_000)
        if sender.settle_run(counter, count) and self._again is not None:
            self._again(sender)

    def acknowledged(self, frame: tuple[Any, ...], now: int) -> None:
        _, name, counter, conversation = frame
        if name == f"{self.tag}-{COMMANDS}":
            self._command_acknowledged(counter)
            return
        sender = self.senders.get(name)
        if sender is None or counter not in sender.unacked:
            self.faults.note(f"an acknowledgement that nobody waits for: {name}-{counter}")
            self.faults.duplicated += 1
            return
        sender.unacked.discard(counter)
        if conversation is not None:
            sender.client.conversation = conversation
        if sent := sender.sent_at(counter):
            self.span.acked.add((now - sent) // 1_000)
        if sender.settle(counter) and self._again is not None:
            self._again(sender)

    def _command_acknowledged(self, counter: int) -> None:
        if self.commands.pop(counter, None) is None:
            self.faults.note("a command was acknowledged twice")
            self.faults.duplicated += 1

    def refused(self, frame: tuple[Any, ...]) -> None:
        _, name, counter, sentence = frame
        self.faults.refused += 1
        self.faults.note(sentence)
        if name == f"{self.tag}-{COMMANDS}":
            self.commands.pop(counter, None)
        sender = self.senders.get(name)
        if sender is not None:
            sender.give_up(counter)

    # ------------------------------------------------------------------ running

    @property
    def in_flight(self) -> int:
        return sum(sender.in_flight for sender in self.senders.values())

    @asynccontextmanager
    async def saturated(self, senders: Sequence[Sender], *, window: int, burst: int = 1) -> AsyncIterator[None]:
        """Inside the block each sender has up to `window` messages under way; the next `burst` goes out when so many
        have come to all."""

        def again(sender: Sender) -> None:
            if sender in active and sender.in_flight <= window - burst:
                sender.say(burst)

        active = frozenset(senders)
        self._again = again
        for sender in senders:
            for _ in range(window // burst):
                sender.say(burst)
        try:
            yield
        finally:
            self._again = None

    @asynccontextmanager
    async def hearing(self, heard: Callable[[Sender], None]) -> AsyncIterator[None]:
        """Inside the block `heard` is told of each message that has come to all and is acknowledged."""
        self._again = heard
        try:
            yield
        finally:
            self._again = None

    @asynccontextmanager
    async def paced(self, senders: Sequence[Sender], *, per_second: float) -> AsyncIterator[None]:
        """Inside the block so many messages a second, in turns; late ones are not left out."""
        task = asyncio.create_task(self._pace(senders, per_second))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _pace(self, senders: Sequence[Sender], per_second: float) -> None:
        start, sent = time.perf_counter(), 0
        try:
            while True:
                due = int((time.perf_counter() - start) * per_second)
                for number in range(sent, due):
                    senders[number % len(senders)].say()
                sent = max(sent, due)
                await asyncio.sleep(PACE_SECONDS)
        except Overrun as overrun:
            self.faults.unanswered += 1
            self.faults.note(str(overrun))

    async def measure(self, seconds: float, meter: Meter, progress: Progress) -> Span:
        """Measure from now on for so long."""
        span = self.span = Span()
        sent = self._sent()
        cpu, own = meter.cpu_seconds(), time.process_time()
        here = os.sched_getaffinity(0)
        own_core = next(iter(here)) if len(here) == 1 else None
        busy, own_busy = core_busy_seconds(meter.core), core_busy_seconds(own_core)
        start = time.perf_counter()
        at, counted = start, 0
        while (left := start + seconds - time.perf_counter()) > 0:
            await asyncio.sleep(min(SAMPLE_SECONDS, left))
            now = time.perf_counter()
            if now - at >= SAMPLE_SECONDS / 2:
                rate = (span.deliveries - counted) / (now - at)
                span.rates.append((now - start, rate))
                at, counted = now, span.deliveries
                under_way = f"{self.in_flight:7,} under way  {self.faults.told()}"
                progress(f"{now - start:5.1f} s  {rate:11,.0f} delivered/s  {under_way}")
        span.seconds = time.perf_counter() - start
        span.sent = self._sent() - sent
        own = time.process_time() - own
        span.client_cpu_share = own / span.seconds
        if cpu is not None:
            span.cpu_seconds = (meter.cpu_seconds() or 0.0) - cpu
        span.others_on_server_core = _others(meter.core, busy, span.cpu_seconds, span.seconds)
        span.others_on_client_core = _others(own_core, own_busy, own, span.seconds)
        self.span = Span()  # what comes from here on is no part of it
        return span

    def _sent(self) -> int:
        return sum(sender.counter for sender in self.senders.values())

    async def settle(self) -> None:
        """Wait until all that was sent is acknowledged and everywhere, at most `settle_seconds`: what is missing then
        counts as lost."""
        await until(lambda: self.in_flight == 0, self._settle_seconds)

    def judge(self) -> Faults:
        """The verdict on everything that was said."""
        faults = self.faults
        faults.unanswered += len(self.commands)
        for client in self.clients:
            passed_over = late = 0
            for name, heard in client.heard.items():
                sender = self.senders[name]
                faults.duplicated += heard.duplicated
                passed_over += len(heard.missing - sender.refused)
                late += heard.disordered
                # What its sender said after the last that was heard.
                passed_over += _acknowledged_after(sender, heard.last)
            faults.lost += max(passed_over, len(client.stream.missing))
            faults.disordered += max(late, client.stream.disordered)
            faults.duplicated += client.stream.duplicated
        for sender in self.senders.values():
            faults.unanswered += len(sender.unacked)
            for receiver in sender.receivers:
                if sender.name not in receiver.heard:
                    faults.lost += _acknowledged_after(sender, 0)
        return faults

    async def leave(self) -> None:
        """Everybody goes; a thousand at a time, so that the goodbyes are not all in one turn of the loop."""
        for number, client in enumerate(self.clients):
            client.leave()
            if number % 1_000 == 999:
                await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        for client in self.clients:
            client.cut()


def _others(core: int | None, busy: float | None, counted: float | None, seconds: float) -> float | None:
    """The share of a core's time that went to whoever is not counted; not below 0, for clocks are coarse."""
    now = core_busy_seconds(core)
    if now is None or busy is None or counted is None:
        return None
    return max(0.0, (now - busy - counted) / seconds)


def _acknowledged_after(sender: Sender, counter: int) -> int:
    return sum(
        1
        for late in range(counter + 1, sender.counter + 1)
        if late not in sender.unacked and late not in sender.refused
    )


async def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for it, looking again every few milliseconds; whether it came."""
    end = time.perf_counter() + seconds
    while not condition():
        if time.perf_counter() > end:
            return False
        await asyncio.sleep(0.005)
    return True


async def open_all(clients: Sequence[Client], *, at_once: int, progress: Progress = lambda _: None) -> None:
    """Open them, so many at a time, each again when the server has told it to come back later. Raises what the first
    failure raised."""
    gate = asyncio.Semaphore(at_once)
    done = 0

    async def enter(client: Client) -> None:
        nonlocal done
        wish_ms = -1
        while wish_ms:
            await asyncio.sleep(max(0, wish_ms) / 1000)
            async with gate:
                wish_ms = await _open(client)
        done += 1
        if done % 100 == 0:
            progress(f"{done:,} of {len(clients):,} connected")

    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(enter(client))


async def _open(client: Client) -> int:
    """0 when it is open, or after how many milliseconds the server wants to see it again. Raises as `Client.open`."""
    try:
        await client.open()
    except Cut as cut:
        if not cut.delay_ms:
            raise
        client.cut()
        return cut.delay_ms
    return 0
