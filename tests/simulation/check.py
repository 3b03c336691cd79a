"""What must hold after every schedule, whatever has happened (G1 to G7).

Every acknowledged command is there exactly once and says what its acknowledgement said; numbers and positions have no
hole; what one sender said stands in the order in which it was said; every page's copy of the state is what the database
says; nobody has anything of another shop; every node knows who is there; what was not seen was mailed, at least once,
always under the same Message-ID, and not what had been seen; and when all have gone, nothing is left running.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import msgspec

from chatd.store.conversations import list_rows, sum_unread
from chatd.store.snapshots import customer_snapshot
from tests.simulation.people import Object, Page
from tests.simulation.world import World

DIGEST_READ_SECONDS = 1.0
"""Between reading what is unread and the server's taking of the mail."""


class Broken(Exception):
    """A promise was broken."""


def must(condition: object, sentence: str) -> None:
    if not condition:
        raise Broken(sentence)


# ---------------------------------------------------------------- coming together


def what_is_apart(world: World) -> str | None:
    """Who has not come together with the others yet; None when all have."""
    for page in world.pages:
        if page.is_open and not page.is_welcome:
            return f"{page.name} is not welcome"
        if page.is_open and page.outbox:
            return f"{page.name} waits for {next(iter(page.outbox))}"
    for page in world.pages:
        if page.is_open and (difference := _difference(world, page)):
            return f"{page.name} at {page.number}: {difference}"
    return who_is_not_known(world)


def _difference(world: World, page: Page) -> str | None:
    heads = _heads(world)
    account = page.account
    head = heads.get((account.shop, None if account.is_staff else account.id), 0)
    if page.number != head:
        return f"is not at the head, {head}"
    wanted = _staff_state(world, page) if account.is_staff else _customer_state(world, page)
    for key, value in wanted.items():
        if page.state[key] != value:
            return f"has {key} {json.dumps(page.state[key])}, expected {json.dumps(value)}"
    return None


def _heads(world: World) -> dict[tuple[str, str | None], int]:
    found: dict[tuple[str, str | None], int] = {}
    for row in world.disk.rows("SELECT id, head FROM shops"):
        found[row["id"], None] = row["head"]
    for row in world.disk.rows("SELECT shop_id, id, head FROM customers"):
        found[row["shop_id"], row["id"]] = row["head"]
    return found


