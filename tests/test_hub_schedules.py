"""The hub on a bus that loses, delays, repeats and reorders, and a log that is away now and then, under schedules that
Hypothesis makes up (reliability: F6, F26, F38). When the faults end, everybody has exactly the log of their stream."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from chatd.live.bus import Item, Publication
from chatd.live.hub import FILL_RETRY_SECONDS, WAITING_MAX
from chatd.wire.frames import Codec
from tests.following import Follower, Node
from tests.virtual_time import VirtualLoop

SHOPS = ("one", "two")
CUSTOMERS = ("mia", "leo", "kim")


class LossyBus:
    """A doorbell at its worst. `deliver` brings some of what is on its way, in any order, some of it twice."""

    def __init__(self, node: Node, chance: random.Random) -> None:
        self.node = node
        self.chance = chance
        self.on_its_way: list[tuple[str, list[Item]]] = []

    def publish(self, shop: str, items: Sequence[Item]) -> None:
        fate = self.chance.random()
        if fate < 0.2:
            return
        if fate < 0.5:
            self.node.receive(shop, items)
        if fate > 0.4:
            self.on_its_way.append((shop, list(items)))

    def deliver(self) -> None:
        self.chance.shuffle(self.on_its_way)
        for _ in range(self.chance.randint(0, len(self.on_its_way))):
            shop, items = self.on_its_way.pop()
            self.node.receive(shop, items)

    def join(self, shop: str) -> None: ...

    def leave(self, shop: str) -> None: ...

    def trouble(self) -> str | None:
        return None

    async def close(self) -> None: ...


class Schedule(RuleBasedStateMachine):
    """People come, read, stay and go; things happen; the bus and the log do their worst."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.node = Node()
        self.bus = LossyBus(self.node, random.Random(0))
        self.node.bus = self.bus
        self.reading: list[tuple[Follower, int, int]] = []
        self.following: list[Follower] = []
        self.began_at: dict[str, int] = {}
        self.names = 0

    def pass_time(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def on_loop(self, act: object, *args: object) -> None:
        async def main() -> None:
            assert callable(act)
            act(*args)

        self.loop.run_until_complete(main())

    @rule(seed=st.integers(0, 2**16))
    def change_luck(self, seed: int) -> None:
        self.bus.chance.seed(seed)

    @rule(
        shop=st.sampled_from(SHOPS),
        happens=st.lists(st.tuples(st.sampled_from(CUSTOMERS), st.booleans()), min_size=1, max_size=6),
    )
    def commit(self, shop: str, happens: list[tuple[str, bool]]) -> None:
        batch: list[Publication] = [self.node.log.commit(shop, customer, public=public) for customer, public in happens]
        self.on_loop(self.bus.publish, shop, batch)

    @rule()
    def ring(self) -> None:
        self.on_loop(self.bus.deliver)

    @rule(
        shop=st.sampled_from(SHOPS),
        customer=st.sampled_from((None, *CUSTOMERS)),
        codec=st.sampled_from(("json", "msgpack")),
    )
    def come(self, shop: str, customer: str | None, codec: Codec) -> None:
        """Follow, then read the state; the answer of the read comes later."""
        self.names += 1
        follower = self.node.follow(shop, customer, codec, name=f"follower {self.names} of {customer} in {shop}")
        number = len(self.node.log.stream(shop, customer))
        self.reading.append((follower, number, self.node.log.head(shop)))

    @rule(which=st.integers(0, 100))
    def begin(self, which: int) -> None:
        """Answers may come in another order than that of the questions."""
        if self.reading:
            follower, number, shop_number = self.reading.pop(which % len(self.reading))
            self.on_loop(self.begin_now, follower, number, shop_number)

    def begin_now(self, follower: Follower, number: int, shop_number: int) -> None:
        if not self.node.hub.begin(follower.shop, shop_number):
            number = len(self.node.log.stream(follower.shop, follower.customer))
            assert self.node.hub.begin(follower.shop, self.node.log.head(follower.shop))
        follower.begin(number)
        self.began_at[follower.name] = number
        self.following.append(follower)

    @rule(which=st.integers(0, 100))
    def go(self, which: int) -> None:
        followers = [follower for follower, _, _ in self.reading] + self.following
        if followers:
            gone = followers[which % len(followers)]
            self.reading = [entry for entry in self.reading if entry[0] is not gone]
            self.following = [follower for follower in self.following if follower is not gone]
            self.on_loop(self.node.unfollow, gone)

    @rule(away=st.booleans(), lag=st.integers(0, 3), page=st.integers(1, 5))
    def trouble_the_log(self, away: bool, lag: int, page: int) -> None:
        self.node.log.away, self.node.log.lag, self.node.log.page = away, lag, page

    @rule(seconds=st.sampled_from([0.0, FILL_RETRY_SECONDS, 10.0]))
    def wait(self, seconds: float) -> None:
        self.pass_time(seconds)

    @rule(shop=st.sampled_from(SHOPS))
    def check_position(self, shop: str) -> None:
        self.on_loop(self.node.hub.check_position, shop, self.node.log.head(shop))

    @invariant()
    def nobody_has_anything_but_their_own(self) -> None:
        """At every moment: a beginning of their stream, in order, without a hole or a double."""
        for follower in self.following:
            stream = self.node.log.stream(follower.shop, follower.customer)
            start = self.began_at[follower.name]
            assert follower.events == stream[start : start + len(follower.events)]

    @invariant()
    def no_more_is_kept_than_the_bound(self) -> None:
        for feed in self.node.hub._feeds.values():
            assert len(feed.waiting) <= WAITING_MAX
            assert feed.position is None or all(number > feed.position for number in feed.waiting)

    def teardown(self) -> None:
        """The faults end. What is still on its way may come or not; the position check finds the rest."""
        try:
            self.node.log.away, self.node.log.lag, self.node.log.page = False, 0, 1_000
            while self.reading:
                self.begin(0)
            for shop in SHOPS:
                self.check_position(shop)
            self.pass_time(3 * FILL_RETRY_SECONDS)
            for follower in self.following:
                stream = self.node.log.stream(follower.shop, follower.customer)
                assert follower.events == stream[self.began_at[follower.name] :], follower.name
            while self.following:
                self.go(0)
            self.pass_time(0)
            assert self.node.hub._feeds == {}
            assert not asyncio.all_tasks(self.loop)
        finally:
            self.loop.close()


TestSchedules = Schedule.TestCase
TestSchedules.settings = settings(max_examples=15, stateful_step_count=40)


@pytest.mark.soak
def test_thousands_of_schedules() -> None:
    run_state_machine_as_test(Schedule, settings=settings(max_examples=2_000, stateful_step_count=80))


@given(st.randoms(use_true_random=False), st.integers(1, 60))
def test_any_order_of_any_repeats_of_all_publications_is_the_log(chance: random.Random, count: int) -> None:
    """Nothing is lost, so nothing needs to be read, and nobody has to wait for a second."""
    loop = VirtualLoop()
    try:
        node = Node()
        staff, mia = node.following("one"), node.following("one", "mia", "msgpack")
        everything = [
            node.log.commit("one", chance.choice(CUSTOMERS), public=chance.random() < 0.7) for _ in range(count)
        ]
        node.log.away = True
        arrivals = everything + chance.sample(everything, chance.randint(0, count))
        chance.shuffle(arrivals)

        async def main() -> None:
            while arrivals:
                size = chance.randint(1, 5)
                node.receive("one", arrivals[:size])
                del arrivals[:size]

        loop.run_until_complete(main())
        assert staff.events == node.log.stream("one", None)
        assert mia.events == node.log.stream("one", "mia")
        assert staff.repeated == mia.repeated == 0
        node.unfollow(staff)
        node.unfollow(mia)
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        loop.close()
