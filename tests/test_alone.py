"""A single process, with neither Redis nor PostgreSQL (F7): everything works, and nothing is logged for a message."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.clients import opened_house

WORDS = 20


async def test_without_redis_everything_works_and_no_message_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened_house(tmp_path, redis_url="") as house:
        agent, colleague = await house.agent(), await house.agent(1)
        customer = await house.customer()
        me = customer.welcome["you"]["id"]
        await agent.signal("presence", customer=me, online=True)
        with caplog.at_level(logging.INFO):
            caplog.clear()
            said = await customer.say("question 0")
            conversation = said["result"]["conversation"]
            for number in range(WORDS):
                assert (await agent.say(f"answer {number}", conversation))["type"] == "ack"
                said = await customer.say(f"question {number + 1}")
            for number in range(WORDS):
                for text in (f"question {number}", f"answer {number}"):
                    assert (await colleague.event("message_sent"))["message"]["parts"][0]["text"] == text
            await agent.send({"type": "set_typing", "conversation": conversation, "on": True})
            assert (await customer.signal("typing"))["on"] is True
            place = {"epoch": customer.welcome["epoch"], "number": said["result"]["number"]}
            again = await house.customer(token=customer.welcome["token"], resume=place)
            assert again.welcome["resumed"] is True
            found = await again.ask("load_history", conversation=conversation)
            assert (
                len([one for one in found["data"]["thread"] if one["event"]["type"] == "message_sent"]) == 2 * WORDS + 1
            )
            told = [record.getMessage() for record in caplog.records if record.name.split(".")[0] == "chatd"]
            assert len(told) < WORDS / 2, told
        assert {name: await check() for name, check in house.chat.checks.items()} == dict.fromkeys(house.chat.checks)
        assert not house.chat.degradations
        for one in (again, customer, agent, colleague):
            await one.close()
