"""A shop's day, compressed: people come, walk from page to page, fill carts, ask, wait for the answer or leave before
it; agents answer after a while; whoever is away is mailed; some come back.

Who does what and when follows from a seed. What has happened is checked as in every other run: each number of each
stream, each message at everybody who must have it. At the end of the day all who have asked come back once and go on
where they were, so that what was said to the absent is checked as well; before that, whoever is away must have been
mailed what they have not seen, once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from load.check import Faults
from load.client import Client, Sender
from load.mails import MailSink
from load.measure import Meter
from load.scenarios import OPENED_AT_ONCE, Plan, Run, run_of, words
from load.systems import Running
from load.traffic import Progress, Traffic, open_all, until

AGENTS = 3
MAIL_SECONDS = 60.0
PATIENCE_SHARE = 0.15
"""Of the day: how long somebody waits for an answer."""

# A day of seconds: an absence and a quiet time of minutes would outlast it.
DAY_SETTINGS = MappingProxyType(
    {
        "presence_leave_grace_seconds": "1",
        "digest_quiet_seconds": "1",
        "digest_wait_seconds_max": "3",
        "mail_from_fallback": "chat@shop.example",
    }
)


@dataclass(frozen=True)
class Page:
    """One page of a visit. `cart`: how many lines the cart has from here on, when it changes."""

    seconds: float
    asks: bool
    cart: int | None


@dataclass(frozen=True)
class Visit:
    """`waits`: stays on the last page until everything is answered, or patience ends."""

    at: float
    pages: tuple[Page, ...]
    waits: bool


@dataclass(frozen=True)
class Visitor:
    """All that one person does on this day. `email`: given with the first question."""

    visits: tuple[Visit, ...]
    email: str | None


def plan_day(seed: int, visitors: int, seconds: float) -> list[Visitor]:
    """The same for the same arguments. Most come about noon and in the evening, and nobody after 7/10 of the day, so
    that all have time to be answered."""
    chance = random.Random(seed)
    return [_plan_visitor(chance, number, seconds) for number in range(visitors)]


def _plan_visitor(chance: random.Random, number: int, seconds: float) -> Visitor:
    asks, has_email = chance.random() < 0.5, chance.random() < 0.7
    visits = []
    at = min(max(chance.gauss(chance.choice((0.25, 0.5)), 0.1), 0.0), 0.7) * seconds
    for _ in range(1 + (chance.random() < 0.35)):
        pages = tuple(
            Page(
                seconds=min(chance.expovariate(40 / seconds), seconds / 10),
                asks=asks and chance.random() < 0.5,
                cart=chance.randint(0, 4) if chance.random() < 0.4 else None,
            )
            for _ in range(chance.randint(1, 5))
        )
        visits.append(Visit(at, pages, waits=chance.random() < 0.5))
        at = min(at + chance.uniform(0.1, 0.4) * seconds, 0.75 * seconds)
    return Visitor(tuple(visits), f"visitor{number}@example.com" if has_email else None)


@dataclass
class Person:
    """A visitor of this run. `seen`: replies that were on the screen when it was said so."""

    client: Client
    voice: Sender
    plan: Visitor
    answers: dict[Client, Sender] = field(default_factory=dict)
    introduced: bool = False
    seen: int = 0

    @property
    def heard(self) -> int:
        return sum(self.client.heard[one.name].last for one in self.answers.values() if one.name in self.client.heard)

    @property
    def said(self) -> int:
        """Replies to them, so far."""
        return sum(sender.counter for sender in self.answers.values())

    @property
    def asked(self) -> bool:
        return self.voice.counter > 0

    def told(self, sink: MailSink) -> int:
        """Replies of which a mail has told."""
        texts = sink.texts.get(self.plan.email or "", ())
        return sum(text.count(f"[{sender.name}]") for text in texts for sender in self.answers.values())

    def untold_at_least(self, sink: MailSink) -> int:
        """What has not been seen must have been mailed; more may be, to somebody who came back after that."""
        return self.said - self.seen - self.told(sink) if self.introduced else 0


class _Day:
    def __init__(self, traffic: Traffic, running: Running, plan: Plan) -> None:
        self.traffic = traffic
        self.seconds = plan.seconds
        self.pages = self.visits = 0
        self._chance = random.Random(plan.seed + 1)
        self._text = words(plan.text_characters)
        self._tasks: set[asyncio.Task[None]] = set()
        self.agents = [traffic.client(running.staff(0)) for _ in range(AGENTS)]
        self.people: list[Person] = []
        for visitor in plan_day(plan.seed, plan.visitors, plan.seconds):
            client = traffic.client(running.customer(0))
            self.people.append(Person(client, traffic.sender(client, self._text, self.agents), visitor))
        self._by_voice = {person.voice: person for person in self.people}

    # ------------------------------------------------------------------ customers

    async def live(self, person: Person) -> None:
        now = 0.0
        for visit in person.plan.visits:
            await asyncio.sleep(max(0.0, visit.at - now))
            now = max(now, visit.at)
            start = asyncio.get_running_loop().time()
            await self._visit(person, visit)
            now += asyncio.get_running_loop().time() - start

    async def _visit(self, person: Person, visit: Visit) -> None:
        self.visits += 1
        for page in visit.pages:
            self.pages += 1
            if not person.asked:
                person.client.forget()  # nothing is kept of whoever has not said anything
            await person.client.open()
            if page.cart is not None:
                self.traffic.command(person.client, "update_cart", {"cart": _cart(page.cart)})
            if page.asks:
                self._ask(person)
            await asyncio.sleep(page.seconds)
            if page is visit.pages[-1] and visit.waits:
                await until(lambda: person.heard >= person.voice.counter, PATIENCE_SHARE * self.seconds)
            self._see(person)
            await self._go(person)

    def _ask(self, person: Person) -> None:
        person.voice.say()
        if person.plan.email is not None and not person.introduced:
            person.introduced = True
            self.traffic.command(person.client, "introduce", {"name": "Mia", "email": person.plan.email})

    def _see(self, person: Person) -> None:
        """What has been heard is on the screen. A conversation's positions rise by one with each message of either
        side, and the client has heard all up to its last."""
        heard, conversation = person.heard, person.client.conversation
        if heard > person.seen and conversation is not None:
            person.seen = heard
            position = sum(numbers.last for numbers in person.client.heard.values())
            self.traffic.command(person.client, "mark_seen", {"conversation": conversation, "position": position})

    async def _go(self, person: Person) -> None:
        """Leave the page. A browser sends what it has before it goes; what is not acknowledged yet would be sent again
        from the next page, so here it is waited for."""
        await until(lambda: not person.voice.unacked and not self.traffic.commands_of(person.client), 5.0)
        person.client.leave()
        for sender in person.answers.values():
            sender.forget_times()
        await until(lambda: not person.client.is_open, 5.0)

    # ------------------------------------------------------------------ agents

    def answer_soon(self, voice: Sender) -> None:
        """A question has come to all agents: one of them answers after a while."""
        person = self._by_voice.get(voice)
        if person is not None:
            task = asyncio.create_task(self._answer(person, self._chance.expovariate(20 / self.seconds)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, person: Person, seconds: float) -> None:
        await asyncio.sleep(min(0.02 * self.seconds + seconds, 0.15 * self.seconds))
        agent = self._chance.choice(self.agents)
        conversation = person.client.conversation
        assert conversation is not None, "it came with the acknowledgement"
        sender = person.answers.get(agent)
        if sender is None:
            # The name stands in the text, so that a mail says whose reply it tells.
            name = self.traffic.next_name()
            sender = self.traffic.sender(agent, f"{self._text} [{name}]", [person.client], conversation)
            person.answers[agent] = sender
        sender.say()
        if not person.client.is_open:
            sender.forget_times()
        if self._chance.random() < 0.2:
            self.traffic.command(agent, "close_conversations", {"conversations": [conversation]})

    async def until_answered(self) -> None:
        while self._tasks:
            await asyncio.gather(*self._tasks)

    # ------------------------------------------------------------------ the end of the day

    async def reunite(self) -> None:
        """All who have asked come back once."""
        back = [person.client for person in self.people if person.asked]
        await open_all(back, at_once=OPENED_AT_ONCE)
        await self.traffic.settle()


async def day(running: Running, plan: Plan, progress: Progress) -> list[Run]:
    traffic, meter = Traffic(plan.settle_seconds), Meter(running.pids, running.core)
    workload = f"day-{plan.visitors}"
    shop = _Day(traffic, running, plan)
    try:
        await open_all(shop.agents, at_once=OPENED_AT_ONCE)
        async with traffic.hearing(shop.answer_soon):
            async with asyncio.TaskGroup() as group:
                measuring = group.create_task(
                    traffic.measure(plan.seconds, meter, lambda line: progress(f"{workload}  {line}"))
                )
                for person in shop.people:
                    group.create_task(shop.live(person))
            await until(lambda: not any(person.voice.in_flight for person in shop.people), plan.settle_seconds)
        await shop.until_answered()
        span = measuring.result()
        mailed = Faults()
        if running.mails is not None:
            await _until_mailed(shop.people, running.mails, progress)
            mailed = judge_mails(shop.people, running.mails)
        await shop.reunite()
        faults = traffic.judge()
        faults.add(mailed)
        cpu = span.cpu_seconds
        return [
            run_of(
                workload,
                span,
                faults,
                visits=float(shop.visits),
                pages=float(shop.pages),
                questions=float(sum(person.voice.counter for person in shop.people)),
                replies=float(sum(person.said for person in shop.people)),
                commands=float(traffic.commands_sent),
                mails=None if running.mails is None else float(running.mails.count),
                server_cpu_seconds=None if cpu is None else round(cpu, 2),
                seed=float(plan.seed),
            )
        ]
    finally:
        await traffic.leave()


async def _until_mailed(people: Sequence[Person], sink: MailSink, progress: Progress) -> None:
    """Until whoever must be told is, as far as the count goes; chatd sends nothing in its first seconds."""

    def waiting() -> int:
        return sum(person.untold_at_least(sink) > 0 for person in people)

    def all_told() -> bool:
        progress(f"{sink.count} mails came; {waiting()} people are not told yet")
        return not waiting()

    await until(all_told, MAIL_SECONDS)


def judge_mails(people: Sequence[Person], sink: MailSink) -> Faults:
    """Whoever is away, has given an address and has not seen a reply was told of it by mail; nobody was told of a reply
    twice, and no mail came twice."""
    faults = Faults()
    for person in people:
        if (missing := person.untold_at_least(sink)) > 0:
            faults.lost += missing
            faults.note(f"{missing} replies to somebody away were not mailed")
        if (doubled := person.told(sink) - person.said) > 0:
            faults.duplicated += doubled
            faults.note(f"{doubled} replies were mailed again")
    twice = sum(count - 1 for count in sink.ids.values())
    if twice:
        faults.duplicated += twice
        faults.note(f"{twice} mails came twice")
    return faults


def _cart(lines: int) -> dict[str, object]:
    """So many lines of a catalogue of cups; the amounts are in minor units."""
    amounts = [(1_250 * (1 + number), 1 + number % 3) for number in range(lines)]
    return {
        "currency": "EUR",
        "subtotal": sum(price * quantity for price, quantity in amounts),
        "lines": [
            {"id": f"cup-{number}", "title": f"Cup number {number}", "quantity": quantity, "price": price}
            for number, (price, quantity) in enumerate(amounts)
        ],
    }
