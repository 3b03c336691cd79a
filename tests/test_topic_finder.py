"""The topic finder on a real store: nobody is forgotten, nothing is told twice, and the chat does not wait for it.

The classifier here decides by words, so that each test knows what is to be found; the real one has its tests in
`test_topics_labels` and, behind the socket, in `test_topics_end_to_end`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from chatd.domain.commands import ListConversations, RecordTopics, RemoveTopic
from chatd.domain.people import Actor
from chatd.errors import Temporary
from chatd.metrics import Metrics
from chatd.notify import topics as module
from chatd.notify.topics import MESSAGES_MAX, TopicFinder
from chatd.store.topics import find_behind
from chatd.topics.names import TopicScore
from tests.door import until
from tests.world import World, opened_world

pytestmark = pytest.mark.usefixtures("database")

WORDS = {"ship": "Shipping", "pay": "Checkout", "open": "Store info"}


class ByWords:
    """Finds a topic for each word of the list; `deadly` texts end it, as a crash does; `broken` it reads nothing."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.broken = False
        self.stopped = False
        self.hold: asyncio.Event | None = None

    async def label(self, messages: Sequence[tuple[str, str | None]]) -> list[list[TopicScore]]:
        texts = [text for text, _ in messages]
        self.batches.append(texts)
        if self.hold is not None:
            await self.hold.wait()
        if self.broken or any("deadly" in text for text in texts):
            raise Temporary("the topics' process failed")
        return [[TopicScore(topic, 0.97) for word, topic in WORDS.items() if word in text] for text in texts]

    async def stop(self) -> None:
        self.stopped = True

    def read(self) -> list[str]:
        return [text for batch in self.batches for text in batch]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with opened_world(tmp_path) as opened:
        yield opened


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_SECONDS", (0.0,))


def make(world: World, worker: ByWords, **options: Any) -> TopicFinder:
    record = options.pop("record", world.dispatch.record)
    return TopicFinder(world.store, worker=worker, record=record, clock=lambda: world.now, **options)


@contextlib.asynccontextmanager
async def at_work(finder: TopicFinder) -> AsyncIterator[TopicFinder]:
    task = asyncio.create_task(finder.run())
    try:
        yield finder
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def topics(world: World, shop: str = "") -> dict[str, list[str]]:
    actor = Actor(kind="staff", shop=shop or world.shop.id, id=world.owner.id)
    rows = (await world.dispatch.ask(actor, ListConversations(id="question")))["conversations"]
    return {row["last"]["text"]: [one["topic"] for one in row["topics"]] for row in rows}


def told(world: World) -> int:
    return sum(b'"topics_found"' in publication.record for _, publication in world.published)


async def customers_say(world: World, *texts: str, shop: str = "") -> None:
    for text in texts:
        name = str(len(world.published)).rjust(32, "0")
        await world.say(Actor(kind="visitor", shop=shop or world.shop.id, id=name), text)


async def test_what_customers_write_gets_its_topic_and_what_staff_write_is_not_read(world: World) -> None:
    worker = ByWords()
    async with at_work(make(world, worker)) as finder:
        said = await world.say(world.visitor, "Do you ship?")
        finder.note(world.shop.id)
        await until(lambda: told(world) == 1)
        await world.say(world.owner, "We ship, and you pay later", said["conversation"])
        await world.say(world.visitor, "Thank you")
        finder.note(world.shop.id)
        await until(lambda: len(worker.batches) == 2)
    assert worker.read() == ["Do you ship?", "Thank you"]
    assert await topics(world) == {"Thank you": ["Shipping"]}
    assert worker.stopped


async def test_a_server_without_customers_starts_no_worker(world: World) -> None:
    worker = ByWords()
    async with at_work(make(world, worker, look_seconds=0.01)):
        await asyncio.sleep(0.1)
    assert worker.batches == []


async def test_a_backlog_is_read_whole_in_batches_and_each_message_is_told_once(world: World) -> None:
    texts = [f"{'ship' if number % 2 else 'hello'} {number}" for number in range(150)]
    await customers_say(world, *texts)
    worker = ByWords()
    async with at_work(make(world, worker)):
        await until(lambda: told(world) == 75)
        await until(lambda: len(worker.read()) == 150)
    assert worker.read() == texts
    assert max(map(len, worker.batches)) == MESSAGES_MAX
    async with at_work(make(world, again := ByWords())):
        await asyncio.sleep(0.05)
    assert told(world) == 75, "another start finds nothing left to tell"
    assert again.read() == []


async def test_a_crash_between_reading_and_recording_costs_a_second_reading_and_nothing_else(world: World) -> None:
    await customers_say(world, "ship 1", "pay 2")

    async def record_and_die(shop: str, fact: RecordTopics) -> bool:
        await world.dispatch.record(shop, fact)
        raise asyncio.CancelledError

    async def die(shop: str, fact: RecordTopics) -> bool:
        raise asyncio.CancelledError

    for record in (die, record_and_die):
        with contextlib.suppress(asyncio.CancelledError):
            await make(world, ByWords(), record=record).run()
    async with at_work(make(world, ByWords())):
        await until(lambda: told(world) >= 2)
        await asyncio.sleep(0.05)
    assert told(world) == 2
    assert await topics(world) == {"pay 2": ["Checkout"], "ship 1": ["Shipping"]}


async def test_of_several_processes_each_message_is_told_by_one(world: World) -> None:
    async with contextlib.AsyncExitStack() as stack:
        finders = [await stack.enter_async_context(at_work(make(world, ByWords()))) for _ in range(3)]
        for number in range(40):
            await customers_say(world, f"ship {number}")
            for finder in finders:
                finder.note(world.shop.id)
        await until(lambda: told(world) >= 40)
        await asyncio.sleep(0.3)  # longer than one that was overtaken waits
    assert told(world) == 40
    assert len(await topics(world)) == 40
    assert set(map(tuple, (await topics(world)).values())) == {("Shipping",)}


