"""The hub: everybody hears what is theirs and nothing else (G8), it is framed once, and nobody is left behind."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from chatd.live import hub as hub_module
from chatd.live.bus import Signal, make_signal
from chatd.live.hub import EVERY_CUSTOMER, FILL_RETRY_SECONDS, Chunk
from chatd.wire.frames import Codec, event_frame
from tests.following import Follower, Node, settle
from tests.virtual_time import run

SHOP, MIA, LEO = "shop", "mia", "leo"


# ---------------------------------------------------------------- who hears what


def test_staff_hear_everything_and_a_customer_what_is_theirs_and_public() -> None:
    node = Node()
    staff = node.following(SHOP)
    mia = node.following(SHOP, MIA)
    leo = node.following(SHOP, LEO)
    for customer, public in ((MIA, True), (LEO, True), (MIA, False), (MIA, True)):
        node.say(SHOP, customer, public=public)
    assert staff.events == node.log.stream(SHOP, None) and staff.numbers == [1, 2, 3, 4]
    assert mia.events == node.log.stream(SHOP, MIA) and mia.numbers == [1, 2]
    assert leo.events == node.log.stream(SHOP, LEO) and leo.numbers == [1]


def test_what_only_staff_may_see_never_reaches_a_customer() -> None:
    node = Node()
    mia = node.following(SHOP, MIA)
    for _ in range(5):
        node.say(SHOP, MIA, public=False)
    assert mia.chunks == [] and node.hub.position(SHOP) == 5


def test_shops_do_not_hear_each_other_even_about_a_customer_of_the_same_id() -> None:
    node = Node()
    here = [node.following(SHOP), node.following(SHOP, MIA)]
    there = [node.following("other"), node.following("other", MIA)]
    node.say("other", MIA)
    assert all(follower.chunks == [] for follower in here)
    assert all(follower.numbers == [1] for follower in there)


def test_all_tabs_and_all_colleagues_hear_the_same() -> None:
    node = Node()
    tabs = [node.following(SHOP, MIA, name=f"tab {number}") for number in range(3)]
    colleagues = [node.following(SHOP, name=f"colleague {number}") for number in range(3)]
    node.say(SHOP, MIA)
    assert [follower.numbers for follower in tabs + colleagues] == [[1]] * 6


def test_a_shop_that_nobody_follows_here_is_not_delivered_to_anybody() -> None:
    node = Node()
    node.say(SHOP, MIA)
    assert node.hub.position(SHOP) is None and node.hub.shops() == []


# ---------------------------------------------------------------- framed once


def count_framings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Codec, int]]:
    framed: list[tuple[Codec, int]] = []

    def counting(codec: Codec, number: int, record: bytes) -> bytes:
        framed.append((codec, number))
        return event_frame(codec, number, record)

    monkeypatch.setattr(hub_module, "event_frame", counting)
    return framed


def test_an_event_is_framed_once_for_each_codec_however_many_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    framed = count_framings(monkeypatch)
    node = Node()
    browsers = [node.following(SHOP, name=f"browser {number}") for number in range(50)]
    programs = [node.following(SHOP, codec="msgpack", name=f"program {number}") for number in range(50)]
    node.say(SHOP, MIA)
    assert sorted(framed) == [("json", 1), ("msgpack", 1)]
    for followers in (browsers, programs):
        assert len({id(follower.chunks[0].data) for follower in followers}) == 1, "the same bytes for all of them"
        assert all(follower.numbers == [1] for follower in followers)


def test_nothing_is_framed_for_a_codec_or_a_stream_that_nobody_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    framed = count_framings(monkeypatch)
    node = Node()
    node.following(SHOP, MIA, "msgpack")
    node.say(SHOP, LEO)
    node.say(SHOP, MIA, public=False)
    assert framed == []
    node.say(SHOP, MIA)
    assert framed == [("msgpack", 1)]


def test_what_arrives_together_goes_out_together() -> None:
    node = Node()
    staff = node.following(SHOP)
    mia = node.following(SHOP, MIA, "msgpack")
    batch = [node.log.commit(SHOP, customer) for customer in (MIA, LEO, MIA)]
    node.receive(SHOP, batch)
    assert [len(chunk.frames) for chunk in staff.chunks] == [3]
    assert [len(chunk.frames) for chunk in mia.chunks] == [2]


def test_a_chunk_of_one_frame_is_that_frame() -> None:
    frame = b"as it is"
    assert Chunk([(1, None, frame)]).data is frame


# ---------------------------------------------------------------- leaving


def test_the_bus_is_joined_with_the_first_follower_of_a_shop_and_left_with_the_last() -> None:
    node = Node()
    staff, mia = node.following(SHOP), node.following(SHOP, MIA)
    other = node.following("other", MIA)
    assert node.joined == [SHOP, "other"] and node.hub.count() == 3
    node.unfollow(staff)
    node.unfollow(other)
    assert node.left == ["other"] and node.hub.shops() == [SHOP]
    node.unfollow(mia)
    assert node.left == ["other", SHOP]


def test_nothing_is_left_behind_by_those_who_left() -> None:
    async def main() -> None:
        node = Node()
        node.log.away = True
        for number in range(200):
            shop = f"shop {number % 3}"
            followers = [node.following(shop, name=f"{number}"), node.following(shop, f"customer {number}")]
            node.log.commit(shop, MIA)
            node.say(shop, f"customer {number}")  # opens a hole that cannot be filled
            await settle()
            for follower in followers:
                node.unfollow(follower)
                node.unfollow(follower)
        await settle()
        assert node.hub._feeds == {} and node.hub.count() == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}, "nobody fills a hole for nobody"
        assert sorted(node.joined) == sorted(node.left)

    run(main())


def test_a_shop_that_was_left_while_it_was_filled_begins_afresh() -> None:
    async def main() -> None:
        node = Node()
        gone = node.following(SHOP)
        node.log.away = True
        node.log.commit(SHOP, MIA)
        node.say(SHOP, MIA)
        await settle()
        node.unfollow(gone)
        node.log.away = False
        back = node.following(SHOP, name="back")
        node.say(SHOP, MIA)
        await settle(2 * FILL_RETRY_SECONDS)
        assert back.numbers == [3] and back.repeated == 0
        assert gone.events == []

    run(main())


class Leaver(Follower):
    """Leaves in the middle of being served, and takes a friend along."""

    def __init__(self, node: Node, friend: Follower, customer: str | None) -> None:
        super().__init__("leaver", SHOP, customer)
        self.node = node
        self.friend = friend

    def deliver(self, chunk: Chunk) -> None:
        super().deliver(chunk)
        self.node.unfollow(self)
        self.node.unfollow(self.friend)

    def signal(self, frame: bytes, conversation: str | None) -> None:
        super().signal(frame, conversation)
        self.node.unfollow(self)


@pytest.mark.parametrize("customer", [None, MIA])
def test_who_leaves_while_being_served_breaks_nothing(customer: str | None) -> None:
    async def main() -> None:
        for act in ("event", "signal"):
            node = Node()
            friend = node.following(SHOP, LEO)
            stays = [node.following(SHOP, customer, name=f"stays {number}") for number in range(3)]
            leaver = Leaver(node, friend, customer)
            node.hub.follow(leaver, SHOP, customer)
            node.begin(leaver)
            if act == "event":
                node.receive(SHOP, [node.log.commit(SHOP, MIA), node.log.commit(SHOP, LEO)])
                heard = [1] if customer else [1, 2]
                assert [follower.numbers for follower in stays] == [heard] * 3
            else:
                node.receive(SHOP, [make_signal("typing", {}, customer)])
                assert [len(follower.signals) for follower in stays] == [1] * 3
            assert node.hub.count() == (3 if act == "event" else 4)

    run(main())


def test_a_follower_that_fails_harms_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Follower):
        def deliver(self, chunk: Chunk) -> None:
            raise RuntimeError("a fault of ours")

        def signal(self, frame: bytes, conversation: str | None) -> None:
            raise RuntimeError("a fault of ours")

    node = Node()
    followers = [node.following(SHOP, name=f"{number}") for number in range(5)]
    broken = Broken("broken", SHOP, None)
    node.hub.follow(broken, SHOP, None)
    with caplog.at_level(logging.ERROR, "chatd.hub"):
        node.say(SHOP, MIA)
        node.receive(SHOP, [make_signal("typing", {})])
        node.say(SHOP, MIA)
    assert [follower.numbers for follower in followers] == [[1, 2]] * 5
    assert [len(follower.signals) for follower in followers] == [1] * 5
    assert len(caplog.records) == 3


# ---------------------------------------------------------------- signals


def test_a_signal_goes_to_whom_it_names_and_not_back_to_its_sender() -> None:
    node = Node()
    staff, colleague = node.following(SHOP, name="staff"), node.following(SHOP, name="colleague")
    mia, second_tab, leo = (
        node.following(SHOP, customer, name=name) for customer, name in ((MIA, "m"), (MIA, "m2"), (LEO, "l"))
    )
    stranger = node.following("other", MIA)
    everyone = [staff, colleague, mia, second_tab, leo, stranger]

    def heard(signal: Signal) -> list[Follower]:
        for follower in everyone:
            follower.signals.clear()
        node.bus.publish(SHOP, [signal])
        expected = [{"type": "signal", "name": signal.name, "data": json.loads(signal.data)}]
        return [follower for follower in everyone if follower.signals == expected]

    assert heard(make_signal("typing", {"on": True}, None, "staff")) == [colleague]
    assert heard(make_signal("typing", {"on": True}, MIA, "staff")) == [mia, second_tab]
    assert heard(make_signal("typing", {"on": True}, MIA, "m")) == [second_tab]
    assert heard(make_signal("typing", {"on": True}, MIA, "staff", staff=True)) == [colleague, mia, second_tab]
    assert heard(make_signal("shop_presence", {"online": True}, EVERY_CUSTOMER)) == [mia, second_tab, leo]
    assert heard(make_signal("presence", {"customer": MIA}, "nobody")) == []


def test_a_signal_has_no_number_and_comes_even_before_the_state_was_read() -> None:
    node = Node()
    staff = node.follow(SHOP, codec="msgpack")
    node.bus.publish(SHOP, [make_signal("presence", {"customer": MIA, "online": True})])
    assert [signal["data"] for signal in staff.signals] == [{"customer": MIA, "online": True}]
    assert node.hub.position(SHOP) is None
