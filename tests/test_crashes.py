"""What a killed server leaves behind: every acknowledged message, once and in order, for everyone (F1, G1 to G4)."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path

from chatd.store.migrations import migrate
from chatd.web.app import open_chat
from chatd.web.tokens import make_ticket
from tests.clients import SECRET, SHOP_ORIGIN, Talker, furnish, house_settings
from tests.conftest import ROOT
from tests.door import until

KILLS = int(os.environ.get("CHATD_TEST_KILLS", "20"))


class Victim:
    """`chatd serve` as a process of its own, on a port that stays the same over its lives."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._environment = {
            **os.environ,
            "CHATD_DATA_DIRECTORY": str(directory),
            "CHATD_PORT": str(self.port),
            "CHATD_BASE_URL": "http://localhost:8000",
            "CHATD_ALLOWED_HOSTS": "127.0.0.1",
            "CHATD_SECRET": SECRET,
            "CHATD_COMMANDS_PER_WINDOW_MAX": "1000000",
            "CHATD_CONNECTIONS_PER_ADDRESS_MAX": "1000",
            "CHATD_LOG_LEVEL": "warning",
            "CHATD_TOPICS": "off",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", "chatd", "serve"], cwd=ROOT, env=self._environment)

    def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=20)


def _were_welcomed_again(talkers: list[Talker], lives: list[int]) -> bool:
    return all(talker.welcomes > before for talker, before in zip(talkers, lives, strict=True))


async def test_killed_at_random_moments_nothing_acknowledged_is_lost_doubled_or_out_of_order(tmp_path: Path) -> None:
    """Two customers and an agent talk while the server is killed again and again."""
    settings = house_settings(tmp_path)
    migrate(settings)
    async with open_chat(settings) as chat:
        shop, _, sessions = await furnish(chat)
        clock = chat.clock
    victim = Victim(tmp_path)
    url = f"ws://127.0.0.1:{victim.port}/v1/socket"
    customers = [Talker(lambda: f"{url}/{shop.key}", SHOP_ORIGIN, dict) for _ in range(2)]
    agent = Talker(lambda: url, settings.origin, lambda: {"ticket": make_ticket(SECRET, sessions[0], clock())})
    talkers = [*customers, agent]
    said: dict[Talker, list[str]] = {talker: [] for talker in talkers}
    victim.start()
    try:
        for talker in talkers:
            talker.start()
        await until(lambda: all(talker.welcomes for talker in talkers), seconds=30)

        async def talk(talker: Talker, name: str, conversation: str | None = None) -> None:
            for number in range(10**6):
                client_id = f"{name}-{number:06}"
                said[talker].append(client_id)
                talker.say(client_id, f"{name} says {number}", conversation)
                await asyncio.sleep(random.uniform(0, 0.02))
                await until(lambda: len(talker.outbox) < 50, seconds=60)

        chatting = [asyncio.create_task(talk(talker, f"customer{number}")) for number, talker in enumerate(customers)]
        await until(lambda: bool(customers[0].acked), seconds=30)
        conversation = next(iter(customers[0].acked.values()))["conversation"]
        chatting.append(asyncio.create_task(talk(agent, "agent", conversation)))

        for _ in range(KILLS):
            lives = [talker.welcomes for talker in talkers]
            await asyncio.sleep(random.uniform(0.05, 0.4))
            assert victim.end(signal.SIGKILL) == -signal.SIGKILL
            victim.start()
            await until(partial(_were_welcomed_again, talkers, lives), seconds=60)
        for task in chatting:
            task.cancel()
        await asyncio.gather(*chatting, return_exceptions=True)
        await until(lambda: not any(talker.outbox for talker in talkers), seconds=60)
        total = sum(map(len, said.values()))
        await until(lambda: len(agent.messages()) == total, seconds=60)

        for talker in talkers:
            assert talker.faults == []
            assert set(talker.acked) == set(said[talker]), "everything was acknowledged in the end"
            assert len(set(talker.messages())) == len(talker.messages())
        own = [[name for name in agent.messages() if name.startswith(f"customer{one}")] for one in range(2)]
        assert own == [said[customer] for customer in customers], "in the order in which they were said"
        assert [name for name in agent.messages() if name.startswith("agent")] == said[agent]
        both = [name for name in agent.messages() if not name.startswith("customer1")]
        await until(lambda: customers[0].messages() == both, seconds=20)
        assert agent.resumes >= KILLS
    finally:
        for talker in talkers:
            await talker.stop()
        assert victim.end(signal.SIGTERM) == 0
    with sqlite3.connect(settings.database_path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        stored = [
            json.loads(record)["message"]["client_id"]
            for (record,) in connection.execute("SELECT record FROM events WHERE position IS NOT NULL ORDER BY number")
        ]
        numbers = [number for (number,) in connection.execute("SELECT number FROM events ORDER BY number")]
    connection.close()
    assert stored == agent.messages()
    assert numbers == list(range(1, len(numbers) + 1))
