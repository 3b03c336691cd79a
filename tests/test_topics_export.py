"""`chatd topics export`: what staff have corrected comes out as `chatd topics train` reads it, and nothing else."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chatd.__main__ import main
from chatd.cli.topics import read_corrections
from chatd.config import Settings
from chatd.domain.commands import AddTopic, MessageTopics, RecordTopics, RemoveTopic
from chatd.domain.people import Actor
from chatd.store.migrations import migrate
from chatd.store.sqlite import SQLiteStore
from tests.door import a_shop, somebody
from tests.world import World

CORRECTIONS: list[dict[str, Any]] = [
    {"text": "Is it dishwasher safe?", "lang": "sv", "topics": ["Product details"]},
    {"text": "Hi\nI bought it yesterday\nCan I change the size?", "lang": "sv", "topics": ["Edit orders"]},
    {"text": "You are the best", "lang": "en", "topics": []},
    {"text": "How much for 200?", "lang": None, "topics": ["Wholesale", "Pricing/Discounts"]},
]


@contextlib.asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[World]:
    settings = Settings(data_directory=directory)
    migrate(settings)
    store = SQLiteStore(settings.database_path)
    await store.open()
    try:
        shop = await a_shop(store, key="nordlys")
        other = await a_shop(store, key="sodra", name="Södra Te", email="hej@sodra.example")
        owner = await somebody(store, shop)
        yield World(store, shop, other, owner, owner)
    finally:
        await store.close()


class Story:
    """Things that happen in the conversation of one customer after the other."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.mark = 0

    def customer(self, name: str, locale: str) -> Actor:
        return Actor(kind="visitor", shop=self.world.shop.id, id=name.ljust(32, "0"), locale=locale)

    async def find(self, conversation: str, position: int, *topics: str) -> None:
        found = [(topic, 0.97) for topic in topics]
        message = MessageTopics(conversation=conversation, position=position, found=found)
        fact = RecordTopics(after=self.mark, upto=self.mark + 1, messages=[message])
        assert await self.world.dispatch.record(self.world.shop.id, fact)
        self.mark += 1

    async def add(self, conversation: str, topic: Any) -> None:
        addition = AddTopic(id=self.world.client_id(), conversation=conversation, topic=topic)
        await self.world.do(self.world.owner, addition)

    async def remove(self, conversation: str, topic: Any) -> None:
        removal = RemoveTopic(id=self.world.client_id(), conversation=conversation, topic=topic)
        await self.world.do(self.world.owner, removal)


async def tell(world: World) -> None:
    """Staff correct some of what was found."""
    story, say = Story(world), world.say

    # Left alone: right or not looked at, nobody knows.
    await story.find((await say(story.customer("a", "en"), "Where is my parcel?"))["conversation"], 1, "Order status")

    # Several questions in a conversation, each corrected by itself; the second was asked in three messages.
    mia = story.customer("b", "sv-SE")
    conversation = (await say(mia, "Is it dishwasher safe?"))["conversation"]
    await story.find(conversation, 1, "Shipping")
    await story.remove(conversation, "Shipping")
    await story.add(conversation, "Product details")
    await say(world.owner, "Yes", conversation)
    await say(mia, "Hi")
    await say(mia, "I bought it yesterday")
    await say(mia, "Can I change the size?")
    await say(world.owner, "Sure", conversation)
    await story.find(conversation, 5, "Checkout")
    await story.add(conversation, "Edit orders")

    # Misread, and about nothing.
    conversation = (await say(story.customer("d", "en-GB"), "You are the best"))["conversation"]
    await story.find(conversation, 1, "Product interest")
    await story.remove(conversation, "Product interest")

    # Added to the wrong conversation, and taken back: that teaches nothing.
    conversation = (await say(story.customer("e", "en"), "Do you have it in green?"))["conversation"]
    await story.add(conversation, "Shipping")
    await story.remove(conversation, "Shipping")

    # Confirmed and added to, in a language that there is no model of.
    conversation = (await say(story.customer("c", "pt"), "How much for 200?"))["conversation"]
    await story.find(conversation, 1, "Pricing/Discounts")
    await story.add(conversation, "Pricing/Discounts")
    await story.add(conversation, "Wholesale")


def run(directory: Path, *arguments: str) -> Result:
    return CliRunner(env={"CHATD_DATA_DIRECTORY": str(directory)}).invoke(main, arguments, prog_name="chatd")


@pytest.fixture
async def shop(tmp_path: Path) -> Path:
    """The data directory of a shop with corrections, and of another without."""
    async with opened(tmp_path) as world:
        await tell(world)
    return tmp_path


def test_corrections_come_out_as_they_are_trained_on(shop: Path) -> None:
    result = run(shop, "topics", "export", "--shop", "nordlys")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.output.splitlines()]
    by_text = {line["text"]: line for line in lines}
    assert len(by_text) == len(lines)
    assert by_text == {one["text"]: one for one in CORRECTIONS}
    file = shop / "corrections.jsonl"
    file.write_text(result.output)
    assert [(one.text, set(one.topics)) for one in read_corrections(file)] == [
        (line["text"], set(line["topics"])) for line in lines
    ]


def test_a_shop_without_corrections_exports_nothing_and_one_of_several_must_be_named(shop: Path) -> None:
    result = run(shop, "topics", "export", "--shop", "sodra")
    assert (result.exit_code, result.output) == (0, "")
    result = run(shop, "topics", "export")
    assert result.exit_code == 1 and "nordlys" in result.output
    help_page = " ".join(run(shop, "topics", "export", "--help").output.split())
    assert "word for word" in help_page and "Findings that staff left alone are not exported" in help_page
