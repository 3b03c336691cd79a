"""What a killed server leaves behind: every acknowledged message, once and in order, for everyone (F1, F3, G1 to G4).

On SQLite and on PostgreSQL; `make soak` kills 200 times on each."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest

from chatd.config import Settings
from chatd.store.migrations import migrate
from chatd.web.app import open_chat
from chatd.web.tokens import make_ticket
from tests.clients import SECRET, SHOP_ORIGIN, Client, Talker, furnish, house_settings
from tests.conftest import ROOT
from tests.databases import PostgresServer, url_in
from tests.door import until

KILLS = {"sqlite": 8, "postgres": 4}
SOAK_KILLS = 200
SERVING_SECONDS = 2.0
STARTED_SECONDS = 180.0
"""So busy can a machine be that a process of low priority takes this long to begin."""


class Victim:
    """chatd as a process of its own, on a port that stays the same over its lives: `chatd serve`, or another program
    that is named."""

    def __init__(self, directory: Path, **environ: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._environment = {
            **os.environ,
            "CHATD_DATA_DIRECTORY": str(directory),
            "CHATD_DATABASE_URL": url_in(directory),
            "CHATD_PORT": str(self.port),
            "CHATD_BASE_URL": "http://localhost:8000",
            "CHATD_ALLOWED_HOSTS": "127.0.0.1",
            "CHATD_SECRET": SECRET,
            "CHATD_COMMANDS_PER_WINDOW_MAX": "1000000",
            "CHATD_CONNECTIONS_PER_ADDRESS_MAX": "1000",
            "CHATD_LOG_LEVEL": "warning",
            "CHATD_TOPICS": "off",
            **environ,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.serving_seconds: list[float] = []
        self.starting_seconds: list[float] = []  # of a processor, which says more where others are at work

    def start(self, *program: str) -> None:
        arguments = program or ("chatd", "serve")
        self.process = subprocess.Popen([sys.executable, "-m", *arguments], cwd=ROOT, env=self._environment)

    def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=20)

    async def until_serving(self) -> None:
        """Wait until it listens, and note how long that took."""
        began = time.monotonic()
        async with asyncio.timeout(STARTED_SECONDS):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    self.serving_seconds.append(time.monotonic() - began)
                    self.starting_seconds.append(self._processor_seconds())
                    return
                await asyncio.sleep(0.01)

    def _processor_seconds(self) -> float:
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Party:
    """Two customers and an agent who talk to a server that is killed again and again."""

    def __init__(self, settings: Settings, victim: Victim, shop_key: str, ticket: Callable[[], str]) -> None:
        url = f"ws://127.0.0.1:{victim.port}/v1/socket"
        self.victim = victim
        self.shop_key = shop_key
        self.customers = [Talker(lambda: f"{url}/{shop_key}", SHOP_ORIGIN, dict) for _ in range(2)]
        self.agent = Talker(lambda: url, settings.origin, lambda: {"ticket": ticket()})
        self.talkers = [*self.customers, self.agent]
        self.said: dict[Talker, list[str]] = {talker: [] for talker in self.talkers}
        self._talking: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        for talker in self.talkers:
            talker.start()
        await until(lambda: all(talker.welcomes for talker in self.talkers), seconds=30)
        for number, customer in enumerate(self.customers):
            self._talking.append(asyncio.create_task(self._talk(customer, f"customer{number}")))
        await until(lambda: bool(self.customers[0].acked), seconds=30)
        conversation = next(iter(self.customers[0].acked.values()))["conversation"]
        self._talking.append(asyncio.create_task(self._talk(self.agent, "agent", conversation)))

    async def _talk(self, talker: Talker, name: str, conversation: str | None = None) -> None:
        for number in range(10**6):
            client_id = f"{name}-{number:06}"
            self.said[talker].append(client_id)
            talker.say(client_id, f"{name} says {number}", conversation)
            await asyncio.sleep(random.uniform(0, 0.02))
            await until(lambda: len(talker.outbox) < 50, seconds=60)

    async def suffer(self, kills: int) -> None:
        for number in range(kills):
            if number and number % 20 == 0:
                print(f"{number} kills so far", flush=True)  # for whoever watches a soak
            lives = [talker.welcomes for talker in self.talkers]
            await asyncio.sleep(random.uniform(0.05, 0.4))
            assert self.victim.end(signal.SIGKILL) == -signal.SIGKILL
            self.victim.start()
            await self.victim.until_serving()
            await until(partial(self._were_welcomed_again, lives), seconds=STARTED_SECONDS)

    def _were_welcomed_again(self, lives: list[int]) -> bool:
        return all(talker.welcomes > before for talker, before in zip(self.talkers, lives, strict=True))

    async def fall_silent(self) -> None:
        """All that was said has been answered and heard."""
        for task in self._talking:
            task.cancel()
        await asyncio.gather(*self._talking, return_exceptions=True)
        await until(lambda: not any(talker.outbox for talker in self.talkers), seconds=60)
        total = sum(map(len, self.said.values()))
        await until(lambda: len(self.agent.messages()) == total, seconds=60)

    async def check(self) -> None:
        for talker in self.talkers:
            assert talker.faults == []
            assert set(talker.acked) == set(self.said[talker]), "everything was acknowledged in the end"
            assert len(set(talker.messages())) == len(talker.messages())
        heard = self.agent.messages()
        own = [[name for name in heard if name.startswith(f"customer{one}")] for one in range(2)]
        assert own == [self.said[customer] for customer in self.customers], "in the order in which they were said"
        assert [name for name in heard if name.startswith("agent")] == self.said[self.agent]
        both = [name for name in heard if not name.startswith("customer1")]
        await until(lambda: self.customers[0].messages() == both, seconds=20)

    async def end(self) -> None:
        for task in self._talking:
            task.cancel()
        for talker in self.talkers:
            await talker.stop()


def stored(settings: Settings, postgres: PostgresServer | None) -> list[tuple[int, str]]:
    """All events as they are on the disk: number and record, by number."""
    if postgres is not None:
        rows = postgres.execute("SELECT number, record FROM events ORDER BY number", database="chatd")
        return [(row["number"], row["record"]) for row in rows]
    with contextlib.closing(sqlite3.connect(settings.database_path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return connection.execute("SELECT number, record FROM events ORDER BY number").fetchall()


@contextlib.asynccontextmanager
async def a_party(directory: Path, *program: str, **environ: str) -> AsyncIterator[tuple[Party, Settings]]:
    """A victim that serves, as `Victim.start` begins it, and people who talk to it."""
    settings = house_settings(directory)
    await asyncio.to_thread(migrate, settings)
    async with open_chat(settings) as chat:
        shop, _, sessions = await furnish(chat)
        clock = chat.clock
    victim = Victim(directory, **environ)
    victim.start(*program)
    party = Party(settings, victim, shop.key, lambda: make_ticket(SECRET, sessions[0], clock()))
    try:
        await party.begin()
        yield party, settings
    finally:
        await party.end()
        code = victim.end(signal.SIGTERM)
    assert code == 0


async def suffer_kills(directory: Path, kills: int, postgres: PostgresServer | None) -> Victim:
    """Kill so often, and hold everybody's story against the others' and the disk."""
    async with a_party(directory) as (party, settings):
        await party.suffer(kills)
        await party.fall_silent()
        await party.check()
        assert party.agent.resumes >= kills
        heard = party.agent.messages()
        victim = party.victim
    check_stored(settings, postgres, heard)
    return victim


def check_stored(settings: Settings, postgres: PostgresServer | None, heard: list[str]) -> None:
    """On the disk is what was heard, in that order, and no number is missing."""
    events = stored(settings, postgres)
    messages = [json.loads(record) for _, record in events if '"type":"message_sent"' in record]
    assert [event["message"]["client_id"] for event in messages] == heard
    assert [number for number, _ in events] == list(range(1, len(events) + 1))


def server_of(request: pytest.FixtureRequest, database: str) -> PostgresServer | None:
    found: PostgresServer | None = request.getfixturevalue("postgres") if database == "postgres" else None
    return found


async def test_killed_at_random_moments_nothing_acknowledged_is_lost_doubled_or_out_of_order(
    tmp_path: Path, database: str, request: pytest.FixtureRequest
) -> None:
    await suffer_kills(tmp_path, KILLS[database], server_of(request, database))


@pytest.mark.soak
async def test_two_hundred_kills(tmp_path: Path, database: str, request: pytest.FixtureRequest) -> None:
    victim = await suffer_kills(tmp_path, SOAK_KILLS, server_of(request, database))
    waited, worked = (statistics.median(seconds) for seconds in (victim.serving_seconds, victim.starting_seconds))
    print(
        f"{database}: {SOAK_KILLS} kills; serving again after {waited:.2f} s, {worked:.2f} s of a processor (medians)"
    )
    assert worked <= SERVING_SECONDS


# ---------------------------------------------------------------- at one moment exactly (F3)


@contextlib.asynccontextmanager
async def doomed_party(directory: Path, moment: str) -> AsyncIterator[tuple[Party, Settings]]:
    """A customer and an agent at a server that will kill itself at this moment (`tests.doomed`). What is served when
    the block ends must end in good order."""
    settings = house_settings(directory)
    await asyncio.to_thread(migrate, settings)
    async with open_chat(settings) as chat:
        shop, _, sessions = await furnish(chat)
        clock = chat.clock
    victim = Victim(directory)
    party = Party(settings, victim, shop.key, lambda: make_ticket(SECRET, sessions[0], clock()))
    customer, agent = party.customers[0], party.agent
    try:
        victim.start("tests.doomed", moment)
        for talker in (customer, agent):
            talker.start()
        await until(lambda: bool(customer.welcomes and agent.welcomes), seconds=30)
        yield party, settings
    finally:
        await party.end()
        code = victim.end(signal.SIGTERM)
    assert code == 0


@pytest.mark.parametrize("moment", ["before-the-commit", "after-the-commit", "after-the-answer"])
async def test_killed_at_this_very_moment_a_message_is_there_once_and_has_one_answer(
    tmp_path: Path, moment: str
) -> None:
    """Before the commit: nothing has happened, and the repeat does it. Between commit and answer: the repeat gets the
    answer of the first. Between answer and publication: whoever follows finds it by its number."""
    async with doomed_party(tmp_path, moment) as (party, settings):
        victim, customer, agent = party.victim, party.customers[0], party.agent
        customer.say("doomed-000001", "the last words")
        assert victim.process is not None
        assert await asyncio.to_thread(victim.process.wait, 30) == -signal.SIGKILL
        assert bool(customer.acked) is (moment == "after-the-answer")
        before = stored(settings, None)
        assert bool(before) is (moment != "before-the-commit")
        assert agent.messages() == []
        victim.start()
        await until(lambda: not customer.outbox, seconds=30)
        await until(lambda: agent.messages() == customer.messages() == ["doomed-000001"], seconds=30)
        again = await Client.open(f"ws://127.0.0.1:{victim.port}/v1/socket/{party.shop_key}", SHOP_ORIGIN)
        await again.hello(token=customer.token)
        answer = (await again.say("the last words", id="doomed-000001"))["result"]  # once more, after everything
        await again.close()
        assert answer == customer.acked["doomed-000001"]
        assert customer.faults == agent.faults == []
        assert agent.resumes == 1
    [event] = [json.loads(record) for _, record in stored(settings, None) if "message_sent" in record]
    assert (answer["message"], answer["position"]) == (event["message"]["id"], 1)
    assert not before or event in [json.loads(record) for _, record in before]


async def test_killed_while_the_journal_is_settled_a_message_is_there_once(tmp_path: Path) -> None:
    """It was acknowledged from the journal; that half of it had gone on to its tables is undone with the process."""
    said: list[str] = []
    async with doomed_party(tmp_path, "while-the-journal-is-settled") as (party, settings):
        victim, customer, agent = party.victim, party.customers[0], party.agent
        process = victim.process
        assert process is not None
        for number in range(20):  # the first ones find their tables' rows unread, and go there directly
            said.append(f"doomed-{number:06}")
            customer.say(said[-1], f"word {number}")
            await until(lambda: said[-1] in customer.acked or process.poll() is not None, seconds=30)
        assert await asyncio.to_thread(process.wait, 30) == -signal.SIGKILL
        assert customer.acked
        victim.start()
        await until(lambda: customer.resumes == agent.resumes == 1, seconds=30)
        await until(lambda: not customer.outbox, seconds=30)
        await until(lambda: agent.messages() == customer.messages() == said, seconds=30)
        assert customer.faults == agent.faults == []
    assert sum("message_sent" in record for _, record in stored(settings, None)) == len(said)
