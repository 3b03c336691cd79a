"""A commit whose answer is lost with the connection to PostgreSQL: if it was carried out, everybody hears of it soon,
also when its sender never comes back to repeat it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from chatd.web.server import running
from tests.clients import Client, House, house_settings, opened_house
from tests.databases import PostgresServer, url_in
from tests.postgres_nodes import Cutter
from tests.redises import running_redis

pytestmark = [pytest.mark.postgres, pytest.mark.redis, pytest.mark.usefixtures("postgres_url")]

SOON_SECONDS = 12.0
"""Much less than the half minute after which a node compares positions with the log by itself."""


async def heard(client: Client) -> str:
    async with asyncio.timeout(SOON_SECONDS):
        event = await client.event("message_sent")
    return str(event["message"]["parts"][0]["text"])


async def test_what_was_stored_although_nobody_was_told_is_heard_on_all_nodes_without_a_repeat(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    with running_redis() as redis:
        async with Cutter(postgres.port) as line:
            through_the_line = url_in(tmp_path).replace(str(postgres.port), str(line.port))
            async with (
                opened_house(tmp_path, database_url=through_the_line, redis_url=redis.url) as house,
                running(house_settings(tmp_path, redis_url=redis.url)) as (chat, server),
            ):
                other = House(chat, server, house.shop, house.staff, house.sessions)
                agents = [await house.agent(), await other.agent()]
                customer = await house.customer()
                assert (await customer.say("before"))["type"] == "ack"
                assert [await heard(agent) for agent in agents] == ["before"] * 2
                line.cut = "after"
                refusal = await customer.say("the message")
                assert (refusal["type"], refusal["temporary"]) == ("error", True)
                await asyncio.sleep(1.0)  # the store stays away for a while
                line.cut = None  # and the customer does nothing, not even leave: that would be another event
                assert [await heard(agent) for agent in agents] == ["the message"] * 2
