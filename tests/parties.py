"""People who talk at several real nodes while something happens to these, and what they must have afterwards."""

from __future__ import annotations

import asyncio
import itertools
import random
import time

from tests.clients import Talker
from tests.door import until
from tests.nodes import Cluster


class Party:
    """Customers and an agent who talk at certain nodes, each message under a name that says who and which."""

    _lives = itertools.count()

    def __init__(self, cluster: Cluster, *ways: tuple[int, ...]) -> None:
        """`ways`: of each customer, the nodes between which they go; the agent is where the first is."""
        self._cluster = cluster
        self._life = next(self._lives)
        self.customers = [cluster.talking_customer(*way) for way in ways]
        self.agent = cluster.talking_agent(*ways[0])
        self.said: dict[Talker, list[str]] = {customer: [] for customer in self.customers}
        self._tasks: list[asyncio.Task[None]] = []

    async def _talk(self, customer: Talker, name: str) -> None:
        for number in itertools.count():
            client_id = f"{name}-{number:06}"
            self.said[customer].append(client_id)
            customer.say(client_id, f"{name} says {number}")
            await asyncio.sleep(random.uniform(0.0, 0.02))
            await until(lambda: len(customer.outbox) < 100, seconds=60)

    async def __aenter__(self) -> Party:
        for talker in (*self.customers, self.agent):
            talker.start()
        await until(lambda: all(talker.welcomes for talker in (*self.customers, self.agent)), seconds=30)
        for place, customer in enumerate(self.customers):
            name = f"party{self._life}x{place}"
            self._tasks.append(asyncio.create_task(self._talk(customer, name)))
        await self.goes_on()
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        for talker in (*self.customers, self.agent):
            await talker.stop()

    async def goes_on(self) -> float:
        """Until everybody has been answered ten times more; how long that took, in seconds."""
        began = time.monotonic()
        before = {customer: len(customer.acked) for customer in self.customers}
        await until(lambda: all(len(one.acked) >= before[one] + 10 for one in self.customers), seconds=60)
        return time.monotonic() - began

    async def check(self) -> None:
        """Everybody falls silent; all that was said is there once and in order, for everyone and on the disk."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await until(lambda: not any(customer.outbox for customer in self.customers), seconds=60)
        own = f"party{self._life}x"

        def heard() -> list[str]:
            return [name for name in self.agent.messages() if name.startswith(own)]

        await until(lambda: len(heard()) == sum(map(len, self.said.values())), seconds=30)
        for place, customer in enumerate(self.customers):
            assert [name for name in heard() if name.startswith(f"{own}{place}-")] == self.said[customer]
            await until(lambda one=customer: one.messages() == self.said[one], seconds=30)  # type: ignore[misc]
        for talker in (*self.customers, self.agent):
            assert talker.faults == []
        stored = self._cluster.rows("SELECT record FROM events ORDER BY number")
        assert [name for (record,) in stored for name in heard_in(record) if name.startswith(own)] == heard()
        numbers = [number for (number,) in self._cluster.rows("SELECT number FROM events ORDER BY number")]
        assert numbers == list(range(1, len(numbers) + 1))


def heard_in(record: str) -> list[str]:
    return [record.split('"client_id":"')[1].split('"')[0]] if '"type":"message_sent"' in record else []
