"""State plus event is state: the reference for everybody who keeps a copy of it.

A snapshot, as the welcome gives it, and the events after it lead to the snapshot of later. `static/state.js` does the
same for the pages, and the tests hold both against what the store reads (design, "One idea"). Here snapshots and
events are the plain objects of the wire, because that is what a copy is made of.
"""

from __future__ import annotations

from typing import Any

from chatd.domain.commands import TextPart
from chatd.domain.conversations import preview
from chatd.domain.events import EVENT_TYPES, Event

Object = dict[str, Any]

_TYPES: dict[str, type[Event]] = {str(kind.__struct_config__.tag): kind for kind in EVENT_TYPES}


def stands_in_thread(event: Object) -> bool:
    """Whether an event is kept in its conversation. Unknown types are not."""
    kind = _TYPES.get(event["type"])
    if kind is None or not kind.in_thread:
        return False
    return event["type"] != "cart_changed" or bool(event["changes"])


def apply_to_customer(snapshot: Object, number: int, event: Object) -> None:
    """Bring a customer's snapshot one event on, in place."""
    if event["type"] in ("conversation_started", "customer_introduced"):
        snapshot["customer"] = event["person"]
    if event["type"] == "conversation_started":
        snapshot["conversations"].append(
            {
                "id": event["conversation"],
                "kind": event["kind"],
                "state": "open",
                "position": 0,
                "seen_by_shop": 0,
                "seen_by_customer": 0,
                "delivered": 0,
                "unread": 0,
                "thread": [],
                "more": False,
            }
        )
    conversation = _find(snapshot, event)
    if conversation is None:
        return
    _apply_marks(conversation, event)
    if event["type"] == "message_sent":
        conversation["position"] = event["message"]["position"]
    if stands_in_thread(event):
        conversation["thread"].append({"number": number, "event": event})
    conversation["unread"] = sum(
        1
        for entry in conversation["thread"]
        if entry["event"]["type"] == "message_sent"
        and entry["event"]["message"]["author"]["kind"] != "customer"
        and entry["event"]["message"]["position"] > conversation["seen_by_customer"]
    )


def apply_to_staff(snapshot: Object, number: int, event: Object) -> None:
    """Bring a snapshot of staff one event on, in place; rows stay in the order of the list, newest first."""
    mine = event["type"] == "conversation_read" and event["staff"] == snapshot["staff"]["id"]
    if event["type"] == "conversation_started":
        snapshot["conversations"].append(
            {
                "id": event["conversation"],
                "kind": event["kind"],
                "state": "open",
                "customer": event["person"],
                "last": {"number": number, "at": event["at"], "author": {}, "text": ""},
                "position": 0,
                "incoming": 0,
                "incoming_seen": 0,
                "unread": 0,
                "replied": False,
                "seen_by_shop": 0,
                "seen_by_customer": 0,
                "delivered": 0,
                "started_at": event["at"],
                "topics": [],
            }
        )
    if event["type"] == "customer_introduced":
        for row in snapshot["conversations"]:
            if row["customer"]["id"] == event["customer"]:
                row["customer"] = event["person"]
    if event["type"] == "message_sent":
        snapshot["unread"] += event["message"]["author"]["kind"] == "customer"
    if mine:
        snapshot["unread"] -= event["count"]
    row = _find(snapshot, event)
    if row is None:
        return
    _apply_marks(row, event)
    if event["type"] == "message_sent":
        message = event["message"]
        row["position"] = message["position"]
        row["incoming"] = message["incoming"]
        row["replied"] = message["author"]["kind"] == "staff"
        row["last"] = {
            "number": number,
            "at": event["at"],
            "author": message["author"],
            "text": preview_of(message["parts"]),
        }
    if mine:
        row["incoming_seen"] = event["incoming_seen"]
    if event["type"] in ("topics_found", "topic_added", "topic_removed"):
        row["topics"] = event["topics"]
    row["unread"] = row["incoming"] - row["incoming_seen"]
    snapshot["conversations"].sort(key=lambda one: -one["last"]["number"])


def preview_of(parts: list[Object]) -> str:
    """`domain.conversations.preview` of parts as they are on the wire."""
    return preview([TextPart(text=part["text"]) for part in parts if part["type"] == "text"])


def _find(snapshot: Object, event: Object) -> Object | None:
    return next((one for one in snapshot["conversations"] if one["id"] == event["conversation"]), None)


def _apply_marks(conversation: Object, event: Object) -> None:
    """Marks only rise, and what was seen was delivered; a state is what the last event made it."""
    match event["type"]:
        case "message_sent" if event["message"]["author"]["kind"] == "staff":
            conversation["seen_by_shop"] = max(conversation["seen_by_shop"], event["message"]["position"])
        case "messages_seen" if event["by"] == "shop":
            conversation["seen_by_shop"] = max(conversation["seen_by_shop"], event["position"])
        case "messages_seen":
            conversation["seen_by_customer"] = max(conversation["seen_by_customer"], event["position"])
            conversation["delivered"] = max(conversation["delivered"], event["position"])
        case "messages_delivered":
            conversation["delivered"] = max(conversation["delivered"], event["position"])
        case "conversation_closed":
            conversation["state"] = "closed"
        case "conversation_opened":
            conversation["state"] = "open"
