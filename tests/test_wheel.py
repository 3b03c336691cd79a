"""The wheel: everything that has a deadline is looked at in time, not before, and whatever else happens."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.live.wheel import SLOTS, TICK_SECONDS, Wheel
from tests.virtual_time import run, running

TURN_SECONDS = SLOTS * TICK_SECONDS
NOISE = 1e-6  # of adding up floating-point numbers


class Item:
    """Notes when it is looked at, and asks for the next look as it was told to."""

    def __init__(self, *again_in_seconds: float) -> None:
        self.again_in = list(again_in_seconds)
        self.looked_at: list[float] = []

    def check(self, now: float) -> float | None:
        self.looked_at.append(now)
        return now + self.again_in.pop(0) if self.again_in else None


async def lateness_of(after_seconds: list[float]) -> list[float]:
    """How much after its deadline each item was looked at; a negative number would be too early."""
    wheel = Wheel()
    wheel.start()
    start = running().time()
    items = [(start + seconds, Item()) for seconds in after_seconds]
    for when, item in items:
        wheel.watch(item, when)
    await asyncio.sleep(max(after_seconds, default=0.0) + 2 * TICK_SECONDS)
    wheel.stop()
    for when, item in items:
        assert len(item.looked_at) == 1, f"looked at {len(item.looked_at)} times, due after {when - start} s"
    return [item.looked_at[0] - when for when, item in items]


@given(st.lists(st.floats(0, 3 * TURN_SECONDS), max_size=20))
def test_a_deadline_is_met_within_a_tick_and_never_before_its_time(after_seconds: list[float]) -> None:
    for late in run(lateness_of(after_seconds)):
        assert 0 <= late <= TICK_SECONDS + NOISE


@pytest.mark.parametrize("turns", [1, 1.5, 2, 10])
def test_a_deadline_further_away_than_one_turn_is_met_as_exactly(turns: float) -> None:
    (late,) = run(lateness_of([turns * TURN_SECONDS]))
    assert 0 <= late <= TICK_SECONDS + NOISE


def test_what_is_due_already_is_looked_at_with_the_next_tick() -> None:
    async def main() -> None:
        wheel = Wheel()
        wheel.start()
        late = Item()
        wheel.watch(late, running().time() - 100)
        assert late.looked_at == [], "never from inside watch: its caller may not be ready for it"
        start = running().time()
        await asyncio.sleep(2 * TICK_SECONDS)
        wheel.stop()
        assert [round(when - start, 3) for when in late.looked_at] == [TICK_SECONDS]

    run(main())


def test_who_asks_for_another_look_gets_it_and_who_does_not_is_forgotten() -> None:
    async def main() -> None:
        wheel = Wheel()
        wheel.start()
        thrice = Item(5.0, 5.0)
        wheel.watch(thrice, running().time() + 5)
        await asyncio.sleep(60)
        wheel.stop()
        assert len(thrice.looked_at) == 3
        gaps = [later - earlier for earlier, later in itertools.pairwise(thrice.looked_at)]
        assert all(5 <= gap <= 5 + TICK_SECONDS + NOISE for gap in gaps)

    run(main())


def test_an_item_that_is_always_due_is_looked_at_once_a_tick_and_does_not_hold_the_loop() -> None:
    async def main() -> None:
        wheel = Wheel()
        wheel.start()
        eager = Item(*[-1.0] * 1_000)
        wheel.watch(eager, running().time())
        running().hold_up(20.0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(eager.looked_at) <= 1, "ticks that were missed are not made up for one by one"
        await asyncio.sleep(10)
        wheel.stop()
        assert 19 <= len(eager.looked_at) <= 22

    run(main())


def test_a_check_that_raises_is_told_in_the_log_and_stops_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def check(self, now: float) -> float | None:
            raise RuntimeError("a fault of ours")

    async def main() -> None:
        wheel = Wheel()
        wheel.start()
        before, after = Item(1.0), Item(1.0)
        for item in (before, Broken(), after):
            wheel.watch(item, running().time() + 1)
        await asyncio.sleep(5)
        wheel.stop()
        assert len(before.looked_at) == len(after.looked_at) == 2

    with caplog.at_level(logging.ERROR, "chatd.wheel"):
        run(main())
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "a fault of ours" in caplog.text


@pytest.mark.parametrize("held_up_seconds", [0.3, 2.0, TURN_SECONDS - 1, TURN_SECONDS + 1, 3_600.0])
def test_a_loop_that_was_held_up_looks_at_all_that_fell_due_meanwhile(held_up_seconds: float) -> None:
    async def main() -> None:
        wheel = Wheel()
        wheel.start()
        start = running().time()
        items = {seconds: Item() for seconds in (0.1, 1.0, 5.0, 30.0, 62.0, 63.9, 64.5, 100.0, 200.0)}
        for seconds, item in items.items():
            wheel.watch(item, start + seconds)
        await asyncio.sleep(0.25)
        running().hold_up(held_up_seconds)
        free_at = running().time()
        await asyncio.sleep(210)
        wheel.stop()
        for seconds, item in items.items():
            assert len(item.looked_at) == 1
            due = max(start + seconds, free_at)
            assert due - NOISE <= item.looked_at[0] <= due + TICK_SECONDS + NOISE, f"due after {seconds} s"

    run(main())


def test_a_loop_that_is_always_late_does_not_add_its_lateness_up() -> None:
    """The loop is free every 0.7 s only, as under load. A minute is still a minute."""

    async def main() -> None:
        wheel = Wheel()
        wheel.start()
        item = Item()
        start = running().time()
        wheel.watch(item, start + 60)

        async def busy() -> None:
            while True:
                await asyncio.sleep(0.05)
                running().hold_up(0.65)

        task = asyncio.create_task(busy())
        await asyncio.sleep(120)
        task.cancel()
        wheel.stop()
        assert 0 <= item.looked_at[0] - start - 60 <= TICK_SECONDS + 0.65 + NOISE

    run(main())


def test_many_deadlines_over_a_minute_are_spread_over_the_ticks() -> None:
    async def main() -> dict[float, int]:
        wheel = Wheel()
        wheel.start()
        start = running().time()
        items = [Item() for _ in range(6_000)]
        for number, item in enumerate(items):
            wheel.watch(item, start + number / 100)
        await asyncio.sleep(61)
        wheel.stop()
        counts: dict[float, int] = {}
        for item in items:
            counts[item.looked_at[0]] = counts.get(item.looked_at[0], 0) + 1
        return counts

    assert max(run(main()).values()) <= math.ceil(100 * TICK_SECONDS) + 1


def test_a_wheel_that_was_stopped_looks_at_nothing_even_if_a_check_stopped_it() -> None:
    async def main() -> None:
        wheel = Wheel()

        class Stopper:
            def check(self, now: float) -> float | None:
                wheel.stop()
                return None

        wheel.start()
        later = Item()
        wheel.watch(Stopper(), running().time() + 1)
        wheel.watch(later, running().time() + 5)
        await asyncio.sleep(20)
        assert later.looked_at == []

    run(main())


def test_nothing_can_be_watched_before_the_wheel_turns() -> None:
    with pytest.raises(AssertionError, match="not turning"):
        Wheel().watch(Item(), 0.0)
