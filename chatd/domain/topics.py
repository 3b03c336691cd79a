"""The topics of a conversation: what the classifier found, what staff made of it, and which two are shown.

A conversation has at most `TOPICS_MAX` topics, the most recent first: what customers write about changes, and a list
has little room. What a person has decided stands above what was computed: a topic that staff have added is not pushed
out by a finding, one that they have removed does not come back by itself. A further topic that staff add pushes out
what the classifier found, and only then their own oldest.

Pure, like its neighbours. `store.topics` keeps the state; the events carry what is shown after them, so whoever keeps a
copy has nothing to compute.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chatd.domain.conversations import Conversation
from chatd.domain.events import Event, Topic, TopicAdded, TopicFinding, TopicRemoved, TopicsFound
from chatd.domain.people import Actor

TOPICS_MAX = 2


class Topics(msgspec.Struct, frozen=True, kw_only=True):
    """How things stand in one conversation: its topics, most recent first, and those that staff have removed."""

    shown: tuple[Topic, ...] = ()
    removed: frozenset[str] = frozenset()


def decide_found(
    conversation: Conversation, topics: Topics, *, position: int, found: Sequence[TopicFinding], now: int
) -> list[Event]:
    """The classifier has read the message at `position` and is certain of these topics, the surest first. Without an
    event when nothing that is shown changes by it."""
    welcome = [finding for finding in found if finding.topic not in topics.removed][:TOPICS_MAX]
    shown = topics.shown
    for finding in reversed(welcome):
        known = _find(shown, finding.topic)
        if known is not None and known.by is not None:
            shown = _first(shown, known)  # talked about again, and still the person's word
        else:
            shown = _first(shown, Topic(topic=finding.topic, position=position, score=finding.score))
    shown = _fitting(shown)
    if shown == topics.shown:
        return []
    return [
        TopicsFound(
            at=now,
            customer=conversation.customer,
            conversation=conversation.id,
            position=position,
            found=list(found),
            topics=list(shown),
        )
    ]


def decide_topic_added(
    conversation: Conversation, topics: Topics, actor: Actor, topic: str, *, now: int
) -> list[Event]:
    """Staff say that it is about this. Said of what the classifier had found, it is confirmed and from now on kept."""
    actor.require("chat")
    known = _find(topics.shown, topic)
    if known is not None and known.by is not None:
        return []
    by = actor.author
    added = Topic(topic=topic, position=conversation.position, by=by)
    return [
        TopicAdded(
            at=now,
            customer=conversation.customer,
            conversation=conversation.id,
            topic=topic,
            by=by,
            position=conversation.position,
            topics=list(_fitting(_first(topics.shown, added))),
        )
    ]


def decide_topic_removed(
    conversation: Conversation, topics: Topics, actor: Actor, topic: str, *, now: int
) -> list[Event]:
    """Staff say that it is not about this. Nothing happens when it is not shown, for example because a colleague was
    faster."""
    actor.require("chat")
    known = _find(topics.shown, topic)
    if known is None:
        return []
    return [
        TopicRemoved(
            at=now,
            customer=conversation.customer,
            conversation=conversation.id,
            topic=topic,
            by=actor.author,
            position=known.position,
            topics=[one for one in topics.shown if one is not known],
        )
    ]


def _find(shown: Sequence[Topic], topic: str) -> Topic | None:
    return next((one for one in shown if one.topic == topic), None)


def _first(shown: tuple[Topic, ...], topic: Topic) -> tuple[Topic, ...]:
    return (topic, *(one for one in shown if one.topic != topic.topic))


def _fitting(shown: tuple[Topic, ...]) -> tuple[Topic, ...]:
    """Those that there is room for, in their order: what staff have added first, then what is most recent."""
    by_rank = sorted(range(len(shown)), key=lambda place: (shown[place].by is None, place))
    kept = sorted(by_rank[:TOPICS_MAX])
    return tuple(shown[place] for place in kept)
