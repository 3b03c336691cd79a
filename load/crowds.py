"""Many connections: *idle*, *handshakes* and *storm*.

idle        N customers connect, say hello, and then nothing: handshakes a second, memory for each, and whether all
            are still there at the end
handshakes  N customers who have been here before connect: the price of it
storm       N customers with a conversation are cut off at once, miss messages, and all come back at once: how long
            until each has everything, and what a pair that had nothing to do with it feels
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Sequence

from load.client import Client, Cut, Sender
from load.measure import Meter, collector_off, rounded
from load.scenarios import OPENED_AT_ONCE, Plan, Run, introduce, open_pairs, run_of, words
from load.systems import Running
from load.traffic import Progress, Traffic, open_all, until
from load.websocket import HandshakeRefused

FIRST_CONNECTIONS = 20
"""Opened before memory is measured: what a server loads and makes once is not the price of a connection."""

WARMING_SHARE = 0.2
"""How many of those who come again come once more before: it is not measured."""

ANSWER_SECONDS = 10.0
QUIET_SECONDS = 0.5
STORM_SECONDS_MAX = 120.0
SAID_AT_ONCE = 100
RETRY_SECONDS = (0.2, 1.0)
BYSTANDERS_PER_SECOND = 50.0
CONNECTED_PER_TURN = 20
"""All come at once, within a second or so: as fast as one process connects without keeping the bystanders from being
heard, who share its loop."""


async def idle(running: Running, plan: Plan, progress: Progress) -> list[Run]:
    traffic, meter = Traffic(plan.settle_seconds), Meter(running.pids, running.core)
    workload = f"idle-{plan.connections}"
    try:
        first = [traffic.client(running.customer(0)) for _ in range(FIRST_CONNECTIONS)]
        await open_all(first, at_once=OPENED_AT_ONCE)
        await asyncio.sleep(QUIET_SECONDS)

        crowd = [traffic.client(running.customer(number % running.rooms)) for number in range(plan.connections)]
        rss, cpu, start = meter.rss_kib(), meter.cpu_seconds(), time.perf_counter()
        await open_all(crowd, at_once=OPENED_AT_ONCE, progress=lambda line: progress(f"{workload}  {line}"))
        opening_seconds = time.perf_counter() - start
        cpu_opening = None if cpu is None else (meter.cpu_seconds() or 0.0) - cpu
        await asyncio.sleep(QUIET_SECONDS)
        rss_after = meter.rss_kib()

        span = await traffic.measure(plan.seconds, meter, lambda _: progress(f"{workload}  {_open(crowd):,} open"))
        traffic.faults.cut += await _silent(crowd)
        return [
            Run(
                workload=workload,
                rss_kib_per_connection=None
                if rss is None or rss_after is None
                else rounded((rss_after - rss) / plan.connections, 2),
                handshakes_per_s=rounded(plan.connections / opening_seconds),
                faults=traffic.judge(),
                detail={
                    "cpu_us_per_handshake": None
                    if cpu_opening is None
                    else rounded(cpu_opening * 1e6 / plan.connections),
                    "idle_cpu_share": None if span.cpu_seconds is None else rounded(span.cpu_seconds / span.seconds, 4),
                },
            )
        ]
    finally:
        await traffic.leave()


def _open(clients: Sequence[Client]) -> int:
    return sum(client.is_open for client in clients)


async def _silent(clients: Sequence[Client]) -> int:
    """How many have a connection that no longer answers. One that was told to be gone is counted already."""
    there = [client for client in clients if client.is_open]
    answers = await asyncio.gather(*(client.answers(ANSWER_SECONDS) for client in there))
    return answers.count(False)


async def handshakes(running: Running, plan: Plan, progress: Progress) -> list[Run]:
    """What a connection costs by itself: all have been here before, and come as on a new page, with the token that they
    were given then. Of a relay it is the bare handshake and the greeting of its protocol.

    A fifth of them come once more before anything is measured. What a server loads and makes once, what it prepares
    when somebody comes again for the first time and what it still has to put away of those who have just left is
    paid by then: a small crowd would divide it among few, and figures would depend on their number. The clock of the
    processor ticks a hundred times a second, so take as many as keep a server busy for a second."""
    traffic, meter = Traffic(plan.settle_seconds), Meter(running.pids, running.core)
    workload = f"handshakes-{plan.handshakes}"
    try:
        crowd = [traffic.client(running.customer(number % running.rooms)) for number in range(plan.handshakes)]
        for some in (crowd, crowd[: math.ceil(len(crowd) * WARMING_SHARE)]):
            await open_all(some, at_once=OPENED_AT_ONCE, progress=lambda line: progress(f"{workload}  {line}"))
            await traffic.leave()
            for customer in some:
                customer.forget()
            await asyncio.sleep(QUIET_SECONDS)

        cpu, start, own = meter.cpu_seconds(), time.perf_counter(), time.process_time()
        await open_all(crowd, at_once=OPENED_AT_ONCE, progress=lambda line: progress(f"{workload}  {line}"))
        seconds = time.perf_counter() - start
        cpu_seconds = None if cpu is None else (meter.cpu_seconds() or 0.0) - cpu
        return [
            Run(
                workload=workload,
                handshakes_per_s=rounded(plan.handshakes / seconds),
                faults=traffic.judge(),
                detail={
                    "cpu_us_per_handshake": None
                    if cpu_seconds is None
                    else rounded(cpu_seconds * 1e6 / plan.handshakes),
                    "server_cpu_share": None if cpu_seconds is None else rounded(cpu_seconds / seconds, 3),
                    "client_cpu_share": rounded((time.process_time() - own) / seconds, 3),
                },
            )
        ]
    finally:
        await traffic.leave()


async def storm(running: Running, plan: Plan, progress: Progress) -> list[Run]:
    traffic, beside = Traffic(plan.settle_seconds), Traffic(plan.settle_seconds)
    meter = Meter(running.pids, running.core)
    workload = f"storm-{plan.connections}"
    try:
        bystanders = await open_pairs(beside, running, plan, count=1)
        # The crowd is of another shop than the bystanders, where there are several.
        room = 1 % running.rooms
        agent = traffic.client(running.staff(room))
        crowd = [traffic.client(running.customer(room)) for _ in range(plan.connections)]
        await open_all([agent, *crowd], at_once=OPENED_AT_ONCE, progress=lambda line: progress(f"{workload}  {line}"))
        text = words(plan.text_characters)
        await introduce(traffic, [traffic.sender(customer, text, [agent]) for customer in crowd])

        for customer in crowd:
            customer.cut()
        answering = [traffic.sender(agent, text, [customer], customer.conversation) for customer in crowd]
        await say_to_the_absent(answering, plan.missed)

        progress(f"{workload}  {len(crowd):,} come back at once")
        resumes = sum(customer.resumes for customer in crowd)
        with collector_off():
            async with beside.paced(bystanders, per_second=BYSTANDERS_PER_SECOND):
                await asyncio.sleep(plan.warm_seconds)
                measuring = asyncio.create_task(
                    beside.measure(plan.seconds, meter, lambda line: progress(f"{workload}  {line}"))
                )
                await asyncio.sleep(0)
                cpu, start = meter.cpu_seconds(), time.perf_counter()
                tries = await _come_back(crowd, start + STORM_SECONDS_MAX)
                back_seconds = time.perf_counter() - start
                await until(lambda: all(not sender.in_flight for sender in answering), STORM_SECONDS_MAX)
                caught_up_seconds = time.perf_counter() - start
                cpu_back = None if cpu is None else (meter.cpu_seconds() or 0.0) - cpu
                span = await measuring
        await traffic.settle()
        await beside.settle()
        faults = traffic.judge()
        faults.add(beside.judge())
        run = run_of(
            workload,
            span,
            faults,
            back_seconds=rounded(back_seconds, 3),
            caught_up_seconds=rounded(caught_up_seconds, 3),
            cpu_us_per_handshake=None if cpu_back is None else rounded(cpu_back * 1e6 / len(crowd)),
            resumed=float(sum(customer.resumes for customer in crowd) - resumes),
            tries_per_connection=rounded(sum(tries) / len(crowd), 3),
            tries_max=float(max(tries)),
            rss_mib=None if (rss := meter.rss_kib()) is None else rounded(rss / 1024),
        )
        # CPU and deliveries of this stretch are those of the handshakes; the latencies are the bystanders'.
        run.cpu_us_per_delivery = run.deliveries_per_s = None
        run.handshakes_per_s = rounded(len(crowd) / back_seconds)
        return [run]
    finally:
        await beside.leave()
        await traffic.leave()


async def say_to_the_absent(senders: Sequence[Sender], count: int) -> None:
    """So many messages of each, a few senders at a time. Nobody is there to hear them; that they were taken is what is
    waited for. What is not acknowledged in time is left to the verdict."""
    for first in range(0, len(senders), SAID_AT_ONCE):
        some = senders[first : first + SAID_AT_ONCE]
        for sender in some:
            sender.say(count)
        if not await until(lambda some=some: not any(sender.unacked for sender in some), STORM_SECONDS_MAX):  # type: ignore[misc]
            return


async def _come_back(clients: Sequence[Client], end: float) -> list[int]:
    """All at once, each trying again until it is in, when the server has said so or else after a random while; how
    many tries each took. Those that are not back at the end are left to the verdict."""

    async def come_back(client: Client) -> int:
        tries = 0
        while time.perf_counter() < end:
            tries += 1
            try:
                await client.open()
            except (OSError, HandshakeRefused, Cut) as error:
                client.cut()
                wish_ms = error.delay_ms if isinstance(error, Cut) else 0
                await asyncio.sleep(wish_ms / 1000 if wish_ms else random.uniform(*RETRY_SECONDS))
            else:
                break
        return tries

    coming = []
    for number, client in enumerate(clients):
        coming.append(asyncio.create_task(come_back(client)))
        if number % CONNECTED_PER_TURN == CONNECTED_PER_TURN - 1:
            await asyncio.sleep(0)
    return await asyncio.gather(*coming)
