"""A wall clock that is set back, set forward, or wrong on one of two nodes: order is by number, never by time (F20).

Deadlines and leases of connections are measured by the loop's clock, which nobody sets. Tickets, links and leases of
mails with wrong clocks: `test_tokens`, `test_courier`, and the schedules of the simulation in which clocks are set."""

from __future__ import annotations

import random
from pathlib import Path

from chatd.domain.commands import ListConversations, LoadHistory
from chatd.domain.people import Actor
from chatd.store import log
from tests.world import opened_world

HOUR_MS = 3_600_000
JUMPS_MS = (-2 * HOUR_MS, 24 * HOUR_MS, -HOUR_MS, HOUR_MS, -5 * 60_000, 5 * 60_000, -30 * 24 * HOUR_MS)


async def test_whatever_the_clock_does_the_order_is_that_of_the_commits(tmp_path: Path) -> None:
    chance = random.Random(20)
    async with opened_world(tmp_path) as world:
        people = [Actor(kind="visitor", shop=world.shop.id, id=f"{number:032x}", locale="en") for number in range(5)]
        said: list[tuple[str, str]] = []
        for number in range(60):
            world.now += chance.choice(JUMPS_MS)
            person = chance.choice(people)
            answer = await world.say(person, f"message {number}")
            said.append((answer["conversation"], f"message {number}"))
        stored = await world.store.read(lambda tx: log.read_after(tx, world.shop.id, after=0, most=1_000))
        assert [one.number for one in stored] == list(range(1, len(stored) + 1))

        listed = await world.dispatch.ask(world.owner, ListConversations(id="list-0001"))
        newest = {conversation: number for number, (conversation, _) in enumerate(said)}
        assert [row["id"] for row in listed["conversations"]] == sorted(newest, key=lambda one: -newest[one])
        for conversation in newest:
            query = LoadHistory(id="history-1", conversation=conversation)
            page = await world.dispatch.ask(world.owner, query)
            texts = [entry.event for entry in page["thread"]]
            mine = [text for where, text in said if where == conversation]
            positions = [text for text in mine if any(f'"{text}"'.encode() in bytes(event) for event in texts)]
            assert positions == mine[-len(positions) :], "a thread is in the order in which it was said"


async def test_a_clock_that_was_set_back_repeats_no_answer_and_no_id(tmp_path: Path) -> None:
    async with opened_world(tmp_path) as world:
        first = await world.say(world.visitor, "before")
        world.now -= 2 * HOUR_MS
        second = await world.say(world.visitor, "after")
        assert (first["position"], second["position"]) == (1, 2)
        assert first["message"] != second["message"]
