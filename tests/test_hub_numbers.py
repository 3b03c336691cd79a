"""The hub and the numbers: once, in order, without a hole, whatever the bus does and whenever one begins (G3, G4)."""

from __future__ import annotations

import random

import pytest

from chatd.live.hub import FILL_RETRY_SECONDS, WAITING_MAX
from tests.following import Node, settle
from tests.virtual_time import run

SHOP, MIA, LEO = "shop", "mia", "leo"


# ---------------------------------------------------------------- numbers


def test_a_repeated_publication_is_delivered_once() -> None:
    node = Node()
    staff = node.following(SHOP)
    batch = [node.say(SHOP, MIA) for _ in range(3)]
    for one in batch:
        node.receive(SHOP, [one])
    node.receive(SHOP, batch + batch)
    assert staff.numbers == [1, 2, 3] and staff.repeated == 0


@pytest.mark.parametrize("seed", range(5))
def test_publications_in_the_wrong_order_are_delivered_in_the_right_one(seed: int) -> None:
    async def main() -> None:
        node = Node()
        staff, mia = node.following(SHOP), node.following(SHOP, MIA)
        batch = [node.log.commit(SHOP, customer, public=public) for customer, public in [(MIA, True), (LEO, False)] * 5]
        node.log.away = True  # it has to come from the bus
        random.Random(seed).shuffle(batch)
        for one in batch:
            node.receive(SHOP, [one])
        assert staff.events == node.log.stream(SHOP, None)
        assert mia.events == node.log.stream(SHOP, MIA)
        node.unfollow(staff)
        node.unfollow(mia)
        await settle()

    run(main())


def test_a_lost_publication_is_read_from_the_log_when_the_next_one_shows_the_hole() -> None:
    async def main() -> None:
        node = Node()
        staff, mia = node.following(SHOP), node.following(SHOP, MIA)
        node.say(SHOP, MIA)
        for _ in range(3):
            node.log.commit(SHOP, MIA)  # and nobody rings
        assert staff.numbers == [1]
        node.say(SHOP, MIA)
        await settle()
        assert staff.numbers == mia.numbers == [1, 2, 3, 4, 5]
        assert node.holes.value() == 1
        assert node.hub.position(SHOP) == 5

    run(main())


def test_a_loss_that_nothing_follows_is_found_by_the_position_check() -> None:
    async def main() -> None:
        node = Node()
        staff = node.following(SHOP)
        node.log.commit(SHOP, MIA)
        node.hub.check_position(SHOP, 1)
        await settle()
        assert staff.numbers == [1]
        reads = node.log.reads
        node.hub.check_position(SHOP, 1)
        node.hub.check_position("a shop that nobody follows", 10)
        await settle()
        assert node.log.reads == reads, "who is up to date reads nothing"

    run(main())


def test_a_loss_is_found_when_somebody_else_begins_to_follow() -> None:
    async def main() -> None:
        node = Node()
        first = node.following(SHOP)
        node.log.commit(SHOP, MIA)
        second = node.following(SHOP, name="second")
        await settle()
        assert first.numbers == [1]
        assert second.numbers == [] and second.number == 1, "it had that one in its state"

    run(main())


def test_while_a_hole_is_filled_what_comes_meanwhile_waits_its_turn() -> None:
    async def main() -> None:
        node = Node()
        staff = node.following(SHOP)
        node.log.away = True
        node.log.commit(SHOP, MIA)
        for _ in range(20):
            node.say(SHOP, MIA)
            await settle(FILL_RETRY_SECONDS)
        assert staff.numbers == []
        node.log.away = False
        await settle(2 * FILL_RETRY_SECONDS)
        assert staff.numbers == list(range(1, 22))
        assert node.holes.value() == 1

    run(main())


def test_a_hole_that_the_bus_fills_after_all_needs_no_log() -> None:
    async def main() -> None:
        node = Node()
        staff = node.following(SHOP)
        node.log.away = True
        late, *rest = [node.log.commit(SHOP, MIA) for _ in range(4)]
        node.receive(SHOP, rest)
        await settle()
        assert staff.numbers == []
        node.receive(SHOP, [late])
        assert staff.numbers == [1, 2, 3, 4]
        await settle(2 * FILL_RETRY_SECONDS)
        reads = node.log.reads
        await settle(10 * FILL_RETRY_SECONDS)
        assert node.log.reads == reads, "it goes on asking for what it has"
        assert node.holes.value() == 0

    run(main())


def test_a_log_that_lags_behind_the_bus_is_asked_again() -> None:
    async def main() -> None:
        node = Node()
        staff = node.following(SHOP)
        node.log.commit(SHOP, MIA)
        node.log.lag = 2
        node.say(SHOP, MIA)
        await settle()
        assert staff.numbers == []
        node.log.lag = 0
        await settle(2 * FILL_RETRY_SECONDS)
        assert staff.numbers == [1, 2]

    run(main())


