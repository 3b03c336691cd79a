"""Talking: *pairs*, *relay* and *fanout*. (*idle* and *storm*, where connections are the matter, are in `load.crowds`.)

    pairs    a customer and an agent each, who write to each other: once saturated, once at a pace
    relay    the same with what is kept nowhere: of chatd the signal that somebody types, which is judged like a message
             and goes the same way but for the store and the acknowledgement; of a relay, its messages
    fanout   a customer whose every message reaches N staff who follow the shop: one at a time, and in bursts

Each workload has connections of its own, is warmed up before it is measured, and ends by waiting for everything that
is still under way. A delivery is a message (or signal) at its other side; the sender's own event and the
acknowledgement are part of its price and no deliveries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from load.check import Faults
from load.client import Client, Sender
from load.dialects import ChatdDialect
from load.measure import Meter, rounded
from load.systems import Running
from load.traffic import Progress, Span, Traffic, open_all
from load.websocket import Memo

OPENED_AT_ONCE = 64
INTRODUCED_AT_ONCE = 500
PERCENTS = (1, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much of everything. The command line bounds each."""

    seconds: float = 5.0
    warm_seconds: float = 1.0
    settle_seconds: float = 15.0
    pairs: int = 50
    window: int = 1
    rate: float = 1_000.0
    followers: int = 200
    burst: int = 10
    connections: int = 1_000
    handshakes: int = 1_000
    missed: int = 2
    visitors: int = 150
    seed: int = 1
    text_characters: int = 120


class Run(msgspec.Struct, kw_only=True):
    """One workload of one system in one turn. None: not measured here."""

    workload: str
    cpu_us_per_delivery: float | None = None
    deliveries_per_s: float | None = None
    p50_us: float | None = None
    p99_us: float | None = None
    rss_kib_per_connection: float | None = None
    handshakes_per_s: float | None = None
    faults: Faults
    detail: dict[str, float | None]
    curve: list[tuple[float, int]] = msgspec.field(default_factory=list)
    rates: list[tuple[float, float]] = msgspec.field(default_factory=list)
    system: str = ""
    persisted: bool = False
    turn: int = 0


