"""The bounds on one person and one address, over all their connections: who opens many is not many times as fast, and
an office behind one address never notices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chatd.domain.limits import Limits
from chatd.domain.people import Actor
from chatd.store.contract import Store
from chatd.web.pace import ADDRESS_CONNECTIONS, PERSON_CONNECTIONS, Pace, pace_address
from chatd.web.typing_signals import LOOK_UPS_AT_ONCE
from tests.clients import opened_house


def actor(name: str, shop: str = "tea") -> Actor:
    return Actor(kind="visitor", shop=shop, id=name)


def test_a_person_is_as_fast_as_three_connections_and_is_told_when_to_try_again() -> None:
    pace = Pace(Limits(commands_per_window_max=20, command_window_seconds=10.0))
    now = 100.0
    for number in range(20 * PERSON_CONNECTIONS):
        assert pace.refusal(actor("mia"), f"10.0.0.{number}", now) is None, "whatever addresses they come from"
    refusal = pace.refusal(actor("mia"), "10.0.1.1", now)
    assert refusal is not None
    assert refusal.temporary
    assert 0 < refusal.facts["retry_after_ms"] <= 10_000
    assert pace.refusal(actor("leo"), "10.0.1.1", now) is None, "somebody else is not"
    assert pace.refusal(actor("mia", shop="mugs"), "10.0.1.1", now) is None, "nor the same id in another shop"
    assert pace.refusal(actor("mia"), "10.0.1.1", now + refusal.facts["retry_after_ms"] / 1000) is None


def test_an_address_is_as_fast_as_twenty_connections() -> None:
    pace = Pace(Limits(commands_per_window_max=20, command_window_seconds=10.0))
    allowed = sum(pace.refusal(actor(f"v{number}"), "192.0.2.1", 0.0) is None for number in range(1_000))
    assert allowed == 20 * ADDRESS_CONNECTIONS
    assert pace.refusal(actor("another"), "192.0.2.2", 0.0) is None


def test_forty_agents_behind_one_address_who_write_all_day_never_meet_it() -> None:
    pace = Pace(Limits())
    for second in range(600):
        for agent in range(40):
            now = second + agent / 40
            assert pace.refusal(actor(f"agent{agent}"), "192.0.2.1", now) is None


def test_an_unknown_address_is_nobodys_and_a_household_is_one() -> None:
    pace = Pace(Limits(commands_per_window_max=1, command_window_seconds=10.0))
    assert all(pace.refusal(actor(f"v{number}"), "", 0.0) is None for number in range(1_000))
    assert pace_address("") == ""
    assert pace_address("2001:db8:1:2::3") == pace_address("2001:db8:1:2:ffff::1")


async def test_who_opens_many_tabs_is_told_to_slow_down_and_loses_nothing(tmp_path: Path) -> None:
    async with opened_house(tmp_path, commands_per_window_max=2, command_window_seconds=1.0) as house:
        first = await house.customer()
        tabs = [first, *[await house.customer(token=first.welcome["token"]) for _ in range(4)]]
        answers = [
            await tab.say(f"tab {number} says {turn}", id=f"tab-{number}-word-{turn}")
            for turn in range(2)
            for number, tab in enumerate(tabs)
        ]
        refused = [answer for answer in answers if answer["type"] == "error"]
        assert refused, "ten at once are more than three connections' worth"
        assert all(answer["code"] == "too_fast" and answer["temporary"] for answer in refused)
        stranger = await house.customer()
        assert (await stranger.say("me too"))["type"] == "ack"


@pytest.mark.parametrize("side", ["customer", "staff"])
async def test_typing_in_ever_new_conversations_does_not_keep_the_database_busy(
    tmp_path: Path, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened_house(tmp_path) as house:
        client = await (house.agent() if side == "staff" else house.customer())
        store: Store = house.chat.store
        reads = 0
        real = store.read

        async def counted(job: Any) -> Any:
            nonlocal reads
            reads += 1
            return await real(job)

        monkeypatch.setattr(store, "read", counted)
        for number in range(300):
            await client.send({"type": "set_typing", "conversation": f"no-such-{number}", "on": True})
            if number % 3 == 0:
                await client.ask("load_history", conversation="no-such", limit=1)  # and let it be looked up
        assert reads - 100 <= LOOK_UPS_AT_ONCE + 3