def test_a_long_hole_is_read_page_by_page_to_its_end() -> None:
    async def main() -> None:
        node = Node()
        node.log.page = 100
        staff = node.following(SHOP)
        for _ in range(1_000):
            node.log.commit(SHOP, MIA)
        node.hub.check_position(SHOP, 1_000)
        await settle()
        assert staff.numbers == list(range(1, 1_001))
        assert node.log.reads <= 11

    run(main())


def test_what_waits_behind_a_hole_is_bounded_and_nothing_is_lost_by_that() -> None:
    async def main() -> None:
        node = Node()
        staff = node.following(SHOP)
        node.log.away = True
        node.log.commit(SHOP, MIA)
        for _ in range(3 * WAITING_MAX):
            node.say(SHOP, MIA)
        assert len(node.hub._feeds[SHOP].waiting) == WAITING_MAX
        node.log.away = False
        await settle(2 * FILL_RETRY_SECONDS)
        assert staff.numbers == list(range(1, 3 * WAITING_MAX + 2))
        assert node.hub._feeds[SHOP].waiting == {}

    run(main())


def test_before_anybody_has_begun_what_comes_is_bounded_too_and_nothing_is_lost() -> None:
    async def main() -> None:
        node = Node()
        staff = node.follow(SHOP)
        read_at = node.log.head(SHOP)
        for _ in range(3 * WAITING_MAX):
            node.say(SHOP, MIA)
        assert len(node.hub._feeds[SHOP].waiting) == WAITING_MAX
        staff.begin(read_at)
        node.hub.begin(SHOP, read_at)
        await settle()
        assert staff.numbers == list(range(1, 3 * WAITING_MAX + 1))

    run(main())


# ---------------------------------------------------------------- beginning


def test_what_happens_between_following_and_reading_is_heard_once() -> None:
    """Subscribe before you read: in both orders of event and reading."""

    async def main() -> None:
        for before, between, after in ((0, 0, 2), (0, 2, 0), (2, 0, 0), (2, 3, 2)):
            node = Node()
            for _ in range(before):
                node.say(SHOP, MIA)
            staff, mia = node.follow(SHOP), node.follow(SHOP, MIA)
            for _ in range(between):
                node.say(SHOP, MIA)
            read_at = node.log.head(SHOP)
            for _ in range(after):
                node.say(SHOP, MIA)
            for follower in (staff, mia):
                follower.begin(read_at)
            node.hub.begin(SHOP, read_at)
            node.hub.begin(SHOP, read_at)
            node.say(SHOP, MIA)
            await settle()
            assert staff.numbers == mia.numbers == list(range(read_at + 1, before + between + after + 2))

    run(main())


def test_who_has_read_more_than_the_bus_has_brought_skips_it_and_misses_nothing() -> None:
    """The commit is on the disk and in the state that was read; its publication is still on its way."""
    node = Node()
    first = node.following(SHOP)
    on_its_way = node.log.commit(SHOP, MIA)

    async def main() -> None:
        second = node.following(SHOP, name="second")
        node.receive(SHOP, [on_its_way])
        node.say(SHOP, MIA)
        await settle()
        assert first.numbers == [1, 2] and first.repeated == 0
        assert second.numbers == [2] and second.repeated == 1

    run(main())


@pytest.mark.parametrize("rings", [True, False])
def test_of_two_who_come_to_an_empty_shop_the_one_who_has_read_less_reads_again(rings: bool) -> None:
    """What happened between the two readings had nobody to be delivered to when it came, if the bus brought it."""
    node = Node()

    async def main() -> None:
        less, more = node.follow(SHOP, name="less"), node.follow(SHOP, name="more")
        read_at = node.log.head(SHOP)
        for _ in range(2):
            happened = node.log.commit(SHOP, MIA)
            if rings:
                node.receive(SHOP, [happened])
        node.begin(more)
        node.say(SHOP, MIA)
        assert not node.hub.begin(SHOP, read_at)
        read_at = node.log.head(SHOP)
        node.say(SHOP, MIA)
        assert node.hub.begin(SHOP, read_at)
        less.begin(read_at)
        node.say(SHOP, MIA)
        await settle()
        assert (less.numbers, more.numbers) == ([4, 5], [3, 4, 5])

    run(main())


def test_who_left_before_having_read_does_not_keep_the_others_waiting() -> None:
    async def main() -> None:
        node = Node()
        gone, stays = node.follow(SHOP, name="gone"), node.follow(SHOP, name="stays")
        node.unfollow(gone)
        node.say(SHOP, MIA)
        stays.begin(0)
        node.hub.begin(SHOP, 0)
        await settle()
        assert stays.numbers == [1] and gone.chunks == []

    run(main())


def test_beginning_in_a_shop_that_one_has_left_is_nothing() -> None:
    node = Node()
    follower = node.follow(SHOP)
    node.unfollow(follower)
    node.hub.begin(SHOP, 5)
    assert node.hub.position(SHOP) is None