def words(characters: int) -> str:
    """A text of so many letters: no digits, for those are the messages' own."""
    return ("Does this cup come in blue as well? " * (characters // 36 + 1))[:characters]


def run_of(workload: str, span: Span, faults: Faults, **detail: Any) -> Run:
    """What a stretch of talking has shown."""
    cpu = span.cpu_seconds
    return Run(
        workload=workload,
        cpu_us_per_delivery=rounded(cpu * 1e6 / span.deliveries) if cpu is not None and span.deliveries else None,
        deliveries_per_s=rounded(span.deliveries / span.seconds) if span.seconds else None,
        p50_us=span.delivered.percentile(50),
        p99_us=span.delivered.percentile(99),
        faults=faults,
        detail={
            "p999_us": span.delivered.percentile(99.9),
            "ack_p50_us": span.acked.percentile(50),
            "ack_p99_us": span.acked.percentile(99),
            "sent_per_s": rounded(span.sent / span.seconds) if span.seconds else None,
            "server_cpu_share": rounded(cpu / span.seconds, 3) if cpu is not None and span.seconds else None,
            "client_cpu_share": rounded(span.client_cpu_share, 3),
            "others_on_server_core": rounded(span.others_on_server_core, 3),
            "others_on_client_core": rounded(span.others_on_client_core, 3),
            **detail,
        },
        curve=span.delivered.curve(PERCENTS),
        rates=[(round(at, 2), round(rate, 1)) for at, rate in span.rates],
    )


# ---------------------------------------------------------------- pairs


async def open_pairs(traffic: Traffic, running: Running, plan: Plan, *, count: int) -> list[Sender]:
    """So many pairs, connected and past their first message; the voices of both sides. Pairs of one room share its
    agent."""
    agents = [traffic.client(running.staff(room)) for room in range(min(count, running.rooms))]
    customers = [traffic.client(running.customer(number % len(agents))) for number in range(count)]
    await open_all(agents, at_once=OPENED_AT_ONCE)
    await open_all(customers, at_once=OPENED_AT_ONCE)
    text = words(plan.text_characters)
    asking = [traffic.sender(one, text, [agents[number % len(agents)]]) for number, one in enumerate(customers)]
    await introduce(traffic, asking)
    answering = [
        traffic.sender(agents[number % len(agents)], text, [customer], customer.conversation)
        for number, customer in enumerate(customers)
    ]
    # A customer and then their agent: a pace goes through both sides of a pair in turn.
    return [voice for pair in zip(asking, answering, strict=True) for voice in pair]


async def introduce(traffic: Traffic, senders: Sequence[Sender]) -> None:
    """A first message of each, so that there is a conversation; so many at a time as a server takes in at once."""
    for first in range(0, len(senders), INTRODUCED_AT_ONCE):
        for sender in senders[first : first + INTRODUCED_AT_ONCE]:
            sender.say()
        await traffic.settle()


async def pairs(running: Running, plan: Plan, progress: Progress) -> list[Run]:
    return [await _pairs("pairs", running, plan, progress, saturated=saturated) for saturated in (True, False)]


async def relay(running: Running, plan: Plan, progress: Progress) -> list[Run]:
    return [await _pairs("relay", running, plan, progress, saturated=saturated) for saturated in (True, False)]


async def _pairs(name: str, running: Running, plan: Plan, progress: Progress, *, saturated: bool) -> Run:
    traffic, meter = Traffic(plan.settle_seconds), Meter(running.pids, running.core)
    workload = f"{name}-{plan.pairs}"
    try:
        senders = await open_pairs(traffic, running, plan, count=plan.pairs)
        if name == "relay" and isinstance(senders[0].client.dialect, ChatdDialect):
            senders = await typists_of(traffic, senders)
        if saturated:
            workload, talking = f"{workload}/saturated", traffic.saturated(senders, window=plan.window)
        else:
            workload, talking = f"{workload}/{plan.rate:g}-per-s", traffic.paced(senders, per_second=plan.rate)
        async with talking:
            await asyncio.sleep(plan.warm_seconds)
            span = await traffic.measure(plan.seconds, meter, lambda line: progress(f"{workload}  {line}"))
        await traffic.settle()
        return run_of(workload, span, traffic.judge())
    finally:
        await traffic.leave()


async def typists_of(traffic: Traffic, senders: Sequence[Sender]) -> list[Sender]:
    """Those of pairs, as `open_pairs` has them, who from here on tell each other that they type. Past their first
    signal, for which chatd looks the conversation up."""
    typists = []
    for customer, agent in zip(senders[::2], senders[1::2], strict=True):
        conversation = customer.client.conversation
        assert conversation is not None, "they have written to each other"
        typists.append(traffic.typist(customer.client, agent.client, conversation, staff=False))
        typists.append(traffic.typist(agent.client, customer.client, conversation, staff=True))
    await introduce(traffic, typists)
    return typists


# ---------------------------------------------------------------- fanout


async def fanout(running: Running, plan: Plan, progress: Progress) -> list[Run]:
    return [await _fanout(running, plan, progress, burst=1), await _fanout(running, plan, progress, burst=plan.burst)]


async def _fanout(running: Running, plan: Plan, progress: Progress, *, burst: int) -> Run:
    """The next burst goes out when everybody has the last one, so `p99_us` is the time to reach nearly all of them."""
    traffic, meter = Traffic(plan.settle_seconds), Meter(running.pids, running.core)
    name = "single" if burst == 1 else f"bursts-of-{burst}"
    workload = f"fanout-{plan.followers}/{name}"
    try:
        memo = Memo()
        followers: list[Client] = [traffic.client(running.staff(0), memo) for _ in range(plan.followers)]
        speaker = traffic.client(running.customer(0))
        await open_all([*followers, speaker], at_once=OPENED_AT_ONCE, progress=progress)
        sender = traffic.sender(speaker, words(plan.text_characters), followers)
        await introduce(traffic, [sender])
        async with traffic.saturated([sender], window=burst, burst=burst):
            await asyncio.sleep(plan.warm_seconds)
            span = await traffic.measure(plan.seconds, meter, lambda line: progress(f"{workload}  {line}"))
        await traffic.settle()
        return run_of(workload, span, traffic.judge())
    finally:
        await traffic.leave()
