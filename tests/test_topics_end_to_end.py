"""Topics as staff meet them: a customer writes, the shipped model reads it in its own process, the topic arrives."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

from chatd.config import Settings
from chatd.store.migrations import migrate
from chatd.web.app import open_chat
from tests.clients import SHOP_ORIGIN, Client, Frame, House, furnish, house_settings, opened_house
from tests.door import until
from tests.test_crashes import Victim

BURST = 1_000
MEANWHILE = 20
KILLED_AFTER = 40
# The worker starts with the first message and loads its models, on a machine that may have other things to do.
PATIENCE_SECONDS = 120.0


async def found(agent: Client) -> Frame:
    """The next topics that the classifier has found."""
    while True:
        async with asyncio.timeout(PATIENCE_SECONDS):
            payload = await agent.socket.recv()
        frame = json.loads(payload)
        if frame["type"] == "event" and frame["event"]["type"] == "topics_found":
            event: Frame = frame["event"]
            return event


def names(event: Frame) -> list[str]:
    return [topic["topic"] for topic in event["topics"]]


def worker_processes() -> list[int]:
    """The labelling processes that this one has started."""
    mine = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue  # it has just ended
        if int(parent) == os.getpid() and b"chatd.topics.worker" in command:
            mine.append(int(entry.name))
    return mine


async def everything(client: Client) -> str:
    """What has been sent to this client, until it is quiet."""
    told = ""
    try:
        while True:
            async with asyncio.timeout(0.5):
                told += str(await client.socket.recv())
    except TimeoutError:
        return told


async def test_a_topic_arrives_staff_have_the_last_word_and_a_dead_worker_is_replaced(tmp_path: Path) -> None:
    async with opened_house(tmp_path, topics="on") as house:
        mia, leo = await house.customer(), await house.agent()
        assert worker_processes() == [], "nobody has written yet"
        said = (await mia.say("how much is shipping to norway?"))["result"]
        event = await found(leo)
        assert names(event) == ["Shipping"]
        assert 0.5 < event["topics"][0]["score"] <= 1 and event["topics"][0]["by"] is None
        assert (event["position"], event["conversation"]) == (1, said["conversation"])
        (first_worker,) = worker_processes()

        removal: dict[str, Any] = {"conversation": said["conversation"], "topic": "Shipping"}
        assert (await leo.ask("remove_topic", **removal))["result"] == {"topics": []}
        added = await leo.ask("add_topic", conversation=said["conversation"], topic="Wholesale")
        assert added["result"]["topics"][0]["by"]["name"] == "Leo"
        os.kill(first_worker, signal.SIGKILL)
        await mia.say("how much is shipping to norway?")
        await mia.say("i want to cancel my order")
        event = await found(leo)
        assert names(event) == ["Edit orders", "Wholesale"], "removed stays away, added stays"
        (second_worker,) = worker_processes()
        assert second_worker != first_worker

        row = (await leo.ask("list_conversations", topic="Wholesale"))["data"]["conversations"][0]
        assert [one["topic"] for one in row["topics"]] == ["Edit orders", "Wholesale"]
        assert (await leo.ask("count_topics"))["data"] == {"counts": {"Edit orders": 1, "Wholesale": 1}}
        refused = await mia.ask("count_topics")
        assert refused["code"] == "not_permitted"
        told = await everything(mia) + json.dumps(await mia.ask("load_history", conversation=said["conversation"]))
        comes_back = await house.customer(token=mia.welcome["token"])
        told += json.dumps(comes_back.welcome)
        assert "topic" not in told.replace("count_topics", "") and "Wholesale" not in told
    await until(lambda: worker_processes() == [], seconds=10)


async def test_a_burst_is_answered_and_delivered_before_any_of_it_is_read_for_topics(tmp_path: Path) -> None:
    """Without a clock: the classifier stands still until the burst is over and others have talked."""
    async with opened_house(tmp_path, topics="on") as house:
        crowd, mia, leo, ana = (
            await house.customer(),
            await house.customer(),
            await house.agent(),
            await house.agent(1),
        )
        await crowd.say("how much is shipping to norway?")
        await found(leo)
        (worker,) = worker_processes()
        os.kill(worker, signal.SIGSTOP)

        burst = {"type": "send_message", "parts": [{"type": "text", "text": "do you ship to norway?"}]}
        for number in range(BURST):
            await crowd.send({**burst, "id": f"burst-{number:06}"})
        acknowledged = 0
        while acknowledged < BURST:
            acknowledged += (await crowd.receive())["type"] == "ack"
        for number in range(MEANWHILE):
            assert (await mia.say(f"Hello {number}"))["type"] == "ack"
            while (await ana.event("message_sent"))["message"]["parts"][0]["text"] != f"Hello {number}":
                pass
        assert count_found(house) == 1, "all of it without the classifier"

        os.kill(worker, signal.SIGCONT)
        await until(lambda: count_found(house) == 1 + BURST, seconds=PATIENCE_SECONDS)


async def test_a_killed_server_forgets_no_message_and_tells_no_topic_twice(tmp_path: Path) -> None:
    settings = house_settings(tmp_path)
    await asyncio.to_thread(migrate, settings)
    async with open_chat(settings) as chat:
        shop, _, _ = await furnish(chat)
    victim = Victim(tmp_path, CHATD_TOPICS="on")
    victim.start()
    try:
        await victim.until_serving()
        mia = await Client.open(f"ws://127.0.0.1:{victim.port}/v1/socket/{shop.key}", SHOP_ORIGIN)
        await mia.hello()
        for number in range(KILLED_AFTER):
            await mia.say(f"how much is shipping to norway? {number}")
        await until(lambda: bool(positions_found(settings)), seconds=PATIENCE_SECONDS)
        for number in range(KILLED_AFTER):
            await mia.say(f"do you ship to norway? {number}")
        victim.end(signal.SIGKILL)
        victim.start()
        everything = list(range(1, 2 * KILLED_AFTER + 1))
        await until(lambda: len(positions_found(settings)) >= len(everything), seconds=PATIENCE_SECONDS)
        assert sorted(positions_found(settings)) == everything
    finally:
        victim.end(signal.SIGKILL)


def positions_found(settings: Settings) -> list[int]:
    """Of which messages topics have been told."""
    with contextlib.closing(sqlite3.connect(settings.database_path)) as database:
        rows = database.execute("SELECT record FROM events WHERE record LIKE '%topics_found%'").fetchall()
    return [json.loads(record)["position"] for (record,) in rows]


def count_found(house: House) -> int:
    """So many messages have been given topics."""
    lines = house.chat.metrics.render().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("chatd_topic_seconds_count")))