async def test_who_was_overtaken_reads_on_where_the_other_has_ended(world: World) -> None:
    await customers_say(world, "ship 1", "pay 2", "open 3")
    overtaken = False

    async def record(shop: str, fact: RecordTopics) -> bool:
        """The first time another process comes in between, which has read the first message alone."""
        nonlocal overtaken
        if not overtaken:
            overtaken = True
            first = fact.messages[:1]
            assert await world.dispatch.record(
                shop, RecordTopics(after=fact.after, upto=fact.after + 2, messages=first)
            )
        return await world.dispatch.record(shop, fact)

    async with at_work(make(world, ByWords(), record=record, look_seconds=600)):
        await until(lambda: told(world) == 3)
    assert await topics(world) == {"ship 1": ["Shipping"], "pay 2": ["Checkout"], "open 3": ["Store info"]}


async def test_a_message_that_nobody_noted_is_found_by_looking_around(world: World) -> None:
    async with at_work(make(world, ByWords(), look_seconds=0.02)):
        await customers_say(world, "ship me", shop=world.other.id)
        await until(lambda: told(world) == 1)
    assert await topics(world, world.other.id) == {"ship me": ["Shipping"]}


async def test_shops_take_turns_so_that_one_that_is_flooded_holds_up_nobody(world: World) -> None:
    await customers_say(world, *(f"ship {number}" for number in range(2 * MESSAGES_MAX + 10)))
    await customers_say(world, "pay", shop=world.other.id)
    worker = ByWords()
    finder = make(world, worker)
    finder.note(world.shop.id)
    finder.note(world.other.id)
    async with at_work(finder):
        await until(lambda: "pay" in worker.read())
    assert worker.batches.index(next(batch for batch in worker.batches if "pay" in batch)) <= 1


async def test_the_chat_goes_on_while_the_classifier_is_busy(world: World) -> None:
    worker = ByWords()
    worker.hold = asyncio.Event()
    async with at_work(make(world, worker)) as finder:
        await customers_say(world, "ship first")
        finder.note(world.shop.id)
        await until(lambda: len(worker.batches) == 1)
        await customers_say(world, *(f"ship {number}" for number in range(30)))
        for _ in range(30):
            finder.note(world.shop.id)
        assert told(world) == 0 and len(worker.batches) == 1, "one batch is under way, and nothing piles up"
        worker.hold.set()
        await until(lambda: told(world) == 31)
    assert [len(batch) for batch in worker.batches] == [1, 30], "what came meanwhile is one batch"


async def test_a_worker_that_fails_for_a_while_forgets_nobody(world: World) -> None:
    worker = ByWords()
    worker.broken = True
    async with at_work(make(world, worker)) as finder:
        await customers_say(world, "ship 1", "pay 2")
        finder.note(world.shop.id)
        await until(lambda: len(worker.batches) > 10)
        assert finder.trouble() is not None
        assert told(world) == 0
        worker.broken = False
        await until(lambda: told(world) == 2)
        await until(lambda: finder.trouble() is None)


async def test_one_message_that_cannot_be_read_is_passed_over_and_the_others_are_not(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await customers_say(world, "ship 1", "deadly", "pay 2", "open 3")
    worker, metrics = ByWords(), Metrics()
    async with at_work(make(world, worker, metrics=metrics)) as finder:
        await until(lambda: told(world) == 3)
        await customers_say(world, "ship 4")
        finder.note(world.shop.id)
        await until(lambda: told(world) == 4)
    assert (await topics(world))["deadly"] == []
    assert worker.read().count("deadly") == 2 + 3, "twice with its neighbours, three times alone"
    assert "cannot be read" in caplog.text and "deadly" not in caplog.text
    assert 'chatd_topic_messages_total{result="unreadable"} 1' in metrics.render()
    assert 'chatd_topic_messages_total{result="found"} 4' in metrics.render()


async def test_what_staff_remove_while_it_is_being_read_stays_removed(world: World) -> None:
    worker = ByWords()
    async with at_work(make(world, worker)) as finder:
        said = await world.say(world.visitor, "Do you ship?")
        finder.note(world.shop.id)
        await until(lambda: told(world) == 1)
        worker.hold = asyncio.Event()
        await world.say(world.visitor, "ship and pay")
        finder.note(world.shop.id)
        await until(lambda: len(worker.batches) == 2)
        removal = RemoveTopic(id=world.client_id(), conversation=said["conversation"], topic="Shipping")
        await world.do(world.owner, removal)
        worker.hold.set()
        await until(lambda: told(world) == 2)
    assert await topics(world) == {"ship and pay": ["Checkout"]}


@pytest.mark.parametrize("ends", ["killed", "stopped"])
async def test_where_nothing_was_found_is_written_down_too_and_a_restart_starts_no_worker(
    world: World, ends: str
) -> None:
    await customers_say(world, *(f"hello {number}" for number in range(30)))
    await customers_say(world, "hello", shop=world.other.id)
    worker = ByWords()
    async with at_work(make(world, worker, look_seconds=0.02 if ends == "killed" else 60)):
        await until(lambda: len(worker.read()) == 31)
        if ends == "killed":  # what it does before that must be enough
            for _ in range(1_000):
                if not await world.store.read(find_behind):
                    break
                await asyncio.sleep(0.01)
    assert await world.store.read(find_behind) == {}
    async with at_work(make(world, again := ByWords(), look_seconds=0.02)):
        await asyncio.sleep(0.1)
    assert again.read() == []
