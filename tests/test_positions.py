"""How far everybody was served is compared with the log; what could not be compared is made up for soon."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest

from chatd.store import sqlite_reader
from chatd.web.server import running
from chatd.web.upkeep import check_positions_now
from tests.clients import House, house_settings, opened_house

SOON_SECONDS = 15.0
"""Much less than the half minute after which positions are compared anyhow."""


async def test_a_check_that_the_store_did_not_answer_is_made_up_for_when_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that share a file and do not hear each other: only the log tells one what the other has committed."""
    async with (
        opened_house(tmp_path) as house,
        running(house_settings(tmp_path)) as (chat, server),
    ):
        agent = await house.agent()
        customer = await House(chat, server, house.shop, house.staff, house.sessions).customer()
        with monkeypatch.context() as patched:
            patched.setattr(sqlite_reader, "READ_SECONDS_MAX", 0.2)
            with contextlib.closing(sqlite3.connect(tmp_path / "chatd.db", isolation_level=None)) as somebody:
                said = await customer.say("unheard")
                assert said["type"] == "ack", said
                somebody.execute("INSERT INTO journal (entry) VALUES (x'90')")  # whoever reads has it settled first
                somebody.execute("BEGIN IMMEDIATE")
                await check_positions_now(house.chat, house.chat.hub.shops())
                somebody.execute("ROLLBACK")
        async with asyncio.timeout(SOON_SECONDS):
            event = await agent.event("message_sent")
        assert event["message"]["parts"][0]["text"] == "unheard"


async def test_who_may_be_overlooked_by_the_process_that_writes_for_all_looks_in_the_log(tmp_path: Path) -> None:
    """Two that share a file and do not hear each other, as above; nothing has failed."""
    async with (
        opened_house(tmp_path) as house,
        running(house_settings(tmp_path)) as (chat, server),
    ):
        house.chat.dispatch.is_overlooked = True
        agent = await house.agent()
        customer = await House(chat, server, house.shop, house.staff, house.sessions).customer()
        assert (await customer.say("unheard"))["type"] == "ack"
        async with asyncio.timeout(SOON_SECONDS):
            event = await agent.event("message_sent")
        assert event["message"]["parts"][0]["text"] == "unheard"