def _plain(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def _customer_state(world: World, page: Page) -> Object:
    assert page.account.id is not None
    customer = page.account.id
    read = world.disk.look(lambda tx: customer_snapshot(tx, page.account.shop, customer))
    state: Object = _plain(read.state)
    # A copy that has grown by events holds more than the newest page, and counts more.
    for own, stored in zip(page.state["conversations"], state["conversations"], strict=False):
        kept = len(stored["thread"])
        if len(own["thread"]) > kept:
            stored["thread"] = own["thread"][: len(own["thread"]) - kept] + stored["thread"]
        stored["more"], stored["unread"] = own["more"], own["unread"]
    if not state["conversations"]:
        del state["customer"]  # who has said who they are and nothing else is told so with the first message
    return state


def _staff_state(world: World, page: Page) -> Object:
    me = page.state["staff"]["id"]

    async def job(tx: Any) -> Object:
        rows, _ = await list_rows(tx, page.account.shop, me, state=None, unread=False, before=None, limit=50)
        return {"conversations": rows, "unread": await sum_unread(tx, page.account.shop, me)}

    found: Object = _plain(world.disk.look(job))
    return found


def who_is_not_known(world: World) -> str | None:
    """Every node, and every open inbox, has to know who is there."""
    for shop in world.shops:
        here = {
            page.account.id
            for page in world.customers
            if page.account.shop == shop and page.wire is not None and page.is_welcome
        }
        for node in world.nodes:
            if node.chat is None:
                return f"{node.name} does not serve"
            view = {person for person in node.chat.presence.online(shop) if ":" not in person}
            if view != here:
                return f"{node.name} takes {sorted(view)} for here, and {sorted(filter(None, here))} are"
        for page in world.staff:
            if page.account.shop == shop and page.node is not None and page.node.chat is not None:
                known = {one for one in page.node.chat.presence.online(shop) if ":" not in one}
                if page.online != known:
                    return f"{page.name} shows {sorted(page.online)} as online, and its node knows {sorted(known)}"
    return None


# ---------------------------------------------------------------- what is written


def check_log(world: World) -> None:
    """Numbers without a hole, in both streams; positions without a hole; nothing of one shop in another."""
    for shop in world.shops:
        events = _events(world, shop)
        must([one["number"] for one in events] == list(range(1, len(events) + 1)), f"{shop}: numbers have a hole")
        own = Counter[str]()
        positions = Counter[str]()
        for one in events:
            if one["customer_number"] is not None:
                own[one["customer_id"]] += 1
                must(one["customer_number"] == own[one["customer_id"]], "a customer's numbers have a hole")
            event = one["event"]
            if event["type"] == "message_sent":
                positions[event["conversation"]] += 1
                must(event["message"]["position"] == positions[event["conversation"]], "positions have a hole")
                must(f"said-{shop}-" in event["message"]["parts"][0]["text"], "a message is in another shop")


def check_people(world: World) -> None:
    """What was acknowledged is there, once, as it was said, in the order in which it was said."""
    for page in world.pages:
        must(not page.faults, f"{page.name}: {'; '.join(page.faults)}")
        must(not page.refused, f"{page.name} was refused for good: {page.refused}")
    messages: dict[tuple[str, str], list[Object]] = {}
    for shop in world.shops:
        for one in _events(world, shop):
            if one["event"]["type"] == "message_sent":
                message = one["event"]["message"]
                messages.setdefault((shop, message["client_id"]), []).append(one)
    for page in world.pages:
        numbers = []
        for client_id in page.said:
            stored = messages.get((page.account.shop, client_id), [])
            must(len(stored) <= 1, f"{client_id} is there {len(stored)} times")
            if client_id not in page.acked:
                must(client_id in page.outbox and not page.is_open, f"{client_id} was never answered")
                continue
            must(stored, f"{client_id} was acknowledged and is not there")
            message, result = stored[0]["event"]["message"], page.acked[client_id]
            told = (result["message"], result["position"], result["conversation"])
            must(
                told == (message["id"], message["position"], stored[0]["event"]["conversation"]),
                f"{client_id} was acknowledged as {result}, and is {message}",
            )
            number = stored[0]["number" if page.account.is_staff else "customer_number"]
            must(result["number"] == number, f"{client_id} was acknowledged as {result['number']}, and is {number}")
            must(message["parts"][0]["text"].endswith(f"{client_id}-said".lower()), f"{client_id} says something else")
            if client_id not in page.put_off:
                numbers.append(number)
        # What was refused for a time is said again behind what came after it; the refusal itself may have been lost.
        if not page.put_off and not world.troubles:
            must(numbers == sorted(numbers), f"{page.name}: not in the order in which it was said")
    total = sum(len(page.said) for page in world.pages)
    must(sum(map(len, messages.values())) <= total, "there is more than was said")


def _events(world: World, shop: str) -> list[Object]:
    rows = world.disk.rows(
        "SELECT number, customer_number, customer_id, record FROM events WHERE shop_id = ? ORDER BY number", shop
    )
    return [{**dict(row), "event": msgspec.json.decode(row["record"])} for row in rows]


# ---------------------------------------------------------------- mails


def what_is_unmailed(world: World) -> str | None:
    """What is still to be done in the outbox. Mails that were refused for a time are tried now, as by an operator, also
    those that another reply has joined since."""
    now = world.nodes[0].clock()
    world.disk.operator.execute(
        "UPDATE mails SET due_at = ? WHERE settled_at IS NULL AND state IN ('retrying', 'queued') AND attempts > 0"
        " AND due_at > ?",
        (now, now),
    )
    if any(page.wire is not None for page in world.customers):
        return "somebody is still here"
    for row in world.disk.rows("SELECT state, due_at, lease_until FROM mails WHERE settled_at IS NULL"):
        return f"a mail is {row['state']}, due in {(row['due_at'] - now) / 1000:g} s"
    return None


def check_mails(world: World) -> None:
    rows = {row["message_id"]: row for row in world.disk.rows("SELECT * FROM mails")}
    must(len(rows) == len(world.disk.rows("SELECT 1 FROM mails")), "two mails have one Message-ID")
    copies = Counter(mail.message_id for mail in world.mail.received)
    for mail in world.mail.received:
        row = rows.get(mail.message_id)
        must(row is not None, f"{mail.message_id} is no mail of the outbox")
        assert row is not None
        must(mail.recipient == row["email"], f"{mail.message_id} went to {mail.recipient}")
        must(not mail.was_here, f"{mail.message_id} was sent although {mail.recipient} was here")
        must(mail.texts, f"{mail.message_id} tells nothing: all of it had been seen")
        must(all(f"said-{row['shop_id']}-" in text for text in mail.texts), "a mail of another shop")
        _check_unseen(world, row, mail.at, mail.texts)
        if copies[mail.message_id] > 1:
            must(
                mail.message_id in world.mail.doubtful or world.deaths or world.is_skewed,
                f"{mail.message_id} came {copies[mail.message_id]} times although nothing was in doubt",
            )
    for row in rows.values():
        if row["state"] == "sent":
            must(copies[row["message_id"]], f"{row['message_id']} is told to be sent, and never came")
        if row["state"] == "failed":
            must(row["message_id"] in world.mail.refused, f"{row['message_id']} failed, and nobody refused it")
    if world.is_mailed:
        _check_told(world, {text for mail in world.mail.received for text in mail.texts})


def _check_unseen(world: World, row: Any, at: float, texts: tuple[str, ...]) -> None:
    """At the time when it was sent, something in the mail had not been seen."""
    seen = newest = 0
    for one in _events(world, row["shop_id"]):
        event = one["event"]
        if event.get("conversation") != row["conversation_id"]:
            continue
        if event["type"] == "messages_seen" and event["by"] == "customer":
            if world.disk.committed_at[row["shop_id"], one["number"]] < at - DIGEST_READ_SECONDS:
                seen = max(seen, event["position"])
        elif event["type"] == "message_sent" and event["message"]["parts"][0]["text"] in texts:
            newest = max(newest, event["message"]["position"])
    must(newest > seen, f"{row['message_id']} was sent although all of it had been seen")


def _check_told(world: World, mailed: set[str]) -> None:
    """Whatever staff said to a customer with an address was seen, or mailed, or refused by their mail server."""
    refused = {
        (row["conversation_id"], position)
        for row in world.disk.rows("SELECT * FROM mails WHERE state = 'failed'")
        for position in range(row["first"], row["last"] + 1)
    }
    for shop in world.shops:
        seen = {
            row["id"]: row["seen_by_customer"]
            for row in world.disk.rows("SELECT id, seen_by_customer FROM conversations WHERE shop_id = ?", shop)
        }
        reachable: set[str] = set()
        for one in _events(world, shop):
            event = one["event"]
            if event["type"] in ("customer_introduced", "conversation_started") and event["person"]["email"]:
                reachable.add(event["customer"])
            if event["type"] != "message_sent" or event["message"]["author"]["kind"] == "customer":
                continue
            message, conversation = event["message"], event["conversation"]
            if event["customer"] in reachable and seen[conversation] < message["position"]:
                must(
                    message["parts"][0]["text"] in mailed or (conversation, message["position"]) in refused,
                    f"{message['client_id']} was neither seen nor mailed",
                )


# ---------------------------------------------------------------- the end


def check_end(world: World) -> None:
    must(not world.errors, "chatd logged a fault of its own:\n" + "\n".join(world.errors))
    left = [repr(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    must(not left, f"still running: {left}")
