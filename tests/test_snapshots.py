"""A snapshot and the events after it are the snapshot of later (design, "One idea"), for everything that can happen.

Every command has its place in the story below: one without a place fails the suite. What comes out stands in
`tests/golden/story.json` as well, and `tests/js/story.test.js` holds `static/state.js` against it, so that Python and
the browser answer to the same store. `python -m tests.test_snapshots` writes that file anew.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chatd.dispatch.door import HANDLERS
from chatd.domain.commands import (
    AddTopic,
    Cart,
    CartLine,
    CloseConversations,
    Introduce,
    MarkDelivered,
    MarkSeen,
    MessageTopics,
    OpenConversations,
    RecordPresence,
    RecordTopics,
    RemoveTopic,
    UpdateCart,
)
from chatd.domain.people import Actor
from chatd.domain.snapshot import apply_to_customer, apply_to_staff
from chatd.store import log
from chatd.store.contract import Transaction
from chatd.store.snapshots import Snapshot, customer_snapshot, staff_snapshot
from tests.world import World, opened_world

pytestmark = pytest.mark.usefixtures("database")

GOLDEN = Path(__file__).parent / "golden" / "story.json"
STEPS: list[tuple[str, Callable[[World, dict[str, Any]], Awaitable[Any]]]] = []


def step(name: str) -> Callable[[Callable[[World, dict[str, Any]], Awaitable[Any]]], None]:
    def register(act: Callable[[World, dict[str, Any]], Awaitable[Any]]) -> None:
        STEPS.append((name, act))

    return register


def cart(*lines: tuple[str, int]) -> Cart:
    return Cart(
        currency="EUR",
        subtotal=sum(1_000 * quantity for _, quantity in lines),
        lines=[CartLine(id=title, title=title, quantity=quantity, price=1_000) for title, quantity in lines],
    )


@step("a visitor writes for the first time")
async def _(world: World, known: dict[str, Any]) -> None:
    known.update(await world.say(world.visitor, "Hi,  do you ship\nto Åland?"))


@step("and once more")
async def _(world: World, known: dict[str, Any]) -> None:
    await world.say(world.visitor, "Or to Gotland")


@step("they say who they are")
async def _(world: World, known: dict[str, Any]) -> None:
    await world.do(world.visitor, Introduce(id=world.client_id(), name="Mia", email="mia@example.com"))


@step("their cart is known")
async def _(world: World, known: dict[str, Any]) -> None:
    await world.do(world.visitor, UpdateCart(id=world.client_id(), cart=cart(("Blue cup", 1))))


@step("their cart changes")
async def _(world: World, known: dict[str, Any]) -> None:
    await world.do(world.visitor, UpdateCart(id=world.client_id(), cart=cart(("Blue cup", 2), ("Bowl", 1))))


@step("staff read")
async def _(world: World, known: dict[str, Any]) -> None:
    await world.do(world.owner, MarkSeen(id=world.client_id(), conversation=known["conversation"], position=1))


@step("a colleague reads everything")
async def _(world: World, known: dict[str, Any]) -> None:
    await world.do(world.reader, MarkSeen(id=world.client_id(), conversation=known["conversation"], position=2))


@step("staff answer, which is reading too")
async def _(world: World, known: dict[str, Any]) -> None:
    await world.say(world.owner, "We ship to both.", known["conversation"])


@step("it reaches the customer's browser")
async def _(world: World, known: dict[str, Any]) -> None:
    await world.do(world.visitor, MarkDelivered(id=world.client_id(), conversation=known["conversation"], position=3))


@step("it is seen")
async def _(world: World, known: dict[str, Any]) -> None:
    await world.do(world.visitor, MarkSeen(id=world.client_id(), conversation=known["conversation"], position=3))


@step("the customer leaves")
async def _(world: World, known: dict[str, Any]) -> None:
    await world.dispatch.record(world.shop.id, RecordPresence(customer=world.visitor.id, online=False))


@step("staff add something, which is queued as mail")
async def _(world: World, known: dict[str, Any]) -> None:
    await world.say(world.owner, "Free from 50 €.", known["conversation"])


@step("staff close it")
async def _(world: World, known: dict[str, Any]) -> None:
    await world.do(world.owner, CloseConversations(id=world.client_id(), conversations=[known["conversation"]]))


@step("and open it again")
async def _(world: World, known: dict[str, Any]) -> None:
    await world.do(world.owner, OpenConversations(id=world.client_id(), conversations=[known["conversation"]]))


@step("and close it once more")
async def _(world: World, known: dict[str, Any]) -> None:
    await world.do(world.owner, CloseConversations(id=world.client_id(), conversations=[known["conversation"]]))


@step("the customer comes back")
async def _(world: World, known: dict[str, Any]) -> None:
    await world.dispatch.record(world.shop.id, RecordPresence(customer=world.visitor.id, online=True))


@step("sees what was queued, so no mail goes out")
async def _(world: World, known: dict[str, Any]) -> None:
    await world.do(world.visitor, MarkSeen(id=world.client_id(), conversation=known["conversation"], position=4))


@step("and writes, which opens it")
async def _(world: World, known: dict[str, Any]) -> None:
    await world.say(world.visitor, "Thank you! " + "\N{SPARKLES}" * 200)


def topics_of(world: World, known: dict[str, Any], after: int, upto: int, *found: tuple[str, float]) -> Awaitable[bool]:
    message = MessageTopics(conversation=known["conversation"], position=5, found=list(found))
    fact = RecordTopics(after=after, upto=upto, messages=[message])
    return world.dispatch.record(world.shop.id, fact)


@step("the classifier has read it and finds two topics")
async def _(world: World, known: dict[str, Any]) -> None:
    await topics_of(world, known, 0, 2, ("Shipping", 0.97), ("Pricing/Discounts", 0.91))


@step("staff remove one")
async def _(world: World, known: dict[str, Any]) -> None:
    removal = RemoveTopic(id=world.client_id(), conversation=known["conversation"], topic="Shipping")
    await world.do(world.owner, removal)


@step("and add another")
async def _(world: World, known: dict[str, Any]) -> None:
    addition = AddTopic(id=world.client_id(), conversation=known["conversation"], topic="Returns/Delivered orders")
    await world.do(world.owner, addition)


@step("the classifier finds more later, and what staff have said stands")
async def _(world: World, known: dict[str, Any]) -> None:
    await topics_of(world, known, 2, 20, ("Shipping", 0.99), ("Store info", 0.95), ("Wholesale", 0.9))


@step("somebody else begins")
async def _(world: World, known: dict[str, Any]) -> None:
    await world.say(Actor(kind="visitor", shop=world.shop.id, id="e" * 32), "Hello")


@pytest.fixture
async def world(tmp_path: Path) -> Any:
    async with opened_world(tmp_path) as opened:
        yield opened


async def snapshots(world: World) -> tuple[Any, Any]:
    async def job(tx: Transaction) -> tuple[Snapshot, Snapshot]:
        return (
            await staff_snapshot(tx, world.shop.id, world.owner.id, permissions=world.owner.permissions, state=None),
            await customer_snapshot(tx, world.shop.id, world.visitor.id),
        )

    staff, customer = msgspec.json.decode(msgspec.json.encode(await world.store.read(job)))
    return staff, customer


async def events_after(world: World, number: int, customer: str | None) -> list[log.Recorded]:
    return await world.store.read(
        lambda tx: log.read_after(tx, world.shop.id, after=number, most=1_000, customer=customer)
    )


async def test_every_snapshot_and_the_events_after_it_are_every_later_snapshot(world: World) -> None:
    taken = [("nothing yet", *await snapshots(world))]
    known: dict[str, Any] = {}
    for name, act in STEPS:
        await act(world, known)
        taken.append((name, *await snapshots(world)))

    for begin, (since, staff_before, customer_before) in enumerate(taken):
        staff_state = copy.deepcopy(staff_before["state"])
        customer_state = copy.deepcopy(customer_before["state"])
        staff_number, customer_number = staff_before["number"], customer_before["number"]
        for name, staff_now, customer_now in taken[begin + 1 :]:
            for one in await events_after(world, staff_number, None):
                if one.number <= staff_now["number"]:
                    assert one.number == staff_number + 1
                    staff_number = one.number
                    apply_to_staff(staff_state, one.number, msgspec.json.decode(one.record))
            for one in await events_after(world, customer_number, world.visitor.id):
                assert one.customer_number is not None
                if one.customer_number <= customer_now["number"]:
                    assert one.customer_number == customer_number + 1
                    customer_number = one.customer_number
                    apply_to_customer(customer_state, customer_number, msgspec.json.decode(one.record))
            assert staff_state == staff_now["state"], f"staff, from {since!r} to {name!r}"
            assert customer_state == customer_now["state"], f"customer, from {since!r} to {name!r}"


async def test_what_staff_alone_may_know_never_has_a_number_in_a_customers_stream(world: World) -> None:
    known: dict[str, Any] = {}
    for _, act in STEPS:
        await act(world, known)
    seen = {msgspec.json.decode(one.record)["type"] for one in await events_after(world, 0, world.visitor.id)}
    everything = {msgspec.json.decode(one.record)["type"] for one in await events_after(world, 0, None)}
    assert everything - seen == {
        "cart_changed",
        "conversation_read",
        "customer_came",
        "customer_left",
        "mail_queued",
        "mail_withdrawn",
        "topic_added",
        "topic_removed",
        "topics_found",
    }


async def test_what_is_published_is_what_stands_in_the_log(world: World) -> None:
    known: dict[str, Any] = {}
    for _, act in STEPS:
        await act(world, known)
    stored = await events_after(world, 0, None)
    assert [(one.number, one.customer_number, one.customer, one.record) for one in stored] == [
        (one.number, one.customer_number, one.customer, one.record) for _, one in world.published
    ]


async def tell_story(world: World) -> str:
    """The whole story as JSON: a snapshot of each side before the first and after each step, and all events. Ids that
    differ from run to run are replaced by names."""
    known: dict[str, Any] = {}
    chapters = []
    for name, act in [("nothing yet", None), *STEPS]:
        if act is not None:
            await act(world, known)
        staff, customer = await snapshots(world)
        chapters.append({"name": name, "staff": staff, "customer": customer})
    story = {
        "chapters": chapters,
        "staff_events": [
            {"number": one.number, "event": msgspec.Raw(one.record)} for one in await events_after(world, 0, None)
        ],
        "customer_events": [
            {"number": one.customer_number, "event": msgspec.Raw(one.record)}
            for one in await events_after(world, 0, world.visitor.id)
        ],
    }
    told = msgspec.json.format(msgspec.json.encode(story), indent=1).decode() + "\n"
    for value, name in (
        (world.owner.id, "owner"),
        (world.reader.id, "reader"),
        (world.shop.key, "shop-key"),
        (world.shop.epoch, "epoch"),
    ):
        told = told.replace(value, name)
    return told


async def test_the_golden_story_is_the_one_that_is_told_today(world: World) -> None:
    assert await tell_story(world) == GOLDEN.read_text(), "stale; run: python -m tests.test_snapshots"


def test_every_command_has_its_place_in_the_story() -> None:
    told = "".join(inspect.getsource(act) for _, act in STEPS)
    missing = {kind.__name__ for kind in HANDLERS if kind.__name__ not in told + "SendMessage"}
    assert not missing, f"add a step for {sorted(missing)}"


async def _write_golden() -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with opened_world(Path(directory)) as opened:
            GOLDEN.write_text(await tell_story(opened))


if __name__ == "__main__":
    asyncio.run(_write_golden())
